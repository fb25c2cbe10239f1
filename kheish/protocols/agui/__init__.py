"""Runs for user interfaces, by the Agent User Interaction Protocol (AG-UI 1.0)."""
