"""What a run carries for a phase of a Playbook: its text, its persona, its time."""

from __future__ import annotations

from kheish.api import views
from kheish.domain import intake, runs
from kheish.domain.events import Spilled
from kheish.domain.runs import Run, Status
from kheish.runtime import prompt
from tests.runtime.harness import Live

LONG = "Look at the logs first.\n" * 1000
REVIEWER = {"persona_id": "reviewer", "body": "You review, and change nothing."}


async def sections(it: Live, run: Run) -> dict[str, str]:
    return {part.name: part.text for part in await prompt.sections(it.state, run, {})}


async def test_a_long_phase_text_is_spilled_and_whole_in_the_prompt(it: Live) -> None:
    run = await it.ask(phase_text=LONG)
    assert isinstance(run.phase_text, Spilled)
    found = await sections(it, run)
    assert found["Playbook phase"] == LONG
    assert list(found).index("Playbook phase") < list(found).index("Session")
    again = it.reborn()
    try:
        assert (await sections(again, again.run_of(run.run_id)))["Playbook phase"] == LONG
    finally:
        await again.close()


async def test_a_persona_of_its_own_is_frozen_in_the_run(it: Live) -> None:
    mine, plain = await it.ask(persona=REVIEWER), await it.ask()
    assert (await sections(it, mine))["Persona"] == REVIEWER["body"]
    assert "Persona" not in await sections(it, plain)
    assert runs.view(mine).settings.persona == REVIEWER
    assert runs.view(plain).settings.persona is None


async def test_a_retry_asks_for_the_same_phase(it: Live) -> None:
    run = await it.ask(phase_text=LONG, persona=REVIEWER, budget={"wall_time": "30m"})
    [doc] = await views.expand(it.state, [await views.document(it.state, Run, run.run_id)])
    given = intake.again(it.state, doc, by="me")
    assert (given.phase_text, given.persona) == (LONG, REVIEWER)
    again = await it.ask(phase_text=given.phase_text, persona=given.persona, budget=given.budget)
    assert (again.status, again.settings.limits.wall_time) == (Status.COMPLETED, 1800.0)
