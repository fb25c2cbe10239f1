"""The base of what a noun shows of itself: to the API, to the index, and in its Record."""

from __future__ import annotations


class View:
    """A frozen value whose fields are the document's, in its order; the text below a field describes it to callers.

    A class is called as the API names it, with `View` behind. A field that has a default may be missing in documents
    of earlier versions. A field may hold a payload as a reference (`Spilled`); callers get it whole.
    """

    __slots__ = ()
