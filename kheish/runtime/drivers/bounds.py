"""Limits of an answer, for every driver: a model server is not trusted with the daemon's memory."""

from __future__ import annotations

BYTES = 128 * 1024 * 1024  # bytes of an answer as sent, and again as unpacked: 128,000 tokens, one event each
LINE = 4 * 1024 * 1024  # of one event of a stream
WHOLE = 8 * 1024 * 1024  # of an answer that is not streamed
LENIENT = 1024 * 1024  # bytes of JSON that only the slow reader accepts
ERROR = 256 * 1024  # of the body of an HTTP error; the rest is not read
KEPT = 8 * 1024 * 1024  # characters of text, reasoning and arguments together
CALLS = 128  # tool calls; the model is informed that the others were not run
DEPTH = 64  # depth of arguments: deeper ones cannot be written to a journal
NAME = 256  # characters of a call's id, a tool's name, a model's name
TOKENS = 1_000_000_000  # tokens that a server may count for one call
