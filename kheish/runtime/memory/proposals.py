"""Proposals of agents: made with the checks of a write, and applied on behalf of the user who accepts them."""

from __future__ import annotations

import asyncio
from typing import Literal

from kheish.domain.events import MemoryProposed, Spilled
from kheish.domain.memory import names, proposals as verbs
from kheish.domain.memory.ledger import Author
from kheish.domain.memory.names import Place
from kheish.domain.memory.proposals import NOUN, Decision, Proposal
from kheish.domain.patches import diffs, patch as patches
from kheish.domain.patches.patch import BadPatch
from kheish.domain.sessions.session import Session
from kheish.errors import MemoryChanged, MemoryFull, NotFound
from kheish.runtime.memory import catalog as listing
from kheish.runtime.memory.keeper import Keeper
from kheish.runtime.tools import truncate
from kheish.state import pins
from kheish.state.state import State
from kheish.store.git import textconv

_DIFF_BYTES = 12 * 1024  # a journal line has it whole


async def proposed(
    keeper: Keeper,
    place: Place,
    name: str,
    before: bytes | None,
    after: bytes | None,
    *,
    target: tuple[Place, str] | None,
    tainted_by: str | None,
) -> MemoryProposed:
    """Return the proposal of a change, which accepting would make. Raises as `Keeper.check`, MemoryFull."""
    state, path = keeper.state, place.path(name)
    if after is not None:
        await keeper.check(*(target or (place, name)), after, moved_from=path if target is not None else None)
    await _check_pending(state, place.folder)
    diff = _diff(path, target, before, after)
    short = truncate.middle(diff, _DIFF_BYTES)
    return MemoryProposed(
        proposal_id=verbs.new_id(),
        path=path,
        place=place.folder,
        operation="rename" if target is not None else "remove" if after is None else "write",
        diff=short,
        is_whole=short == diff,
        content=None if after is None or target is not None else after.decode("utf-8", "replace"),
        before=None if before is None else listing.digest(before),
        new_path=target[0].path(target[1]) if target is not None else None,
        tainted_by=tainted_by,
    )


def _diff(path: str, target: tuple[Place, str] | None, before: bytes | None, after: bytes | None) -> str:
    if target is not None:
        return f"rename from {path}\nrename to {target[0].path(target[1])}\n"
    whole = diffs.unified(path, before, after)
    return textconv.visible(whole) if whole is not None else f"{path}: the texts are too long to compare\n"


async def _check_pending(state: State, folder: str) -> None:
    """Raise MemoryFull if the place has as many pending proposals as it may."""
    await state.caught_up()
    count = await asyncio.to_thread(
        state.index.count, NOUN.name, ("pending",), at_most=names.MOST_PENDING, fields={"place": folder}
    )
    count += sum(
        1
        for (cls, _), change in state.unjournaled.items()
        if cls is Proposal and change.value.place == folder and change.value.n > state.journaled_n
    )
    if count >= names.MOST_PENDING:
        raise MemoryFull(
            f"{names.MOST_PENDING} proposals for {folder} wait for a user, and no more are kept.",
            limit="proposals",
        )


async def decide(
    keeper: Keeper, proposal_id: str, decision: Decision, *, by: str, via: Literal["api", "file"], reason: str | None
) -> None:
    """Accept a proposal, which makes its change on behalf of the user, or reject it.

    The file is written before the decision is recorded: a crash in between leaves a pending proposal that can be
    accepted again. Raises NotFound, ProposalDecided, MemoryChanged, and as `Keeper.write`.
    """
    state = keeper.state
    async with pins.thing(state, Proposal, proposal_id) as ended:
        if ended is not None:
            verbs.check_pending(ended)
        one = state.get(Proposal, proposal_id)
        verbs.check_pending(state.document(NOUN, one))
        if decision == "accept":
            await _apply(keeper, one, by)
        state.append(verbs.decided(state, proposal_id, decision, by=by, via=via, reason=reason))
    await state.durable()


async def _apply(keeper: Keeper, one: Proposal, by: str) -> None:
    author = Author(
        by=by,
        origin="person",
        via="proposal",
        run_id=one.run_id,
        session_id=one.session_id,
        tainted=one.tainted_by is not None,
    )
    source = names.file(one.path)
    if one.operation == "rename":
        await keeper.rename(author, source, names.file(one.new_path or ""), seen=one.before)
        return
    if one.operation == "remove":
        try:
            await keeper.remove(author, *source, seen=one.before)
        except NotFound:
            return  # it is gone, as the proposal wants it
        return
    content = (await _content(keeper.state, one)).encode()
    there = await keeper.content(one.path)
    if there.digest == one.before or there.digest == listing.digest(content):
        await keeper.write(author, *source, content, seen=there.digest)
        return
    await keeper.write(author, *source, _rebased(one, there.raw, content), seen=there.digest)


async def _content(state: State, one: Proposal) -> str:
    if isinstance(one.content, Spilled):
        return await state.payloads.text(state.get(Session, one.session_id).path, one.content)
    return one.content or ""


def _rebased(one: Proposal, there: bytes | None, content: bytes) -> bytes:
    """Return the change on the present content of a file that changed since the proposal.

    Raises MemoryChanged with both versions if the lines around the change differ.
    """
    pieces = diffs.pieces(one.diff) if one.is_whole else {}
    patch = pieces[one.path].patch if one.path in pieces else None
    if patch is not None and there is not None and one.before is not None:
        try:
            after = patches.apply(patch, there)
        except BadPatch:
            after = None
        if after is not None:
            return after
    raise MemoryChanged(
        f"{one.path} changed since the proposal {one.proposal_id}, in the same lines. Edit the file, or reject.",
        current=_version(there),
        yours=_version(content),
    )


def _version(raw: bytes | None) -> dict[str, str] | None:
    return None if raw is None else {"digest": listing.digest(raw), "content": raw.decode("utf-8", "replace")}
