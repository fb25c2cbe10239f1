"""A person works in the state root with the real git, while the daemon serves."""
