"""Observations at work: received, read, put into prompts, and purged."""
