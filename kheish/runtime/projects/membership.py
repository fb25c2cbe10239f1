"""Tools that are of use to members only: a prompt does not spend its window on those of channels and projects that its
agent takes no part in."""

from __future__ import annotations

from kheish.domain.runs import Run
from kheish.runtime.projects import work
from kheish.runtime.tools import channels, projects
from kheish.state.state import State

_OF_CHANNELS = frozenset(tool.name for tool in channels.TOOLS)
_OF_PROJECTS = frozenset(tool.name for tool in projects.TOOLS)


def useless(state: State, run: Run) -> frozenset[str]:
    """Return the names of tools that the agent of a loaded session cannot use."""
    of_projects = work.projects_of(state, run.session_id)
    known = state.definitions.by_kind["projects"]
    mirrored = any(known[id].value.channels for id in of_projects)  # a channel may take over the project's members
    in_channel = mirrored or bool(state.definitions.channels_of(run.session_id))
    return (frozenset() if in_channel else _OF_CHANNELS) | (frozenset() if of_projects else _OF_PROJECTS)
