"""Connectors: how a request is verified (`verifying`), and what it means, one module for each kind."""
