"""The runtime, which drives one run. It is asynchronous, and depends on no HTTP API and no connector. May import: auth,
domain, store, jobs and below.
"""
