"""Schedules by HTTP: the Definition with its state, the next times, the fires, trigger, pause and resume."""
