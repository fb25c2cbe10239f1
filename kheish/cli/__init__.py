"""The command line. Knows only `kheish.client` (init, serve and other offline commands excepted)."""
