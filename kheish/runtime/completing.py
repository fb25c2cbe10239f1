"""Completion: whether a run's final answer may end it. The model is reminded of unmet requirements, twice at most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kheish.beneath import Door, files, pool
from kheish.domain import completion, events, runs, workspaces
from kheish.domain.completion import Finding
from kheish.domain.contracts import check as contracts
from kheish.domain.events import Requirement
from kheish.domain.runs import Run
from kheish.domain.turns import Turn
from kheish.errors import NotBeneath, WorkspaceSlow
from kheish.runtime import judging
from kheish.state.state import State

_WORDS = 400  # characters of a requirement in a reminder; the prompt has all of it
REMINDERS = 2  # reminders to the model; then the run fails


async def is_complete(state: State, run: Run, turn: Turn, text: str) -> bool:
    """Return whether all requirements are met. Otherwise the loop has another step, or the run has failed."""
    requirements = run.settings.completion
    calls = completion.checks(requirements, turn.turn)
    if calls and not turn.checking and not turn.verified:
        state.append(events.CompletionStarted(turn=turn.turn, calls=calls).on(run.session_id, run.run_id))
        return False
    findings = (*_commands(requirements, turn), *await _look(state, run, requirements, text))
    findings = tuple(sorted(findings, key=lambda finding: finding.number))
    unmet = [finding for finding in findings if finding.met is False]
    checked = events.CompletionChecked(
        turn=turn.turn,
        findings=tuple({"number": one.number, "met": one.met, "told": one.told} for one in findings),
        met=not unmet,
        commands_met=all(one.met for one in findings if requirements[one.number - 1].command is not None),
    )
    state.append(checked.on(run.session_id, run.run_id))
    if not unmet:
        return True
    listed = "\n".join(_line(requirements, finding) for finding in unmet)
    if turn.reminders >= REMINDERS or any(finding.is_final for finding in unmet):
        runs.fail(state, run.run_id, "completion_unsatisfied", f"The run is not complete:\n{listed}")
        return False
    text = f"The task is not done yet. What is missing:\n{listed}\nSee to it, and then give your final answer again."
    state.append(events.Nudged(text=text, reason="completion").on(run.session_id, run.run_id))
    return False


def _line(requirements: tuple[Requirement, ...], finding: Finding) -> str:
    words = completion.words(requirements[finding.number - 1])
    return f"{finding.number}. {words if len(words) <= _WORDS else words[:_WORDS] + '…'}: {finding.told}"


def _commands(requirements: tuple[Requirement, ...], turn: Turn) -> Iterator[Finding]:
    """Yield the results of the commands; without a command run after this answer, the earlier results still apply."""
    outcomes = {completion.number_of(call.id): call.outcome for call in turn.calls if turn.checking}
    for number, one in enumerate(requirements, 1):
        if one.command is not None:
            outcome = outcomes.get(number)
            yield completion.judged(number, one, outcome) if outcome else Finding(number=number, met=True)


async def _look(state: State, run: Run, requirements: Iterable[Requirement], text: str) -> list[Finding]:
    """Check the requirements that need no command."""
    findings = []
    for number, one in enumerate(requirements, 1):
        if one.text is not None:
            findings.append(Finding(number=number, met=None))
        elif one.workspace_file is not None:
            wrong = await _file_fault(workspaces.door_of(state, run.settings.workspace), one.workspace_file)
            findings.append(Finding(number=number, met=not wrong, told=wrong))
        elif one.output_matches is not None:
            faults = await judging.run(contracts.output_faults, one.output_matches, text)
            wrong = "; ".join(f"{fault.path or '/'}: {fault.message}" for fault in faults)
            findings.append(Finding(number=number, met=not faults, told=wrong))
    return findings


async def _file_fault(door: Door, path: str) -> str:
    try:
        await pool.run(door, files.read, door, path, 0)
    except (NotBeneath, WorkspaceSlow) as error:
        return error.detail
    return ""
