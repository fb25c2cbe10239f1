"""Notes on servers between starts, in `.kheish/mcp/`: the era that they speak, and the definitions of their tools whose
annotations count. Losing it costs a probe, and accepts the definitions as they are then."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from kheish.runtime.mcp.outcomes import Era
from kheish.store.files import atomic_write


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The notes on one server."""

    era: Era | None = None
    mark: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)


class Memory:
    """The notes on all servers, a file for each. All methods block on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, server_id: str, digest: str) -> Remembered:
        """Return what is remembered of a server; the era only if its connection is the same as then."""
        doc = self._read(server_id)
        era = doc.get("era") if doc.get("digest") == digest else None
        tools = doc.get("tools")
        return Remembered(
            era=era if era in ("legacy", "modern") else None,
            mark=str(doc.get("mark") or ""),
            tools=tools if isinstance(tools, dict) else {},
        )

    def write_era(self, server_id: str, digest: str, era: Era) -> None:
        """Remember the era of a server."""
        doc = self._read(server_id)
        if (doc.get("digest"), doc.get("era")) != (digest, era):
            self._write(server_id, {**doc, "digest": digest, "era": era})

    def accept(self, server_id: str, mark: str, tools: Mapping[str, str]) -> Mapping[str, str]:
        """Return the accepted digests of a server's tools. Under a new mark, those of now are accepted; under the same
        one, only tools that are new are added."""
        doc = self._read(server_id)
        known = doc.get("tools") if doc.get("mark") == mark else None
        accepted = {**tools, **known} if isinstance(known, dict) else dict(tools)
        if doc.get("mark") != mark or accepted != known:
            self._write(server_id, {**doc, "mark": mark, "tools": accepted})
        return accepted

    def _read(self, server_id: str) -> dict[str, Any]:
        try:
            doc = orjson.loads((self._folder / f"{server_id}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return doc if isinstance(doc, dict) else {}

    def _write(self, server_id: str, doc: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic_write(self._folder / f"{server_id}.json", orjson.dumps(doc), fsync=False)
