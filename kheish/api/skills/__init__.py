"""Skills by HTTP: the Definition with its sources, its trust, and the problems of skills elsewhere."""
