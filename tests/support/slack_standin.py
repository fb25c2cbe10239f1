"""Slack on loopback: the methods of its Web API that Kheish calls, and Socket Mode by a real websocket."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from tests.support.receiver import Got, Receiver, Reply, receive

BOT = "UBOT"


@dataclass
class Slack:
    """The stand-in. `calls` has the arguments of each call; `refuse` answers a method with an error."""

    site: Receiver
    socket_url: str = ""
    refuse: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    connections: list[ServerConnection] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    _ts: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _acks: queue.SimpleQueue[dict[str, Any]] = field(default_factory=queue.SimpleQueue)

    @property
    def api_base(self) -> str:
        return f"{self.site.url}/api"

    def answer(self, got: Got) -> Reply:
        if got.path.startswith("/files/"):
            return Reply(body=self.files[got.path])
        method = got.path.rpartition("/")[2]
        given = {name: _value(text) for name, text in got.form.items()}
        self.calls.append((method, given))
        if method in self.refuse:
            return Reply(body={"ok": False, "error": self.refuse[method]})
        if method == "apps.connections.open":
            return Reply(body={"ok": True, "url": self.socket_url})
        if method == "chat.postMessage":
            return Reply(body={"ok": True, "channel": given["channel"], "ts": f"99.{next(self._ts)}"})
        return Reply(body={"ok": True, "team": "T", "user": "bot", "bot_id": "B1", "user_id": BOT})

    def of(self, method: str) -> list[dict[str, Any]]:
        """The arguments of the calls of one method."""
        return [given for name, given in self.calls if name == method]

    # --- Socket Mode --------------------------------------------------------------------------------------------------

    def connect(self, socket: ServerConnection) -> None:
        self.connections.append(socket)
        with contextlib.suppress(ConnectionClosed):
            socket.send(json.dumps({"type": "hello"}))
            for raw in socket:
                said = json.loads(raw)
                self.acknowledged.append(said)
                self._acks.put(said)

    def push(self, envelope: Mapping[str, Any]) -> None:
        """Send an envelope over the newest connection."""
        self.connections[-1].send(json.dumps(envelope))

    def deliver(self, kind: str, payload: Mapping[str, Any], id: str, **more: Any) -> dict[str, Any]:
        """Send an envelope, and return its acknowledgement."""
        self.push({"type": kind, "envelope_id": id, "payload": payload, **more})
        said = self._acks.get(timeout=30)
        assert said["envelope_id"] == id
        return said


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextlib.contextmanager
def slack() -> Iterator[Slack]:
    """Serve for a while."""
    with receive() as site:
        standin = Slack(site)
        site.answer = standin.answer
        with serve(standin.connect, "127.0.0.1", 0) as server:
            port = server.socket.getsockname()[1]
            standin.socket_url = f"ws://127.0.0.1:{port}/link/?ticket=t"
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield standin
            finally:
                server.shutdown()
                for one in standin.connections:
                    one.close()
                thread.join()


def message(
    text: str, *, ts: str, user: str = "U1", channel: str = "C1", event_id: str = "", **more: Any
) -> dict[str, Any]:
    """The body of the Events API for a message."""
    event = {"type": "message", "channel": channel, "user": user, "text": text, "ts": ts, **more}
    return {
        "type": "event_callback", "team_id": "T1", "event_id": event_id or f"Ev{ts}{event['type']}", "event": event,
        "authorizations": [{"user_id": BOT, "is_bot": True}],
    }  # fmt: skip


def press(button: Mapping[str, Any], *, user: str, channel: str = "C1") -> dict[str, Any]:
    """The payload of a press of a button."""
    return {
        "type": "block_actions", "user": {"id": user}, "channel": {"id": channel},
        "container": {"channel_id": channel, "message_ts": "99.1"}, "actions": [{"value": button["value"]}],
    }  # fmt: skip


def buttons(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The buttons of a message, by their labels."""
    rows = [one["elements"] for one in given["blocks"] if one["type"] == "actions"]
    return {one["text"]["text"]: one for row in rows for one in row}
