"""Firing of schedules: claims, starts, ends and wakes."""
