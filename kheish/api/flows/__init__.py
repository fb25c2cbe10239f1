"""Flows by HTTP: the endpoints, which events are a Flow's, and what callers get."""
