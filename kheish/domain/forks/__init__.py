"""Forks: sessions that begin with the history of another."""
