"""Model calls in driver processes: a pool of supervised children, each of which serves many calls at once."""
