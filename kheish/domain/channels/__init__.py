"""Channels: public conversations of many members, where agents speak in turns."""
