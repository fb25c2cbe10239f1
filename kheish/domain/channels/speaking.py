"""The steps of turns as entries: a lease with its run, its message, its end. Each step is one group.

A kill before a group is durable leaves nothing of it, and a kill after it leaves all. The message of a turn is in the
group that ends it, and a turn ends once (`turn.MOVES`): so it appears exactly once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kheish import ids
from kheish.domain import events, intake
from kheish.domain.assets import asset as assets
from kheish.domain.channels import arbitrate, away, channel as channels, framing, posting, rooms
from kheish.domain.channels.addressing import mentions
from kheish.domain.channels.arbitrate import Grant, Room
from kheish.domain.channels.channel import CHANNELS, LOOP_GUARD, key_of
from kheish.domain.channels.framing import Seen
from kheish.domain.channels.thread import Thread
from kheish.domain.channels.turn import Reply, Turn, TurnState
from kheish.domain.events import CHANNEL_TURN, Draft
from kheish.domain.events.channels import Author, Passed, PostBody
from kheish.domain.runs import Run
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.errors import Conflict

if TYPE_CHECKING:
    from kheish.domain.events.channels import TurnEnd
    from kheish.state.state import State

#: the end of a run → the state of a turn that has a message
_ENDS: Mapping[str, TurnEnd] = {"completed": "posted", "failed": "posted"}
_REASON_CHARACTERS = 500
#: the reason of the end of a turn whose holder left
NO_MEMBER = "it is no member any more"


def room(state: State, channel_id: str) -> Room:
    """Return what a decision about a loaded channel reads. Raises NotFound without a definition."""
    file, now = rooms.file_of(state, channel_id), state.clock()
    part = state.owners[f"{CHANNELS}/{channel_id}"]
    return Room(
        channel=channels.find(state, channel_id),
        file=file,
        threads=tuple(part.tables[Thread].values()),
        turns=tuple(part.tables[Turn].values()),
        now=now,
        load={one.member: count for one in file.agents if (count := _load(state, one.session or ""))},
        away=away.of(state).reasons(file, now),
    )


def _load(state: State, session_id: str) -> int:
    """Return the number of unfinished runs of a session; one that is not in memory has none."""
    part = state.sessions.get(session_id)
    session = part.tables[Session].get(session_id) if part is not None else None
    return len(session.queued) + (session.active is not None) if session is not None else 0


def actor(channel_id: str) -> str:
    """Return the actor of a channel's runs."""
    return f"channel:{channel_id}"


def start(state: State, room: Room, grant: Grant, names: Mapping[str, str], seen: Seen) -> str:
    """Append a lease with the run of its turn, in one group; the member's session is loaded, and so are the assets of
    the messages. Returns the run's id.

    Raises as `intake.submit`.
    """
    place, channel_id = grant.place, room.channel.channel_id
    me, run_id = room.file.by_id[place.member], ids.new("run")
    thread = state.get(Thread, key_of(channel_id, place.thread))
    session_id = me.session or ""
    given = intake.Input(
        session_id=session_id,
        items=tuple(
            item
            for item in framing.task(channel_id, room.file, names, thread, me, seen)
            if item.asset_id is None or assets.find(state, item.asset_id) is not None
        ),
        actor=actor(channel_id),
        source="channel",
        kind=CHANNEL_TURN,
        metadata={"channel": channel_id, "thread": place.thread, "turn_id": place.turn_id, "member": place.member},
        run_id=run_id,
    )
    # An input contract is for callers; a thread is none.
    given = replace(given, checked=intake.schemas_key(sessions.accepting(state, session_id), given))
    granted = events.TurnGranted(
        channel_id=channel_id,
        turn_id=place.turn_id,
        thread=place.thread,
        member=place.member,
        session_id=session_id,
        run_id=run_id,
        expires_at=ids.stamp(grant.expires_at),
        replies_left=grant.replies_left,
        rank=place.rank,
        upto=thread.n,
    )
    taken = events.ChannelTurnTaken(
        channel=channel_id, thread=place.thread, turn_id=place.turn_id, tainted_by=seen.tainted_by
    )
    by = actor(channel_id)
    intake.submit(state, given, by=by, beside=[granted.on(by=by), taken.on(session_id, run_id, by=by)])
    return run_id


