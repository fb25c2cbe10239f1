"""Skills as runs use them: where they are found, how they are offered, and what a used one brings."""
