"""Makes a journal readable in `git diff` and `git log -p`. A file by itself: run by git, standard library only.

git runs it for each side of each journal that it shows, and a failure is fatal to `git log -p`: so it imports nothing
of Kheish (15 ms instead of 150), and a line that it does not understand is shown as it is.
"""

import json
import sys

_SKIP = frozenset(("id", "digest", "sha256", "opaque"))
_WIDE = 100


def lines_of(raw: str) -> "list[str]":
    """The lines for one journal line: a head, and below it what it says."""
    try:
        entry = json.loads(raw)
        at, kind, data = str(entry["at"]), str(entry["kind"]), entry.get("data")
    except (ValueError, KeyError, TypeError):
        return [raw]
    names = [str(entry[key]) for key in ("run", "actor") if entry.get(key)]
    head = f"{at[:10]} {at[11:19]}  {kind}  #{entry.get('n', '?')}"
    return [head + ("  " + " ".join(names) if names else ""), *_said(data, "    "), ""]


def _said(value: object, indent: str) -> "list[str]":
    if isinstance(value, dict):
        lines = []
        for key, item in value.items():
            if item in (None, "", [], {}) or key in _SKIP:
                continue
            shown = _said(item, indent + "  ")
            if len(shown) == 1 and len(shown[0]) < _WIDE and not isinstance(item, (dict, list)):
                lines.append(f"{indent}{key}: {shown[0].strip()}")
            else:
                lines += [f"{indent}{key}:", *shown]
        return lines
    if isinstance(value, list):
        return [line for item in value for line in _bullet(_said(item, indent + "  "), indent)]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [indent + line for line in text.splitlines() or [""]]


def _bullet(lines: "list[str]", indent: str) -> "list[str]":
    return [f"{indent}- {lines[0].strip()}", *lines[1:]] if lines else []


def main() -> None:
    """Convert the file that is the one argument."""
    with open(sys.argv[1], encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib costs 10 ms
        shown = [line for raw in file for line in lines_of(raw.rstrip("\n"))]
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.stdout.write("\n".join(shown) + "\n")


if __name__ == "__main__":
    main()
