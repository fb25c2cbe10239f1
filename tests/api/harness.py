"""A real State, bus, journals and index in a folder, with the log and its processes played in this one, and the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from kheish.api.http.app import App, build
from kheish.api.http.feed import Feed
from kheish.api.http.throttle import Refusals
from kheish.api.http.waiting import Closing, Waits
from kheish.api.metrics.measures import Measures
from kheish.api.operations import OPERATIONS
from kheish.api.services import Services
from kheish.auth.accounts import ProviderAccounts
from kheish.auth.broker import Broker
from kheish.auth.logins import Logins
from kheish.auth.tokens import Tokens
from kheish.auth.vault import Vault
from kheish.beneath import Hidden
from kheish.config import Config
from kheish.daemon.rows import grave, row
from kheish.daemon.workspaces import Workspaces
from kheish.domain import events, nouns, runs
from kheish.domain.approvals import Approval, Bound
from kheish.domain.definitions import KINDS, Definition, Kind
from kheish.domain.routes import Route
from kheish.domain.sessions import end as session_end
from kheish.errors import KheishError, NotFound, PreconditionFailed
from kheish.jobs.runner import Jobs
from kheish.runtime.debug.capture import Capture
from kheish.runtime.skills.copies import Copies
from kheish.runtime.skills.service import Skills
from kheish.state.state import Change, State
from kheish.store.bus import Bus, Frame
from kheish.store.edits import definitions as reading, problems
from kheish.store.files import blob_id
from kheish.store.git.revisions import Moment
from kheish.store.log import journal, texts
from kheish.store.log.index import Reader, Writer
from kheish.store.log.wal import Group
from tests.runtime.harness import nowhere
from tests.support.assets import stored_things
from tests.support.mcp_servers import hooks, servers
from tests.support.remembering import memory

TOKEN = "kheish_test"
HEADERS = {"authorization": f"Bearer {TOKEN}", "host": "127.0.0.1:4000"}


async def eventually(condition: Callable[[], object]) -> None:
    """Let the loop turn until something is so; 10 s at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)


class Log:
    """Makes groups durable at the next turn of the loop, then writes journals and index; `lag` holds the index back."""

    def __init__(self, root: Path, bus: Bus) -> None:
        self.root = root
        self.bus = bus
        self.writer = Writer(root / ".kheish" / "index.sqlite", nouns.NOUNS.filters)
        self.writer.set("whole", 1)
        self.journals = journal.Writer(root)
        self.state: State
        self.lag = False
        self.held: list[tuple[list[Any], list[Change], int]] = []

    def submit(self, group: Group) -> None:
        asyncio.get_running_loop().call_soon(self._durable, group)

    def _durable(self, group: Group) -> None:
        for name, raw in group.spills:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
        recorded, changes = self.state.made_durable(group.last)
        self.bus.publish(
            [Frame(one.entry.n, one.entry.event.kind, one.entry.session, one.entry.run, one.line) for one in recorded]
        )
        self.held.append((recorded, changes, group.last))
        if not self.lag:
            self.catch_up()

    def catch_up(self) -> None:
        """Bring journals and index up to what is durable."""
        for recorded, changes, last in self.held:
            for one in recorded:
                self.journals.append(one.journal, [(one.entry.seq, one.line)])
            rows = [
                (e.entry.n, e.journal, e.entry.seq, e.entry.session, e.entry.run, e.entry.event.kind, e.line.decode())
                for e in recorded
            ]
            entries = [orjson.loads(one.line) for one in recorded]
            said = [text for entry in entries if (text := texts.of(entry, lambda reference: None))]
            self.writer.apply(rows, [row(change) for change in changes], last, said)
            for one in recorded:
                if isinstance(one.entry.event, events.SessionDeleted):
                    self.writer.forget(one.entry.event.session_id)
                    self.writer.apply([], [grave(session_end.tombstone(one.entry))], last)
            self.state.made_journaled(last)
        self.held.clear()


