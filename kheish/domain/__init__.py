"""The meaning of the state: values, events, folds and verbs. Synchronous; no network, no model, no HTTP.

May import: store (never the lock, the committer or the watcher), jobs, errors, ids, resources.
"""
