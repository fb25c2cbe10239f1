"""Files that users edit: watched, parsed, reported on line and column."""
