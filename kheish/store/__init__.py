"""Files, git, and the records kept in them; this package is independent of sessions and agents. May import: errors,
ids, resources."""
