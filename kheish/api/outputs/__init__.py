"""Outputs by HTTP: their files and their trust, and the deliveries to them."""
