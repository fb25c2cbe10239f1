"""The git repository of a state root: commits, their worker, history, backup."""
