"""Every file under `examples/` does what its page says, against a real daemon."""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kheish.client import Run
from tests.support.daemon import Daemon, until
from tests.support.openai_standin import Answer, standin

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(path: str) -> str:
    return (EXAMPLES / path).read_text()


def serve(folder: Path, *paths: str, **settings: str) -> Daemon:
    daemon = Daemon.make(folder, settings=settings)
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


def test_that_a_denied_step_of_the_tour_completes_it(tmp_path: Path) -> None:
    daemon = serve(tmp_path, "routes/tour.yaml")
    try:
        client = daemon.start().client
        client.sessions.create("s")
        run = client.runs.start("s", "Say hello").wait(30)
        client.questions.answer(run.waits_for[1][0], {"q1": {"selected": ["a"]}})
        until(lambda: run.refresh().waits_for[0], what="the approval")
        client.approvals.deny(run.waits_for[0][0], reason="not now")
        run = client.runs.get(run.run_id, wait="30s")
        assert run.status == "completed" and "denied this call" in (run.output or ""), run.data
        assert not (daemon.workspace / "greeting.txt").exists()
    finally:
        daemon.end()


def test_that_a_skill_runs_its_script(tmp_path: Path) -> None:
    daemon = serve(tmp_path, "routes/todos.yaml")
    shutil.copytree(EXAMPLES / "skills", daemon.root / "skills", dirs_exist_ok=True)
    daemon.write("permissions.yaml", "rules: [{tool: bash, decision: allow}]\n")
    daemon.write("kheish.yaml", "sandbox: {mode: 'off'}\n")
    route = example("routes/todos.yaml").replace("/skills/todo-report/", "$KHEISH_SKILL_DIR/")
    daemon.write("routes/todos.yaml", route)  # without the sandbox, the folder is elsewhere
    (daemon.workspace / "main.py").write_text("# FIXME: mend it\n")
    try:
        client = daemon.start().client
        client.sessions.create("s")
        run = client.runs.start("s", "What is left?", wait="20s")
        assert run.output == "These are left to do.", run.data
        (_, script) = (one["data"] for one in daemon.journal("s") if one["kind"] == "tool.finished")
        assert "main.py:1:# FIXME: mend it" in script["content"] and not script["is_error"]
    finally:
        daemon.end()


def test_that_the_team_finishes_its_board(tmp_path: Path) -> None:
    daemon = serve(tmp_path, "projects/shop.yaml", "routes/team.yaml", "routes/tour.yaml", "permissions.yaml")
    try:
        client = daemon.start().client
        client.sessions.create("builder", route="tour")  # as docs/projects.md has one for another project
        words = [sys.executable, str(EXAMPLES / "team.py"), str(daemon.root)]
        environment = daemon.environment()
        done = subprocess.run(words, check=False, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert "writer begins changelog" in done.stdout
        assert done.stdout.endswith("All 6 tasks are completed, for 0.0061 US dollars.\n"), done.stdout
        assert (daemon.workspace / "docs/team.md").read_text() == "The team has worked here.\n"
        tasks = {one["task_id"]: one for one in daemon.client.projects.tasks("shop")["items"]}
        assert tasks["publish"]["created_at"] < tasks["user-tests"]["ended_at"] < tasks["publish"]["ended_at"]
        assert {one["output"] for one in tasks.values()} == {"The task is done."}
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
    tried |= {path for path in EXAMPLES.glob("skills/*/**/*.*") if path.name != "SKILL.md"}  # parts of a skill
    tried |= set((EXAMPLES / "demo").glob("*/**/*"))  # copied by `kheish demo`
    paths = {path for path in EXAMPLES.rglob("*.*") if "__pycache__" not in path.parts} - tried
    found = {path.relative_to(EXAMPLES).as_posix() for path in paths}
    assert found == {"README.md", *(name for name in found if f"({name})" in example("README.md"))}
    daemon = serve(tmp_path / "root", *(name for name in found if name.endswith((".yaml", "reviewer.md"))))
    done = daemon.cli("doctor")
    assert done.returncode == 0, done.stdout
    assert "all definitions are valid" in done.stdout


def test_that_the_incident_room_talks(tmp_path: Path) -> None:
    routes = ("dba", "network")
    daemon = Daemon.make(tmp_path)
    for one in routes:
        daemon.write(f"routes/{one}.yaml", example(f"routes/{one}.yaml"))
    try:
        daemon.start()
        for one in routes:
            daemon.client.sessions.create(one, route=one)
        daemon.write("channels/incident.yaml", example("channels/incident.yaml"))  # as a person saves it
        until(lambda: daemon.client.definitions("channels").list()["items"], what="the file is in force")
        done = daemon.cli("channels", "post", "incident", "Every database query takes a minute", "--follow")
        assert done.returncode == 0, done.stderr
        said = [one["text"] for one in daemon.client.channels.messages("incident")["items"]][::-1]
        assert said[1].startswith("The queries are") and said[2].startswith("Two percent") and len(said) == 3
    finally:
        daemon.end()


def test_that_a_program_outside_is_a_connector(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = "whsec_" + base64.b64encode(b"a-secret-of-both-directions-0123").decode()
    routes = {"echo": {"driver": "scripted", "script": {"echo": True}}}
    config = {"default_route": "echo", "network": {"allow": ["127.0.0.1"]}}
    with Daemon.fresh(tmp_path, routes=routes, config=config) as daemon:
        daemon.client.secrets.put("bridge", secret)
        daemon.write("outputs/bridge-back.yaml", example("outputs/bridge-back.yaml").replace("8099", str(port)))
        daemon.write("connectors/bridge.yaml", example("connectors/bridge.yaml"))
        until(lambda: any(one["id"] == "bridge" for one in daemon.client.connectors.list()["items"]), what="in force")
        words = [sys.executable, str(EXAMPLES / "connectors/bridge.py"), f"{daemon.url}/v1/ingress/bridge", secret]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        program = subprocess.Popen([*words, "--listen", str(port)], text=True, **pipes)  # type: ignore[call-overload]
        try:
            program.stdin.write("hello from outside\n")
            program.stdin.flush()
            assert program.stdout.readline() == "hello from outside\n"
        finally:
            program.kill()
            program.communicate()
