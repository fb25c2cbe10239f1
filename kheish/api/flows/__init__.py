"""Flows by HTTP: the endpoints, the events of a Flow, and the responses."""
