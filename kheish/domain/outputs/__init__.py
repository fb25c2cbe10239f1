"""Outputs: the files of sinks, the reply targets that name them, and the body that is sent."""
