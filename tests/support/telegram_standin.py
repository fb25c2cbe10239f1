"""Telegram's Bot API on loopback, with long polling as Telegram has it: updates stay until a higher offset is asked
for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.receiver import Got, Receiver, Reply, receive

TOKEN = "123456:a-token-of-the-bot"


@dataclass
class Telegram:
    """The stand-in. `conflict` answers polls with 409."""

    site: Receiver
    updates: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    offsets: list[int | None] = field(default_factory=list)
    conflict: str | None = None
    migrated: dict[str, int] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _next: int = 100
    is_closed: bool = False

    def answer(self, got: Got) -> Reply:
        if got.path.startswith("/file/"):
            return Reply(body=self.files[got.path.rpartition("/")[2]])
        _, bot, method = got.path.split("/")
        if bot != f"bot{TOKEN}":
            return Reply(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
        if method == "getUpdates":
            return self._poll(got.json)
        self.calls.append((method, got.json))
        if str(got.json.get("chat_id")) in self.migrated:
            new = self.migrated[str(got.json["chat_id"])]
            more = {"error_code": 400, "parameters": {"migrate_to_chat_id": new}}
            return Reply(400, {"ok": False, "description": "Bad Request: group chat was upgraded", **more})
        if method == "getFile":
            return Reply(body={"ok": True, "result": {"file_path": f"documents/{got.json['file_id']}"}})
        return Reply(body={"ok": True, "result": {"message_id": len(self.calls), "username": "bot"}})

    def _poll(self, given: dict[str, Any]) -> Reply:
        self.offsets.append(given.get("offset"))
        with self._changed:
            if self.conflict is not None:
                return Reply(409, {"ok": False, "error_code": 409, "description": f"Conflict: {self.conflict}"})
            offset = given.get("offset") or 0
            self.updates = [one for one in self.updates if one["update_id"] >= offset]
            # Telegram holds the request much longer; a test's daemon must end soon.
            self._changed.wait_for(lambda: self.updates or self.is_closed, 0.3)
            return Reply(body={"ok": True, "result": list(self.updates)})

    def send(self, **update: Any) -> int:
        """Add an update, and return its number."""
        with self._changed:
            self._next += 1
            self.updates.append({"update_id": self._next, **update})
            self._changed.notify_all()
            return self._next

    def of(self, method: str) -> list[dict[str, Any]]:
        """The arguments of the calls of one method."""
        return [given for name, given in self.calls if name == method]


@contextlib.contextmanager
def telegram() -> Iterator[Telegram]:
    """Serve for a while."""
    with receive() as site:
        standin = Telegram(site)
        site.answer = standin.answer
        try:
            yield standin
        finally:
            standin.is_closed = True
            with standin._changed:
                standin._changed.notify_all()


def message(text: str = "", *, user: int = 7, chat: int = -5, **more: Any) -> dict[str, Any]:
    """A message of a person in a group."""
    who = {"id": user, "is_bot": False, "username": f"user{user}"}
    return {
        "message_id": 1,
        "from": who,
        "chat": {"id": chat, "type": "group"},
        **({"text": text} if text else {}),
        **more,
    }


def press(button: dict[str, Any], *, user: int = 7, chat: int = -5) -> dict[str, Any]:
    """A press of a button."""
    place = {"message_id": 1, "chat": {"id": chat}}
    return {"id": "q1", "from": {"id": user}, "data": button["callback_data"], "message": place}


def keys(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The buttons of a message, by their labels."""
    return {one["text"]: one for row in given["reply_markup"]["inline_keyboard"] for one in row}
