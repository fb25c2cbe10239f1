"""bash as a job: output, ends, confinement, and what a restart finds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kheish.jobs import probing
from kheish.jobs.runner import Jobs, JobState, Limits
from kheish.runtime.tools import shell
from kheish.runtime.tools.base import Tool, ToolError
from kheish.runtime.tools.shell import Bash, SandboxSettings


def tool(mode: str = "off", available: bool = False, **more: object) -> Tool:
    settings = SandboxSettings(mode=mode, available=available, **more)  # type: ignore[arg-type]
    return shell.make(lambda: settings)


async def started(tool: Tool, call: Bash, context, **changes: object):
    note = await tool.plan(call, context(**changes))
    return context(note=note, **changes)


async def test_a_command_runs_in_the_workspace_and_streams(root: Path, context) -> None:
    (root / "sub").mkdir()
    heard: list[str] = []
    bash = tool()
    here = await started(bash, Bash(command="pwd; echo err >&2; cat"), context, output=heard.append)

    result = await bash.run(Bash(command="pwd; echo err >&2; cat"), here)
    below = await bash.run(Bash(command="pwd", workdir="sub"), context(key="2"))

    assert result.content == f"{root}\nerr"
    assert "".join(heard) == f"{root}\nerr\n"
    assert (result.is_error, result.detail["exit_status"], result.detail["job"]) == (False, 0, here.note["job"])
    assert below.content == f"{root}/sub"
    with pytest.raises(ToolError, match="outside the workspace"):
        await bash.plan(Bash(command="pwd", workdir=".."), context(key="3"))


@pytest.mark.parametrize(
    ("command", "timeout", "content"),
    [
        ("echo a; exit 3", 20, "a\n[exit status 3]"),
        ("true", 20, "[no output]"),
        ("kill -9 $$", 20, "[killed by signal 9]"),
        ("exec sleep 60", 0.3, "[ended after its timeout of 0.3 s; it did not finish]"),
        (
            "echo a; sleep 60 | sleep 60",
            0.3,
            "a\n[ended after its timeout of 0.3 s; it did not finish]\n[its processes that had to be ended: 3]",
        ),
        (
            "exec cat /dev/zero > big",
            20,
            "[killed: it wrote a larger file than a command may (sandbox.file_size)]",
        ),
    ],
)
async def test_each_end_is_told(context, command: str, timeout: float, content: str) -> None:
    bash = tool(limits=Limits(processes=20, file_size=1_000_000))
    result = await bash.run(Bash(command=command, timeout=timeout), context())
    assert result.content == content
    assert result.is_error is (command != "true")


async def test_a_command_with_too_many_processes_is_ended_and_told(context) -> None:
    bash = tool(limits=Limits(processes=20))
    result = await bash.run(Bash(command="for i in {1..50}; do sleep 60 & done; wait", timeout=20), context())

    assert (
        result.is_error and "more processes and threads than a command may have (sandbox.processes)" in result.content
    )
    assert result.detail["exceeded"] == "processes" and result.detail["ended"] > 20


async def test_what_a_command_left_running_is_ended_and_told(context) -> None:
    result = await tool().run(Bash(command="setsid sleep 60 & echo started"), context())

    assert result.content == "started\n[its processes that had to be ended: 1]" and not result.is_error


async def test_long_output_keeps_head_and_tail(context) -> None:
    bash = tool()
    result = await bash.run(Bash(command="seq 1 20000; echo the end"), context())
    assert result.content.startswith("1\n2\n")
    assert result.content.endswith("19999\n20000\nthe end")
    assert "bytes left out of 108901; run it again with head, tail or grep" in result.content
    assert len(result.content.encode()) < bash.max_result_bytes


@pytest.mark.found("S2")
async def test_the_environment_of_the_daemon_is_not_seen(
    context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    (tmp_path / "startup").write_text("echo started")
    monkeypatch.setenv("BASH_ENV", str(tmp_path / "startup"))
    result = await tool().run(Bash(command="env"), context())
    assert "PATH=" in result.content
    assert "sk-secret" not in result.content and "started" not in result.content


async def test_required_without_a_sandbox_refuses(context, jobs: Jobs) -> None:
    with pytest.raises(ToolError, match="required"):
        await tool("required").plan(Bash(command="true"), context())
    assert jobs.list() == ()


async def test_a_confined_command_sees_only_its_workspace(root: Path, context) -> None:
    if not (await probing.probe_async()).available:
        pytest.skip("bubblewrap does not work here")
    (root / "sub").mkdir()
    (root.parent / "token").write_text("secret")
    bash = tool("ask", available=True, hide=(root.parent / "token",))

    result = await bash.run(Bash(command="pwd; cat ../../token; echo x > made", workdir="sub"), context())

    assert result.content.startswith(f"{root}/sub\n")
    assert "secret" not in result.content
    assert (root / "sub" / "made").read_text() == "x\n"


@pytest.mark.parametrize("mode", ["off", "ask"])
async def test_a_line_that_rules_allowed_runs_as_read_and_follows_no_link(mode: str, root: Path, context) -> None:
    available = mode == "ask" and (await probing.probe_async()).available
    (root / "docs/sub").mkdir(parents=True)
    (root / "docs/l").symlink_to("../src")
    bash = tool(mode, available=available)
    command = "pwd; printf '%s\\n' it\\'s > a && cat < a; cat a | tr i I >> ../b; echo x > ../l; echo $HOME > ../c"

    here = await started(bash, Bash(command=command, workdir="docs/sub"), context, as_read=True)
    result = await bash.run(Bash(command=command, workdir="docs/sub"), here)

    said = result.content.splitlines()
    assert said[:2] == [f"{root}/docs/sub", "it's"] and "docs/l" in said[2] and "links are not followed" in said[2]
    assert (root / "docs/b").read_text() == "It's\n" and (root / "docs/c").read_text().startswith("/")
    assert not (root / "src").exists()
    assert here.note["runs"].startswith("pwd; printf ")
    with pytest.raises(ToolError, match="not known"):
        await bash.plan(Bash(command="echo $x"), context(key="3", as_read=True))
    with pytest.raises(ToolError, match="is not a file of the workspace"):
        await bash.plan(Bash(command="echo x > /etc/x"), context(key="4", as_read=True))


async def test_recovery_starts_what_never_started_once(root: Path, context, jobs: Jobs) -> None:
    call = Bash(command="echo ran >> ledger; cat ledger")
    bash = tool()
    here = await started(bash, call, context)
    assert jobs.state(here.note["job"]) is JobState.UNCLAIMED

    first = await bash.recover(call, here)
    second = await bash.recover(call, here)  # ended meanwhile: its stored end

    assert first.content == second.content == "ran"
    assert (root / "ledger").read_text() == "ran\n"
    assert await bash.recover(call, context()) is None
    assert await bash.recover(call, context(note={"job": "job_missing"})) is None


async def test_a_cancelled_call_leaves_its_job_running_and_is_found_again(root: Path, context, jobs: Jobs) -> None:
    call = Bash(command="echo begun; until [ -e go ]; do sleep 0.02; done; echo done")
    bash = tool()
    begun = asyncio.Event()
    here = await started(bash, call, context, output=lambda _: begun.set())
    task = asyncio.create_task(bash.run(call, here))
    await asyncio.wait_for(begun.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert jobs.state(here.note["job"]) is JobState.RUNNING

    found = asyncio.create_task(bash.recover(call, here))
    (root / "go").touch()

    assert (await asyncio.wait_for(found, 20)).content == "begun\ndone"


async def test_a_plan_made_again_replaces_what_never_started_but_nothing_else(context, jobs: Jobs) -> None:
    bash = tool()
    first = await bash.plan(Bash(command="echo old"), context())
    again = await bash.plan(Bash(command="echo new"), context())
    result = await bash.run(Bash(command="echo new"), context(note=again))
    repeat = await bash.plan(Bash(command="echo new"), context())

    assert (first["job"], result.content) == (again["job"], "new")
    assert repeat["job"] == f"{first['job']}-2"
    assert jobs.list() == (first["job"], repeat["job"])


async def test_a_job_stopped_before_it_started_says_so(context, jobs: Jobs) -> None:
    bash = tool()
    here = await started(bash, Bash(command="true"), context)
    await jobs.stop(here.note["job"])
    result = await bash.recover(Bash(command="true"), here)
    assert result.content == "[stopped before it started]"
    assert result.is_error
