"""Hooks: programs, requests, prompts and tools that users run at fixed points of the work."""
