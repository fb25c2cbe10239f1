"""Hooks by HTTP."""
