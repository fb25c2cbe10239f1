"""Tools of installed packages, by the entry point group `kheish.tools`."""
