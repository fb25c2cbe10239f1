"""Conversion of a journal to readable text for `git diff` and `git log -p`. git runs this file by itself; it uses the
standard library only.

git runs it for each side of each journal that it shows, and a failure is fatal to `git log -p`. So it imports nothing
of Kheish (15 ms instead of 150), and shows a line that it cannot interpret unchanged. Texts of users and models appear
in full, the steps between them in one line each, and unknown kinds field by field.
"""

from __future__ import annotations

import json
import re
import sys

TYPE_CHECKING = False  # importing typing costs as much as all other imports
if TYPE_CHECKING:
    from typing import Any

    Data = dict[str, Any]
    Told = tuple[str, list[str]]

_SKIP = frozenset(("id", "digest", "sha256", "opaque"))
_WIDE = 100
_INDENT = "    "


#: characters that a terminal or an editor interprets or does not show: control characters, changes of direction, zero
#: widths, line separators, tags, fillers, halves of characters. Joiners between letters of other scripts and emoji
#: stay.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)


def visible(text: str) -> str:
    """Return the text with every control or invisible character replaced by a visible one; line breaks and tabs stay.

    All output for users goes through this: journals, tables, reports, files, subjects of commits.
    """
    return HIDDEN.sub(_picture, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Return the text as `visible` does, with visible line breaks too, so that a fact stays on its own line."""
    return visible(text).replace("\n", "\u240a").replace("\t", " ")


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def lines_of(raw: str) -> list[str]:
    """Return the lines for a journal line: a head, and its text below."""
    try:
        return told(json.loads(raw))
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"{_INDENT}{one_line(raw)}"]


def told(entry: Data) -> list[str]:
    """Return the lines for a parsed entry. Raises KeyError, TypeError, AttributeError if it is not an entry."""
    at, kind = str(entry["at"]), str(entry["kind"])
    data: Data = entry["data"]
    phrase = _PHRASES.get(kind)
    title, body = phrase(data, entry) if phrase else (kind, _fields(data, _INDENT))
    # In a conversation, the session's actor and run are printed once.
    names = (
        [] if phrase and kind != "run.submitted" else [str(entry[key]) for key in ("run", "actor") if entry.get(key)]
    )
    head = f"{at[:10]} {at[11:19]}Z  {title}  #{entry.get('n', '?')}"
    # Only heads begin at the margin: an agent's text is indented, and each of its lines stays one line.
    below = [one_line(line if line.startswith(_INDENT) or not line else _INDENT + line) for line in body]
    return [one_line(head + ("  " + " ".join(names) if names else "")), *below, *([""] if body else [])]


# --- kinds with their own text ----------------------------------------------------------------------------------------


def _submitted(data: Data, entry: Data) -> Told:
    request = data["request"]
    if "items" not in request:
        return "asks", _text(request)
    items = [item.get("text") or _named(item) for item in request["items"]]
    return "asks", [line for item in items for line in _text(item)]


def _named(item: Data) -> str:
    if item.get("observation_ids"):
        return f"[{len(item['observation_ids'])} observations, from {item['observation_ids'][0]}]"
    return f"[asset {item.get('asset_id')}]"


def _responded(data: Data, entry: Data) -> Told:
    calls = data.get("calls") or []
    shown = _text(calls) if isinstance(calls, dict) else [line for call in calls for line in _call(call)]
    return "answers", [*_text(data.get("text")), *shown]


def _call(call: Data) -> list[str]:
    arguments = call.get("arguments")
    if call.get("malformed"):
        return [f"{_INDENT}→ {call['name']}", *_text(call["malformed"], _INDENT * 2)]
    if isinstance(arguments, dict) and len(arguments) == 1:
        only = next(iter(arguments.values()))
        if isinstance(only, str) and "\n" not in only:
            return [f"{_INDENT}→ {call['name']}: {only}"]
    return [f"{_INDENT}→ {call['name']}", *_fields(arguments, _INDENT * 2)]


def _finished(data: Data, entry: Data) -> Told:
    detail = data.get("detail")
    diff = detail.get("diff") if isinstance(detail, dict) else None
    failed = " failed" if data.get("is_error") else ""
    return f"← {data['tool']}{failed}", _text(diff if diff and not failed else data.get("content"))


def _decided(data: Data, entry: Data) -> Told:
    return f"{data['decision']} {data['tool']}: {data['why']}", []


def _requested(data: Data, entry: Data) -> Told:
    return f"asks to use {data['tool']} ({data['why']})", _fields(data.get("arguments"), _INDENT)


def _resolved(data: Data, entry: Data) -> Told:
    return f"approval {data['outcome']} by {data.get('by')} via {data.get('via')}", _text(data.get("reason"))


def _one_of_two(data: Data, entry: Data) -> Told:
    return f"approval allowed by {data['person']} via {data.get('via')}, one of two", _text(data.get("reason"))


def _asked(data: Data, entry: Data) -> Told:
    shown = []
    for one in data["questions"]:
        shown += _text(one["text"])
        shown += [f"{_INDENT}  {option['id']}) {option['label']}" for option in one.get("options") or []]
    return "question.asked", shown


def _completed(data: Data, entry: Data) -> Told:
    return "run.completed", []  # its output is the answer before it


def _failed(data: Data, entry: Data) -> Told:
    error = data["error"]
    return f"{entry['kind']} ({error['code']})", _text(error["message"])


def _compacted(data: Data, entry: Data) -> Told:
    return f"summary of all up to entry {data['covers']}", _text(data["summary"])


def _nudged(data: Data, entry: Data) -> Told:
    return f"message to the model ({data['reason']})", _text(data["text"])


def _hooked(data: Data, entry: Data) -> Told:
    said = [f"{one['hook']} {one['result']}: {one['reason']}" for one in data["outcomes"] if one["reason"]]
    decided = f": {data['decision']} by {data['decided_by']}" if data["decision"] else ""
    return f"hooks at {data['event']}{decided}", _text("\n".join(said))


def _posted(data: Data, entry: Data) -> Told:
    post = data["post"]
    return f"{post['author']['name']} in {post['thread']}", _text(post["text"])


def _granted(data: Data, entry: Data) -> Told:
    return f"{data['member']} has the turn: {'; '.join(data['rank'])}", []


def _silent(data: Data, entry: Data) -> Told:
    return str(entry["kind"]), []


_PHRASES = {
    "run.submitted": _submitted,
    "run.started": _silent,
    "run.completed": _completed,
    "run.failed": _failed,
    "run.nudged": _nudged,
    "hooks.ran": _hooked,
    "model.requested": _silent,
    "model.responded": _responded,
    "model.failed": _failed,
    "permission.decided": _decided,
    "tool.started": _silent,
    "tool.finished": _finished,
    "approval.requested": _requested,
    "approval.decided": _one_of_two,
    "approval.resolved": _resolved,
    "question.asked": _asked,
    "context.compacted": _compacted,
    "channel.posted": _posted,
    "channel.turn_granted": _granted,
    "channel.turn_replied": _silent,
    "checkpoint": _silent,
}


# --- anything else, field by field ------------------------------------------------------------------------------------


def _text(value: object, indent: str = _INDENT) -> list[str]:
    if isinstance(value, dict) and "preview" in value:  # spilled: its file is beside the journal
        shown = [*str(value["preview"]).splitlines(), f"… {value.get('bytes')} bytes in spill/{value.get('sha256')}"]
    else:
        shown = [] if value is None else str(value).splitlines()
    return [(indent + line).rstrip() for line in shown]


def _fields(value: object, indent: str) -> list[str]:
    if isinstance(value, dict):
        lines = []
        for key, item in value.items():
            if item in (None, "", [], {}) or key in _SKIP:
                continue
            shown = _fields(item, indent + "  ")
            if len(shown) == 1 and len(shown[0]) < _WIDE and not isinstance(item, (dict, list)):
                lines.append(f"{indent}{key}: {shown[0].strip()}")
            else:
                lines += [f"{indent}{key}:", *shown]
        return lines
    if isinstance(value, list):
        return [line for item in value for line in _bullet(_fields(item, indent + "  "), indent)]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [indent + line for line in text.splitlines() or [""]]


def _bullet(lines: list[str], indent: str) -> list[str]:
    return [f"{indent}- {lines[0].strip()}", *lines[1:]] if lines else []


def main() -> None:
    """Convert the file named by the only argument."""
    with open(sys.argv[1], encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib costs 10 ms
        shown = [line for raw in file for line in lines_of(raw.rstrip("\n"))]
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.stdout.write("\n".join(shown) + "\n")


if __name__ == "__main__":
    main()
