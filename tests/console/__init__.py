"""The console in a real browser, and its files."""
