"""Debug artifacts of runs by HTTP."""
