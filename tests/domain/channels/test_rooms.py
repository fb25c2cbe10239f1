"""Random rooms, with kills between any two groups of entries: each decision is the model's, and no turn is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings, strategies as st

from kheish import ids
from kheish.authoring.problems import Problems
from kheish.daemon.reactors.channels import Channels
from kheish.daemon.rows import row
from kheish.domain import events
from kheish.domain.channels import posting, rooms, speaking
from kheish.domain.channels.channel import CHANNELS
from kheish.domain.channels.definition import ChannelFile
from kheish.domain.channels.posting import Wanted
from kheish.domain.channels.turn import Reply, Turn
from kheish.domain.definitions import Definition
from kheish.domain.events.channels import Author
from kheish.domain.runs import Run, Status
from kheish.errors import Conflict
from kheish.state import pins
from kheish.state.encoding import Recorded
from kheish.store.log import segments
from tests.domain.channels.model import History, Member, Rules
from tests.support.stateful import Played

NOW = 1_800_000_000.0
MODES = ("manual_only", "selected_only", "prefer_selected", "always_listen")
TAGS = ("db", "net", "ui")
ADA = Author(kind="human", member=None, name="ada", via="token:ada")


class Clock:
    """A clock that a test moves."""

    now = NOW

    def __call__(self) -> float:
        return self.now


class Heard(Played):
    """A log whose durable entries reach a reactor."""

    def take(self, groups: int | None = None) -> list[Recorded]:
        """Make some of the pending groups durable, and return their entries."""
        taken, self.groups = self.groups[:groups], self.groups[len(self.groups[:groups]) :]
        heard: list[Recorded] = []
        for group in taken:
            lines, rows = segments.by_journal(orjson.loads(group.body))
            for where, entries in lines.items():
                self.journals.append(where, entries)
            self.lines += [entry for _, entry in orjson.loads(group.body)]
            recorded, changes = self.state.made_durable(group.last)
            self.index.apply(rows, [row(change) for change in changes], group.last)
            self.state.made_journaled(group.last)
            heard += recorded
        return heard


class Room:
    """One channel, the reactor, and what people, models and kills do."""

    def __init__(self, root: Path, file: dict[str, Any]) -> None:
        self.clock = Clock()
        self.p = Heard(root, clock=self.clock)
        self.root = root
        self.kills = 0
        self.files: list[tuple[int, Rules]] = []
        for one in file["members"]:
            self.p.session(one["session"])
        self.define(file)
        self.p.take()

    def define(self, file: dict[str, Any]) -> None:
        self.file = file
        value = ChannelFile.model_validate(file)
        self.p.state.definitions.by_kind["channels"]["room"] = Definition(
            kind="channels", id="room", path="channels/room.yaml", value=value, data={}, raw=b"", digest=""
        )
        policy, members = file["policy"], file["members"]
        given = [
            Member(one["member"], one["session"], one["participation"], one.get("muted", False)) for one in members
        ]
        cooldown, lease = (float(policy[name].removesuffix("s")) for name in ("cooldown", "lease"))
        rules = Rules(given, policy["speakers"], policy["replies"], cooldown, lease, policy["posts_per_hour"])
        self.files.append((self.p.state.n, rules))
        changed = events.DefinitionChanged(
            path="channels/room.yaml", definition="channels", id="room", change="changed"
        )
        self.p.state.append(changed.on())

    async def begin(self) -> None:
        """What a daemon does at its start."""
        self.reactor = Channels(self.p.state, Problems(self.root))
        await self.reactor.prepare()
        await self.reactor.start()
        await self.pump()

    async def pump(self, rounds: int | None = None) -> None:
        """Let the reactor react, until nothing is pending, or for some rounds."""
        while rounds is None or rounds > 0:
            rounds = rounds - 1 if rounds is not None else None
            if heard := self.p.take():
                self.reactor.heard(heard)
            while tasks := [*self.reactor._driving.values(), *self.reactor._work]:
                await asyncio.wait(tasks, timeout=0.002)
                if self.p.state.waiting.barriers:  # a step waits until what it has seen is durable
                    self.reactor.heard(self.p.take())
            if not self.p.groups:
                return

    async def kill(self, keep: int) -> None:
        """Lose the pending groups but the first ones, and start again."""
        self.kills += 1
        await self.reactor.close()
        self.p.take(keep)
        self.p.groups = []
        again = self.p.restart(clock=self.clock)
        again.lines = self.p.lines
        streams = [one["stream"] for one in again.lines if "/" not in one.get("stream", "/")]
        again.state.streams = {name: streams.count(name) for name in streams}  # of what is durable
        self.p.index.close()
        self.p = Heard.__new__(Heard)
        self.p.__dict__ = again.__dict__
        self.p.state._submit = self.p.submit
        await self.begin()

    # --- what happens -------------------------------------------------------------------------------------------------

    async def post(self, text: str, addressed: Sequence[str], thread: str | None) -> None:
        async with rooms.changing(self.p.state, "room"):
            wanted = Wanted(text=text, addressed=tuple(addressed), thread=thread, message_id=ids.new("post"))
            drafts = await posting.compose(self.p.state, "room", ADA, wanted, opens=True, by="token:ada")
            self.p.state.append(*drafts)

    async def edit(self, message_id: str, text: str) -> None:
        async with rooms.changing(self.p.state, "room"):
            if drafts := await posting.edit(self.p.state, "room", message_id, text, ADA, by="token:ada"):
                self.p.state.append(*drafts)

    @property
    def threads(self) -> list[str]:
        """The threads that no kill has taken."""
        posts = [one["data"]["post"] for one in self.p.lines if one["kind"] == "channel.posted"]
        return [one["thread"] for one in posts if one["thread"] == one["message_id"]]

    def open_runs(self) -> list[Run]:
        return [run for run in self.p.state.loaded(Run) if not run.is_final]

    async def speak(self, run: Run, text: str | None, end: str) -> None:
        """A model's turn: perhaps a message, and the end of its run."""
        if run.status is Status.QUEUED:
            if run.run_id != min(
                (one.run_id for one in self.open_runs() if one.session_id == run.session_id), default=""
            ):
                return
            self.p.move(run.run_id, events.RunStarted())
        if text is not None:
            async with pins.owner(self.p.state, CHANNELS, "room"):
                turn = speaking.turn_of(self.p.state, run)
                if turn is not None:
                    given = Reply(message_id=ids.new("post"), text=text)
                    try:
                        self.p.state.append(speaking.reply(turn, given, by="agent"))
                    except Conflict:
                        assert turn.reply is not None
        last = {"completed": events.RunCompleted(output=""), "cancelled": events.RunCancelled(),
                "failed": events.RunFailed(error=events.RunError(code="x", message="y"))}  # fmt: skip
        if end in last:
            self.p.move(run.run_id, last[end])

    async def tick(self, seconds: float) -> None:
        self.clock.now += seconds
        await self.reactor.tick(ids.stamp(self.clock.now))

    # --- what must hold -----------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Let all models be silent until nothing moves, however long it takes. Whenever the loop guard pauses the
        channel, a person resumes it."""
        for _ in range(400):
            await self.resume()
            await self.pump()
            runs = self.open_runs()
            if not runs and not self.p.groups and not await self.waits():
                return
            for run in runs[:1]:
                stopped = run.stop_requested is not None
                await self.speak(run, None, "cancelled" if stopped else "completed")
            await self.tick(10.0)
        raise AssertionError("it does not come to rest")

    async def resume(self) -> None:
        async with pins.owner(self.p.state, CHANNELS, "room"):
            if speaking.room(self.p.state, "room").channel.is_paused:
                self.p.state.append(events.ChannelResumed(channel_id="room").on())

    async def waits(self) -> bool:
        async with pins.owner(self.p.state, CHANNELS, "room"):
            room = speaking.room(self.p.state, "room")
            return bool(room.turns) or any(one.floor for one in room.threads)

    def judge(self, *, is_quiet: bool) -> None:
        history = History(self.files[0][1])
        files = self.files[1:]
        for line in self.p.lines:
            while files and files[0][0] < line["n"]:
                history.rules = files.pop(0)[1]
            history.add(line)
        if is_quiet:
            history.quiet(self.clock.now)
        assert not history.faults, history.faults
        ended = {one["data"]["turn_id"] for one in self.p.lines if one["kind"] == "channel.turn_ended"}
        assert ended == history.granted or not is_quiet


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, draw(st.sampled_from([3, 6, 20]))))
    members = [
        {
            "member": f"m{number:02}", "kind": "agent", "session": f"s{number:02}",
            "participation": draw(st.sampled_from(MODES)), "muted": draw(st.integers(0, 5)) == 0,
            "tags": draw(st.lists(st.sampled_from(TAGS), max_size=2, unique=True)),
        }
        for number in range(count)
    ]  # fmt: skip
    policy = {
        "speakers": draw(st.integers(1, 3)), "replies": draw(st.integers(0, 4)),
        "cooldown": draw(st.sampled_from(["0s", "15s"])), "lease": "60s",
        "agent_mentions": draw(st.sampled_from(["off", "spend"])), "posts_per_hour": draw(st.sampled_from([4, 60])),
    }  # fmt: skip
    return {"members": members, "policy": policy}


async def act(room: Room, data: st.DataObject) -> None:
    """One thing that happens, whatever it is."""
    names = [one["member"] for one in room.file["members"]]
    runs = room.open_runs()
    what = data.draw(st.sampled_from(["post", "speak", "speak", "speak", "edit", "tick", "mute", "pause"]))
    if what == "post" or (what == "speak" and not runs):
        to = data.draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
        thread = data.draw(st.sampled_from([None, *room.threads[-2:]]))
        await room.post(data.draw(st.sampled_from(["hello", "the #db is slow", f"@{names[0]} see ui"])), to, thread)
    elif what == "speak":
        run = data.draw(st.sampled_from(sorted(runs, key=lambda one: one.run_id)))
        text = data.draw(st.sampled_from([None, "I see", f"over to @{names[-1]} and @{names[0]}"]))
        await room.speak(
            run, text, data.draw(st.sampled_from(["completed", "completed", "failed", "cancelled", "open"]))
        )
    elif what == "edit" and room.threads:
        number = data.draw(st.integers(0, 9))  # the same text changes nothing
        await room.edit(data.draw(st.sampled_from(room.threads[-2:])), f"hello {number}")
    elif what == "tick":
        await room.tick(data.draw(st.sampled_from([1.0, 16.0, 61.0])))
    elif what == "mute":
        chosen = data.draw(st.sampled_from(names))
        members = [{**one, "muted": not one["muted"]} if one["member"] == chosen else one
                   for one in room.file["members"]]  # fmt: skip
        room.define({**room.file, "members": members})
    elif what == "pause":
        room.p.state.definitions.get("channels", "room")
        async with pins.owner(room.p.state, CHANNELS, "room"):
            is_paused = speaking.room(room.p.state, "room").channel.is_paused
            event: Any = events.ChannelResumed if is_paused else events.ChannelPaused
            room.p.state.append(event(channel_id="room").on())


async def live(root: Path, data: st.DataObject) -> None:
    room = Room(root, data.draw(files()))
    await room.begin()
    try:
        for _ in range(data.draw(st.integers(1, 15))):
            await act(room, data)
            if data.draw(st.integers(0, 3)) == 0:
                await room.pump(data.draw(st.integers(0, 2)))
                await room.kill(data.draw(st.integers(0, len(room.p.groups))))
            await room.pump()
        room.judge(is_quiet=False)
        await room.finish()
        room.judge(is_quiet=True)
        assert not [one for one in room.p.state.loaded(Turn) if one.ended_at is None]
    finally:
        await room.reactor.close()
        room.p.index.close()


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_each_decision_is_that_of_the_model(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder), data))
