"""The state in memory and its single write path. It is independent of nouns: callers pass them in."""
