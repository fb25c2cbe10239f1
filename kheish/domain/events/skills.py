"""Events of skills: their use by runs."""

from __future__ import annotations

from typing import Literal

from kheish.state.event import Event, Text, frozen

Source = Literal["state", "workspace", "folder"]
#: the requester of a skill: the model by its tool, a user with the task, the persona of the run; `agent`: a skill in an
#: agent of its own
Requester = Literal["model", "user", "persona", "agent"]


@frozen
class SkillUse:
    """A skill as a run uses it. `file` is the sha256 of its SKILL.md, empty if only a part of its text is left in the
    conversation; `digest` is of its whole folder. `place` is the folder that its text and commands name."""

    name: str
    source: Source
    dir: str
    file: str
    digest: str
    place: str
    allowed: tuple[str, ...] = ()
    disallowed: tuple[str, ...] = ()


@frozen
class SkillLoaded(Event):
    """A skill that the run uses from this entry on. `text` goes into the conversation; it is None if the conversation
    has it already."""

    kind = "skill.loaded"
    spillable = ("text",)
    use: SkillUse
    by: Requester
    arguments: str = ""
    text: Text | None = None


@frozen
class KeptSkill:
    """A skill that was loaded before a compaction, and stays in the conversation."""

    use: SkillUse
    text: Text
