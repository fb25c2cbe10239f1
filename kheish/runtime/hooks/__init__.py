"""Hooks of runs: choosing, matching, running and journaling them."""
