"""Attacks, each named; what holds them off is named in docs/security.md."""
