"""Errors of chat platforms: the answers of Slack and Telegram, and requests without an answer."""

from __future__ import annotations

from kheish.errors.base import KheishError


class PlatformError(KheishError):
    """The base of all errors of a platform. `reason` is the platform's own word or ours, and stable; code may compare
    it."""

    status, code, domain, exit_code, title = 502, "platform_failed", "platforms", 1, "The platform failed"

    def __init__(self, detail: str, *, reason: str, retry_after: float | None = None) -> None:
        super().__init__(detail, reason=reason)
        self.reason = reason
        #: seconds, if the platform has asked for a pause
        self.retry_after = retry_after


class PlatformUnavailable(PlatformError):
    """The error of a request that had no effect and may be repeated: no connection, or the platform is disturbed."""

    code, title = "platform_unavailable", "The platform is not available"


class PlatformThrottled(PlatformUnavailable):
    """The error of too many requests; `retry_after` is the pause."""

    code, title = "platform_throttled", "The platform asks for a pause"


class PlatformUnclear(PlatformError):
    """The error of a request that may have had its effect: its answer was lost."""

    code, title = "platform_unclear", "The platform's answer was lost"


class PlatformRefused(PlatformError):
    """The error of a request that the platform understood and refused; a repetition would be refused, too."""

    code, title = "platform_refused", "The platform refused the request"


class ChatMigrated(PlatformRefused):
    """The error of a Telegram group that became a supergroup; `chat` is its new id."""

    code, title = "chat_migrated", "The chat has a new id"

    def __init__(self, detail: str, *, chat: int) -> None:
        super().__init__(detail, reason="chat_migrated")
        self.chat = chat
