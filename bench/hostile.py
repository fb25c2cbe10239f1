"""Hostile inputs, each with the slowest answer of `/healthz` while the daemon has it and another session works."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench import processes, waiting
from bench.report import Report, Row
from tests.support.daemon import Daemon, allow, call, until
from tests.support.site import Page, Site, serve

#: milliseconds; no input of any kind may make an answer slower
LIMIT = 500.0
_LEAST = 10  # answers of /healthz that are looked at, however fast the input is done with
_FLOOR = "the slowest answer of an idle process of this machine meanwhile"
_HTML, _TEXT = {"Content-Type": "text/html"}, {"Content-Type": "text/plain"}
_PAGES = {
    "open links": b"<a href='" * 400_000,
    "open comments": b"<!--" * 1_000_000,
    "nested folders of markup": b"<div>" * 900_000,
    "open attributes": b"<p " + b"a='" * 1_500_000,
    "entities": b"&" * 4_000_000,
    "tables": b"<table><tr><td>" * 300_000,
    "open declarations": b"<!DOCTYPE [" + b"<![" * 1_500_000,
    "text that is no UTF-8": b"\xff" * 4_000_000,
}
_REGEX = {"type": "string", "pattern": ".*.*.*x$"}
_LONG = "a" * 60_000


@dataclass(frozen=True, slots=True)
class Scene:
    """A served daemon, a client of its API, and a site of hostile pages."""

    daemon: Daemon
    http: httpx.Client
    site: Site
    idle: str  # the URL of a server that has nothing to do

    def session(self, name: str, **settings: Any) -> str:
        """Make a session."""
        made = self.http.post("/v1/sessions", json={"session_id": name, **settings})
        assert made.status_code in (200, 201), made.text
        return name

    def run(
        self, name: str, route: str, content: str = "go", *, statuses: Sequence[int] = (200, 201, 202), **settings: Any
    ) -> dict[str, Any]:
        """Return a run of a new session as it is after at most 40 s, or the refusal, with one of these statuses."""
        session = self.session(name, **settings)
        body = {"content": content, "route": route}
        answer = self.http.post(f"/v1/sessions/{session}/runs", params={"wait": "40s"}, json=body)
        assert answer.status_code in statuses, answer.text
        return dict(answer.json())


Input = Callable[[Scene], Any]


def _fetches(scene: Scene) -> list[str]:
    """Fetch each page in a session of its own, all at once."""
    threads = [
        threading.Thread(target=scene.run, args=(f"page-{number}", f"page-{number}")) for number in range(len(_PAGES))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(_PAGES)


def _check_line(line: str) -> Input:
    def check(scene: Scene) -> int:
        body = {"tool": "bash", "arguments": {"command": line}}
        return scene.http.post("/v1/permissions/check", json=body).status_code

    return check


def _big_schema(properties: int) -> Input:
    def send(scene: Scene) -> int:
        schema = {"properties": {f"p{number}": {"type": "string"} for number in range(properties)}}
        body = {"content": "go", "route": "idle", "completion": [{"output_matches": schema}]}
        return scene.http.post(f"/v1/sessions/{scene.session('big-schema')}/runs", json=body).status_code

    return send


def _body(content: bytes) -> Input:
    def send(scene: Scene) -> int:
        kind = {"Content-Type": "application/json"}
        return scene.http.post("/v1/sessions", content=content, headers=kind).status_code

    return send


def _yaml(scene: Scene) -> int:
    text = "".join(f"k{number}: {{a: [1, 2, {{b: c}}]}}\n" for number in range(60_000))
    kind = {"Content-Type": "application/yaml"}
    return scene.http.put("/v1/routes/many", content=text.encode(), headers=kind).status_code


def _inbox(scene: Scene) -> None:
    text = "content: go\n" + "".join(f"k{number}: {{a: [1, 2, {{b: c}}]}}\n" for number in range(60_000))
    folder = scene.daemon.root / "inbox" / "hostile"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "many.yaml").write_text(text)
    until(lambda: not (folder / "many.yaml").exists(), 40, what="the inbox takes the file")


def _definition(scene: Scene) -> None:
    text = "driver: scripted\nscript: {echo: true}\n" + "".join(f"k{number}: [1]\n" for number in range(100_000))
    path = scene.daemon.root / "routes" / "hostile.yaml"
    path.write_text(text)
    until(lambda: "hostile" in scene.http.get("/v1/problems").text, 40, what="the problem of the file")
    path.unlink()


def _fifo(scene: Scene) -> None:
    folder = Path(tempfile.mkdtemp(dir=scene.daemon.workspace))
    os.mkfifo(folder / "AGENTS.md")
    os.mkfifo(folder / "pipe")
    for number in range(8):
        scene.session(f"fifo-{number}", workspace=str(folder))
    for number in range(8):
        body = {"content": "go", "route": "reads-pipe"}
        scene.http.post(f"/v1/sessions/fifo-{number}/runs", json=body)
    scene.http.post("/v1/sessions/fifo-0/runs", params={"wait": "20s"}, json={"content": "go", "route": "idle"})


def _tree(scene: Scene) -> None:
    folder = Path(tempfile.mkdtemp(dir=scene.daemon.workspace))
    for letter in "abcdefgh":
        (folder / letter).symlink_to(".")
    deep = folder
    for _ in range(200):
        deep = deep / "deep"
    deep.mkdir(parents=True)
    for number in range(20_000):
        (folder / f"f{number}").touch()
    scene.run("tree", "searches", workspace=str(folder))


def _slow_clients(scene: Scene) -> None:
    """Keep 200 connections open that send a byte now and then."""
    host, _, port = scene.daemon.url.removeprefix("http://").partition(":")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(200)]
        for byte in b"POST /v1/sessions HTTP/1.1\r\n":
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(bytes([byte]))
            time.sleep(0.02)


_STREAM = "|".join(["echo a"] * 10_000)
INPUTS: Mapping[str, Input] = {
    "hostile pages in web_fetch": _fetches,
    "a contract's pattern over a long answer": lambda scene: scene.run("regex", "long", output_contract=_REGEX),
    "a contract's pattern over a long input": lambda scene: scene.run(
        "regex-in", "idle", _LONG, statuses=(400,), input_contract=_REGEX
    ),
    "a script's pattern over a long input": lambda scene: scene.run("expect", "expects", _LONG),
    "a schema of 27 KiB in a submission": _big_schema(1000),
    "a schema of 256 KiB in a submission": _big_schema(9000),
    "permissions/check of 10,000 commands": _check_line(_STREAM),
    "permissions/check of 70 KB of pipes": _check_line("echo " + "a|" * 35_000 + "a"),
    "permissions/check of nested substitutions": _check_line("echo " + "$(" * 5000 + ")" * 5000),
    "permissions/check of quotes": _check_line("echo '" * 10_000),
    "permissions/check of braces": _check_line("echo " + "{a,b}" * 1000),
    "JSON nested 100,000 deep": _body(b"[" * 100_000 + b"]" * 100_000),
    "JSON of a million values": _body(b"[" + b"1," * 1_000_000 + b"1]"),
    "YAML of 60,000 keys by PUT": _yaml,
    "YAML of 60,000 keys in inbox/": _inbox,
    "a route of 100,000 keys": _definition,
    "pipes as AGENTS.md and as a file": _fifo,
    "a tree of links to itself, 200 deep, 20,000 files": _tree,
    "4,000 tool calls in one answer": lambda scene: scene.run("many-calls", "many-calls"),
    "arguments nested 90 deep": lambda scene: scene.run("deep-calls", "deep-calls"),
    "a command of 10,000 parts that asks": lambda scene: scene.run("parts", "parts"),
    "operands with stars over links to .": lambda scene: scene.run("stars", "stars", workspace=_links(scene)),
    "200 slow clients": _slow_clients,
}


def _links(scene: Scene) -> str:
    folder = Path(tempfile.mkdtemp(dir=scene.daemon.workspace))
    for letter in "abcdefghijkl":
        (folder / letter).symlink_to(".")
    return str(folder)


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def _routes(site: Site, model: str) -> dict[str, Any]:
    pages = {
        f"page-{number}": [{"tool_calls": [call("web_fetch", url=f"{site.url}/{number}")]}, {"text": "read"}]
        for number in range(len(_PAGES))
    }
    searches = [
        {"tool_calls": [call("glob_search", pattern="**/*/**/*/**/nothing*")]},
        {"tool_calls": [call("grep_search", pattern="(a+)+$(x+x+)+y")]},
        {"tool_calls": [call("list_files", path=".")]},
        {"text": "searched"},
    ]
    return {
        **pages,
        "works": {"driver": "scripted", "script": {"turns": [{"tool_calls": [call("list_files")]}, {"text": "ok"}]}},
        "idle": [{"text": "ok"}],
        "long": [{"text": _LONG}],
        "expects": [{"expect": ".*.*.*x$", "text": "ok"}],
        "reads-pipe": [{"tool_calls": [call("read_file", path="pipe")]}, {"text": "read"}],
        "searches": searches,
        "many-calls": [{"tool_calls": [call("list_files")] * 4_000}, {"text": "ok"}],
        # no route's file may be nested as deep as what a model answers
        "deep-calls": {"driver": "openai", "model": "deep", "api_base": model},
        "parts": [{"tool_calls": [call("bash", command=_STREAM)]}, {"text": "ok"}],
        "stars": [{"tool_calls": [call("bash", command="cat */*/*/*/*/*/*/*/x")]}, {"text": "ok"}],
    }


@contextlib.contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Serve a daemon with a route for each kind of hostile answer, and a site of hostile pages."""
    pages = {
        f"/{number}": Page(page, headers=_TEXT if name.startswith("text") else _HTML)
        for number, (name, page) in enumerate(_PAGES.items())
    }
    with contextlib.ExitStack() as stack:
        site = stack.enter_context(serve(pages))
        turns = folder / "deep.json"
        turns.write_text(json.dumps([{"calls": [call("todo_write", items=_deep(90))]}, {"text": "ok"}]))
        model, _ = stack.enter_context(processes.standin("--script", str(turns)))
        permissions = allow("ls")
        permissions["rules"].append({"tool": "web_fetch", "decision": "allow"})
        config = {"network": {"allow": ["127.0.0.1"]}, "default_route": "idle"}
        made = Daemon.fresh(folder, routes=_routes(site, model), permissions=permissions, config=config)
        daemon = stack.enter_context(made)
        token = (daemon.root / ".kheish" / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        http = stack.enter_context(httpx.Client(base_url=daemon.url, headers=headers, timeout=60))
        yield Scene(daemon, http, site, stack.enter_context(waiting.idle()))


@dataclass(slots=True)
class Watch:
    """Asks for `/healthz` again and again from a process of its own, while a thread keeps a session at work."""

    scene: Scene
    slowest: float = 0.0  # milliseconds
    idle: float = 0.0  # of a process that has nothing to do, at the same time
    worked: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _results: list[waiting.Waited] = field(default_factory=list)

    def __enter__(self) -> Watch:
        worker = threading.Thread(target=self._work)
        worker.start()
        self._stack.callback(worker.join)
        self._stack.callback(self._over.set)
        self._results = self._stack.enter_context(waiting.asking(self.scene.daemon.url, self.scene.idle, _LEAST))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if self._results:
            self.slowest, self.idle = self._results[0].slowest, self._results[0].idle

    def _work(self) -> None:
        client = self.scene.daemon.client
        folder = self.scene.daemon.workspace / "at-work"
        folder.mkdir(exist_ok=True)
        client.sessions.create("at-work", workspace=str(folder))
        while not self._over.is_set():
            self.worked += client.runs.start("at-work", "go", route="works", wait="60s").status == "completed"


def measure() -> Report:
    """Play each input while `/healthz` is asked and another session works."""
    report = Report("hostile")
    with tempfile.TemporaryDirectory() as folder, scene(Path(folder)) as played:
        for name, hostile in {"nothing": lambda _: time.sleep(2), **INPUTS}.items():
            began = time.perf_counter()
            with Watch(played) as watch:
                hostile(played)
            what = f"{name}: slowest /healthz"
            report.rows.append(
                Row(what=what, measured=watch.slowest, unit="ms", floor=watch.idle, floor_is=_FLOOR, limit=LIMIT)
            )
            report.details[name] = [time.perf_counter() - began, float(watch.worked)]
    report.notes.append("`details` has the seconds that each input took, and the runs that the other session finished.")
    return report
