"""Deliveries of outputs: the value and its fold in `delivery`, when to try in `rules`, what changes one in `verbs`."""
