"""What stays in memory, what the index has, and what other parts of the daemon use: threads that they open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kheish import ids
from kheish.domain import events
from kheish.domain.channels import posting, proposing, rooms, threads
from kheish.domain.channels.channel import CHANNELS
from kheish.domain.channels.definition import ChannelFile
from kheish.domain.channels.post import Post, Reactions
from kheish.domain.channels.posting import Wanted
from kheish.domain.channels.proposal import Proposal
from kheish.domain.channels.proposing import Wish
from kheish.domain.channels.thread import Thread
from kheish.domain.definitions import Definition
from kheish.domain.events.channels import Author, Passed
from kheish.errors import Conflict, Forbidden, Invalid, NotFound, TooMany
from kheish.state import pins
from tests.support.stateful import Played

ADA = Author(kind="human", member=None, name="ada", via="token:ada")
BOB = Author(kind="human", member=None, name="bob", via="token:bob")


@pytest.fixture
def p(tmp_path: Path) -> Played:
    p = Played(tmp_path)
    value = ChannelFile.model_validate({"members": [{"member": "db", "kind": "agent", "session": "db"}]})
    p.state.definitions.by_kind["channels"]["room"] = Definition(
        kind="channels", id="room", path="channels/room.yaml", value=value, data={}, raw=b"", digest=""
    )
    return p


async def post(p: Played, text: str, thread: str | None = None, **more: Any) -> str:
    wanted = Wanted(text=text, thread=thread, message_id=ids.new("post"), **more)
    async with rooms.changing(p.state, "room"):
        p.state.append(*await posting.compose(p.state, "room", ADA, wanted, opens=True, by="token:ada"))
    p.flush()
    return wanted.message_id or ""


def close(p: Played, thread: str) -> None:
    passed = (Passed(turn_id="turn_1", member="db", rank=()),)
    p.state.append(events.TurnsClosed(channel_id="room", thread=thread, reason="x", passed=passed).on())
    p.flush()


def held(p: Played, cls: type) -> int:
    return len(p.state.owners[f"{CHANNELS}/room"].tables[cls])


async def test_memory_has_open_turns_and_no_messages(p: Played) -> None:
    async with pins.owner(p.state, CHANNELS, "room"):
        roots = [await post(p, f"message {number}") for number in range(30)]
        assert (held(p, Post), held(p, Thread)) == (0, 30)
        for root in roots:
            close(p, root)
        assert (held(p, Post), held(p, Thread), held(p, Reactions)) == (0, 0, 0)
        await post(p, "again", roots[0])
        thread = await threads.recall(p.state, "room", roots[0])
        assert (thread.base.messages, thread.base.title, held(p, Thread)) == (2, "message 0", 1)
        assert (await rooms.recall_post(p.state, "room", roots[3])).body.text == "message 3"


async def test_a_replay_from_any_entry_gives_the_same(p: Played) -> None:
    """An index that lacks the last entries is brought up to date from there, and one that lacks all from the start."""
    root = await post(p, "first")
    close(p, root)
    async with rooms.changing(p.state, "room"):
        for emoji, author in (("👀", ADA), ("👀", BOB), ("👍", ADA)):
            drafts = await posting.react(p.state, "room", root, emoji, author, is_added=True, by="x")
            p.state.append(*drafts)
        assert not await posting.react(p.state, "room", root, "👍", ADA, is_added=True, by="x")
        p.state.append(*await posting.edit(p.state, "room", root, "second", ADA, by="x"))
        with pytest.raises(Forbidden):
            await posting.edit(p.state, "room", root, "third", BOB, by="x")
    p.flush()
    await post(p, "a reply", root)
    docs = [p.state.index.thing(noun, f"room/{root}") for noun in ("post", "channel_thread", "channel_reactions")]
    assert docs[0] and docs[0]["text"] == "second" and docs[2] and docs[2]["reactions"][0]["by"] == [
        "human:ada", "human:bob"
    ]  # fmt: skip
    from kheish.domain.nouns import NOUNS
    from kheish.state import streams

    changes: dict[tuple[str, str], Any] = {}
    for portion in streams.changes_after(p.root, NOUNS, "journals/channels/room", 0, (), index=None, whole=True):
        changes |= {(one.noun.name, one.id): one.value for one in portion}
    for noun, doc in zip(("post", "channel_thread", "channel_reactions"), docs, strict=True):
        value = changes[noun, f"room/{root}"]
        assert p.state.document(NOUNS.by_name[noun], value) == doc


async def test_a_thread_for_a_task_is_opened_in_one_group(p: Played) -> None:
    about = [{"kind": "project_task", "id": "p/1"}]
    async with pins.owner(p.state, CHANNELS, "room"):
        id, drafts = threads.open_thread(p.state, "room", "Task 1", by="projects:p", about=about)
        p.state.append(*drafts)
        p.flush()
    async with rooms.changing(p.state, "room"):
        thread = await threads.recall(p.state, "room", id)
        assert (thread.base.about[0].id, thread.is_active) == ("p/1", False), "the daemon opens no turns"
        p.state.append(*threads.post_notice(p.state, thread, "It is done", by="projects:p"))
        thread = await threads.recall(p.state, "room", id)
        p.state.append(*threads.set_status(p.state, thread, "resolved", by="projects:p"))
        assert not threads.set_status(p.state, await threads.recall(p.state, "room", id), "resolved", by="x")
        p.flush()
        thread = await threads.recall(p.state, "room", id)
        assert (thread.base.status, thread.base.messages) == ("resolved", 2)
        with pytest.raises(Invalid):
            threads.set_status(p.state, thread, "lost", by="x")
    with pytest.raises(NotFound):
        threads.open_thread(p.state, "other", "x", by="x")
    page = p.state.index.things("channel_thread", limit=5, fields={"about_keys": "project_task/p/1", "channel": "room"})
    assert [one["thread"] for one in page.items] == [id]


async def test_proposals_have_quotas_and_an_end(p: Played) -> None:
    now = p.state.clock()
    async with pins.owner(p.state, CHANNELS, "room"):
        for number in range(proposing.AN_HOUR):
            wish = Wish(kind="topic", dedupe_key=f"k{number}", text="x", by="agent:a", expires_at=ids.stamp(now + 60))
            p.state.append(*proposing.propose(p.state, "room", wish)[1])
            with pytest.raises(TooMany):
                proposing.propose(p.state, "room", Wish(kind="topic", dedupe_key="other", text="x", by="agent:a"))
            drafts, due = proposing.expired(p.state, "room", now)
            assert not drafts and due is not None
            p.state.append(*proposing.expired(p.state, "room", now + 61)[0])
        with pytest.raises(TooMany, match="4 proposals"):
            proposing.propose(p.state, "room", Wish(kind="topic", dedupe_key="fifth", text="x", by="agent:a"))
        other = Wish(kind="topic", dedupe_key="x", text="x", by="agent:b", proposal_id="prop_1")
        p.state.append(*proposing.propose(p.state, "room", other)[1])
        assert proposing.propose(p.state, "room", other) == ("prop_1", []), "a call that runs again"


def proposal(p: Played, id: str) -> Proposal:
    return proposing.find(p.state, "room", id)


async def test_a_join_keeps_what_the_first_author_wrote(p: Played) -> None:
    """A person accepts the words that were shown, under the name of the one who wrote them."""
    async with pins.owner(p.state, CHANNELS, "room"):
        until = ids.stamp(p.state.clock() + 60)
        first = Wish(kind="topic", dedupe_key="k", text="Replace the switch", by="token:ann", expires_at=until)
        id, drafts = proposing.propose(p.state, "room", first)
        p.state.append(*drafts)
        shown = proposal(p, id)
        later = ids.stamp(p.state.clock() + 9999)
        evil = Wish(
            kind="event", dedupe_key="k", text="Drop the table", by="agent:x", expires_at=later, thread="other",
            tainted_by="web_fetch",
        )  # fmt: skip
        p.state.append(*proposing.propose(p.state, "room", evil)[1])
        joined = proposal(p, id)
        same = ("text", "by", "kind", "expires_at", "thread", "tainted_by", "digest")
        assert [getattr(joined, name) for name in same] == [getattr(shown, name) for name in same]
        assert joined.count == 2
        proposing.check_shown(joined, shown.digest)
        with pytest.raises(Conflict, match="read it again"):
            proposing.check_shown(joined, "0" * 64)
        p.flush()
        assert "Drop the table" in str(p.lines[-1]), "the journal has it"
        assert p.state.index.thing("channel_proposal", f"room/{id}")["text"] == "Replace the switch"  # type: ignore[index]


async def test_a_join_counts_for_the_quota_of_its_author(p: Played) -> None:
    async with pins.owner(p.state, CHANNELS, "room"):
        first = Wish(kind="topic", dedupe_key="k", text="x", by="agent:a")
        p.state.append(*proposing.propose(p.state, "room", first)[1])
        for _ in range(proposing.AN_HOUR):
            p.state.append(*proposing.propose(p.state, "room", Wish(kind="topic", dedupe_key="k", text="y", by="b"))[1])
        with pytest.raises(TooMany, match="4 proposals"):
            proposing.propose(p.state, "room", Wish(kind="topic", dedupe_key="k", text="y", by="b"))
        p.state.append(*proposing.propose(p.state, "room", first)[1])  # the first author has three left
        for _ in range(proposing.OPEN_OF_DAEMON):
            news = Wish(kind="event", dedupe_key="k", text="z", by=proposing.DAEMON)
            p.state.append(*proposing.propose(p.state, "room", news)[1])


def member(person: str, token: str) -> Author:
    return Author(kind="human", member="ann", name="ann", via=f"token:{token}", person=person)


async def test_a_message_is_its_authors_whatever_the_members_are_called(p: Played) -> None:
    ann, bob = member("Ann", "ann-op"), member("Bob", "bob-op")
    wanted = Wanted(text="mine", message_id="m")
    async with rooms.changing(p.state, "room"):
        p.state.append(*await posting.compose(p.state, "room", ann, wanted, opens=True, by="token:ann-op"))
        p.state.append(*await posting.react(p.state, "room", "m", "👍", ann, is_added=True, by="x"))
        p.flush()
        with pytest.raises(Forbidden):
            await posting.edit(p.state, "room", "m", "yours", bob, by="x")
        with pytest.raises(Forbidden):
            await posting.remove(p.state, "room", "m", bob, may_moderate=False, by="x")
        assert not await posting.react(p.state, "room", "m", "👍", bob, is_added=False, by="x"), "that is Ann's"
        guest = Author(kind="human", member=None, name="ann-2", via="token:ann-2", person="Ann")
        assert await posting.edit(p.state, "room", "m", "as a guest", guest, by="x"), "no longer listed, another token"
        assert await posting.react(p.state, "room", "m", "👍", guest, is_added=False, by="x")
        assert await posting.remove(p.state, "room", "m", guest, may_moderate=False, by="x")


async def test_a_token_without_a_person_is_the_author_by_its_name(p: Played) -> None:
    """A guest with the name of a member is not that member."""
    one = Author(kind="human", member="ann", name="ann", via="token:t")
    wanted = Wanted(text="mine", message_id="m")
    async with rooms.changing(p.state, "room"):
        p.state.append(*await posting.compose(p.state, "room", one, wanted, opens=True, by="token:t"))
        p.flush()
        other = Author(kind="human", member="ann", name="ann", via="token:u")
        with pytest.raises(Forbidden):
            await posting.edit(p.state, "room", "m", "yours", other, by="x")
        assert await posting.edit(p.state, "room", "m", "still mine", Author(
            kind="human", member=None, name="t", via="token:t", person="Tom"), by="x")  # fmt: skip
