"""Ways to ask a model: one module each, listed in `registry.py`."""
