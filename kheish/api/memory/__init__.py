"""Memory by HTTP: files, proposals, and the memory of a session."""
