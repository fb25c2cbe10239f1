"""Replays: the answers of a recorded session, as long as everything else happens as it did."""
