"""Drivers of model servers: one module each, listed in `registry.py`."""
