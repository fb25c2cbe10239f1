"""Sources and observations by HTTP."""
