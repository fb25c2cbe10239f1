"""Tools that are of use to members only: a prompt does not spend its window on those of channels and projects that its
agent takes no part in."""

from __future__ import annotations

from kheish.domain.channels import rooms
from kheish.domain.runs import Run
from kheish.runtime.projects import work
from kheish.runtime.tools import channels, projects
from kheish.state.state import State

_OF_CHANNELS = frozenset(tool.name for tool in channels.TOOLS)
_OF_PROJECTS = frozenset(tool.name for tool in projects.TOOLS)


def useless(state: State, run: Run) -> frozenset[str]:
    """Return the names of tools that the agent of a loaded session cannot use."""
    of_channels = rooms.channels_of(state, run.session_id)
    of_projects = work.projects_of(state, run.session_id)
    return (frozenset() if of_channels else _OF_CHANNELS) | (frozenset() if of_projects else _OF_PROJECTS)
