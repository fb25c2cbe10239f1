"""`kheish demo`: the product in half a minute."""
