"""Assets: stored files, addressed by their content, and their users."""
