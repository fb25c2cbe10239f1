"""Assets at work: stored, converted, read, attached to prompts, and collected."""
