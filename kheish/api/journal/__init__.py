"""Pages of a session's journal."""
