"""`kheish replay SESSION`: repeat a session with its recorded answers, and show where it differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.ids import Id, Name
from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import Column, emit, shorten, table
from kheish.errors import Invalid, KheishError, SessionConflict

if TYPE_CHECKING:
    from kheish.client import Kheish

ROUTE = "replay"
#: settings of a session that its replay has, too
_SAME = (
    "permission_mode", "permission_rules", "persona", "budget", "input_contract", "output_contract",
    "capability_scope", "credential_scope",
)  # fmt: skip
COLUMNS: list[Column] = [
    ("RECORDED", "recorded"),
    ("REPLAY", "replay"),
    ("ANSWERS", lambda row: f"{row['answers']} of {row['recorded_answers']}"),
    ("PROMPT", lambda row: shorten(", ".join(row["prompt"]) or "the same", 120)),
    ("RESULT", lambda row: "the same" if row["difference"] is None else shorten(row["difference"], 400)),
]


@command()
@click.argument("session", type=Id("session"))
@click.option("--to", metavar="ID", help="The id of the new session.")
@click.option("--route", type=Name("routes"), help="The route of the driver `replay`; it is created if there is none.")
@click.option("--workspace", metavar="DIR", help="The working folder; without it, that of the session.")
@click.option("--permission-mode", help="Another permission mode.")
@click.option("--persona", type=Name("personas"), help="Another persona.")
@click.option("--playbook", metavar="NAME[@VERSION]", help="Another Playbook or version for the session's Flows.")
@click.option("--as-decided", is_flag=True, help="Decide approvals and answer questions as they were.")
@pass_settings
def replay(
    settings: Settings, session: str, to: str | None, route: str | None, workspace: str | None,
    permission_mode: str | None, persona: str | None, playbook: str | None, as_decided: bool,
) -> int:  # fmt: skip
    """Repeat SESSION in a new session, with its recorded answers instead of a model.

    Commands run again. The exit code is 1 if something happens otherwise than it did.
    """
    client = settings.client()
    old = client.sessions.get(session)
    selector = f"{route or _route(client)}/{session}"
    folder = str(Path(workspace).expanduser().absolute()) if workspace else old["workspace"]
    changes = {"workspace": folder, "permission_mode": permission_mode, "persona": persona}
    new = _create(client, old, to, selector, {name: value for name, value in changes.items() if value})
    rows: list[dict[str, Any]] = []
    for part in _parts(_runs(client, session)):
        flow = part[0].get("flow")
        if flow is not None:
            rows += _repeat_flow(client, flow["flow_id"], part, new, playbook, as_decided=as_decided)
        else:
            rows.append(_repeat(client, part[0], new, as_decided=as_decided))
        if rows[-1]["difference"] is not None:
            break
    parted = next((row["difference"] for row in rows if row["difference"] is not None), None)
    emit(
        settings,
        {"session": session, "replay": new, "runs": rows, "difference": parted},
        ids=[new],
        human=lambda: table(rows, COLUMNS),
    )
    return 1 if parted is not None else 0


def _route(client: Kheish) -> str:
    """Return the id of a route of the driver `replay`; create it if there is none."""
    for one in client.definitions("routes").list(limit=200)["items"]:
        if one["driver"] == "replay":
            return str(one["id"])
    client.definitions("routes").put(ROUTE, {"driver": "replay"}, if_none_match="*")
    click.echo(f"The route {ROUTE} was created (routes/{ROUTE}.yaml).", err=True)
    return ROUTE


def _create(client: Kheish, old: Any, id: str | None, route: str, changes: dict[str, Any]) -> str:
    same = {name: old[name] for name in _SAME if old.get(name)}
    persona = same.get("persona")
    if isinstance(persona, dict):
        same["persona"] = persona["id"]
    given: Any = {**same, **changes, "title": f"Replay of {old['session_id']}", "route": route}
    return str(client.sessions.create(id, **given)["session_id"])


def _runs(client: Kheish, session: str) -> Iterator[Any]:
    """Yield the ended runs of a session, oldest first. Raises Invalid."""
    runs: list[Any] = []
    cursor: str | None = None
    while True:
        page = client.runs.list(session=session, limit=200, cursor=cursor)
        runs += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    begun = [run for run in reversed(runs) if run["started_at"] is not None]
    if not begun:
        raise Invalid(f"The session {session} has no run to replay.")
    for run in begun:
        if run["finished_at"] is None:
            raise SessionConflict(f"The run {run['run_id']} has not ended; a recording ends with its runs.")
    yield from begun


def _repeat(client: Kheish, recorded: Any, session: str, *, as_decided: bool) -> dict[str, Any]:
    """Repeat one run to its end, and return how it compares."""
    request = recorded["request"]
    run = client.runs.start(
        session,
        items=[_item(item) for item in request["items"]],
        metadata={**request["metadata"], "replay": recorded["run_id"]},
        completion=list(recorded["settings"]["completion"]) or None,
        skills=list(recorded["settings"].get("skills") or ()) or None,
    )
    asked = _Asked(client, recorded if as_decided else None)
    while True:
        run.wait()
        if run.done:
            break
        asked.look(run.data)
        run.data = client.runs.get(run.run_id, wait="5s").data if not as_decided else run.data
    return _row(client, recorded, run.data)


def _row(client: Kheish, recorded: Any, now: Any) -> dict[str, Any]:
    return {
        "recorded": recorded["run_id"],
        "replay": now["run_id"],
        "recorded_answers": recorded["usage"]["model_calls"],
        "answers": now["usage"]["model_calls"],
        "prompt": _changed_sections(client, recorded, now),
        "difference": _difference(recorded, now),
    }


def _changed_sections(client: Kheish, recorded: Any, now: Any) -> list[str]:
    """Return the sections of the prompt that are others now, with the first turn where they are; none for a recording
    from before sections were journaled."""
    then, new = (_sections(client, run) for run in (recorded, now))
    turns = min(len(then), len(new))
    found: dict[str, int] = {}
    for turn in range(turns):
        if then[turn]:
            for name in sorted(then[turn].keys() | new[turn].keys()):
                if then[turn].get(name) != new[turn].get(name):
                    found.setdefault(name, turn + 1)
    return [f"{name} (turn {turn})" for name, turn in found.items()]


def _sections(client: Kheish, run: Any) -> list[dict[str, str]]:
    """Return the digests of the prompt's sections at each turn of a run."""
    turns: dict[int, dict[str, str]] = {}
    known: dict[str, str] = {}
    cursor: str | None = None
    while True:
        page = client.sessions.journal(
            run["session_id"], run=run["run_id"], kind="model.requested", limit=200, cursor=cursor
        )
        for line in page["items"]:
            if line["data"].get("purpose", "turn") == "turn":
                known = {**known, **line["data"].get("sections", {})}
                turns[line["data"]["turn"]] = known
        cursor = page["next_cursor"]
        if cursor is None:
            return [turns[turn] for turn in sorted(turns)]


