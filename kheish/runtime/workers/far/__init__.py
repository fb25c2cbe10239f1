"""The far side: what `kheish worker` does on its machine. It has no state root, no token and no key."""
