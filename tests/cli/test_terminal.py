"""The conversation on a terminal, with a real daemon and a pseudo-terminal: each key, pastes, and the size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.screen import ALT_ENTER, CTRL_C, CTRL_D, CTRL_O, ENTER, ESC, UP, Screen, pasted, screen
from tests.support.daemon import Daemon, ask, bash, call, scripted, until

LONG = "words that are wrapped " * 12
ROUTES: dict[str, Any] = {
    "words": [{"text": f"A **bold** word.\n\n- first\n- second\n\n{LONG}"}],
    "slow": scripted([{"text": "one two three four", "chunks": 4, "delay": "30s"}]),
    "long": [bash("seq 1 40"), {"text": "counted"}],
    "asks": [bash("touch {{input}}"), {"text": "made it"}],
    "edits": [{"tool_calls": [call("write_file", path="a.txt", content="x\n")]}, {"text": "written"}],
    "questions": [ask("Which colour?", ("red", "blue")), {"text": "chosen"}],
    "sleeps": [bash("sleep 50"), {"text": "slept"}],
    "waits": [bash("while ! test -e go; do sleep 0.1; done"), {"text": "went"}],
}
RULES = [{"tool": "bash", "match": one, "decision": "allow"} for one in ("seq *", "sleep *")]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    permissions = {"mode": "default", "rules": RULES}
    folder = tmp_path_factory.mktemp("terminal")
    with Daemon.fresh(folder, routes=ROUTES, permissions=permissions, config={"default_route": "words"}) as daemon:
        yield daemon


@pytest.fixture
def home(tmp_path: Path) -> str:
    return str(tmp_path)


def chat(daemon: Daemon, session: str, home: str, route: str = "words", **size: int) -> Any:
    daemon.client.sessions.create(session, route=route)
    return screen("--state-root", str(daemon.root), "chat", session, **size, HOME=home, XDG_STATE_HOME="")


def send(on: Screen, text: str) -> None:
    on.prompted()
    on.type(text + ENTER)


def runs_of(daemon: Daemon, session: str) -> list[Any]:
    return daemon.client.runs.list(session=session)["items"]


def status_of(daemon: Daemon, session: str) -> str:
    return runs_of(daemon, session)[0]["status"]


@pytest.mark.parametrize("columns", [80, 200])
def test_markdown_is_rendered_and_wrapped_at_words(daemon: Daemon, home: str, columns: int) -> None:
    with chat(daemon, f"wide{columns}", home, columns=columns) as on:
        send(on, "go")
        on.wait("completed")
        on.type(CTRL_D)
        shown = on.end()
    assert "A bold word." in shown and " • first" in shown
    said = [line for line in shown.split("\n") if line.startswith("words") or "that are wrapped" in line]
    assert " ".join(" ".join(said).split()) == LONG.strip() and len(said) == -(-len(LONG) // columns)


def test_a_slow_model_shows_life_and_esc_stops_it(daemon: Daemon, home: str) -> None:
    with chat(daemon, "slow", home, "slow") as on:
        send(on, "go")
        on.wait("Esc stops")
        on.wait("thinking")
        frames = set()
        until(lambda: (on.read(), frames.add(re.findall("([⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]) thinking", on.text)[0]), len(frames) > 2)[2])
        on.type(ESC)
        on.wait("interrupted ·")
        on.type(CTRL_D)
        on.end()
    assert status_of(daemon, "slow") == "interrupted"


def test_the_first_ctrl_c_stops_the_run_and_the_second_leaves(daemon: Daemon, home: str) -> None:
    with chat(daemon, "ctrl-c", home, "sleeps") as on:
        send(on, "go")
        on.wait("running bash: sleep 50")
        on.type(CTRL_C)
        on.wait("stopping; a running command may finish")
        on.type(CTRL_C)
        on.wait("Detached; the run continues.")
        on.end()
    assert runs_of(daemon, "ctrl-c")[0]["status"] == "running"
    daemon.client.runs.cancel(runs_of(daemon, "ctrl-c")[0]["run_id"])


def test_esc_again_ends_a_running_command(daemon: Daemon, home: str) -> None:
    with chat(daemon, "esc", home, "sleeps") as on:
        send(on, "go")
        on.wait("running bash: sleep 50")
        on.type(ESC)
        on.wait("Esc again ends it")
        on.type(ESC)
        on.wait("cancelled ·")
        on.type(CTRL_D)
        on.end()


def test_enter_during_a_run_steers_it(daemon: Daemon, home: str) -> None:
    with chat(daemon, "steers", home, "waits") as on:
        send(on, "go")
        on.wait("Allow this call?")
        on.type("y" + ENTER)
        on.wait("running bash: while")
        on.type("also this" + ENTER)
        on.wait("(sent for the next turn)")
        (daemon.workspace / "go").touch()
        on.wait("completed ·")
        on.type(CTRL_D)
        on.end()
    assert len(runs_of(daemon, "steers")) == 1


def test_a_paste_of_three_lines_is_one_message(daemon: Daemon, home: str) -> None:
    with chat(daemon, "pastes", home) as on:
        on.prompted()
        on.type(pasted("one\ntwo\nthree\n"))
        on.wait("three")
        assert runs_of(daemon, "pastes") == []
        on.type(ENTER)
        on.wait("completed")
        on.type("four\nfive\nsix\r")  # a terminal that does not mark pastes
        until(lambda: (on.read(), on.text.count("completed") == 2)[1])
        on.type("seven" + ALT_ENTER + "eight" + ENTER)
        until(lambda: (on.read(), on.text.count("completed") == 3)[1])
        on.prompted()
        on.type(pasted("\n".join(map(str, range(30)))) + ENTER)
        on.wait("/output 1 shows all 30 lines")
        until(lambda: (on.read(), on.text.count("completed") == 4)[1])
        on.type(CTRL_D)
        on.end()
    long, *texts = [run["request"]["items"][0]["text"] for run in runs_of(daemon, "pastes")]
    assert long.split("\n") == list(map(str, range(30)))
    assert texts == ["seven\neight", "four\nfive\nsix", "one\ntwo\nthree"]


def test_a_message_that_is_refused_stays_in_the_line(daemon: Daemon, home: str) -> None:
    with chat(daemon, "ended", home) as on:
        on.prompted()
        daemon.client.sessions.end("ended")
        on.type("not lost" + ENTER)
        on.wait("kheish: ")
        on.wait("\n> not lost")
        on.type(CTRL_C + CTRL_D)
        on.end()


def test_no_earlier_or_pasted_input_answers_an_approval(daemon: Daemon, home: str) -> None:
    with chat(daemon, "ahead", home, "asks") as on:
        send(on, "ahead.txt")
        on.type("y\ry\r")
        on.wait("Allow this call?")
        on.type("y\ry\ry\r")
        on.wait("several lines arrived at once")
        on.type(pasted("y\n") + ENTER)
        on.wait("(type one of")
        on.type("maybe" + ENTER)
        until(lambda: (on.read(), on.text.count("(type one of") == 2)[1])
        assert status_of(daemon, "ahead") == "waiting_for_approval" and not (daemon.workspace / "ahead.txt").exists()
        on.type("n" + ENTER)
        on.wait("Why not?")
        on.type("not now" + ENTER)
        on.wait("completed")
        on.type(CTRL_D)
        on.end()
    approval = daemon.client.approvals.list(session="ahead")["items"][0]
    assert approval["status"] == "denied" and approval["decisions"][0]["reason"] == "not now"
    assert not (daemon.workspace / "ahead.txt").exists()


def test_an_answer_from_elsewhere_ends_the_prompt_and_esc_stops_the_run(daemon: Daemon, home: str) -> None:
    with chat(daemon, "elsewhere", home, "asks") as on:
        send(on, "elsewhere.txt")
        on.wait("Allow this call?")
        (pending,) = daemon.client.approvals.list(session="elsewhere", status="pending")["items"]
        daemon.client.approvals.allow(pending["approval_id"])
        on.wait("allowed by")
        on.wait("completed ·")
        send(on, "never.txt")
        until(lambda: (on.read(), on.text.count("Allow this call?") == 2)[1])
        on.type(ESC)
        on.wait("interrupted ·")
        on.type(CTRL_D)
        on.end()
    assert (daemon.workspace / "elsewhere.txt").exists() and not (daemon.workspace / "never.txt").exists()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_plain_lines_have_no_escapes(daemon: Daemon, home: str, name: str, value: str) -> None:
    words = ("run", f"plain-{value}", "go", "--follow")
    with screen("--state-root", str(daemon.root), *words, HOME=home, **{name: value}) as on:
        assert "A **bold** word." in on.end() and b"\x1b" not in on.raw


def test_always_and_edit(daemon: Daemon, home: str) -> None:
    with chat(daemon, "always", home, "asks") as on:
        send(on, "made.txt")
        on.wait("always like this: allow bash touch made.txt")
        on.wait("Allow this call?")
        on.type("e" + ENTER)
        on.wait("edit> touch made.txt")
        on.type("2" + ENTER)
        on.wait("Allow the edited call?")
        on.type("y" + ENTER)
        on.wait("completed")
        until((daemon.workspace / "made.txt2").exists)
        send(on, "other.txt")
        until(lambda: (on.read(), on.text.count("Allow this call?") == 2)[1])
        on.type("p" + ENTER)
        until(lambda: (on.read(), on.text.count("completed") == 2)[1])
        send(on, "other.txt")  # without a prompt
        until(lambda: (on.read(), on.text.count("completed") == 3)[1])
        on.type(CTRL_D)
        on.end()
    assert [rule["match"] for rule in daemon.client.sessions.get("always")["permission_rules"]] == ["touch other.txt"]
    assert (daemon.workspace / "other.txt").exists() and not (daemon.workspace / "made.txt").exists()


def test_a_question_and_an_approval_that_is_postponed(daemon: Daemon, home: str) -> None:
    with chat(daemon, "later", home, "edits") as on:
        send(on, "go")
        on.wait("Allow this call?")
        on.type("l" + ENTER)
        on.wait("/inbox asks again")
        on.type("/model questions" + ENTER)
        on.wait("use the route questions")
        on.type("/inbox" + ENTER)
        until(lambda: (on.read(), on.text.count("Allow this call?") == 2)[1])
        on.type("y" + ENTER)
        on.wait("completed")
        send(on, "next")
        on.wait("[l]ater)")
        on.type("l" + ENTER)
        until(lambda: (on.read(), on.text.count("/inbox asks again") == 2)[1])
        on.type("/inbox" + ENTER)
        until(lambda: (on.read(), on.text.count("[l]ater)") == 2)[1])
        on.type("9" + ENTER)
        until(lambda: (on.read(), on.text.count("[l]ater)") == 3)[1])
        assert "'9' is not an option" in on.text
        on.type("2" + ENTER)
        on.wait("answered: blue")
        until(lambda: (on.read(), on.text.count("completed") == 2)[1])
        on.type(CTRL_D)
        on.end()


def test_folded_output_commands_history_and_size(daemon: Daemon, home: str) -> None:
    with chat(daemon, "folds", home, "long") as on:
        send(on, "count")
        on.wait("/output 1 shows all 40 lines")
        on.wait("completed")
        on.type(CTRL_O)
        on.wait("\n  39\n")
        for keys, expected in (
            ("/help", "continue in a fork"), ("/status", "permission_mode  default"), ("/cost", "2 model calls"),
            ("/mode plan", "Permission mode: plan"), ("/skills", "No skills"), ("/diff", "Changes by commands"),
            ("/compact", "The next run summarises"),
            ("/nonsense", "Unknown command /nonsense"),
        ):  # fmt: skip
            on.type(keys + ENTER)
            on.wait(expected)
        on.type("/un")
        on.wait("continue in a fork from")  # the menu, without a key
        on.type("\t")
        on.wait("> /undo\n")
        on.type(CTRL_C)
        on.resize(40, 20)
        on.type("a line that is wider than forty columns, at last")
        on.wait("at last")
        on.type(CTRL_C)
        on.type("/undo" + ENTER)
        on.wait("continues from before")
        on.type("/quit" + ENTER)
        on.end()
    fork = next(one for one in daemon.client.sessions.list()["items"] if one["title"] is None and one["forked_from"])
    assert fork["forked_from"]["session_id"] == "folds" and runs_of(daemon, fork["session_id"]) == []
    with screen("--state-root", str(daemon.root), "chat", "folds", HOME=home, XDG_STATE_HOME="") as on:
        on.prompted()
        on.type(UP)
        on.wait("> /quit")
        on.type(CTRL_C + ENTER)  # an empty line leaves
        on.end()
    assert (Path(home) / ".local/state/kheish/chat-history").stat().st_mode & 0o777 == 0o600


def test_a_followed_run_and_the_inbox_as_a_list(daemon: Daemon, home: str) -> None:
    daemon.client.sessions.create("follows", route="asks")
    base = ("--state-root", str(daemon.root))
    with screen(*base, "run", "follows", "f.txt", "--follow", HOME=home, XDG_STATE_HOME="") as on:
        on.wait("Allow this call?")
        on.type("l" + ENTER)
        on.end(130)
    with screen(*base, "inbox", HOME=home, XDG_STATE_HOME="") as on:
        on.wait("1 pending")
        on.wait("command: touch f.txt")
        on.type("y")  # answers nothing
        on.type(ENTER)
        on.wait("Allow this call?")
        on.type("y" + ENTER)
        on.wait("is answered")
        on.wait("Nothing waits for you.")
        on.type("q")
        on.end()
    until((daemon.workspace / "f.txt").exists)
    with screen(*base, "runs", "follow", runs_of(daemon, "follows")[0]["run_id"], HOME=home, XDG_STATE_HOME="") as on:
        on.wait("made it")
        on.end()


def test_an_earlier_message_is_searched_and_taken(daemon: Daemon, home: str) -> None:
    with chat(daemon, "search", home) as on:
        send(on, "a first message")
        on.wait("completed")
        on.prompted()
        on.type("\x12first")
        on.wait("first message")
        until(lambda: (on.read(), "search" in on.lines[-1] or "search" in on.text.lower())[1], what="it is searched")
        on.type(ENTER)
        until(lambda: (on.read(), on.text.rstrip().endswith("> a first message"))[1], what="it is in the line")
        on.type(ENTER)
        until(lambda: len(runs_of(daemon, "search")) == 2, what="it is sent again")
        on.prompted()
        on.type("\x12" + CTRL_C)
        on.prompted()
        on.type(CTRL_D)
        on.end()
