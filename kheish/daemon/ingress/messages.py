"""Messages with buttons, in the form of each platform: sent, replaced, and answered in private."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from kheish.errors import PlatformRefused
from kheish.runtime.platforms.slack import Slack
from kheish.runtime.platforms.telegram import Telegram

Buttons = Mapping[str, Mapping[str, Any]]
#: characters of a section of Slack, of a message of Telegram, and of a button's label
_SECTION, _MESSAGE, _LABEL = 2900, 4000, 70
_ROW = 2  # buttons of Telegram beside each other


class Messenger(Protocol):
    """A platform's messages."""

    async def send(self, place: Mapping[str, Any], text: str, buttons: Buttons, *, ask_id: str) -> dict[str, Any]:
        """Send a message, and return its reference. Raises PlatformError."""

    async def replace(self, reference: Mapping[str, Any], text: str, buttons: Buttons) -> None:
        """Replace a message. Raises PlatformError."""

    async def tell(self, answer_to: Mapping[str, Any], text: str, *, is_refusal: bool) -> None:
        """Answer the person who pressed a button, in private. Raises PlatformError."""


class SlackMessages:
    """Messages in Slack."""

    def __init__(self, client: Slack) -> None:
        self._client = client

    async def send(self, place: Mapping[str, Any], text: str, buttons: Buttons, *, ask_id: str) -> dict[str, Any]:
        """Send a message in the thread, and return its channel and time."""
        body = {
            "channel": place["channel"], "thread_ts": place.get("thread_ts"), "text": _slack_text(text),
            "blocks": _blocks(text, buttons), "unfurl_links": False,
            "metadata": {"event_type": "kheish_ask", "event_payload": {"ask_id": ask_id}},
        }  # fmt: skip
        answer = await self._client.call("chat.postMessage", body)
        return {"channel": answer.get("channel") or place["channel"], "ts": answer.get("ts")}

    async def replace(self, reference: Mapping[str, Any], text: str, buttons: Buttons) -> None:
        """Replace the message."""
        body = {"channel": reference["channel"], "ts": reference["ts"], "text": _slack_text(text)}
        await self._client.call("chat.update", {**body, "blocks": _blocks(text, buttons)})

    async def tell(self, answer_to: Mapping[str, Any], text: str, *, is_refusal: bool) -> None:
        """Post a message that one user sees; a success is seen in the replaced message."""
        if is_refusal:
            await self._client.call("chat.postEphemeral", {**answer_to, "text": _slack_text(text)})


def _slack_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(text: str, buttons: Buttons) -> list[dict[str, Any]]:
    section = {"type": "section", "text": {"type": "plain_text", "text": text[:_SECTION], "emoji": False}}
    elements = [
        {
            "type": "button", "action_id": f"kheish_{number}", "value": id,
            "text": {"type": "plain_text", "text": str(one["label"])[:_LABEL], "emoji": False},
            **_style(one),
        }
        for number, (id, one) in enumerate(buttons.items())
    ]  # fmt: skip
    return [section, *([{"type": "actions", "elements": elements}] if elements else [])]


def _style(button: Mapping[str, Any]) -> dict[str, str]:
    style = {"allow": "primary", "deny": "danger"}.get(str(button.get("decision")))
    return {"style": style} if style is not None else {}


class TelegramMessages:
    """Messages in Telegram."""

    def __init__(self, client: Telegram) -> None:
        self._client = client

    async def send(self, place: Mapping[str, Any], text: str, buttons: Buttons, *, ask_id: str) -> dict[str, Any]:
        """Send a message in the topic, and return its chat and number. Raises ChatMigrated."""
        body = {
            "chat_id": place["chat"], "message_thread_id": place.get("topic"), "text": text[:_MESSAGE],
            "reply_markup": _keyboard(buttons) if buttons else None,
        }  # fmt: skip
        sent = await self._client.call("sendMessage", body)
        return {"chat": place["chat"], "message_id": sent.get("message_id") if isinstance(sent, dict) else None}

    async def replace(self, reference: Mapping[str, Any], text: str, buttons: Buttons) -> None:
        """Replace the message; one that is so already is no error."""
        body = {
            "chat_id": reference["chat"], "message_id": reference["message_id"], "text": text[:_MESSAGE],
            "reply_markup": _keyboard(buttons),
        }  # fmt: skip
        try:
            await self._client.call("editMessageText", body)
        except PlatformRefused as error:
            if error.reason != "not_modified":
                raise

    async def tell(self, answer_to: Mapping[str, Any], text: str, *, is_refusal: bool) -> None:
        """Answer the press, which one user sees."""
        body = {"callback_query_id": answer_to["query"], "text": text[:190], "show_alert": is_refusal}
        await self._client.call("answerCallbackQuery", body)


def _keyboard(buttons: Buttons) -> dict[str, Any]:
    keys = [{"text": str(one["label"])[:_LABEL], "callback_data": id} for id, one in buttons.items()]
    return {"inline_keyboard": [keys[at : at + _ROW] for at in range(0, len(keys), _ROW)]}
