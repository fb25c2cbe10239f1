"""What stands where the daemon reads files, and is none, or too much: it is told, and nothing stands still for it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.daemon import Daemon, until

PIPES = ("secrets/recipients.txt", "secrets/x.age", "secrets/sub/x.age", "routes/pipe.yaml", "personas/pipe.md",
         "playbooks/p/pipe", "inbox/s/pipe.md", "pending/approvals/pipe.yaml", "permissions.yaml", "mcp/pipe.yaml",
         "schedules/pipe.yaml", "memory/shared/pipe.md", "pending/memory/pipe.yaml", "projects/pipe.yaml",
         "workers/pipe.yaml")  # fmt: skip
LINKS = ("routes/link.yaml", "personas/link.md", "playbooks/link", "inbox/s/link.md", "secrets/link.age",
         "hooks/link.yaml", "channels/link.yaml", "connectors/link.yaml", "memory/shared/link.md")  # fmt: skip
HUGE = ("routes/huge.yaml", "personas/huge.md", "playbooks/p/huge.bin", "pending/questions/huge.yaml",
        "sources/huge.yaml", "outputs/huge.yaml", "memory/shared/huge.md", "pending/memory/huge.yaml")  # fmt: skip
#: seconds that nothing else may wait for
PATIENCE = 0.5
KEYS = b"content: x\n" + b"".join(b"k%d: {a: 1}\n" % at for at in range(60_000))


def problems(daemon: Daemon) -> dict[str, str]:
    return {one["path"]: one["message"] for one in daemon.http("GET", "/v1/problems?limit=200").json()["items"]}


@contextmanager
def watched(daemon: Daemon) -> Iterator[list[float]]:
    """The seconds that each answer of /healthz took meanwhile."""
    took, done = list[float](), threading.Event()

    def ask() -> None:
        with httpx.Client(trust_env=False) as client:
            while not done.wait(0.02):
                began = time.monotonic()
                client.get(f"{daemon.url}/healthz", timeout=60)
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        done.set()
        thread.join()


def plant(root: Path) -> None:
    for path in (*PIPES, *LINKS, *HUGE):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).unlink(missing_ok=True)
    for path in PIPES:
        os.mkfifo(root / path)
    for path in LINKS:
        (root / path).symlink_to("/dev/zero")
    for path in HUGE:
        with (root / path).open("wb") as file:
            file.truncate(20 * 1024**3)


@pytest.mark.found("S18")
def test_pipes_links_and_sparse_files_are_told_and_edits_go_on(tmp_path: Path) -> None:
    with Daemon.fresh(tmp_path, routes={"hello": [{"text": "hi"}]}) as daemon:
        daemon.write("playbooks/p/playbook.yaml", "title: P\nobjective: o\n")
        daemon.client.sessions.create("s", route="hello")
        plant(daemon.root)
        wanted = {*PIPES, *LINKS, *HUGE, "playbooks/p/playbook.yaml"} - {"playbooks/p/huge.bin"}  # its manifest's fault
        for start in (False, True):
            if start:
                assert daemon.stop(20) == 0
                daemon.start()
            until(lambda: wanted <= problems(daemon).keys(), 30, what="all are told")
            (daemon.root / f"routes/new-{int(start)}.yaml").write_text("driver: scripted\nscript: {echo: true}\n")
            until(
                lambda start=start: daemon.http("GET", f"/v1/routes/new-{int(start)}").status_code == 200, what="edits"
            )  # type: ignore[misc]
            (daemon.root / f"inbox/s/go{start}.md").write_text("go")
            until(lambda start=start: not (daemon.root / f"inbox/s/go{start}.md").exists(), what="the inbox")  # type: ignore[misc]
            assert daemon.client.runs.start("s", "x", wait="20s").status == "completed"
            assert "Traceback" not in daemon.cli("doctor").stderr
        (daemon.root / "kheish.yaml").unlink()
        os.mkfifo(daemon.root / "kheish.yaml")
        assert daemon.stop(20) == 0
        daemon.start()
        until(lambda: "pipe" in problems(daemon).get("kheish.yaml", ""), what="it is told")
        (daemon.root / "routes/link.yaml").unlink()
        until(lambda: "routes/link.yaml" not in problems(daemon), what="told no more")
        assert daemon.stop(20) == 0


def test_huge_yaml_from_all_sides_makes_nobody_wait(tmp_path: Path) -> None:
    with Daemon.fresh(tmp_path, routes={"hello": [{"text": "hi"}]}) as daemon:
        daemon.client.sessions.create("s", route="hello")
        yaml = {"content": KEYS, "headers": {"content-type": "application/yaml"}}
        with watched(daemon) as took:
            for path in ("inbox/s/a.yaml", "routes/a.yaml", "personas/a.md", "playbooks/p/playbook.yaml",
                         "pending/approvals/a.yaml"):  # fmt: skip
                (daemon.root / path).parent.mkdir(parents=True, exist_ok=True)
                (daemon.root / path).write_bytes(b"---\n" + KEYS + b"---\nx\n" if path.endswith(".md") else KEYS)
            assert daemon.http("PUT", "/v1/routes/b", **yaml).status_code == 400
            assert daemon.http("POST", "/v1/personas/validate", **yaml).status_code == 200
            until(lambda: "routes/a.yaml" in problems(daemon), 60, what="told")
            until(lambda: list((daemon.root / "inbox/rejected").glob("*.problem.txt")), 60, what="rejected")
        *_, second, worst = sorted(took)  # one answer may be late because other tests have the processors
        assert second < PATIENCE and worst < 2 * PATIENCE, sorted(took)[-5:]
