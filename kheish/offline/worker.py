"""`kheish worker --stdio`, for the command line, which does not import the runtime."""

from __future__ import annotations


def serve() -> None:
    """Serve a daemon on standard input and output."""
    from kheish.runtime.workers.far import stdio

    stdio.main()
