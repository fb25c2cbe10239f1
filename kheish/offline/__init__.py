"""Commands that need no running daemon: doctor, verification, the demo."""
