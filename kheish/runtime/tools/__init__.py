"""What an agent can do: one module for each family, listed in `registry.py`."""
