"""Playbooks as files and tags: drafts, published versions, releases."""
