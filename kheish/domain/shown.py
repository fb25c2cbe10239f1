"""The base of a noun's views: in the API, in the index, and in its Record."""

from __future__ import annotations

from typing import ClassVar


class View:
    """A frozen value whose fields are the document's, in its order; the string below a field describes it to callers.

    A class has the name of the API's schema with `View` appended; a value that is part of a document as it is names the
    schema (`shown_as`). A field of a view with a default may be missing in documents of earlier versions; those of a
    value are always present. A field may hold a payload as a reference (`Spilled`); callers get it whole.
    """

    __slots__ = ()
    shown_as: ClassVar[str] = ""
