"""Patches and diffs of text files."""
