"""The generator of `docs/reference/` from the code: `python -m kheish.generate.reference`. A test compares the files
with it."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from kheish import config, errors
from kheish.api.http.answer import Free, name_of
from kheish.api.http.operation import COMMON, WRITES, Operation
from kheish.api.operations import OPERATIONS
from kheish.domain import events
from kheish.domain.permissions.decide import PermissionsFile
from kheish.domain.personas import Persona
from kheish.domain.routes import Route
from kheish.domain.scripts import Script
from kheish.offline import model_fields, toolbook

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
_HEAD = "<!-- Generated from the code by `python -m kheish.generate.reference`; do not edit. -->\n"


def pages() -> dict[str, str]:
    """Return every page of the reference by the name of its file."""
    writers: Mapping[str, Callable[[], Iterator[str]]] = {
        "cli.md": _cli,
        "configuration.md": _configuration,
        "events.md": _events,
        "errors.md": _errors,
        "api.md": _api,
        "tools.md": toolbook.page,
    }
    return {name: _HEAD + "\n" + "\n".join(page()).rstrip() + "\n" for name, page in writers.items()}


def main(folder: Path = FOLDER) -> int:
    """Write the pages, and report which of them changed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            click.echo(f"{name} is written.")
    return 0


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        cells = (" ".join(cell.split()).replace("|", "\\|") for cell in row)
        yield "| " + " | ".join(cells) + " |"


# --- command line -----------------------------------------------------------------------------------------------------


def _cli() -> Iterator[str]:
    # Imported by name: the command line is a layer above the daemon, and a running daemon imports nothing from here.
    root: click.Group = import_module("kheish.cli.main").cli
    yield from (
        "# Command line",
        "",
        "Every command takes, before or after its name, the common options:",
        "",
    )
    context = click.Context(root, info_name="kheish")
    common = _options(root.get_command(context, "status"), context)  # it has no options of its own
    yield from table(("option", "description"), common)
    yield from (
        "",
        "Exit codes: 0 done (a run: completed, or accepted without `--follow`) · 1 failed · 2 usage · 3 not found · "
        "4 conflict · 5 a followed run waits for a person and there is no terminal to ask · 6 daemon not reachable · "
        "7 not allowed.",
    )
    yield from _commands(root, context, [row[0] for row in common])


def _commands(group: click.Group, context: click.Context, common: Sequence[str]) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, inner, common)
            continue
        pieces = [piece for piece in command.collect_usage_pieces(inner) if piece != "[OPTIONS]"]
        yield from ("", f"## {' '.join((inner.command_path.split(' [')[0], *pieces))}", "")
        yield inspect.cleandoc(command.help or "").split("\f")[0]
        own = [row for row in _options(command, inner) if row[0] not in common]
        if own:
            yield ""
            yield from table(("option", "description"), own)


def _options(command: click.Command | None, context: click.Context) -> list[tuple[str, str]]:
    assert command is not None
    rows = []
    for option in command.params:
        if isinstance(option, click.Option):
            names = ", ".join(f"`{name}`" for name in option.opts)
            value = "" if option.is_flag else f" {option.make_metavar(context)}"
            default = f" ({option.default})" if option.show_default and option.default is not None else ""
            rows.append((f"{names}{value}", f"{option.help or ''}{default}"))
    return rows


# --- files ------------------------------------------------------------------------------------------------------------


def _configuration() -> Iterator[str]:
    yield from (
        "# Configuration and definitions",
        "",
        "The files that users write. Unknown keys are refused, with the nearest known key. Durations: `90s`, `15m`, "
        "`7d`. The JSON Schemas are in `schemas/`, here and in every state root.",
        "",
        "## kheish.yaml",
        "",
        "Every setting is optional. The environment overrides the file; a list is written with commas.",
        "",
    )
    names = {path: name for name, path in config.environment_names().items()}
    rows = model_fields.rows(config.Config)
    yield from table(
        ("setting", "type", "default", "environment", "description"),
        (
            (
                f"`{'.'.join(row.path)}`",
                row.type,
                row.default,
                f"`{names[row.path]}`" if row.path in names else "",
                row.about,
            )
            for row in rows
        ),
    )
    for title, model in (
        ("routes/&lt;id&gt;.yaml", Route),
        ("A script (`script:` of a route with `driver: scripted`)", Script),
        ("permissions.yaml", PermissionsFile),
        ("personas/&lt;id&gt;.md", Persona),
    ):
        yield from ("", f"## {title}", "", inspect.cleandoc(model.__doc__ or ""), "")
        yield from table(
            ("key", "type", "default", "description"),
            (
                (f"`{'.'.join(row.path)}`", row.type, row.default, row.about)
                for row in model_fields.rows(model)
            ),
        )  # fmt: skip


