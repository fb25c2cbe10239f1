"""Approvals and questions answered by writing into their files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kheish.authoring.forms import FORMS
from kheish.authoring.pending import Answers
from kheish.authoring.problems import Problems
from kheish.domain import approvals
from kheish.domain.approvals import Approval
from kheish.domain.questions import Question
from kheish.domain.runs import Run
from tests.api.harness import World, approval, question, world
from tests.support.remembering import memory

APPROVAL, QUESTION = "pending/approvals/appr_1.yaml", "pending/questions/q_1.yaml"


@dataclass
class Tray:
    """The pending files of one daemon."""

    w: World
    problems: Problems
    answers: Answers
    rewritten: list[tuple[str, str]] = field(default_factory=list)

    def ask(self, noun: str, id: str) -> str:
        """The file as the daemon writes it."""
        form = FORMS[noun]
        return form.render(self.w.state.recalled(form.noun.cls, id) or {}).decode()

    async def save(self, path: str, text: str) -> list[tuple[int | None, int | None, str, str | None]]:
        file = self.w.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        await self.answers.take(frozenset({path}))
        return [(one["line"], one["column"], one["code"], one["suggestion"]) for one in self.problems.list()]


@pytest.fixture
async def t(tmp_path: Path) -> AsyncIterator[Tray]:
    async with world(tmp_path) as w:
        await w.session()
        problems, rewritten = Problems(w.root), list[tuple[str, str]]()
        answers = Answers(
            w.state, problems, memory(w.state).keeper, rewrite=lambda noun, id: rewritten.append((noun, id))
        )
        yield Tray(w, problems, answers, rewritten)
        await problems.write()


async def test_one_word_resolves_an_approval(t: Tray) -> None:
    run = await t.w.waiting(approval("appr_1"))
    file = t.ask("approval", "appr_1")
    assert await t.save(APPROVAL, file) == []
    assert t.w.state.get(Approval, "appr_1").status == "pending"

    filled = file.replace("decision:\nreason:", "decision: allow\nreason: go on")
    assert await t.save(APPROVAL, filled) == []
    found = t.w.state.get(Approval, "appr_1")
    assert (found.status, found.decisions[0].via, found.decisions[0].reason) == ("allowed", "file", "go on")
    assert t.w.state.get(Run, run["run_id"]).status == "queued"


async def test_a_file_proves_no_person_where_two_have_to_agree(t: Tray) -> None:
    await t.w.waiting(approval("appr_1", required=2))
    file = t.ask("approval", "appr_1")
    line = file.splitlines().index("decision:") + 1
    assert await t.save(APPROVAL, file.replace("decision:\n", "decision: allow\n")) == [
        (line, 11, "person_required", None)
    ]
    assert t.w.state.get(Approval, "appr_1").status == "pending"
    assert await t.save(APPROVAL, file.replace("decision:\n", "decision: deny\n")) == []
    assert t.w.state.get(Approval, "appr_1").status == "denied"


async def test_nonsense_is_listed_where_it_stands_and_goes_when_mended(t: Tray) -> None:
    await t.w.waiting(approval("appr_1"))
    file = t.ask("approval", "appr_1")
    line = file.splitlines().index("decision:") + 1
    assert await t.save(APPROVAL, file.replace("decision:\n", "decision: alow\n")) == [(line, 11, "bad_value", "allow")]
    assert await t.save(APPROVAL, file.replace("decision:\n", "decison: allow\n")) == [
        (line, 1, "unknown_key", "decision")
    ]
    assert await t.save(APPROVAL, "decision: [") == [(1, 11, "syntax", None)]
    assert t.w.state.get(Approval, "appr_1").status == "pending"
    assert await t.save(APPROVAL, file.replace("decision:\n", "decision: deny\n")) == []
    assert t.w.state.get(Approval, "appr_1").status == "denied"


async def test_another_key_changed_is_a_problem_and_decides_nothing(t: Tray) -> None:
    await t.w.waiting(approval("appr_1"))
    filled = t.ask("approval", "appr_1").replace("decision:\n", "decision: allow\n")
    place = filled.splitlines().index("arguments:") + 1
    assert await t.save(APPROVAL, filled.replace("command: make", "command: make clean")) == [
        (place, 1, "changed_key", None)
    ]
    assert [one[2] for one in await t.save(APPROVAL, filled.replace("tool: bash\n", ""))] == ["changed_key"]
    assert t.w.state.get(Approval, "appr_1").status == "pending"


async def test_who_comes_late_is_told_and_unknown_ids_too(t: Tray) -> None:
    await t.w.waiting(approval("appr_1"))
    file = t.ask("approval", "appr_1")
    approvals.resolve(t.w.state, "appr_1", "deny", by="token:local", via="api")
    assert await t.save(APPROVAL, file) == []  # the daemon's own file, not removed yet
    found = await t.save(APPROVAL, file.replace("decision:\n", "decision: allow\n"))
    assert [one[2] for one in found] == ["approval_resolved"]
    assert "token:local" in t.problems.list()[0]["message"]
    (t.w.root / APPROVAL).unlink()
    await t.answers.take(frozenset({APPROVAL}))
    assert t.problems.list() == [] and t.rewritten == []
    assert [one[2] for one in await t.save("pending/approvals/none.yaml", file)] == ["unknown_approval"]


async def test_a_removed_file_is_written_again_also_at_start(t: Tray) -> None:
    await t.w.waiting(approval("appr_1"))
    await t.answers.take(frozenset({APPROVAL}))
    assert t.rewritten == [("approval", "appr_1")]
    await t.w.state.caught_up()
    await t.answers.start()
    assert t.rewritten == [("approval", "appr_1")] * 2

    await t.save(APPROVAL, t.ask("approval", "appr_1"))
    (t.w.root / APPROVAL).write_text((t.w.root / APPROVAL).read_text().replace("decision:\n", "decision: allow\n"))
    await t.answers.start()
    assert t.w.state.get(Approval, "appr_1").status == "allowed"


@pytest.mark.parametrize(
    ("answer", "selected"), [("a", ["a"]), ("[b]", ["b"]), ("{selected: [a]}", ["a"])]
)  # fmt: skip
async def test_a_question_is_answered_by_its_options(t: Tray, answer: str, selected: list[str]) -> None:
    await t.w.waiting(question("q_1"))
    file = t.ask("question", "q_1")
    assert await t.save(QUESTION, file) == []
    assert await t.save(QUESTION, file.replace("  q1:", f"  q1: {answer}")) == []
    found = t.w.state.get(Question, "q_1")
    assert (found.status, found.answers) == ("answered", {"q1": {"selected": selected, "text": None}})


async def test_a_question_with_nonsense_or_declined(t: Tray) -> None:
    await t.w.waiting(question("q_1"))
    file = t.ask("question", "q_1")
    line = next(at for at, text in enumerate(file.splitlines(), 1) if text.startswith("  q1:"))
    for answer, code in (("c", "bad_value"), ("{text: my own}", "bad_value"), ("[a, b]", "bad_value")):
        [found] = await t.save(QUESTION, file.replace("  q1:", f"  q1: {answer}"))
        assert (found[0], found[2]) == (line, code)
    assert t.w.state.get(Question, "q_1").status == "pending"
    assert await t.save(QUESTION, file.replace("decline:", "decline: not now")) == []
    found = t.w.state.get(Question, "q_1")
    assert (found.status, found.reason) == ("declined", "not now")


@pytest.mark.parametrize("is_answered", [False, True])
async def test_what_a_power_cut_left_of_a_file_goes_and_comes_back_only_where_it_is_asked(
    t: Tray, is_answered: bool
) -> None:
    await t.w.waiting(approval("appr_1"))
    whole = t.ask("approval", "appr_1").encode()
    file = t.w.root / APPROVAL
    file.parent.mkdir(parents=True, exist_ok=True)
    if is_answered:
        approvals.resolve(t.w.state, "appr_1", "deny", by="token:local", via="api")
        await t.w.state.durable()
    holes = whole[:20] + bytes(9) + whole[29:]
    for left in (b"", whole[:-7], holes, bytes(len(whole))):
        t.rewritten.clear()
        file.write_bytes(left)
        await t.answers.start()
        assert not file.exists() and t.rewritten == ([] if is_answered else [("approval", "appr_1")])
    for kept in (whole, whole.replace(b"decision:", b"decision: perhaps")):
        file.write_bytes(kept)
        await t.answers.start()
        assert file.read_bytes() == kept
