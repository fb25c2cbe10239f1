"""The events: one frozen class for each kind of journal entry.

A class is the `data` of a line; `on(...)` puts it on a session (or a stream) as a Draft, and `state.append` turns
Drafts into Entries. `decode` reads lines back. Fields are only ever added, with a default, so that old segments stay
readable. Each family of events has its own module, and a line here; import all of them
from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from kheish.domain.events.agents import *
from kheish.domain.events.assets import *
from kheish.domain.events.auth import *
from kheish.domain.events.channels import *
from kheish.domain.events.connectors import *
from kheish.domain.events.daemon import *
from kheish.domain.events.flows import *
from kheish.domain.events.goals import *
from kheish.domain.events.hooks import *
from kheish.domain.events.mailboxes import *
from kheish.domain.events.mcp import *
from kheish.domain.events.memory import *
from kheish.domain.events.models import *
from kheish.domain.events.observations import *
from kheish.domain.events.outputs import *
from kheish.domain.events.people import *
from kheish.domain.events.playbooks import *
from kheish.domain.events.projects import *
from kheish.domain.events.runs import *
from kheish.domain.events.schedules import *
from kheish.domain.events.skills import *
from kheish.domain.events.tasks import *
from kheish.domain.events.tools import *
from kheish.domain.events.trust import *
from kheish.state import event
from kheish.state.event import (
    Arguments as Arguments,
    Checkpoint as Checkpoint,
    Draft as Draft,
    Entry as Entry,
    Event as Event,
    Spilled as Spilled,
    Text as Text,
    changed as changed,
    frozen as frozen,
)


def _subclasses(base: type[Event]) -> list[type[Event]]:
    return [cls for sub in base.__subclasses__() for cls in (sub, *_subclasses(sub))]


@cache
def kinds() -> Mapping[str, type[Event]]:
    """Return every kind of event with its class."""
    # slots=True creates each class twice; the registry takes the class that the module exports
    return {cls.kind: cls for cls in _subclasses(Event) if globals().get(cls.__name__) is cls}


def decode(line: Mapping[str, Any]) -> Entry:
    """Return a journal line as an Entry. Raises Damaged for an unknown kind or data that does not fit."""
    return event.read(line, kinds())
