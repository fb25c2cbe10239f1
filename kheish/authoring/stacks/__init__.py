"""Stacks: folders of Definitions that are planned, applied and exported as a whole."""
