"""The git repository of a state root: commits, the process that makes them, history, backup."""
