"""Agents: the record of each session's agent, and the sidechains that an agent spawns."""
