"""Deliveries of outputs: a module with one function for each kind of target, and the engine that calls them."""
