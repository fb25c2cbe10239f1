"""Flows: a start of one Playbook version, and its results."""
