"""Observations: captured records from outside sources, their retention, and their use in runs."""
