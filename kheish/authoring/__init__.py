"""Everything about files that users write: found, checked, adopted, edited, reported on."""
