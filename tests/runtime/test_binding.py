"""What an approval is bound to, and what happens to a call whose files changed since."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kheish.beneath import files
from kheish.config import Config
from kheish.domain import approvals
from kheish.domain.approvals import Approval
from kheish.domain.runs import Status
from kheish.runtime import binding
from kheish.runtime.executor import Local
from tests.runtime.harness import Live, call

DONE = {"text": "done: {{last_result}}"}


def pending(it: Live) -> list[Approval]:
    return [one for one in it.state.loaded(Approval) if one.status == "pending"]


def fill(root: Path, **files: str) -> None:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.mark.found("S11")
@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("python deploy.py prod", ["deploy.py"]),
        ("./deploy.py", ["deploy.py"]),
        ("make --file=deploy.py && cat sub/conf.ini", ["deploy.py", "sub/conf.ini"]),
        ("cd sub && cat conf.ini", ["sub/conf.ini"]),
        ("bash -c 'python deploy.py'", ["deploy.py"]),
        ("psql < sub/conf.ini", ["sub/conf.ini"]),
        ("make -fdeploy.py; curl -d @sub/conf.ini x", ["deploy.py", "sub/conf.ini"]),
        ("cat $(cat deploy.py)", ["deploy.py"]),
        ("wc *.py", ["deploy.py"]),
        ("wc '*.py'", []),
        ("cat ../secret link /etc/passwd sub fifo no-such-file", []),
        ("'", []),
        (". ./deploy.py", ["deploy.py"]),
        ("source deploy.py", ["deploy.py"]),
        ("let x=1; sh deploy.py", ["deploy.py"]),
        ("sh $PWD/deploy.py", ["deploy.py"]),
        ('sh "${PWD}/deploy.py"', ["deploy.py"]),
        ("f=deploy.py; sh $f", ["deploy.py"]),
        ("d=sub; cat ./$d/conf.ini", ["sub/conf.ini"]),
        ("cat {deploy,}.py", ["deploy.py"]),
        ("cat {sub/conf,deploy}.{ini,py}", ["sub/conf.ini", "deploy.py"]),
        ("cat [^x]eploy.py", ["deploy.py"]),
        ("cat [[:alpha:]]eploy.p?", ["deploy.py"]),
        ("cat su*/*.ini", ["sub/conf.ini"]),
        ('sh -c \'sh -c "sh -c \\"sh -c \\\\\\"sh deploy.py\\\\\\"\\""\'', ["deploy.py"]),
        ("bash <<E\n. ./deploy.py\nE", ["deploy.py"]),
        ("sh <<< 'cat deploy.py'", ["deploy.py"]),
        ("eval 'sh dep\"loy\".py'", ["deploy.py"]),
        ("make -C sub -f conf.ini", ["sub/conf.ini"]),
        ("env --chdir=sub cat conf.ini", ["sub/conf.ini"]),
        ("cd . && cd sub && cat conf.ini", ["sub/conf.ini"]),
        ("cat < $PWD/deploy.py", ["deploy.py"]),
    ],
)
async def test_regular_files_of_the_workspace_that_are_words(it: Live, command: str, named: list[str]) -> None:
    fill(it.workspace, deploy_py="print(1)", sub__conf_ini="x = 1")
    (it.workspace.parent / "secret").write_text("s")
    (it.workspace / "link").symlink_to("../secret")
    os.mkfifo(it.workspace / "fifo")
    run = it.submit_run()
    bound = await binding.bind(it.state, run, "bash", {"command": command}, Local())
    assert [one["path"] for one in bound.files] == named
    again = await binding.bind(it.state, run, "bash", {"command": command}, Local())
    assert again == bound
    fill(it.workspace, deploy_py="print(2)", sub__conf_ini="x = 2")
    changed = await binding.bind(it.state, run, "bash", {"command": command}, Local())
    assert (changed.digest != bound.digest) is bool(named)


@pytest.mark.found("S11")
@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("sh $X/deploy.py", "`$X/deploy.py`"),
        ("cat $(ls)", "`$(ls)`"),
        ("ls | xargs cat", "what `xargs` fills in"),
        ("find . -exec sh {} ;", "what `find` fills in"),
        ("sh deploy.py", "what `sh deploy.py` reads or runs"),
        ("eval $x", "files that only bash can name"),
        ("cat < $X", "the file of a redirection"),
        ("cat {1..2000}{1..2000}", "`{1..2000}{1..2000}`"),
        ("cat ~/x", "`~/x`"),
    ],
)
async def test_what_is_not_bound_is_said_in_the_approval(it: Live, command: str, told: str) -> None:
    it.script(call("bash", command=command), DONE)
    await it.ask()
    [asked] = pending(it)
    assert f"not bound: {told}" in asked.why


async def test_globs_of_a_call_that_merely_asks_are_bounded(it: Live) -> None:
    fill(it.workspace, a_py="1")
    deep = it.workspace / "deep"
    deep.mkdir()
    for number in range(5):
        (deep / f"l{number}").symlink_to(".")
    started = time.monotonic()
    bound = await binding.bind(it.state, it.submit_run(), "bash", {"command": "cat " + "*/" * 12 + "* *.py"}, Local())
    assert [one["path"] for one in bound.files] == ["a.py"] and time.monotonic() - started < 5
    for number in range(1100):
        (deep / f"f{number}").touch()
    many = await binding.bind(it.state, it.submit_run(), "bash", {"command": "cat deep/*"}, Local())
    assert 490 < len(many.files) <= 500 and many.unbound == ("files beyond the first that fit",)
    none = await binding.bind(it.state, it.submit_run(), "bash", {"command": "cat a.py"}, Local())
    assert none.unbound == ()


async def test_a_file_too_large_to_read_is_bound_by_size_and_time(it: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "HASHED", 4)
    fill(it.workspace, big_bin="12345")
    [found] = (await binding.bind(it.state, it.submit_run(), "bash", {"command": "cat big.bin"}, Local())).files
    assert (found["sha256"], found["bytes"]) == (None, 5) and found["mtime_ns"]


async def test_a_script_changed_after_the_approval_is_asked_about_again(it: Live) -> None:
    fill(it.workspace, deploy_sh="echo one\n")
    it.script(call("bash", command="sh deploy.sh"), DONE)
    run = await it.ask()
    [first] = pending(it)
    assert [one["path"] for one in first.files] == ["deploy.sh"]
    fill(it.workspace, deploy_sh="echo two\n")
    approvals.resolve(it.state, first.approval_id, "allow", by="ann", via="api")
    run = await it.rest(run.run_id)
    assert run.status is Status.WAITING_FOR_APPROVAL
    [second] = pending(it)
    assert second.approval_id != first.approval_id and second.digest != first.digest
    assert "changed since" in second.why
    approvals.resolve(it.state, second.approval_id, "allow", by="ann", via="api")
    run = await it.rest(run.run_id)
    assert (run.status, run.output) == (Status.COMPLETED, "done: two")


async def test_another_program_of_the_same_name_is_another_call(it: Live, tmp_path: Path) -> None:
    run = it.submit_run()
    before = await binding.bind(it.state, run, "bash", {"command": "frobnicate"}, Local())
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "frobnicate").write_text("#!/bin/sh\n")
    (tools / "frobnicate").chmod(0o755)
    it.state.definitions.config = Config.model_validate({"sandbox": {"mode": "off", "read_only": [str(tools)]}})
    os.environ["PATH"], old = f"{tools}:{os.environ['PATH']}", os.environ["PATH"]
    try:
        after = await binding.bind(it.state, run, "bash", {"command": "frobnicate"}, Local())
    finally:
        os.environ["PATH"] = old
    assert before.digest != after.digest
