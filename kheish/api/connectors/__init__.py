"""Connectors by HTTP: their files (`resource`), and the entrance of outside requests (`ingress`)."""
