"""Knows what things mean: values, events, folds, verbs. Synchronous; no network, no model, no HTTP.

May import: store (never the lock, the committer or the watcher), jobs, errors, ids, resources.
"""
