"""Mistakes in a connector's own file, or in what it names: they are the daemon's to report, and no sender's."""

from __future__ import annotations

from kheish import ids
from kheish.domain import routes
from kheish.domain.connectors import templates
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.events.playbooks import RELEASES
from kheish.domain.playbooks import versions as playbooks
from kheish.domain.sessions.session import Session
from kheish.errors import (
    Conflict,
    Forbidden,
    Invalid,
    InvalidInput,
    KheishError,
    NoActiveVersion,
    NotFound,
    RouteNotReady,
    RouteRequired,
    SenderNotAllowed,
    SessionDeleted,
    SessionNotIdle,
    VersionNotStartable,
    VersionTampered,
    WorkspaceNotAllowed,
)
from kheish.state import pins
from kheish.state.state import State

#: errors about what the file names
_OWN = (
    NotFound, Forbidden, RouteNotReady, RouteRequired, NoActiveVersion, SessionNotIdle, VersionNotStartable,
    VersionTampered, WorkspaceNotAllowed,
)  # fmt: skip
#: the fields of a submission that the file gives; the others come from the request
_FIELDS = frozenset({"reply_targets", "completion", "route", "model", "generation", "budget", "persona", "workspace"})


def is_own(file: ConnectorFile, error: KheishError) -> bool:
    """Return whether an error of taking a request in lies in the connector's file, or in what the file names."""
    if isinstance(error, SenderNotAllowed | InvalidInput | SessionDeleted):
        return False
    if isinstance(error, _OWN):
        return True
    return isinstance(error, Invalid) and any(_is_of_file(file, fault.path) for fault in error.errors)


def _is_of_file(file: ConnectorFile, path: str) -> bool:
    field, _, rest = path.removeprefix("/").partition("/")
    if field == "inputs" and file.target.flow is not None and rest:
        name = rest.partition("/")[0]
        given = file.target.flow.inputs.get(name)
        return not (isinstance(given, str) and templates.named(given))  # without a template, the body gives nothing
    # What a template does not find in the body is reported by the same path.
    named = templates.names(file.policy.key) if file.policy.key is not None else ()
    return field in _FIELDS and all(one.partition(".")[0] != field for one in named)


async def missing(state: State, connector_id: str, file: ConnectorFile) -> str | None:
    """Return the reason why what a connector's file names could take nothing in, in one sentence."""
    try:
        if file.target.input is not None:
            await _check_route(state, file)
        elif file.target.flow is not None:
            name, _, version = file.target.flow.playbook.partition("@")
            async with pins.owner(state, RELEASES, ids.check_slug(name, "playbook")):
                playbooks.resolve(state, name, version or file.target.flow.version, connector_id)
    except (Conflict, Invalid, NotFound) as error:
        return f"The connector {connector_id!r} is not ready: {error.detail}"
    return None


async def _check_route(state: State, file: ConnectorFile) -> None:
    """Raise RouteRequired if no route can be chosen for the runs of a connector."""
    assert file.target.input is not None
    made = file.policy.new or file.policy.settings
    if file.target.input.route is not None or (made is not None and made.route is not None):
        return
    if file.policy.fixed is not None:
        doc = await state.recall(Session, file.policy.fixed)
        if doc is not None and doc["route"] is not None:
            return
    routes.choose(None, state.definitions.config.default_route, state.definitions.routes)
