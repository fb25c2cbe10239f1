"""Agents while the daemon runs: spawns, agent files, results as text, worktrees."""
