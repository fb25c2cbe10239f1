"""The skills in a conversation: those that a compaction keeps."""

from __future__ import annotations

from kheish.domain import messages
from kheish.domain.events import KeptSkill, SkillUse, changed
from kheish.domain.sessions.session import Session
from kheish.runtime import fitting, windows
from kheish.state.state import State

#: share of a prompt that loaded skills have after a compaction, and their tokens at most
SHARE = 0.25
TOKENS = 25_000
_LEAST = 64  # tokens: of a shorter part, the name is enough
_HOW = " Call use_skill to read all of it."


def loaded(state: State, session_id: str) -> dict[str, messages.Message]:
    """Return the newest text of each skill in a session's conversation, the oldest first."""
    conversation = state.table(messages.Conversation, session_id).get(session_id)
    found: dict[str, messages.Message] = {}
    for message in conversation.messages if conversation is not None else ():
        if message.skill is not None:
            found.pop(message.skill.name, None)
            found[message.skill.name] = message
    return found


def in_use(state: State, session_id: str) -> list[SkillUse]:
    """Return the skills in a session's conversation, the oldest first."""
    return [message.skill for message in loaded(state, session_id).values() if message.skill is not None]


async def skills(state: State, session_id: str, covers: int, room: int) -> tuple[KeptSkill, ...]:
    """Return the skills that stay when a summary replaces the entries up to `covers`, cut to their share of a prompt's
    `room`; the newest version of each. One that is cut counts as not loaded, so that it can be loaded again."""
    known = [one for one in loaded(state, session_id).values() if one.seq <= covers]
    path = state.get(Session, session_id).path
    texts = await state.payloads.texts(path, [one.text for one in known if not isinstance(one.text, str)])
    whole = [one.text if isinstance(one.text, str) else texts[one.text.sha256] for one in known]
    limit = fitting.level([windows.tokens(text) for text in whole], min(TOKENS, room * SHARE))
    made = []
    for one, text in zip(known, whole, strict=True):
        assert one.skill is not None
        short = fitting.cut_text(text, max(limit, _LEAST), how=_HOW)
        made.append(KeptSkill(use=one.skill if short == text else changed(one.skill, file=""), text=short))
    return tuple(made)
