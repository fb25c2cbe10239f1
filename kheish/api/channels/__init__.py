"""Channels by HTTP."""
