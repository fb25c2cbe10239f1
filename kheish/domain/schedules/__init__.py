"""Schedules: the file (`definition`), the times (`timing`), the schedule and its fires, the verbs (`firing`), wakes."""
