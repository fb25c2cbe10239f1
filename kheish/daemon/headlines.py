"""Headlines of the daemon's commits: the events worth a commit, and their description for `git log`."""

from __future__ import annotations

from collections.abc import Callable

from kheish.domain import events
from kheish.domain.events import Entry

HEADLINES = 64
TRAILERS = 20
#: events of the versions of Playbooks
PLAYBOOKS = (
    events.PlaybookPublished,
    events.PlaybookReleased,
    events.PlaybookTampered,
    events.PlaybookIntact,
)
#: events that record a user's edit, and belong in its commit
EDITS = (events.DefinitionChanged, events.SecretChanged)
#: events followed by an immediate commit if the daemon is otherwise idle
URGENT = (
    events.RunCompleted,
    events.RunFailed,
    events.RunCancelled,
    events.RunInterrupted,
    events.RunWaiting,
    events.DefinitionChanged,
    events.DaemonStarted,
    events.DaemonStopped,
    events.DaemonPaused,
    events.DaemonResumed,
    events.FilesPutBack,
    events.SessionCreated,
    events.SessionForked,
    events.SessionDeleted,
    events.SessionEnded,
    events.ApprovalResolved,
    events.QuestionAnswered,
    events.FlowStarted,
    events.PhaseEnded,
    events.EvidenceAttached,
    events.FlowSealed,
    events.SecretChanged,
    events.TokenChanged,
    events.AccessRevoked,
    events.AccessRestored,
    events.MemoryChanged,
    events.MemoryProposed,
    events.MemoryDecided,
    *PLAYBOOKS,
)
_VERBS: dict[type[events.Event], str] = {
    events.RunCompleted: "run completed",
    events.RunFailed: "run failed",
    events.RunCancelled: "run cancelled",
    events.RunInterrupted: "run interrupted",
    events.RunWaiting: "run waits",
}


def is_edit(event: events.Event) -> bool:
    """Return whether an event records a user's edit, and belongs in its commit."""
    return isinstance(event, EDITS) or (isinstance(event, events.MemoryChanged) and event.origin == "person")


def headline(entry: Entry, asked: Callable[[str | None], str], named: Callable[[str], str]) -> str | None:
    """Describe what happened, in words for `git log`.

    `asked` returns the request of a run. `named` returns the Playbook of a Flow.
    """
    match entry.event:
        case events.SessionForked(origin=origin, seq=seq):
            return f"session forked: {entry.session} from {origin} at {seq}"
        case events.SessionDeleted(session_id=session_id):
            return f"session deleted: {session_id}"
        case events.SessionCreated():
            return f"session created: {entry.session}"
        case events.SessionEnded():
            return f"session ended: {entry.session}"
        case events.DefinitionChanged(path=path, change=change):
            return f"{change}: {path}"
        case events.DaemonStarted() | events.DaemonStopped() | events.DaemonPaused() | events.DaemonResumed():
            return entry.event.kind.replace(".", " ")
        case events.FilesPutBack(paths=paths):
            return f"put back {len(paths)} {'file' if len(paths) == 1 else 'files'}"
        case events.ApprovalResolved(outcome=outcome):
            return f"approval {outcome}: {entry.session}"
        case events.QuestionAnswered(outcome=outcome):
            return f"question {outcome}: {entry.session}"
        case events.PlaybookReleased(playbook_id=id, version=version, state=state):
            return f"playbook {state}: {id} {version}"
        case events.PlaybookPublished() | events.PlaybookTampered() | events.PlaybookIntact():
            return f"{entry.event.kind.replace('.', ' ')}: {entry.event.playbook_id} {entry.event.version}"
        case events.MemoryChanged(path=path, change=change):
            return f"memory {change}: {path}"
        case events.MemoryProposed(path=path):
            return f"memory proposed: {path}"
        case events.MemoryDecided(proposal_id=id, outcome=outcome):
            return f"memory proposal {outcome}: {id}"
        case events.SecretChanged(slot=slot, change=change):
            return f"secret {change}: {slot}"
        case events.TokenChanged(name=name, change=change):
            return f"token {change}: {name}"
        case events.AccessRevoked(what=what, id=id) | events.AccessRestored(what=what, id=id):
            return f"{entry.event.kind.replace('.', ' ')}: {what} {id}"
        case events.FlowStarted(playbook=playbook, version=version):
            return f"flow started: {playbook}@{version}"
        case events.FlowSealed(flow_id=flow_id, status=status):
            return f"flow {status}: {named(flow_id)}"
        case events.PhaseEnded(flow_id=flow_id, phase=phase, status=status):
            return f"phase {status}: {phase} of {named(flow_id)}"
        case events.EvidenceAttached(flow_id=flow_id, evidence_kind=kind, id=id):
            return f"evidence attached: {kind} {id} of {named(flow_id)}"
        case event:
            doing = _VERBS.get(type(event))
            if isinstance(event, events.RunWaiting):
                doing = f"run {event.status.replace('_', ' ')}"
            return f'{doing}: {entry.session} "{asked(entry.run)}"' if doing else None
