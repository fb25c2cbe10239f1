"""Writers of files that are derived from the code. Nothing here is used by a running daemon."""
