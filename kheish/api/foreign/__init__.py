"""Entrances of other protocols beside Falcon: admission, and access to the operations within the daemon."""
