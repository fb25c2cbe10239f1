"""Programs of node that tests talk to."""
