"""`kheish demo`: a one-minute tour with a scripted model, in a temporary folder."""

from __future__ import annotations

from kheish.cli.options import command


@command()
def demo() -> int:
    """Show Kheish in a minute: an agent at work, an approval, a crash and recovery, and the history in git.

    The model is scripted, and all files are in a temporary folder; your own files are not touched.
    """
    from kheish.offline.demo import demo as show

    return show.run()