# --- events -----------------------------------------------------------------------------------------------------------


def _events() -> Iterator[str]:
    yield from (
        "# Events",
        "",
        "The kinds of journal lines, which are also the events of the SSE streams (`event:` is the kind, `data:` the "
        "line). A field of type `Text` or `Arguments` that is over 16 KiB is `{sha256, bytes, preview}`, and its bytes "
        "are in the session's `spill/`. Live only, not in any journal: `model.delta`, `tool.output`.",
    )
    for kind, cls in sorted(events.kinds().items()):
        own = f"/&lt;{cls.owned_by}&gt;" if cls.journal_per_owner else ""
        where = f"Stream `{cls.stream}{own}`. " if cls.stream else ""
        about = inspect.cleandoc(cls.__doc__ or "") if not (cls.__doc__ or "").startswith(f"{cls.__name__}(") else ""
        yield from ("", f"## {kind}", "")
        if where or about:
            yield from ((where + about).strip(), "")
        rows = [(f"`{field.name}`", f"`{_type(cls, field)}`", _default(field)) for field in dataclasses.fields(cls)]
        if rows:
            yield from table(("field", "type", "default"), rows)
        else:
            yield "No fields."


def _type(cls: type, field: dataclasses.Field[Any]) -> str:
    """Return the type of a field as it is written, with the choices that a name stands for."""
    choices = getattr(sys.modules[cls.__module__], str(field.type), None)
    return f"Literal{list(get_args(choices))}" if get_origin(choices) is Literal else str(field.type)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()!r}`"
    if field.default is dataclasses.MISSING:
        return ""
    return f"`{field.default}`" if not dataclasses.is_dataclass(field.default) else "its defaults"


# --- errors -----------------------------------------------------------------------------------------------------------


def _errors() -> Iterator[str]:
    yield from (
        "# Errors",
        "",
        "Codes are stable; texts are not. Over HTTP an error is `application/problem+json` (RFC 9457) with `code` and "
        "`domain`; the command line prints `detail`, and exits with the exit code.",
        "",
    )
    rows = (
        (f"`{one.code}`", str(one.status), str(one.exit_code), one.domain, one.title)
        for one in _tree(errors.KheishError)
    )
    yield from table(
        ("code", "status", "exit code", "domain", "title"), sorted(set(rows), key=lambda row: (row[1], row))
    )


def _tree(base: type[errors.KheishError]) -> Iterator[type[errors.KheishError]]:
    for one in base.__subclasses__():
        if one.__module__.startswith(f"{errors.__name__}."):
            yield one
        yield from _tree(one)


# --- API --------------------------------------------------------------------------------------------------------------


def _api() -> Iterator[str]:
    yield from (
        "# HTTP API",
        "",
        "All endpoints; the exact requests and responses are in the OpenAPI description that a daemon serves at "
        "`/openapi.json`, browsable at `/docs`. `Authorization: Bearer <token>` on all except those marked *open*. "
        f"Any endpoint may respond with {_list(COMMON)}; one that writes, also with {_list(WRITES)}.",
    )
    for tag in dict.fromkeys(operation.tag for operation in OPERATIONS):
        yield from ("", f"## {tag}", "")
        yield from table(
            ("endpoint", "description", "query", "body", "response", "problems"),
            (_operation(one) for one in OPERATIONS if one.tag == tag),
        )


def _operation(one: Operation) -> tuple[str, ...]:
    answer = one.media if one.answer in (None, Free) else name_of(one.answer)
    shown = f"list of {answer}" if one.page else answer
    good = "" if one.good == (200,) else f"{_list(one.good)}: "
    return (
        f"`{one.method} {one.path}`" + (" *open*" if one.open else ""),
        one.about,
        ", ".join(f"`{param.name}`" for param in one.query),
        one.body.__name__ if one.body else "",
        f"{good}{shown}" if one.good != (204,) else "204",
        _list(one.problems),
    )


def _list(statuses: Sequence[int]) -> str:
    return ", ".join(map(str, statuses))


if __name__ == "__main__":
    sys.exit(main())
