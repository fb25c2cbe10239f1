"""Workers by HTTP."""
