"""The next cut: the content of the next commit, gathered from entries, changes, edits and files.

Nothing here blocks, but for `gather`, which awaits the scribe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from kheish.authoring.forms import FORMS
from kheish.daemon import authored
from kheish.daemon.headlines import HEADLINES, PLAYBOOKS, TRAILERS, headline, is_edit
from kheish.domain import events
from kheish.domain.assets import asset as assets
from kheish.domain.events import Entry
from kheish.domain.flows.flow import Flow
from kheish.domain.forks import fork as forks
from kheish.domain.memory.names import Place
from kheish.domain.observations import observation as observations
from kheish.domain.runs import Run
from kheish.domain.sessions import end as session_end
from kheish.domain.shown import View, outward
from kheish.errors import Unavailable
from kheish.runtime.memory.keeper import Committed
from kheish.state import encoding
from kheish.state.encoding import Recorded
from kheish.state.state import Change, State
from kheish.store.git import hold
from kheish.store.git.committer import Committer, Cut, message
from kheish.store.log import spills, wal
from kheish.store.pipes import Child, ChildGone


@dataclass(slots=True)
class Dirty:
    """The content of the next cut."""

    first: int = 0
    records: dict[tuple[str, str], Change] = field(default_factory=dict)
    spills: list[str] = field(default_factory=list)
    headlines: list[str] = field(default_factory=list)
    sessions: dict[str, None] = field(default_factory=dict)
    runs: dict[str, None] = field(default_factory=dict)
    actors: dict[str, None] = field(default_factory=dict)
    playbooks: dict[str, None] = field(default_factory=dict)
    flows: dict[str, None] = field(default_factory=dict)
    edits: dict[str, None] = field(default_factory=dict)
    authored: list[dict[str, Any]] = field(default_factory=list)  # changes of memory, in order
    files: dict[str, bytes] = field(default_factory=dict)
    others: bool = False  # entries that tell of something else than a person's edit
    moved: bool = False  # somebody moved the branch: what it lacks is put back
    head: Recorded | None = None  # the newest entry of the audit: to be signed
    deletes: list[str] = field(default_factory=list)
    removes: list[str] = field(default_factory=list)

    @property
    def is_due(self) -> bool:
        """Whether there is something to commit."""
        return bool(
            self.first or self.edits or self.authored or self.records or self.files or self.moved or self.spills
        )

    @property
    def is_edit(self) -> bool:
        """Return whether it is a person's edit and what the journals say of that, and nothing else."""
        more = self.others or self.records or self.files or self.spills or self.moved or self.deletes or self.removes
        return bool(self.edits) and not more and not self.authored


