"""`kheish demo`: the whole product in half a minute, played by the real daemon and the real command line.

Only the model is not real: a script says what it answers. Each act checks that what it tells has happened; where it has
not, the demo says so and fails.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import click

from kheish.daemon import demo_conversation, demo_scene
from kheish.daemon.demo_scene import GROUPS, PROGRESS, SESSION, TASK
from kheish.daemon.demo_stage import (
    Failed,
    Stage,
    ask,
    check,
    eventually,
    following,
    git,
    heading,
    kheish,
    kill,
    opened,
    program,
    requests_answered,
    say,
    serve,
    typed,
)
from kheish.jobs import sandbox

WAITS = 5  # the CLI's exit code of a followed run that waits for a person


def run() -> int:
    """Play the demo; 0 where all of it happened as told."""
    if shutil.which("git") is None:
        say("The demo needs git, which is not on the PATH: install it, and try again.")
        return 1
    base = Path(tempfile.mkdtemp(prefix="kheish-demo-")).resolve()
    started = time.monotonic()
    try:
        with opened(base) as stage:
            _play(stage)
    except Failed as failed:
        say()
        say(click.style(f"The demo failed: {failed}.", fg="red", bold=True))
        say(f"Everything is left as it is in {base}; the daemon's own words are in daemon.log.")
        return 1
    except KeyboardInterrupt:
        say(f"\nStopped. What there is of it is in {base}.")
        return 130
    _farewell(stage, time.monotonic() - started)
    return 0


def _play(stage: Stage) -> None:
    confined = _introduce()
    _prepare(stage, confined)
    run_id = _task(stage)
    _question(stage, run_id)
    _approval(stage, run_id)
    _crash(stage, run_id)
    _history(stage, run_id)


def _introduce() -> bool:
    """Say what will be seen and what is not real; whether commands can be confined here."""
    say("Kheish runs AI agents as durable services. You will see an agent repair a small")
    say("program, ask you something, wait for your word, and survive a kill -9 of its")
    say("daemon; then, that all of it is plain files in a git repository.")
    say()
    say("The model is scripted: its answers stand in a file, so that no key and no")
    say("network is needed. Daemon, tools, files, tests, git and the crash are real.")
    found = sandbox.probe()
    if found.available:
        say("The agent's commands are confined by bubblewrap.")
    else:
        say(click.style(f"The sandbox cannot be used here: {found.why}.", fg="yellow"))
        say("So the demo runs its commands unconfined (sandbox.mode: off), in a throw-away")
        say("folder. With agents that are not scripted, do that only inside a container.")
    return found.available


def _prepare(stage: Stage, confined: bool) -> None:
    heading("A repository with a failing test, a state root, a daemon")
    demo_scene.write_repository(stage.workspace)
    git(stage.workspace, "-c", "init.defaultBranch=main", "init", "--quiet")
    git(stage.workspace, "add", "--all")
    identity = ("-c", "user.name=You", "-c", "user.email=you@example.com", "-c", "commit.gpgsign=false")
    git(stage.workspace, *identity, "commit", "--quiet", "--message", "a program that splits bills")
    typed("cd", str(stage.base))
    kheish(stage, "init", "state")
    demo_scene.write_definitions(stage.root, confined=confined)
    say("The demo has written state/routes/demo.yaml (the scripted model) and")
    say("state/permissions.yaml (tests and edits are allowed, the rest asks).")
    serve(stage)


def _task(stage: Stage) -> str:
    """The task is given; ends where the agent asks. Returns the run's id."""
    heading("You give the agent a task")
    kheish(stage, "run", SESSION, TASK, "--workspace", "shop", "--follow", expect=WAITS)
    runs = ask(stage, "runs", "list", "--session", SESSION)["items"]
    check(len(runs) == 1, f"the session has {len(runs)} runs, not one")
    run_id: str = runs[0]["run_id"]
    return run_id


def _question(stage: Stage, run_id: str) -> None:
    heading("It asks something, and waits: a minute or a month")
    waiting = ask(stage, "runs", "show", run_id)
    check(waiting["status"] == "waiting_for_question", f"the run is {waiting['status']} and asks nothing")
    (question_id,) = waiting["pending_questions"]
    kheish(stage, "questions", "answer", question_id, "The first ones")
    kheish(stage, "runs", "follow", run_id, "--after", str(waiting["n"]), expect=WAITS)


def _approval(stage: Stage, run_id: str) -> None:
    heading("It needs your word; you give it by writing into a file")
    waiting = ask(stage, "runs", "show", run_id)
    check(waiting["status"] == "waiting_for_approval", f"the run is {waiting['status']} and wants no approval")
    (approval_id,) = waiting["pending_approvals"]
    path = stage.root / "pending" / "approvals" / f"{approval_id}.yaml"
    text = eventually(lambda: path.read_text() if path.exists() else "", f"there is no file {path}")
    typed("cat", str(path.relative_to(stage.base)))
    say(text.rstrip())
    check(text.count("\ndecision:") == 1, f"{path} has no line `decision:` to be filled in")
    say()
    say("The demo, as your editor would, now fills in the line: decision: allow")
    _save(path, text.replace("\ndecision:", "\ndecision: allow"))
    eventually(lambda: not path.exists(), "the daemon did not take the file with the decision")
    approval = ask(stage, "approvals", "show", approval_id)
    check(approval["status"] == "allowed", f"the approval is {approval['status']} and not allowed")
    check(approval["decisions"][0]["via"] == "file", "the journal does not say that the file decided")
    say("The daemon has taken it, and the file is gone. The run goes on:")
    _run_tests(stage, run_id, waiting["n"])