def renewed(step: arbitrate.Renew) -> Draft:
    """Return the entry of a lease that continues."""
    turn = step.turn
    return events.TurnRenewed(
        channel_id=turn.channel_id, turn_id=turn.turn_id, expires_at=ids.stamp(step.expires_at)
    ).on()


def ended(turn: Turn, state: TurnEnd, reason: str | None) -> Draft:
    """Return the entry of the end of a lease; a run that completed has a reason for none."""
    if reason is not None:
        text = reason[:_REASON_CHARACTERS]
        return events.TurnEnded(channel_id=turn.channel_id, turn_id=turn.turn_id, state=state, reason=text).on()
    return events.TurnEnded(
        channel_id=turn.channel_id, turn_id=turn.turn_id, state=state, shown_to=turn.session_id, upto=turn.upto
    ).on()


def left(turn: Turn) -> Draft:
    """Return the entry of the end of a lease whose holder is no member any more; its message does not appear."""
    return ended(turn, "expired", NO_MEMBER)


def closed(step: arbitrate.Close) -> Draft:
    """Return the entry of the end of a thread's turns."""
    passed = tuple(Passed(turn_id=one.turn_id, member=one.member, rank=one.rank) for one in step.passed)
    thread = step.thread
    return events.TurnsClosed(
        channel_id=thread.channel_id, thread=thread.base.thread_id, reason=step.reason, passed=passed
    ).on()


def guarded(channel_id: str) -> Draft:
    """Return the pause of a channel in which agents posted too much."""
    return events.ChannelPaused(channel_id=channel_id, reason=LOOP_GUARD).on()


# --- the message of a turn --------------------------------------------------------------------------------------------


def turn_of(state: State, run: Run) -> Turn | None:
    """Return the turn that a run has a lease for; its channel is loaded. What a caller wrote into the metadata of a run
    proves nothing: the turn names its run."""
    turn = state.find(Turn, str(run.request.metadata.get("turn_id")))
    return turn if turn is not None and turn.run_id == run.run_id and turn.state is TurnState.GRANTED else None


def reply(turn: Turn, given: Reply, *, by: str) -> Draft:
    """Return the entry of a turn's message, which appears when the run ends. Raises Conflict for a second one."""
    if turn.reply is not None:
        raise Conflict("You have posted in this turn already; a turn has one message.")
    replied = events.TurnReplied(
        channel_id=turn.channel_id, turn_id=turn.turn_id, message_id=given.message_id, text=given.text,
        reply_to=given.reply_to, replied_to=given.replied_to, attachments=given.attachments,
        tainted_by=given.tainted_by,
    )  # fmt: skip
    return replied.on(by=by)


def settle(state: State, turn: Turn, status: str, reason: str | None, names: Mapping[str, str]) -> list[Draft]:
    """Return the group that ends a turn whose run has ended: its message, unless the run was stopped, and its end. An
    agent that is no member any more posts nothing."""
    file = rooms.find_file(state, turn.channel_id)
    if file is not None and not file.has(turn.member, turn.session_id):
        return [left(turn)]
    end = _ENDS.get(status, "silent") if turn.reply is not None else "silent"
    drafts = [_message(state, turn, turn.reply, names)] if turn.reply is not None and end == "posted" else []
    why = None if status == "completed" else f"its run {status}{f': {reason}' if reason else ''}"
    return [*drafts, ended(turn, end, why)]


def _message(state: State, turn: Turn, given: Reply, names: Mapping[str, str]) -> Draft:
    file = rooms.find_file(state, turn.channel_id)
    spends = file is not None and file.policy.agent_mentions == "spend"
    mentioned = tuple(one for one in mentions(given.text, names) if one != turn.member)
    thread = state.get(Thread, key_of(turn.channel_id, turn.thread))
    body = PostBody(
        message_id=given.message_id,
        thread=turn.thread,
        author=Author(
            kind="agent",
            member=turn.member,
            name=names.get(turn.member, turn.member),
            session_id=turn.session_id,
            via=f"run:{turn.run_id}",
        ),
        text=given.text,
        at=ids.stamp(state.clock()),
        reply_to=given.reply_to,
        replied_to=given.replied_to,
        addressed=mentioned,
        mentioned=mentioned if spends else (),
        attachments=given.attachments,
        turn_id=turn.turn_id,
        tainted_by=given.tainted_by,
    )
    return posting.posted(turn.channel_id, body, thread).on(by=actor(turn.channel_id))
