"""Stacks of Definitions by HTTP."""
