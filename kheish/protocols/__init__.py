"""Other protocols by which programs use the daemon: translations of the daemon's own operations."""
