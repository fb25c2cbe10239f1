"""The files at the top of the state root by HTTP: kheish.yaml, permissions.yaml, instructions.md."""
