"""Conversion of untrusted files to text and images, in a confined child of its own for each file."""
