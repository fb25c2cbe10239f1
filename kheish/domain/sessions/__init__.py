"""Sessions: their settings, their queue, and their end."""
