"""Assets by HTTP."""
