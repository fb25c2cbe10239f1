"""One read of a daemon's API, as data that can be compared: for the old version and for today's."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import httpx

from tests.support.daemon import PATIENCE, Daemon

#: seconds without an event after which a stream has sent all that there is
_SILENCE = 0.7


def read(daemon: Daemon, path: str, *, lines: int | None = None) -> dict[str, Any]:
    """Return status, media type and body of a read; of a stream, so many lines, or the events that there are."""
    if path.partition("?")[0].endswith("/events"):
        return _stream(daemon, path, lines)
    response = daemon.http("GET", path)
    media = response.headers["content-type"]
    body = response.json() if media.endswith("json") else response.text
    return {"status": response.status_code, "media": media, "body": body}


def _stream(daemon: Daemon, path: str, most: int | None) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {daemon.token}", "last-event-id": "0"}
    lines: list[str] = []
    patience = _SILENCE if most is None else PATIENCE
    with httpx.stream("GET", daemon.url + path, headers=headers, timeout=patience, trust_env=False) as response:
        events = (line for line in response.iter_lines() if line.startswith(("id:", "event:", "data:")))
        with contextlib.suppress(httpx.ReadTimeout):
            lines.extend(itertools.islice(events, most))
        return {"status": response.status_code, "media": response.headers["content-type"], "body": lines}
