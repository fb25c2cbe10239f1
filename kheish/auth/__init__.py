"""Permissions, and the credentials for them. May import: domain, store, errors, ids, resources."""
