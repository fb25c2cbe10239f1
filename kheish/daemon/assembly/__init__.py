"""Parts of the composition root that are made of several others."""
