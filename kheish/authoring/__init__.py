"""Files that users write: reading, checking, adoption, editing, and problem reports."""