def _check_routes(client: Kheish, playbook: str, version: str) -> None:
    """Raise Invalid for a version whose own routes would be asked instead of the recording."""
    if not version:
        raise Invalid("Name the version of the Playbook to replay: --playbook NAME@VERSION.")
    manifest = client.playbooks.version(playbook, version)["manifest"] or {}
    parts = [manifest.get("runtime") or {}, *(manifest.get("roles") or {}).values()]
    named = next((part["route"] for part in parts if part.get("route")), None)
    if named is not None:
        raise Invalid(f"{playbook}@{version} names the route {named}, so that its phases cannot be replayed.")


def _parts(runs: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield each run alone, and the runs of a Flow together."""
    for _, part in groupby(runs, key=lambda run: run["flow"]["flow_id"] if run.get("flow") else run["run_id"]):
        yield list(part)


def _repeat_flow(
    client: Kheish, flow_id: str, recorded: list[Any], session: str, playbook: str | None, *, as_decided: bool
) -> list[dict[str, Any]]:
    """Start the Flow of some runs again, with another version of its Playbook if one is named; return how its runs
    compare."""
    then = client.flows.get(flow_id)
    name, _, version = (playbook or f"{then['playbook']}@{then['version']}").partition("@")
    _check_routes(client, name, version)
    flow = client.flows.start(name, then["inputs"], version=version or None, session_id=session)
    asked: dict[str, _Asked] = {}
    while True:
        flow = client.flows.get(flow["flow_id"], wait="2s")
        runs = [client.runs.get(one["run_id"]).data for one in flow["runs"]]
        for at, run in enumerate(runs):
            old = recorded[at] if as_decided and at < len(recorded) else None
            asked.setdefault(run["run_id"], _Asked(client, old)).look(run)
        if flow["finished_at"] is not None:
            break
    rows = [_row(client, old, run) for old, run in zip(recorded, runs, strict=False)]
    parted = next((at for at, row in enumerate(rows) if row["difference"] is not None), None)
    if parted is not None:
        return rows[: parted + 1]
    if len(runs) != len(recorded):
        rows[-1]["difference"] = f"The Flow had {len(recorded)} runs, and now it has {len(runs)}."
    elif flow["status"] != then["status"]:
        rows[-1]["difference"] = f"The Flow is {flow['status']}; recorded was {then['status']}. {flow['reason'] or ''}"
    return rows


def _item(item: Any) -> dict[str, Any]:
    """Return an item of a task as it is submitted."""
    field = "asset_id" if item["type"] == "asset" else "text"
    return {"type": item["type"], field: item[field]}


def _difference(recorded: Any, now: Any) -> str | None:
    """Return how a run ended otherwise; None if it is the same."""
    if now["status"] != recorded["status"]:
        why = now["error"]["message"] if now["error"] is not None else f"recorded was {recorded['status']}"
        return f"The run is {now['status']}: {why}"
    if now["error"] is not None and now["error"]["code"] != recorded["error"]["code"]:
        return str(now["error"]["message"])
    return None


class _Asked:
    """The approvals and questions of a run that is repeated: answered as in the recording, or named once."""

    def __init__(self, client: Kheish, recorded: Any | None) -> None:
        self._decided = _Decided(client, recorded) if recorded is not None else None
        self._shown: set[str] = set()

    def look(self, run: Any) -> None:
        """Answer what a run waits for, or say that it waits. Raises KheishError."""
        for id in (*run["pending_approvals"], *run["pending_questions"]):
            if self._decided is not None:
                self._decided.answer(id)
            elif id not in self._shown:
                self._shown.add(id)
                click.echo(f"{run['run_id']} waits for {id}; answer it elsewhere (kheish inbox).", err=True)


class _Decided:
    """The recorded decisions and answers of a run, in their order."""

    def __init__(self, client: Kheish, recorded: Any) -> None:
        self._client = client
        session, id = recorded["session_id"], recorded["run_id"]
        approvals = client.approvals.list(session=session, run_id=id, limit=200)["items"]
        questions = client.questions.list(session=session, run_id=id, limit=200)["items"]
        self._approvals, self._questions = list(reversed(approvals)), list(reversed(questions))

    def answer(self, id: str) -> None:
        """Decide an approval, or answer a question, as it was. Raises KheishError if there was none like it."""
        if id.startswith("appr_"):
            asked = self._client.approvals.get(id)
            then = _take(self._approvals, lambda one: one["tool"] == asked["tool"], id)
            decision = "allow" if then["status"] == "allowed" else "deny"
            self._client.approvals.resolve(id, decision, reason=f"as recorded in {then['approval_id']}")
            return
        then = _take(self._questions, lambda one: True, id)
        if then["status"] == "answered":
            self._client.questions.answer(id, then["answers"])
        else:
            self._client.questions.decline(id, f"as recorded in {then['question_id']}")


def _take(found: list[Any], fits: Any, id: str) -> Any:
    for place, one in enumerate(found):
        if fits(one):
            return found.pop(place)
    raise NotRecorded(f"{id} has no counterpart in the recording: answer it yourself.")


class NotRecorded(KheishError):
    """A replay asks its user for something that the recording did not ask for."""

    status, code, domain, exit_code, title = 0, "not_recorded", "runs", 1, "The recording has no such decision"
