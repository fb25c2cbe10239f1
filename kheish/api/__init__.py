"""The HTTP layer. A resource translates a request into a domain call, and its result into a response.

May import: everything but cli and daemon.
"""
