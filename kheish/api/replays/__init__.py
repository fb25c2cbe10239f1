"""Replays by the API."""
