"""Drives one run. Asynchronous; knows no HTTP API and no connector. May import: auth, domain, store, jobs and below."""
