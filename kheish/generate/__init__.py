"""Writers of files that are derived from the code. A running daemon uses none of them."""