def _run_tests(stage: Stage, run_id: str, after: int) -> None:
    """Follow the run in the background, until the slow test has done a part of its work."""
    before = requests_answered(stage)
    stage.follower = following(stage, "runs", "follow", run_id, "--after", str(after))
    # From its first answer on it comes through anything; on a slow machine that may be later than the tests.
    polls = iter(range(1, 10_000))
    eventually(lambda: requests_answered(stage) - next(polls) > before, "`runs follow` did not find the daemon")
    eventually(lambda: len(_progress(stage)) > 3, "the slow test did not begin")


def _crash(stage: Stage, run_id: str) -> None:
    heading("In the middle of the tests, the daemon is killed")
    kill(stage)
    before = len(_progress(stage)) - 1
    check(before < GROUPS, "the tests ended before the daemon was killed")
    say(f"There is no daemon now. The tests go on all the same: {before} of {GROUPS} groups done …")
    more = min(before + 3, GROUPS)
    eventually(lambda: len(_progress(stage)) > more, "the tests did not outlive the daemon")
    say(f"… and now {len(_progress(stage)) - 1}. Another daemon finds them again, and their result:")
    serve(stage)
    assert stage.follower is not None
    code = stage.follower.wait(60)
    check(code == 0, f"the followed run ended with exit code {code}")
    ended = ask(stage, "runs", "show", run_id)
    check(ended["status"] == "completed", f"the run is {ended['status']} and not completed")
    begun = _progress(stage).count("begin")
    check(begun == 1, f"the tests were started {begun} times, not once")
    say("The tests were started once, not again; the `runs follow` above came through the")
    say("crash by itself, and missed nothing.")


def _history(stage: Stage, run_id: str) -> None:
    heading("What the agent changed")
    typed("git", "-C", "shop", "diff", "--stat")
    changed = git(stage.workspace, "diff", "--stat")
    check("shop/bill.py" in changed and "data/bills.csv" in changed, f"the repository was not changed: {changed}")
    say(changed.rstrip())
    heading("What git has of it")
    eventually(lambda: not git(stage.root, "status", "--porcelain"), "git status in the state root is not clean")
    typed("git", "-C", "state", "log", "--format=%h %an: %s")
    say(git(stage.root, "log", "--format=%h %an: %s").rstrip())
    git(stage.root, "fsck", "--no-progress")
    check("question.asked" in git(stage.root, "log", "-p", "sessions/"), "`git log -p` does not show the journal")
    heading("The journal, as a conversation")
    entries = [json.loads(line) for path in _segments(stage) for line in path.read_text().splitlines()]
    check(
        any(one["kind"] == "run.resumed" and one["data"]["reason"] == "restart" for one in entries),
        "the journal does not tell of the restart",
    )
    for line in demo_conversation.lines(entries, run_id):
        say(line)
    kheish(stage, "stop")
    if stage.daemon is not None:
        check(stage.daemon.wait(15) == 0, "the daemon did not end well")
        stage.daemon = None


def _farewell(stage: Stage, seconds: float) -> None:
    kheish_ = program()
    heading(f"That was all, in {seconds:.0f} seconds")
    say(f"All of it is in {stage.base}")
    say("  shop/                  the repository that the agent worked in")
    say("  state/                 the state root; README.md there explains it")
    say(f"  {os.path.relpath(_segments(stage)[0].parent, stage.base)}/")
    say("                         the journal, the truth; in full, as a conversation:")
    say(f"                         git -C {stage.root} log -p sessions/")
    say()
    say("Next, with a real model (set OPENAI_API_KEY first; docs/models.md has others):")
    route = r"driver: openai\nmodel: gpt-5.4-mini\nauth_ref: env:OPENAI_API_KEY\n"
    say(f"  {kheish_} init && printf '{route}' > ~/kheish-state/routes/main.yaml && {kheish_} serve")
    say(f"  {kheish_} run hello 'What is in this folder?' --follow      # in another terminal")


def _progress(stage: Stage) -> list[str]:
    """What the slow test has noted: `begin`, then a line for each group."""
    path = stage.workspace / PROGRESS
    return path.read_text().splitlines() if path.exists() else []


def _segments(stage: Stage) -> list[Path]:
    found = sorted(stage.root.glob(f"sessions/*/{SESSION}/journal/*.jsonl"))
    check(found, "the session has no journal")
    return found


def _save(path: Path, text: str) -> None:
    """As editors do: a new file in the place of the old one."""
    written = path.with_name(f".{path.name}.swp")
    written.write_text(text)
    written.replace(path)
