"""Workers: workspaces on other machines. `frames` is what both sides speak; `far` is the side of `kheish worker`."""
