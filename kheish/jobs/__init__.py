"""Runs commands: knows processes, nothing else. May import: errors, ids, resources."""
