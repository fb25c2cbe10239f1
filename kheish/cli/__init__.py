"""The command line. It depends on `kheish.client` only, except for offline commands such as init and serve."""
