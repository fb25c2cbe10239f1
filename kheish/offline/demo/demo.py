"""`kheish demo`: a half-minute tour with the real daemon and the real command line.

Only the model is simulated, by a script. Each step verifies what it claims, and the demo fails otherwise.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from pathlib import Path

import click

from kheish.jobs import probing
from kheish.offline.demo import scene as demo_scene
from kheish.offline.demo.scene import GROUPS, INPUTS, PLAYBOOK, PROGRESS
from kheish.offline.demo.stage import (
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

WAITS = 5  # the CLI's exit code of a followed Flow that waits for a person


def run() -> int:
    """Run the demo; return 0 if every step succeeded."""
    if shutil.which("git") is None:
        say("The demo needs git, which is not on the PATH. Install git, and retry.")
        return 1
    base = Path(tempfile.mkdtemp(prefix="kheish-demo-")).resolve()
    started = time.monotonic()
    try:
        with opened(base) as stage:
            _play(stage)
    except Failed as failed:
        say()
        say(click.style(f"The demo failed: {failed}.", fg="red", bold=True))
        say(f"All files are kept in {base}; the daemon's output is in daemon.log.")
        return 1
    except KeyboardInterrupt:
        say(f"\nStopped. The files so far are in {base}.")
        return 130
    _farewell(stage, time.monotonic() - started)
    return 0


def _play(stage: Stage) -> None:
    confined = _introduce()
    _prepare(stage, confined)
    _publish(stage)
    flow_id = _start(stage)
    _crash(stage, flow_id)
    _approve(stage, flow_id)
    _report(stage, flow_id)
    _history(stage, flow_id)


def _introduce() -> bool:
    """Print an introduction; return whether commands can be confined on this machine."""
    say("Kheish runs AI agents as durable services that follow written procedures. You will")
    say("publish a procedure (a Playbook), start it, and watch it survive a kill -9 of the")
    say("daemon and wait for your approval. Finally, you will find all of it in git.")
    say()
    say("The model is scripted: its replies are in a file, and neither a key nor a network")
    say("is needed. The daemon, tools, files, tests, git and the crash are real.")
    found = probing.probe()
    if found.available:
        say("The agent's commands are confined by bubblewrap.")
    else:
        say(click.style(f"The sandbox is not available here: {found.why}.", fg="yellow"))
        say("So the demo runs its commands unconfined (sandbox.mode: off) in a temporary folder.")
        say("With a real model, do that only inside a container.")
    return found.available


def _prepare(stage: Stage, confined: bool) -> None:
    heading("A repository with an old dependency, a state root, a daemon")
    demo_scene.write_repository(stage.workspace)
    git(stage.workspace, "-c", "init.defaultBranch=main", "init", "--quiet")
    for name, value in (("user.name", "You"), ("user.email", "you@example.com"), ("commit.gpgsign", "false")):
        git(stage.workspace, "config", name, value)
    git(stage.workspace, "add", "--all")
    git(stage.workspace, "commit", "--quiet", "--message", "a program that splits bills")
    typed("cd", str(stage.base))
    kheish(stage, "init", "state")
    demo_scene.write_definitions(stage.root, confined=confined)
    say("The demo has written state/routes/demo.yaml (the scripted model) and")
    say("state/permissions.yaml (allows tests, edits and commits; all else needs approval).")
    serve(stage, "--workspace", "shop")


def _publish(stage: Stage) -> None:
    heading("You publish a Playbook: its version is a git tag")
    path = f"state/playbooks/{PLAYBOOK}/playbook.yaml"
    pattern = "^title:|^  - id:|approval:"
    typed("grep", "-E", pattern, path)
    say("\n".join(line for line in (stage.base / path).read_text().splitlines() if re.search(pattern, line)))
    name = f"{PLAYBOOK}@1.0.0"
    kheish(stage, "playbooks", "publish", PLAYBOOK, "1.0.0")
    kheish(stage, "playbooks", "release", name, "verified", "--attest", "I have read it")
    kheish(stage, "playbooks", "release", name, "active")
    typed("git", "-C", "state", "tag", "-l")
    tags = git(stage.root, "tag", "-l").split()
    check(tags == [f"playbook/{PLAYBOOK}/1.0.0"], f"the tags are {tags}")
    say("\n".join(tags))


def _start(stage: Stage) -> str:
    """Start and follow the Flow until its slow test is partly done; return the id of the Flow."""
    heading("You start it")
    inputs = [word for name, value in INPUTS.items() for word in ("--input", f"{name}={value}")]
    kheish(stage, "flows", "start", PLAYBOOK, *inputs)
    flows = ask(stage, "flows", "list")["items"]
    check(len(flows) == 1, f"there are {len(flows)} Flows, not one")
    flow_id: str = flows[0]["flow_id"]
    before = requests_answered(stage)
    stage.follower = following(stage, "flows", "follow", flow_id)
    # The follower survives a crash only after its first response, which may be late on a slow machine.
    polls = iter(range(1, 10_000))
    eventually(lambda: requests_answered(stage) - next(polls) > before, "`flows follow` did not find the daemon")
    eventually(lambda: len(_progress(stage)) > 3, "the slow test did not begin")
    return flow_id


def _crash(stage: Stage, flow_id: str) -> None:
    heading("In the middle of the phase, the daemon is killed")
    kill(stage)
    before = len(_progress(stage)) - 1
    check(before < GROUPS, "the tests ended before the daemon was killed")
    say(f"The daemon is gone, but the tests continue: {before} of {GROUPS} groups done …")
    more = min(before + 3, GROUPS)
    eventually(lambda: len(_progress(stage)) > more, "the tests did not outlive the daemon")
    say(f"… and now {len(_progress(stage)) - 1}. A new daemon finds the running tests and their result:")
    serve(stage, "--workspace", "shop")
    assert stage.follower is not None
    code = stage.follower.wait(60)
    check(code == WAITS, f"the followed Flow ended with exit code {code}, not {WAITS}")
    begun = _progress(stage).count("begin")
    check(begun == 1, f"the tests were started {begun} times, not once")
    flow = ask(stage, "flows", "show", flow_id)
    attempts = [phase["attempts"] for phase in flow["phases"]]
    check(attempts == [1, 1, 0], f"the phases were begun {attempts} times")
    say("Neither the phase nor its tests were repeated, and `flows follow` survived the")
    say("crash without missing an event. Now the Playbook needs your approval.")


def _approve(stage: Stage, flow_id: str) -> None:
    heading("You review the change, and allow it by editing a file")
    typed("git", "-C", "shop", "diff", "--stat")
    changed = git(stage.workspace, "diff", "--stat")
    check("shop/bill.py" in changed and "requirements.txt" in changed, f"the repository was not changed: {changed}")
    say(changed.rstrip())
    flow = ask(stage, "flows", "show", flow_id)
    check(flow["status"] == "waiting", f"the Flow is {flow['status']} and is not waiting")
    (approval_id,) = [one["approval_id"] for one in flow["approvals"] if one["status"] == "pending"]
    path = stage.root / "pending" / "approvals" / f"{approval_id}.yaml"
    text = eventually(lambda: path.read_text() if path.exists() else "", f"there is no file {path}")
    typed("cat", str(path.relative_to(stage.base)))
    say(text.rstrip())
    check(text.count("\ndecision:") == 1, f"{path} has no line `decision:` to be filled in")
    say()
    say("The demo now fills in a line, as you would in your editor: decision: allow")
    _save(path, text.replace("\ndecision:", "\ndecision: allow"))
    eventually(lambda: not path.exists(), "the daemon did not take the file with the decision")
    approval = ask(stage, "approvals", "show", approval_id)
    check(approval["status"] == "allowed", f"the approval is {approval['status']} and not allowed")
    check(approval["decisions"][0]["via"] == "file", "the journal does not say that the file decided")
    kheish(stage, "flows", "follow", flow_id, "--after", str(flow["n"]))


def _report(stage: Stage, flow_id: str) -> None:
    heading("The report for an auditor, a year later")
    kheish(stage, "flows", "show", flow_id)
    flow = ask(stage, "flows", "show", flow_id)
    check(flow["status"] == "succeeded", f"the Flow is {flow['status']}")
    kinds = sorted(one["kind"] for one in flow["evidence"])
    check(kinds == ["commit", "file", "file"], f"the evidence is {kinds}")
    kheish(stage, "flows", "report", flow_id, "--html", "report.html")
    page = (stage.base / "report.html").read_text()
    check("<svg" in page and flow["digest"] in page, "the report lacks the picture or the digest")


def _history(stage: Stage, flow_id: str) -> None:
    heading("The record in git")
    eventually(lambda: not git(stage.root, "status", "--porcelain"), "git status in the state root is not clean")
    typed("git", "-C", "state", "log", "--format=%h %an: %s")
    say(git(stage.root, "log", "--format=%h %an: %s").rstrip())
    git(stage.root, "fsck", "--no-progress")
    check("phase.ended" in git(stage.root, "log", "-p", "sessions/"), "`git log -p` does not show the journal")
    heading("The journal of the interrupted phase, from its start")
    entries = [json.loads(line) for path in _segments(stage, flow_id) for line in path.read_text().splitlines()]
    check(
        any(one["kind"] == "run.resumed" and one["data"]["reason"] == "restart" for one in entries),
        "the journal does not record the restart",
    )
    (run_id,) = ask(stage, "flows", "show", flow_id)["phases"][1]["run_ids"]
    kheish(stage, "runs", "follow", run_id)
    kheish(stage, "stop")
    if stage.daemon is not None:
        check(stage.daemon.wait(15) == 0, "the daemon did not shut down cleanly")
        stage.daemon = None


def _farewell(stage: Stage, seconds: float) -> None:
    kheish_ = program()
    heading(f"Done, in {seconds:.0f} seconds")
    say(f"All files are in {stage.base}")
    say("  report.html            the report; open it in a browser")
    say("  shop/                  the repository that the agent worked in")
    say("  state/                 the state root; see its README.md")
    say("  state/playbooks/       three example Playbooks to edit and publish")
    say("The complete history, as a conversation:")
    say(f"  git -C {stage.root} log -p sessions/")
    say()
    say("Next, with a real model (set OPENAI_API_KEY first; docs/models.md has others):")
    route = r"driver: openai\nmodel: gpt-5.4-mini\nauth_ref: env:OPENAI_API_KEY\n"
    say(f"  {kheish_} init && printf '{route}' > ~/kheish-state/routes/main.yaml && {kheish_} serve")
    say(f"  {kheish_} run hello 'What is in this folder?' --follow      # in another terminal")


def _progress(stage: Stage) -> list[str]:
    """Return the progress notes of the slow test: `begin`, then a line for each group."""
    path = stage.workspace / PROGRESS
    return path.read_text().splitlines() if path.exists() else []


def _segments(stage: Stage, session_id: str) -> list[Path]:
    found = sorted(stage.root.glob(f"sessions/*/{session_id}/journal/*.jsonl"))
    check(found, "the session has no journal")
    return found


def _save(path: Path, text: str) -> None:
    """Replace the file with a new one, as editors do."""
    written = path.with_name(f".{path.name}.swp")
    written.write_text(text)
    written.replace(path)
