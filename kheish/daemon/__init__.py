"""Knows everyone: wires the parts, boots, serves, and runs what must happen every so often."""
