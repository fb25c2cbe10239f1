"""The entrance of AG-UI."""
