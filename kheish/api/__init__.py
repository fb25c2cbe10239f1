"""Knows HTTP. A resource translates: request → one domain call → response.

May import: everything but cli and daemon.
"""
