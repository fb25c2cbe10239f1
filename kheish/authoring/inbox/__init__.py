"""The inbox: files that users drop become runs, or are rejected with the reason."""
