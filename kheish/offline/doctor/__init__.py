"""`kheish doctor`: checks of the machine and of a state root."""
