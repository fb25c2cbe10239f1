"""A real State over journals in a folder; the log is played in this process, durable when a test says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from kheish.daemon.rows import row
from kheish.domain import approvals, events, intake, keys, nouns, runs
from kheish.domain.definitions import Definition
from kheish.domain.events import Event, Item
from kheish.domain.keys import Key
from kheish.domain.routes import Route
from kheish.domain.runs import Run
from kheish.domain.sessions import session as sessions
from kheish.state import encoding, loading
from kheish.store.log import journal, segments, wal
from kheish.store.log.index import Reader, Writer
from kheish.store.log.wal import Group


def keyed(scope: str, key: str, **request: Any) -> Key:
    """A key as it is looked up where it was never used."""
    made = keys.of(scope, key, request)
    assert made is not None
    return Key(request=made)


class Played:
    """The log, the journals and the index of one folder."""

    def __init__(self, root: Path, state: dict[str, Any] | None = None, **options: Any) -> None:
        self.root = root
        self.journals = journal.Writer(root)
        self.index = Writer(root / ".kheish" / "index.sqlite", nouns.NOUNS.filters)
        self.index.set("whole", 1)
        self.groups: list[Group] = []  # handed over, and not durable yet
        self.lines: list[dict[str, Any]] = []  # what is durable, as read back
        self.state = nouns.state(root, index=Reader(root / ".kheish" / "index.sqlite"), submit=self.submit, **options)

    def submit(self, group: Group) -> None:
        self.groups.append(group)

    def flush(self) -> None:
        """Make durable what was appended, in journals and index too."""
        groups, self.groups = self.groups, []
        for group in groups:
            for path, content in group.spills:
                (self.root / path).parent.mkdir(parents=True, exist_ok=True)
                (self.root / path).write_bytes(content)
            lines, rows = segments.by_journal(orjson.loads(group.body))
            for where, entries in lines.items():
                self.journals.append(where, entries)
            self.lines += [entry for _, entry in orjson.loads(group.body)]
            _, changes = self.state.made_durable(group.last)
            self.index.apply(rows, [row(change) for change in changes], group.last)
            self.state.made_journaled(group.last)

    def reloaded(self, session_id: str) -> loading.Partition:
        """The session as a restarted daemon would read it."""
        self.flush()
        return loading.load(self.root, nouns.NOUNS, session_id, self.state.sessions[session_id].path)

    def restart(self, **options: Any) -> Played:
        """Another State over the same folder, with all sessions read from their journals."""
        self.flush()
        again = Played(self.root, **options)
        again.state.n = again.state.durable_n = again.state.journaled_n = self.state.n
        again.state.streams = dict(self.state.streams)
        again.state.definitions = self.state.definitions
        for part in self.state.sessions.values():
            again.state.adopt(loading.load(self.root, nouns.NOUNS, part.session_id, part.path))
        return again

    def kinds(self, run_id: str | None = None) -> list[str]:
        """The kinds of all durable entries (of a run), in order."""
        self.flush()
        return [line["kind"] for line in self.lines if run_id is None or line.get("run") == run_id]

    def data(self, kind: str) -> list[dict[str, Any]]:
        """The data of all durable entries of a kind."""
        self.flush()
        return [line["data"] for line in self.lines if line["kind"] == kind]

    # --- what tests do all the time -----------------------------------------------------------------------------------

    def route(self, id: str = "local", **fields: Any) -> Route:
        """Put a route in force; without fields, one that echoes."""
        given = fields or {"script": {"echo": True}}
        value = Route.model_validate({"driver": "scripted", **given})
        self.state.definitions.by_kind["routes"][id] = Definition(
            kind="routes", id=id, path=f"routes/{id}.yaml", value=value, data={}, raw=b"", digest=""
        )
        return value

    def session(self, session_id: str = "s", workspace: Path | None = None, **settings: Any) -> sessions.Session:
        """Make a session, and the route `local` where there is none."""
        if not self.state.definitions.routes:
            self.route()
        return sessions.create(self.state, session_id, settings, workspace=workspace or self.root, by="test")[0]

    def submit_run(self, text: str = "do it", session_id: str = "s", **more: Any) -> Run:
        """Submit an input."""
        given = intake.Input(session_id=session_id, items=(Item(text=text),), actor="token:local", **more)
        if (key := intake.schemas_key(self.state.get(sessions.Session, session_id), given)) is not None:
            intake.check_schemas(self.state.get(sessions.Session, session_id).settings["input_contract"], given)
        run = intake.submit(self.state, replace(given, checked=key))
        assert isinstance(run, Run)
        return run

    def run(self, run_id: str) -> Run:
        return self.state.get(Run, run_id)

    def move(self, run_id: str, *happenings: Event) -> Run:
        """Append what happened to a run; its moves are checked."""
        for event in happenings:
            known = any(type(event) is moved for _, moved in runs.TRANSITIONS)
            draft = runs.step(self.state, run_id, event) if known else event.on(self.run(run_id).session_id, run_id)
            self.state.append(draft)
        return self.run(run_id)

    def waiting(self, *asked: Event, session_id: str = "s") -> Run:
        """A run that waits for a person, because of what was asked."""
        run = self.submit_run(session_id=session_id)
        self.move(run.run_id, events.RunStarted(), responded(*asked), *asked)
        kind = "approval" if isinstance(asked[0], events.ApprovalRequested) else "question"
        return self.move(run.run_id, events.RunWaiting(status=f"waiting_for_{kind}"))


def responded(*asked: Any, turn: int = 0) -> events.ModelResponded:
    """An answer with a call for each thing that was asked."""
    calls = tuple(events.ModelCall(id=one.call_id, name="bash", arguments={"command": "make"}) for one in asked)
    return events.ModelResponded(turn=turn, text="", calls=calls, route="local")


def approval(id: str, **more: Any) -> events.ApprovalRequested:
    """A request for a call of bash."""
    arguments = {"command": "make"}
    digest = approvals.digest_of(tool="bash", arguments=arguments, folder="", executable=None)
    fields: Mapping[str, Any] = {"call_id": f"call_{id}", "tool": "bash", "arguments": arguments, "digest": digest}
    return events.ApprovalRequested(approval_id=id, **{**fields, "why": "no rule", "risk": "medium", **more})


def question(id: str, *items: events.QuestionItem, **more: Any) -> events.QuestionAsked:
    """A question with one item, unless others are given."""
    options = (events.Option(id="a", label="Apples"), events.Option(id="b", label="Bread"))
    item = events.QuestionItem(id="q1", header="Food", text="Which?", options=options)
    return events.QuestionAsked(question_id=id, call_id=f"call_{id}", questions=items or (item,), **more)


def table(part: loading.Partition) -> dict[str, Any]:
    """A partition's tables as plain data, to compare."""
    from kheish.domain.messages import Conversation

    found: dict[str, Any] = {"seq": part.seq, "last_n": part.last_n, "checkpoint": part.checkpoint}
    for cls, values in part.tables.items():
        if cls is Conversation:
            talks = {id: {"messages": talk.messages, "inputs": talk.inputs} for id, talk in values.items()}
            # An empty conversation is as good as none.
            talks = {id: talk for id, talk in talks.items() if any(talk.values())}
            found["conversation"] = encoding.plain(talks)
        else:
            found[cls.__name__] = dict(values)
    return found


def encoded_line(entry: Mapping[str, Any]) -> bytes:
    """A journal line in a group of its own, as the log has it."""
    return wal.encode([("j", orjson.dumps(entry))])
