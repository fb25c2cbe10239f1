"""`kheish demo`: see all of it in a minute, with a scripted model, in a folder of its own."""

from __future__ import annotations

from kheish.cli.options import command


@command()
def demo() -> int:
    """See all of it in a minute: an agent at work, a question, an approval, a crash, and what git has of it.

    The model is scripted and the folder is thrown together for it; nothing of yours is touched.
    """
    from kheish.offline import demo as show

    return show.run()
