"""Routes by HTTP, beyond what all Definitions have."""
