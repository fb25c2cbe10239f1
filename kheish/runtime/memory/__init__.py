"""Memory files as agents use them: the listing, the writer, the section of the prompt, and the search."""
