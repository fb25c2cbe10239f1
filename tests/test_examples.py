"""Every file under `examples/` does what its page says, against a real daemon."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kheish.client import Run
from tests.support.daemon import Daemon
from tests.support.openai_standin import Answer, standin

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(path: str) -> str:
    return (EXAMPLES / path).read_text()


def serve(folder: Path, *paths: str, **env: str) -> Daemon:
    daemon = Daemon.make(folder, env=env)
    for path in paths:
        daemon.write(path, example(path))
    return daemon


def test_that_the_client_follows_and_answers_the_scripted_tour(tmp_path: Path) -> None:
    daemon = serve(tmp_path, "routes/tour.yaml")
    try:
        daemon.start()
        words = [sys.executable, str(EXAMPLES / "client.py"), str(daemon.root), "tour", "Say hello"]
        environment = daemon.environment()
        done = subprocess.run(words, check=False, env=environment, capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stderr) == (0, "")
        assert "You said: Say hello. First, I look around." in done.stdout
        assert "answering How should I greet? Warmly" in done.stdout
        assert "completed: Done. Wrote greeting.txt" in done.stdout
        assert (daemon.workspace / "greeting.txt").read_text() == "Hello!\n"
    finally:
        daemon.end()


def ask_twice(daemon: Daemon) -> tuple[Run, Run]:
    try:
        client = daemon.start().client
        client.sessions.create("review", persona="reviewer")
        first = client.runs.start("review", "Who is there?", route="openai", wait="20s")
        return first, client.runs.start("review", "And now?", route="local", wait="20s")
    finally:
        daemon.end()


async def test_that_the_routes_for_compatible_servers_work(tmp_path: Path) -> None:
    async with standin(Answer(text="Here I am."), Answer(text="Here too.")) as server:
        daemon = serve(tmp_path, "personas/reviewer.md", OPENAI_API_KEY="sk-example")
        # The addresses of the examples are for other machines; all else is as it stands there.
        daemon.write("routes/openai.yaml", example("routes/openai.yaml") + f"api_base: {server.url}\n")
        local = example("routes/local.yaml").replace("http://127.0.0.1:8080/v1", server.url)
        daemon.write("routes/local.yaml", local)
        first, second = await asyncio.to_thread(ask_twice, daemon)  # the stand-in has this thread's loop
        assert [first.output, second.output] == ["Here I am.", "Here too."], [first.error, second.error]
        asked = list(server.requests)
        assert asked[0].headers.get("authorization") == "Bearer sk-example"
        assert "You review changes and make none yourself." in str(asked[0].body["messages"])
        assert [one.body["model"] for one in asked] == ["gpt-5.4-mini", "qwen3-coder"]


@pytest.mark.parametrize(
    ("call", "decision"),
    [
        (("bash", "git status --short"), "allow"),
        (("bash", "git status && git push"), "deny"),
        (("bash", "make"), "ask"),
        (("write_file", "docs/new.md"), "allow"),
        (("write_file", "setup.py"), "ask"),
    ],
)
def test_that_the_permissions_decide_as_their_comments_say(
    permitted: Daemon, call: tuple[str, str], decision: str
) -> None:
    assert permitted.cli("permissions", "check", *call, "--quiet").stdout.strip() == decision


@pytest.fixture(scope="module")
def permitted(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    daemon = serve(tmp_path_factory.mktemp("examples"), "permissions.yaml")
    yield daemon.start()
    daemon.end()


def test_that_every_example_is_valid_and_listed(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    # what a Playbook is tried on (tests/test_playbooks.py) is told of in their own README
    tried = {
        path
        for folder in ("route.yaml", "permissions.yaml", "workspace/**/*.*")
        for path in EXAMPLES.glob(f"playbooks/*/{folder}")
    }
    tried |= set((EXAMPLES / "demo").glob("*/**/*"))  # copied by `kheish demo`
    paths = {path for path in EXAMPLES.rglob("*.*") if "__pycache__" not in path.parts} - tried
    found = {path.relative_to(EXAMPLES).as_posix() for path in paths}
    assert found == {"README.md", *(name for name in found if f"({name})" in example("README.md"))}
    daemon = serve(tmp_path / "root", *(name for name in found if name.endswith((".yaml", "reviewer.md"))))
    done = daemon.cli("doctor")
    assert done.returncode == 0, done.stdout
    assert "all definitions are valid" in done.stdout
