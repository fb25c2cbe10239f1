"""Flows: one start of one Playbook version, and what it led to."""