class NextCut:
    """The builder of the next commit; it passes the content to the committer."""

    def __init__(self, state: State, scribe: Child) -> None:
        self._state = state
        self._scribe = scribe
        self._dirty = Dirty()
        self._sent = 0  # the newest entry that the scribe has been sent
        self._kept: int | None = None  # the oldest entry that no journal has, for its own is damaged
        self._filing: list[str] = []  # the files of the cut that is under way
        self.on_filed: Callable[[list[str]], None] = lambda paths: None
        self.committer: Committer | None = None
        self.sign: Callable[[Recorded], tuple[str, bytes]] | None = None  # the audit's head, as a file

    # --- what it holds ------------------------------------------------------------------------------------------------

    def grow(self, entries: Sequence[Recorded], changes: Sequence[Change], *, sent: int) -> None:
        """Add a durable batch; `sent` is the newest entry that the scribe has been sent."""
        self._sent = sent
        self._render(changes)
        urgent = False
        for item in entries:
            self._dirty.spills += [path for path, _ in item.spills]
            if item.entry.event.chained:
                self._dirty.head = item
            self._note(item.entry)
            urgent = urgent or bool(item.entry.event.headline)
        if self.committer and entries:
            self.committer.touch(now=urgent)

    def ask_for_commit(self) -> None:
        """Request a commit soon."""
        if self.committer:
            self.committer.touch(now=True)

    def recovered(self, groups: Sequence[wal.Entries], committed: int, changes: Sequence[Change]) -> None:
        """Add, at the start, what the log has above `committed`, with Records, pending files and spills.

        The scribe has counted the journals themselves as changed.
        """
        self._render(changes)
        for where, line in (one for group in groups for one in group):
            if line["n"] > committed:
                folder = where.removesuffix("/journal")
                named = (spills.place_of(folder, name) for name in encoding.spilled(line["data"]))
                # Text that only looks like a reference (in a caller's metadata) names no file.
                self._dirty.spills += [path for path in named if spills.exists(self._state.root, path)]
                entry = events.decode(line)
                if entry.event.chained:  # its signature may be lost, or not committed
                    self._dirty.head = Recorded(entry, where, orjson.dumps(line))
                self._note(entry)

    def _note(self, entry: Entry) -> None:
        dirty = self._dirty
        dirty.first = dirty.first or entry.n
        dirty.others = dirty.others or not (is_edit(entry.event) or entry.event.chained)
        if (step := _STEPS.get(type(entry.event))) is not None:
            step(self, entry)
        if entry.session:
            dirty.sessions[entry.session] = None
        if entry.run:
            dirty.runs[entry.run] = None
        if entry.event.headline:
            dirty.actors[entry.actor] = None
            if len(dirty.headlines) < HEADLINES:
                dirty.headlines.append(headline(entry, self._asked, self._named))

    def _fork(self, entry: Entry) -> None:
        event: Any = entry.event
        self._dirty.spills += forks.paths(event.path, event)

    def _delete_asset(self, entry: Entry) -> None:
        event: Any = entry.event
        self._dirty.spills = [path for path in self._dirty.spills if not path.startswith(f"{event.path}/")]
        self._dirty.removes.append(event.path)

    def _store_asset(self, entry: Entry) -> None:
        event: Any = entry.event
        self._dirty.removes = [path for path in self._dirty.removes if path != event.path]
        self._dirty.spills += assets.files_of(event)

    def _change_observations(self, entry: Entry) -> None:
        event: Any = entry.event
        self._dirty.spills += observations.files_of(event)
        self._dirty.deletes += getattr(event, "files", ())

    def _name_playbook(self, entry: Entry) -> None:
        event: Any = entry.event
        self._dirty.playbooks[f"{event.playbook_id}@{event.version}"] = None

    def _remove(self, entry: Entry) -> None:
        """Remove a deleted session's folder with the next cut, and its pending content."""
        tomb = session_end.tombstone(entry)
        dirty, inside = self._dirty, f"{tomb['path']}/"
        for key, change in list(dirty.records.items()):
            if change.session == tomb["session_id"]:
                del dirty.records[key]
                if change.noun.pending:
                    dirty.deletes.append(f"pending/{change.noun.pending}/{change.id}.yaml")
        dirty.spills = [path for path in dirty.spills if not path.startswith(inside)]
        dirty.removes += [tomb["path"], Place("session", tomb["session_id"]).folder]

    def _render(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.value is not None and _has_file(change):
                if change.noun.recorded(change.value):
                    self._dirty.records[change.noun.name, change.id] = change
                else:
                    self._dirty.records.pop((change.noun.name, change.id), None)
            if isinstance(change.value, Flow):
                self._dirty.flows[change.id] = None
                self._dirty.playbooks[f"{change.value.playbook}@{change.value.version}"] = None

    def _asked(self, run_id: str | None) -> str:
        change = self._dirty.records.get(("run", run_id or ""))
        run = change.value if change else self._state.find(Run, run_id or "")
        text = next((item.text for item in run.request.items if isinstance(item.text, str)), "") if run else ""
        line = " ".join(text.split())
        return line if len(line) <= 72 else f"{line[:71]}…"

    def _named(self, flow_id: str) -> str:
        """Return the Playbook version of a Flow."""
        change = self._dirty.records.get(("flow", flow_id))
        flow = change.value if change else self._state.find(Flow, flow_id)
        return f"{flow.playbook}@{flow.version}" if flow else flow_id

    # --- edits and put-backs ------------------------------------------------------------------------------------------

    def edited(self, paths: Sequence[str]) -> None:
        """Add a person's files that are valid (or gone) to the next commit."""
        for path in paths:
            self._dirty.edits[path] = None
        self.ask_for_commit()

    def authored(self, change: Committed) -> None:
        """Add a change of memory, which becomes a commit of its own; a user's only if `edits.commit` is auto."""
        if change.author.origin == "agent" or self._state.definitions.config.edits.commit == "auto":
            self._dirty.authored.append(authored.frame(change))
            self.ask_for_commit()

    def mend(self, kept: Sequence[str] = ()) -> None:
        """Mend changes to the daemon's files with the next commit.

        It puts back what the branch lacks, and has what was `kept` of the changes.
        """
        self._dirty.moved = True
        self._dirty.spills += kept
        self.ask_for_commit()

    def file(self, path: str, content: bytes, headline: str | None = None) -> None:
        """Add a file to the next commit, written with it. `on_filed` is called when it is there."""
        self._dirty.files[path] = content
        if headline is not None and len(self._dirty.headlines) < HEADLINES:
            self._dirty.headlines.append(headline)
        self.ask_for_commit()

    def rewrite(self, noun: str, id: str) -> None:
        """Rewrite a removed pending file with the next cut."""
        kind = self._state.nouns.by_name[noun]
        value: Any = self._state.find(kind.cls, id)
        if value is not None:
            part = self._state.sessions[value.session_id]
            change = Change(value.n, kind, id, part.session_id, part.path, value)
            self._dirty.records[noun, id] = change
            self.ask_for_commit()

    # --- cuts ---------------------------------------------------------------------------------------------------------

    @property
    def is_due(self) -> bool:
        """Whether there is something to commit."""
        return self._dirty.is_due

    async def gather(self) -> Cut | None:
        """Gather the next cut: all entries that are durable now, with Records as of then.

        `grow` adds nothing that is not durable and the scribe has been sent exactly these entries, so
        that its answer to a `cut` that is sent in this same moment is of the same N.
        """
        dirty = self._dirty
        journals: dict[str, tuple[int, str]] = {}
        if not dirty.is_due:
            return None
        while True:
            if (
                dirty.edits or dirty.authored
            ):  # what tells of an edit was appended before it, and belongs into the same commit
                await self._state.durable()
            dirty, n_to, sent, self._dirty = self._dirty, self._state.durable_n, self._sent, Dirty()
            try:
                answer = await self._scribe.request("cut")
                if "held" in answer:  # after the hold the scribe counts all that the log has as changed
                    raise hold.Held(answer["held"])
                if answer["n"] < sent:
                    raise Unavailable(f"Journals are at {answer['n']}, but were sent {sent}.")
            except ChildGone:
                self._give_back(dirty)  # `revive` starts it again, and asks for a commit
                return None
            except BaseException:
                self._give_back(dirty)
                raise
            journals |= answer["journals"]
            if answer["n"] <= n_to:
                break
            # A scribe that was started again has found more in the log than we have been told, and its Records lack.
            self._give_back(dirty)
            await self._state.durable()
        self._kept = answer["kept"]
        self._filing = list(dirty.files)
        records = [(_place(change), _document(change)) for change in dirty.records.values()]
        return Cut(
            n_from=dirty.first or n_to + 1,
            n_to=n_to,
            message=_message(dirty) if dirty.first or dirty.headlines else "",
            trailers=_trailers(dirty),
            author="person" if dirty.is_edit else None,
            journals=journals,
            records=records,
            pending=[_pending(change) for change in dirty.records.values() if change.noun.pending],
            edits=list(dirty.edits),
            authored=dirty.authored,
            files=[*dirty.files.items(), *([self.sign(dirty.head)] if self.sign and dirty.head else [])],
            spills=[path for path in dirty.spills if path not in gone]
            if (gone := set(dirty.deletes))
            else dirty.spills,
            deletes=dirty.deletes,
            removes=dirty.removes,
        )

    def _give_back(self, dirty: Dirty) -> None:
        now = self._dirty
        now.first = dirty.first or now.first
        now.moved = now.moved or dirty.moved
        now.others = now.others or dirty.others
        now.head = now.head or dirty.head
        now.records = {**dirty.records, **now.records}
        now.spills = [*dirty.spills, *now.spills]
        now.deletes = [*dirty.deletes, *now.deletes]
        now.removes = [*dirty.removes, *now.removes]
        now.authored = [*dirty.authored, *now.authored]
        for name in ("sessions", "runs", "actors", "playbooks", "flows", "edits", "files"):
            setattr(now, name, {**getattr(dirty, name), **getattr(now, name)})
        now.headlines = [*dirty.headlines, *now.headlines][:HEADLINES]

    def committed(self, n_to: int) -> int:
        """Report the files of a cut that was committed; return up to which entry the log need keep none."""
        filed, self._filing = self._filing, []
        if filed:
            self.on_filed(filed)
        return n_to if self._kept is None else min(n_to, self._kept - 1)


#: what the entries of some classes add to the next cut
_STEPS: Mapping[type[events.Event], Callable[[NextCut, Entry], None]] = {
    events.SessionDeleted: NextCut._remove,
    events.SessionForked: NextCut._fork,
    events.AssetDeleted: NextCut._delete_asset,
    events.AssetStored: NextCut._store_asset,
    events.AssetDerived: NextCut._store_asset,
    events.ObservationsStored: NextCut._change_observations,
    events.ObservationsPurged: NextCut._change_observations,
    **dict.fromkeys(PLAYBOOKS, NextCut._name_playbook),
}


def _has_file(change: Change) -> bool:
    return change.noun.filed is not None or change.noun.record is not None


def _place(change: Change) -> str:
    """Return the path of a Record, in the session's folder or relative to the state root."""
    if change.noun.filed is not None:
        return change.noun.filed(change.value)
    assert change.noun.record is not None
    name = change.noun.record.format(id=change.id)
    return f"{change.path}/{name}" if change.path else name


def _document(change: Change) -> dict[str, Any]:
    assert change.noun.view is not None
    view = change.noun.view(change.value)
    found: dict[str, Any] = encoding.plain(view)
    return outward(type(view), found) if isinstance(view, View) else found


def _pending(change: Change) -> tuple[str, dict[str, Any] | None, str]:
    path = f"pending/{change.noun.pending}/{change.id}.yaml"
    if change.value.status != "pending":
        return path, None, ""
    form, document = FORMS[change.noun.name], _document(change)
    return path, form.fields(document), form.blank(document)


def _message(dirty: Dirty) -> str:
    """Summarize the commit. If all of it is of one run, one Flow or one session, only the newest headline counts."""
    is_one = len(dirty.sessions) <= 1 and (len(dirty.runs) <= 1 or len(dirty.flows) == 1)
    headlines = dirty.headlines[-1:] if is_one else dirty.headlines
    return message(headlines, sessions=len(dirty.sessions), runs=len(dirty.runs))


def _trailers(dirty: Dirty) -> dict[str, list[str]]:
    named = {
        "Kheish-Session": dirty.sessions,
        "Kheish-Run": dirty.runs,
        "Kheish-Flow": dirty.flows,
        "Kheish-Playbook": dirty.playbooks,
        "Kheish-Actor": dirty.actors,
    }
    return {name: list(values)[:TRAILERS] for name, values in named.items() if values}
