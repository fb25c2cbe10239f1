"""The base of a noun's views: in the API, in the index, and in its Record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class View:
    """A frozen value whose fields are the document's, in its order; the string below a field describes it to callers.

    A class has the name of the API's schema with `View` appended; a value that is part of a document as it is names the
    schema (`shown_as`). A field of a view with a default may be missing in documents of earlier versions; those of a
    value are always present. A field may hold a payload as a reference (`Spilled`); callers get it whole. The index
    alone has the `internal` fields, from which a value is read back. The fields of a class that is `of_now` describe
    the present: answers as of a revision lack them.
    """

    __slots__ = ()
    shown_as: ClassVar[str] = ""
    internal: ClassVar[frozenset[str]] = frozenset()
    of_now: ClassVar[bool] = False


def outward(cls: type[View], doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of the index as the API and a Record show it."""
    return {name: value for name, value in doc.items() if name not in cls.internal}
