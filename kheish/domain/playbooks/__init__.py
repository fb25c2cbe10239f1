"""Playbooks: manifests, their checks, and published versions."""
