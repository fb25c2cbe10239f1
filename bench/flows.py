"""What a list, one thing and a start cost with ten Flows, and with 10,000 Flows and 1,000 versions of 100 Playbooks.

Versions are published by the daemon, over HTTP. One Flow is run by it; all others are copies of that, as `generate`
makes sessions. One request at a time on a kept connection.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import generate, processes
from bench.patterns import Pattern, Template, numbers
from bench.report import Report, Row
from bench.roots import Roots
from bench.vocabulary import Speaker
from kheish.client import Kheish
from kheish.client.shapes import Evidence

COUNT = 200
STARTS = 60
GOAL = 5.0
_PLAYBOOK = """\
title: Triage {{inputs.service}}
objective: Find what ails {{inputs.service}}.
inputs: {service: {type: string, required: true}}
phases:
  - {id: look, instructions: "Read the logs of {{inputs.service}}."}
  - {id: tell, needs: [look], instructions: Say what it was.}
acceptance: [the cause is known]
"""
_PATTERN = "zqsplay"  # `patterns.Template` gives each copy another Playbook in its place
_WAIT = "60s"
#: what is asked, so that both sizes answer with as much; {flow} is one of the Flows, {playbook} one of the Playbooks
ASKED = {
    "the ten newest Flows": "/v1/flows?limit=10",
    "Flows that failed (none)": "/v1/flows?status=failed",
    "ten Flows of one Playbook": "/v1/flows?playbook={playbook}&limit=10",
    "one Flow": "/v1/flows/{flow}",
    "five Playbooks": "/v1/playbooks?limit=5",
    "versions of one Playbook": "/v1/playbooks/{playbook}/versions",
    "one version": "/v1/playbooks/{playbook}/versions/1.0.0",
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is."""

    playbooks: int
    versions: int  # of each
    flows: int


SIZES = (Size(1, 10, 10), Size(100, 10, 10_000))


def measure(roots: Roots) -> Report:
    """Each question, and a start, at both sizes."""
    report = Report("flows")
    for size in SIZES:
        folder, made = roots.made(f"flows-{size.flows}", partial(make, size=size))
        with processes.daemon(folder / "root") as daemon:
            found = _asked(daemon, size, made["flows"])
        report.details[str(size.flows)] = found
        for what, one in found.items():
            report.rows.append(
                Row(what=f"{what}, {size.flows:,} Flows, p50", measured=one["p50"], unit="ms",
                    limit=None if what == "a start" else GOAL)
            )  # fmt: skip
    report.notes.append(
        f"{COUNT} requests each ({STARTS} starts), one after the other; {SIZES[0].versions} versions of one Playbook, "
        f"and {SIZES[1].versions * SIZES[1].playbooks:,} of {SIZES[1].playbooks}."
    )
    return report


def make(folder: Path, size: Size) -> dict[str, list[str]]:
    """Make a state root in `folder`; the ids of its Flows."""
    root = processes.new_root(folder)
    names = [_name(number) for number in range(size.playbooks)]
    for name in (*names, _PATTERN):
        draft = root / "playbooks" / name / "playbook.yaml"
        draft.parent.mkdir()
        draft.write_text(_PLAYBOOK)
    with processes.daemon(root) as daemon:
        client = Kheish(url=daemon.url, token=daemon.token)
        for name in names:
            _publish(client, name, size.versions)
        _publish(client, _PATTERN, 1)
        started = client.flows.start(_PATTERN, inputs={"service": "api"})["flow_id"]
        flow = client.flows.get(started, wait=_WAIT)
        if flow["status"] != "succeeded":
            raise RuntimeError(f"the Flow to be copied is {flow['status']}")
    pattern, made = _read(root, started), list[str]()
    generate.add(root, _copies(pattern, size, generate.newest(root) + 1, made))
    return {"flows": made}


def _name(number: int) -> str:
    return f"bench-{number:03d}"


def _publish(client: Kheish, name: str, versions: int) -> None:
    for number in range(versions):
        client.playbooks.publish(name, f"1.{number}.0")
    evidence: list[Evidence] = [{"kind": "attestation", "id": "bench", "description": "for the benchmark"}]
    client.playbooks.release(name, f"1.{versions - 1}.0", "verified", evidence=evidence)
    client.playbooks.release(name, f"1.{versions - 1}.0", "active")


def _read(root: Path, flow_id: str) -> Pattern:
    (session,) = root.glob(f"sessions/*/{flow_id}")
    (record,) = root.glob(f"flows/*/{flow_id}.yaml")
    paths = [path for path in (*session.rglob("*"), record) if path.is_file()]
    files = [(Template.of(str(path.relative_to(root))), Template.of(path.read_text())) for path in paths]
    return Pattern(tuple(files), *numbers(session))


def _copies(pattern: Pattern, size: Size, start: int, made: list[str]) -> Iterator[tuple[int, list[generate.File]]]:
    """Each Flow as (its last event number, its files), thirty days of them; its id goes into `made`."""
    speaker = Speaker(generate.SEED)
    first = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=generate.DAYS)
    for number in range(size.flows):
        day = str(first + datetime.timedelta(days=number * generate.DAYS // size.flows))
        copied = pattern.copy(number, _name(number % size.playbooks), day, start, speaker)
        files = [(path, text.encode()) for path, text in copied]
        made.append(next(Path(path).stem for path, _ in files if path.startswith("flows/")))
        start += pattern.entries
        yield start - 1, files


def _asked(daemon: processes.Daemon, size: Size, flows: list[str]) -> dict[str, dict[str, Any]]:
    spec = {"url": daemon.url, "token": daemon.token}
    picked = [number * 7919 % size.flows for number in range(COUNT)]
    found = {}
    for what, path in ASKED.items():
        paths = [path.format(flow=flows[one], playbook=_name(one % size.playbooks)) for one in picked]
        found[what] = processes.load("gets", **spec, paths=paths)
    found["a start"] = processes.load("flow_starts", **spec, playbook=_name(0), count=STARTS, pause=0.1)
    return found
