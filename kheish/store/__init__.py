"""Knows files and git, knows no session and no agent. May import: errors, ids, resources."""
