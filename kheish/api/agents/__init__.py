"""Agents by HTTP."""
