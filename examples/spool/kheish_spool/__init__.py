"""A folder as a place of exchange: files that are dropped there are work, and each output becomes a file."""
