"""Parts of settings: durations and sizes as users write them, addresses, and the base of their models."""

from __future__ import annotations

import contextlib
import re
from ipaddress import ip_network
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from kheish import ids
from kheish.ids import MOST
from kheish.texts import is_number


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        return ids.duration(value)
    raise ValueError(f"{value!r} has no unit: write a duration such as 90s, 15m, 7d")


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds * 1000:g}ms"


#: Written as users do (`90s`, `15m`, `7d`); seconds in memory
Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    PlainSerializer(_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d|w)$"}),
]


def _bytes(value: Any) -> int:
    return ids.size(value)


def _size(count: int) -> str:
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count >= size and count % size == 0:
            return f"{count // size}{unit}"
    return f"{count}B"


#: Written as users do (`12MiB`); bytes in memory
Size = Annotated[
    int,
    BeforeValidator(_bytes),
    PlainSerializer(_size, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?$"}),
]


def split_bind(text: str) -> tuple[str, int]:
    """Return `127.0.0.1:4000`, `[::1]:0` as host and port. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not is_number(port) or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address: write HOST:PORT, such as 127.0.0.1:4000")
    return host, int(port)


class Settings(BaseModel):
    """The base class of all settings: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- reply targets ----------------------------------------------------------------------------------------------------

Line = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
#: an address as SMTP has it; the server judges the rest
Mail = Annotated[str, Field(max_length=320, pattern=r"^[^\s@<>,;\x00-\x1f]+@[^\s@<>,;\x00-\x1f]+$")]


def has_odd_characters(url: str) -> bool:
    """Return whether a URL has characters that two readers may understand differently."""
    return any(ord(character) <= 32 or ord(character) == 127 or character == "\\" for character in url)


def check_url(text: str) -> str:
    """Return a URL of the web. Raises ValueError for any other text."""
    if has_odd_characters(text):
        raise ValueError("contains spaces, control characters or backslashes; quote them (%20)")
    parts = urlsplit(text)
    _ = parts.port  # raises ValueError for a number that no port has
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is not an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("contains a user name or password; name a slot in headers instead")
    return text


Url = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(check_url)]


class ReplyTarget(BaseModel):
    """An output or a connector by its name, with the address there; each kind has some of the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    output: Line
    """The name."""
    url: Url | None = None
    """http: the address."""
    channel: Line | None = None
    """slack: the channel's id."""
    thread_ts: Line | None = None
    """slack: the thread."""
    chat: Annotated[int, Field(ge=-MOST, le=MOST)] | Line | None = None
    """telegram: the chat."""
    topic: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """telegram: the topic of the chat."""
    to: Mail | Annotated[tuple[Mail, ...], Field(min_length=1, max_length=50)] | None = None
    """email: the recipients."""
    subject: Line | None = None
    """email: the subject."""
    in_reply_to: Line | None = None
    """email: the message that it answers."""
    path: Line | None = None
    """file: the file, below the session's workspace."""

    @property
    def plain(self) -> dict[str, Any]:
        """The target as a request has it."""
        return self.model_dump(mode="json", exclude_none=True)


class McpSettings(Settings):
    """MCP: servers that agents use, and the daemon as a server."""

    approvals: Literal["off", "tool"] = Field(
        default="off",
        description="tool: clients of the daemon's own MCP server, which are models, may answer approvals and "
        "questions by a tool; off: only users may, in a form that the client shows.",
    )
    client_metadata_url: str | None = Field(
        default=None, pattern=r"^https://[^/]+/.+", max_length=2000,
        description="The https URL of a client-id metadata document, by which authorization servers know this daemon; "
        "without it, the daemon registers itself where it can.",
    )  # fmt: skip


class MemorySettings(Settings):
    """Memory across runs."""

    run_records: Literal["on", "off"] = Field(
        default="on", description="off: an ended run leaves no record, and no record goes into a prompt."
    )


class SkillSettings(Settings):
    """Sources of skills besides the state root."""

    workspace: Literal["on", "off"] = Field(
        default="on", description="off: skills in a session's workspace are not offered; their text is untrusted."
    )
    folders: list[str] = Field(
        default_factory=list, description="Further folders with skills (absolute paths; `~` is the home folder)."
    )


def skills_settings(value: Any) -> Any:
    """Return the settings with a truth value in place of on or off, as YAML 1.1 writers have it."""
    if isinstance(value, dict) and isinstance(value.get("workspace"), bool):
        return {**value, "workspace": "on" if value["workspace"] else "off"}
    return value


def mcp_settings(value: Any) -> Any:
    """Return the settings with the word off in place of a truth value, as YAML 1.1 writers have it."""
    if isinstance(value, dict) and value.get("approvals") is False:
        return {**value, "approvals": "off"}
    return value


def memory_settings(value: Any) -> Any:
    """Return the settings that a truth value stands for, as kheish.yaml had it before."""
    return {"run_records": "on" if value else "off"} if isinstance(value, bool) else value


class AcpSettings(Settings):
    """Editors, which work with the daemon by `kheish acp`."""

    client_mcp: Literal["off", "ask"] = Field(
        default="off",
        description="ask: the user is asked in the editor whether the MCP servers that it passes are added to this "
        "daemon; off: they are refused.",
    )


class TraceSettings(Settings):
    """Traces of runs, sent by OTLP over HTTP (needs `kheish[otel]`)."""

    endpoint: str | None = Field(
        default=None, pattern=r"^https?://[^\s]+$", max_length=2000,
        description="The URL that traces are sent to, such as http://127.0.0.1:4318/v1/traces; without it, that of the "
        "variables OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT; without any, nothing is sent.",
    )  # fmt: skip
    headers: str | None = Field(
        default=None, min_length=1, max_length=128,
        description="The slot whose value has the headers of requests, as `name=value,name=value`.",
    )  # fmt: skip
    content: bool = Field(
        default=False,
        description="true: spans have the texts of tasks, answers, arguments and results, without known secrets.",
    )


_HOST = re.compile(r"[A-Za-z0-9_*?-]+(\.[A-Za-z0-9_*?-]+)*\Z")
_PORT = re.compile(r"(\[[^\]]*\]|[^:/]*):[0-9]*\Z")


def check_reachable(text: str) -> str:
    """Return an entry of `network.allow`: a host name, with `*` for a part of it, an address, or a network. Raises
    ValueError for one that could never match."""
    forms = "write a host name such as db.local or *.internal, an address, or a network such as 10.0.0.0/8"
    with contextlib.suppress(ValueError):
        ip_network(text.strip("[]"), strict=False)
        return text
    if "://" in text:
        host = urlsplit(text).hostname
        raise ValueError(f"{text!r} is a URL; " + (f"write {host}, the host alone" if host else forms))
    if (port := _PORT.match(text)) and port[1]:
        raise ValueError(f"{text!r} has a port; write {port[1]}: an entry is for all ports of a host")
    if not _HOST.match(text) or "**" in text or not text.strip("0123456789."):
        raise ValueError(f"{text!r} is no host and no network; {forms}")
    return text


Reachable = Annotated[str, AfterValidator(check_reachable)]
