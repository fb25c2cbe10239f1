"""The words of messages that ask for a decision, in plain text; each platform adds its own form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kheish.store.escaping import visible
from kheish.texts import answer_command

#: characters of arguments that are shown; the whole call is behind the link
_MOST_ARGUMENTS = 1200
_MOST_TEXT = 1500


def ask_approval(view: Mapping[str, Any], url: str, *, child: str | None, has_buttons: bool) -> str:
    """Return the text of a message about an approval. `child` is the path of the agent that asks, unless it is the one
    that the chat talks to."""
    arguments = view["arguments"]
    if isinstance(arguments, dict) and set(arguments) == {"sha256", "bytes", "preview"}:
        shown = f"{arguments['preview']}… ({arguments['bytes']} bytes)"
    elif isinstance(arguments, dict) and isinstance(arguments.get("command"), str):
        shown = arguments["command"]
    else:
        shown = orjson.dumps(arguments, option=orjson.OPT_INDENT_2).decode()
    asked = f"Approval needed: {view['tool']} (risk: {view['risk']})"
    lines = [asked, _asked_by(child), _cut(shown, _MOST_ARGUMENTS), view["why"]]
    missing = view["required"] - len(view["decisions"])
    if view["decisions"]:
        lines.append(f"Allowed by {', '.join(one['by'] for one in view['decisions'])}.")
    if missing > 1 or view["decisions"]:
        lines.append(f"{missing} more {'persons' if missing > 1 else 'person'} must allow it.")
    return _safe([*lines, _way(has_buttons, f"kheish approvals allow {view['approval_id']}", url)])


def ask_question(
    view: Mapping[str, Any],
    url: str,
    *,
    child: str | None,
    item: str | None,
    chosen: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return the text of a message about a question. `item` is the one that its buttons answer, if it has any."""
    lines = [_asked_by(child)]
    for one in view["questions"]:
        options, picked = {o["id"]: o["label"] for o in one["options"]}, (chosen or {}).get(one["id"], ())
        now = "▸ " if one["id"] == item and len(view["questions"]) > 1 else ""
        lines.append(f"{now}{one['header']}: {_cut(one['text'], _MOST_TEXT)}")
        if picked and one["id"] != item:
            lines.append(f"  ✓ {', '.join(options.get(id, id) for id in picked)}")
        else:
            lines += [f"  {_label(option)}" for option in one["options"]]
    return _safe([*lines, _way(item is not None, answer_command(view), url)])


def _asked_by(child: str | None) -> str:
    return f"Asked by the agent {child}." if child is not None else ""


def _label(option: Mapping[str, Any]) -> str:
    more = f": {option['description']}" if option.get("description") else ""
    return f"{option['label']}{more}"


def _way(has_buttons: bool, command: str, url: str) -> str:
    return f"Answer with a button, or: {command} ({url})" if has_buttons else f"Answer it with: {command} ({url})"


def closed_approval(view: Mapping[str, Any], *, child: str | None) -> str:
    """Return the text that replaces the message about a resolved approval, with each decision's person."""
    by = ", ".join(f"{one['by']} (via {one['via']})" for one in view["decisions"])
    what = f"{view['tool']}: {view['status']}"
    return _safe([f"{what} by {by}." if by else f"{what}.", _asked_by(child), _cut(_command(view), _MOST_ARGUMENTS)])


def closed_question(view: Mapping[str, Any], *, child: str | None) -> str:
    """Return the text that replaces the message about an answered question."""
    by = f" by {view['answered_by']}" if view["answered_by"] else ""
    lines = [f"{view['status'].capitalize()}{by}.", _asked_by(child)]
    items = {item["id"]: item for item in view["questions"]}
    for id, answer in (view["answers"] or {}).items():
        labels = {one["id"]: one["label"] for one in items.get(id, {}).get("options", ())}
        chosen = [labels.get(one, one) for one in answer["selected"]]
        lines.append(f"{items.get(id, {}).get('header', id)}: {', '.join([*chosen, *filter(None, [answer['text']])])}")
    return _safe(lines)


def _command(view: Mapping[str, Any]) -> str:
    arguments = view["arguments"]
    return str(arguments.get("command") or "") if isinstance(arguments, dict) else ""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… (shortened)"


def _safe(lines: list[str]) -> str:
    """Return lines without characters that forge what a reader sees."""
    return "\n".join(visible(line) for text in lines if text for line in text.split("\n"))
