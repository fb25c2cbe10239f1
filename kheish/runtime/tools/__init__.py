"""Tools of the agent: one module for each family, listed in `registry.py`."""
