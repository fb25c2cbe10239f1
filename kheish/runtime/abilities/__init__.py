"""The abilities of a route, tried with small calls."""
