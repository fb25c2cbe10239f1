"""`kheish replay SESSION`: repeat a session with its recorded answers, and show where it differs."""

from __future__ import annotations

from collections.abc import Iterator
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
    ("RESULT", lambda row: "the same" if row["difference"] is None else shorten(row["difference"], 400)),
]


@command()
@click.argument("session", type=Id("session"))
@click.option("--to", metavar="ID", help="The id of the new session.")
@click.option("--route", type=Name("routes"), help="The route of the driver `replay`; it is created if there is none.")
@click.option("--workspace", metavar="DIR", help="The working folder; without it, that of the session.")
@click.option("--permission-mode", help="Another permission mode.")
@click.option("--persona", type=Name("personas"), help="Another persona.")
@click.option("--as-decided", is_flag=True, help="Decide approvals and answer questions as they were.")
@pass_settings
def replay(settings: Settings, session: str, to: str | None, route: str | None, workspace: str | None,
           permission_mode: str | None, persona: str | None, as_decided: bool) -> int:  # fmt: skip
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
    for recorded in _runs(client, session):
        rows.append(_repeat(client, recorded, new, as_decided=as_decided))
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
    asked = recorded["request"]
    run = client.runs.start(
        session,
        items=[_item(item) for item in asked["items"]],
        metadata={**asked["metadata"], "replay": recorded["run_id"]},
        completion=list(recorded["settings"]["completion"]) or None,
        skills=list(recorded["settings"].get("skills") or ()) or None,
    )
    decided = _Decided(client, recorded, run.run_id) if as_decided else None
    shown: set[str] = set()
    while True:
        run.wait()
        if run.done:
            break
        for id in (*run.waits_for[0], *run.waits_for[1]):
            if decided is not None:
                decided.answer(id)
            elif id not in shown:
                shown.add(id)
                click.echo(f"{run.run_id} waits for {id}; answer it elsewhere (kheish inbox).", err=True)
        run.data = client.runs.get(run.run_id, wait="5s").data if decided is None else run.data
    return {
        "recorded": recorded["run_id"],
        "replay": run.run_id,
        "recorded_answers": recorded["usage"]["model_calls"],
        "answers": run.data["usage"]["model_calls"],
        "difference": _difference(recorded, run.data),
    }


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


class _Decided:
    """The recorded decisions and answers of a run, in their order."""

    def __init__(self, client: Kheish, recorded: Any, run_id: str) -> None:
        self._client = client
        session, id = recorded["session_id"], recorded["run_id"]
        approvals = client.approvals.list(session=session, run_id=id, limit=200)["items"]
        questions = client.questions.list(session=session, run_id=id, limit=200)["items"]
        self._approvals, self._questions = list(reversed(approvals)), list(reversed(questions))
        self._run_id = run_id

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