@dataclass
class Git:
    """Commits that a test puts there."""

    commits: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)

    async def log(self, limit: int, *, path: str | None = None, rev: str | None = None) -> Sequence[Mapping[str, Any]]:
        self.asked.append(path)
        ids = [one["commit"] for one in self.commits]
        start = ids.index(rev) if rev else 0
        return self.commits[start : start + limit]

    async def head(self) -> Mapping[str, Any]:
        return {"commit": self.commits[0]["commit"] if self.commits else None}


@dataclass
class Past:
    """Files of commits that a test puts there: `{rev: (n, {path: bytes})}`."""

    at: dict[str, tuple[int, dict[str, bytes]]] = field(default_factory=dict)

    async def resolve(self, rev: str) -> Moment:
        if rev not in self.at:
            raise NotFound(f"No commit {rev!r} in the state root.")
        return Moment(commit=rev, n=self.at[rev][0], time=0)

    async def holding(self, n: int) -> str | None:
        return next((rev for rev, (last, _) in sorted(self.at.items()) if last >= n), None)

    async def read(self, commit: str, path: str) -> bytes:
        if path not in self.at[commit][1]:
            raise NotFound(f"{path} is no file in {commit}.")
        return self.at[commit][1][path]

    async def files(self, commit: str, folder: str) -> Mapping[str, bytes]:
        files = self.at.get(commit, (0, {}))[1]
        return {path.removeprefix(f"{folder}/"): raw for path, raw in files.items() if path.startswith(f"{folder}/")}

    async def folder(self, commit: str, session_id: str) -> str | None:
        folders = {path.rpartition("/")[0] for path in self.at[commit][1]}
        return next((path for path in folders if path.endswith(f"/{session_id}")), None)

    async def commits(
        self, session_id: str | None, path: str, place: str | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        revs = [rev for rev in sorted(self.at, reverse=True) if any(name.startswith(path) for name in self.at[rev][1])]
        return [{"commit": rev, "place": rev} for rev in revs if place is None or rev <= place][:limit]


@dataclass
class Upkeep:
    """A state root that was moved back where `why` says so."""

    why: str | None = None

    def rewound(self) -> str | None:
        return self.why

    async def decide(self, choice: str) -> Mapping[str, Any]:
        self.why = None
        return {"choice": choice, "files": 1, "commit": "0" * 40, "kept": None}

    async def gc(self) -> Mapping[str, Any]:
        return {"before": {}, "after": {}, "swept": 0}

    async def reindex(self) -> Mapping[str, Any]:
        return {"reindexed": True}


@dataclass
class Backup:
    """A remote that takes everything, or refuses with an error."""

    did: list[str] = field(default_factory=list)
    refuses: KheishError | None = None

    async def push(self) -> Mapping[str, Any]:
        return self._do("push")

    async def take_over(self) -> None:
        self._do("take_over")

    def _do(self, what: str) -> Mapping[str, Any]:
        if self.refuses is not None:
            raise self.refuses
        self.did.append(what)
        return {
            "remote": "origin", "every_seconds": None, "outcome": "pushed", "tried_at": None, "error": None,
            "pushed": None, "restored": False,
        }  # fmt: skip


class Editor:
    """Puts valid definitions in force at once; there is no file."""

    def __init__(self, state: State) -> None:
        self.state = state

    def _parse(self, kind: str, id: str, raw: bytes, media: str) -> Any:
        known = KINDS[kind]
        if media == "application/json":
            return reading.parse_json(known.model, raw, known.path(id))
        return (reading.parse_markdown if known.text else reading.parse)(known.model, raw, known.path(id))

    async def put(self, kind: str, id: str, raw: bytes, media: str, *, if_match: str | None, by: str) -> bool:
        there = self.state.definitions.by_kind[kind].get(id)
        self._check(there, if_match)
        parsed = self._parse(kind, id, raw, media)
        value = parsed.require()
        self.state.definitions.by_kind[kind][id] = Definition(
            kind=kind, id=id, path=KINDS[kind].path(id), value=value, data=parsed.data, raw=raw, digest=parsed.digest
        )
        return there is None

    async def store(self, kind: Kind, path: str, raw: bytes, media: str, *, if_match: str | None, by: str) -> bool:
        there = self.state.definitions.at(path)
        self._check(there, if_match)
        parsed = reading.parse_json(kind.model, raw, path) if media == "application/json" else kind.read(raw, path)
        one = Definition(
            kind=kind.name, id=kind.name, path=path, value=parsed.require(), data=parsed.data or {}, raw=raw,
            digest=parsed.digest,
        )  # fmt: skip
        self.state.definitions.replace({path: one})
        return there is None

    async def delete(self, kind: str, id: str, *, if_match: str | None, by: str) -> None:
        self._check(self.state.definitions.get(kind, id), if_match)
        del self.state.definitions.by_kind[kind][id]

    def _check(self, there: Definition | None, if_match: str | None) -> None:
        etag = blob_id(there.raw) if there else None
        if if_match is not None and if_match not in (etag, "*"):
            raise PreconditionFailed("It changed meanwhile.", etag=etag)

    async def validate(self, kind: str, id: str | None, raw: bytes, media: str) -> Sequence[Mapping[str, Any]]:
        return [problems.view(one) for one in self._parse(kind, id or "new", raw, media).problems]


class Inspector:
    """Knows one tool."""

    async def check(self, tool: str, arguments: Mapping[str, Any], session_id: str | None) -> Mapping[str, Any]:
        if tool != "bash":
            raise NotFound(f"There is no tool {tool!r}.")
        return {"decision": "ask", "why": "no rule allows it", "rule": None, "origin": "mode", "network": False}

    async def matrix(self, session_id: str) -> Mapping[str, Any]:
        return {"session_id": session_id, "tools": []}

    async def bound(self, approval: Approval, arguments: Mapping[str, Any]) -> Bound:
        return Bound(digest="d" * 64)


class Stacks:
    """Nothing is applied."""

    async def export(self, stack: str | None) -> Mapping[str, Any]:
        return {}


class Playbooks:
    """Nothing is published."""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def nothing(playbook_id: str, *given: Any, **more: Any) -> Any:
            raise NotFound(f"Nothing of a playbook {playbook_id!r} is published.")

        return nothing


class Ingress:
    """No connector is there."""

    def __init__(self) -> None:
        self.rejections: dict[str, int] = {}

    async def receive(self, connector_id: str, headers: Any, body: bytes, *, is_loopback: bool) -> Any:
        raise NotFound(f"There is no connector {connector_id!r}.")

    async def test(self, connector_id: str, body: str | None) -> Any:
        raise NotFound(f"There is no connector {connector_id!r}.")

    def state_of(self, one: Definition) -> tuple[str, str | None]:
        return "ready", None


class Schedules:
    """Fires nothing."""

    async def trigger(self, schedule_id: str, *, by: str, key: Any = None) -> str:
        raise NotFound(f"There is no schedule {schedule_id!r}.")


class Secrets:
    """A vault without a file: it knows what was put, and shows it."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}

    def view(self) -> list[dict[str, Any]]:
        return [self.known[name] for name in sorted(self.known)]

    def show(self, slot: str) -> dict[str, Any]:
        if slot not in self.known:
            raise NotFound(f"There is no secret in the slot {slot!r}.")
        return self.known[slot]

    async def put(self, slot: str, value: str, description: str | None, *, by: str) -> bool:
        is_new = slot not in self.known
        self.known[slot] = {
            "slot": slot, "description": description, "version": 1, "created_at": "", "value_at": "", "updated_by": by,
            "recipients": [], "digest": "", "status": "ready", "reason": None, "referenced_by": [],
        }  # fmt: skip
        return is_new

    async def remove(self, slot: str, *, by: str) -> None:
        self.show(slot)
        del self.known[slot]

    async def rekey(self, *, by: str) -> list[dict[str, Any]]:
        return self.view()


@dataclass
class World:
    """Everything that a test may reach for."""

    root: Path
    state: State
    bus: Bus
    log: Log
    parts: Services
    app: App
    http: httpx.AsyncClient
    git: Git
    past: Past
    backup: Backup
    problems: list[dict[str, Any]]

    async def session(self, session_id: str = "s", **settings: Any) -> dict[str, Any]:
        answer = await self.http.post("/v1/sessions", json={"session_id": session_id, **settings})
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    async def run(self, session_id: str = "s", content: str = "do it", **more: Any) -> dict[str, Any]:
        answer = await self.http.post(f"/v1/sessions/{session_id}/runs", json={"content": content, **more})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def move(self, run_id: str, *happenings: events.Event) -> None:
        """What a worker would append."""
        run = self.state.get(runs.Run, run_id)
        self.state.append(*(one.on(run.session_id, run_id) for one in happenings))

    async def waiting(self, *asked: events.Event, session_id: str = "s") -> dict[str, Any]:
        """A run that waits for a person, because of `asked`."""
        run = await self.run(session_id)
        self.move(run["run_id"], events.RunStarted(), *asked)
        kind = "approval" if isinstance(asked[0], events.ApprovalRequested) else "question"
        self.move(run["run_id"], events.RunWaiting(status=f"waiting_for_{kind}"))
        await self.state.durable()
        return run


def approval(id: str, **more: Any) -> events.ApprovalRequested:
    fields = {"call_id": f"call_{id}", "tool": "bash", "arguments": {"command": "make"}, "digest": "a" * 64}
    return events.ApprovalRequested(approval_id=id, **{**fields, "why": "no rule", "risk": "medium", **more})


def question(id: str) -> events.QuestionAsked:
    options = (events.Option(id="a", label="A"), events.Option(id="b", label="B"))
    item = events.QuestionItem(id="q1", header="H", text="Which?", options=options)
    return events.QuestionAsked(question_id=id, call_id=f"call_{id}", questions=(item,))


@asynccontextmanager
async def world(folder: Path, **parts: Any) -> AsyncIterator[World]:
    root, workspace = folder / "state", folder / "work"
    root.mkdir(exist_ok=True)
    workspace.mkdir(exist_ok=True)
    bus = Bus()
    log = Log(root, bus)
    state = log.state = nouns.state(root, index=Reader(root / ".kheish" / "index.sqlite"), submit=log.submit)
    value = Route.model_validate({"driver": "scripted", "script": {"echo": True}})
    raw = b"driver: scripted  # offline\nscript: {echo: true}\n"
    state.definitions.by_kind["routes"]["local"] = Definition(
        kind="routes", id="local", path="routes/local.yaml", value=value, data={}, raw=raw, digest=reading.digest(raw)
    )
    git, past, found, config = Git(), Past(), list[dict[str, Any]](), Config()
    backup = Backup()

    def clock() -> float:
        return state.clock()  # of which a test makes another

    tokens = Tokens(TOKEN, clock=clock)
    state.hidden = Hidden((root, folder / "keys"))
    folders = Workspaces(root, state.hidden, lambda: config, workspace)
    closing, broker = Closing(), Broker(state, Vault(), {})
    keeper: Any = None  # no login is stored
    accounts = ProviderAccounts(state, Vault(), keeper, lambda: "http://localhost/v1/auth/callback")
    given = Services(
        accounts=accounts,
        state=state, bus=bus, tokens=tokens, logins=Logins(tokens, clock=clock), config=lambda: config,
        status=lambda: {"version": "1"}, problems=lambda: found, git=git, past=past, backup=backup,
        editor=Editor(state), stacks=Stacks(), inspector=Inspector(), memory=memory(state), playbooks=Playbooks(),
        schedules=Schedules(), ingress=Ingress(),
        secrets=Secrets(), skills=Skills(state, Copies(root / "copies"), lambda: False, nowhere),
        broker=broker, mcp=servers(state, broker, folder), hooks=hooks(state, broker),
        upkeep=Upkeep(), workspaces=folders, closing=closing,
        feed=Feed(bus), waits=Waits(bus, closing), jobs=Jobs(root / "jobs"),
        refusals=Refusals(state, parts.get("ready", lambda: None)), **stored_things(state),
        debug=Capture(state, root / "identity.txt", lambda message: None), measures=Measures(), **parts,
    )  # fmt: skip
    app = build(given, OPERATIONS)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4000", headers=HEADERS) as http:
        yield World(root, state, bus, log, given, app, http, git, past, backup, found)
    log.writer.close()
