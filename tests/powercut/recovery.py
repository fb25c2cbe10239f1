"""Recovery of a state root after a power cut: by the store's own first steps alone, and by the real daemon."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kheish.state import encoding
from kheish.store.git import gitworker, history
from kheish.store.log import scribe, spills, wal
from tests.crash import checker, journals, repository
from tests.crash.journals import Finding
from tests.crash.load import Load
from tests.powercut.disk import Disk
from tests.powercut.scenes import Scene
from tests.support.daemon import Daemon, until

INDEXES = ("absent", "garbage", "older")


@dataclass
class _Parent:
    """The daemon's end of a pipe, for a scribe in this process."""

    said: list[dict[str, Any]] = field(default_factory=list)

    def notify(self, notice: str, **payload: Any) -> None:
        self.said.append({"notice": notice, **payload})


def after_cuts(scene: Scene, seed: int, count: int, folder: Path) -> Iterator[tuple[int, Path]]:
    """State roots that power cuts may leave, one after another: before which operation, and where it is."""
    rng = random.Random(seed)
    disk, played = Disk(scene.base), 0
    for number, cut in enumerate(sorted(rng.randint(1, len(scene.ops)) for _ in range(count))):
        disk.play(scene.ops[played:cut])
        played = cut
        target = folder / f"{number}-before-{cut}" / "state"
        target.parent.mkdir()
        _leave(disk, random.Random(f"{seed} {number}"), target)
        yield cut, target


def _leave(disk: Disk, rng: random.Random, target: Path) -> None:
    disk.cut(target, rng, names=rng.choice(("ordered", "loose")), zeros=rng.random() < 0.3)
    index = rng.choice(INDEXES)
    (target / ".kheish").mkdir(exist_ok=True)
    if (note := target / ".git" / "kheish" / "boot").exists():
        note.write_text("the start before")  # a machine is started again after a power cut
    if index == "garbage":
        (target / ".kheish" / "index.sqlite").write_bytes(rng.randbytes(9000))


def by_store(scene: Scene, cut: int, root: Path) -> list[Finding]:
    """What a start does first: the log, journals, git; then what it finds wrong is looked at as it comes."""
    found = wal.recover(root / ".git" / "kheish" / "wal")
    findings = [Finding("damaged_log", "wal", line) for line in found.damaged]
    parent = _Parent()
    worker = gitworker.Worker(root)
    worker.start()
    worker.after_outage()
    writer = scribe.Scribe(root, parent)  # type: ignore[arg-type]
    writer.start()
    last = history.last(worker.repo)
    committed = last["n"] if last else 0
    answer: dict[str, Any] = {"short": []}
    for _ in range(3):
        writer.check(answer["short"])
        asked = writer.cut()
        if asked["n"]:
            frame = {"n_from": committed + 1, "n_to": max(asked["n"], committed)}
            answer = worker.commit(cut=frame, journals=asked["journals"], spills=_spills(root, found, committed))
        worker.look()
        if not answer.get("short"):
            break
    findings += [Finding("held", ".git", str(answer["held"]))] if "held" in answer else []
    findings += [Finding("damaged", one["journal"], one["detail"]) for one in parent.said if one["notice"] == "damaged"]
    worker.look()
    worker.sync_index()
    writer.close()
    return [*findings, *_there(scene, cut, root)]


def _spills(root: Path, found: wal.Recovered, committed: int) -> list[str]:
    named = []
    for where, entry in (one for group in found.groups for one in group):
        if entry["n"] > committed:
            folder = where.removesuffix("/journal")
            named += [f"{folder}/spill/{name}" for name in encoding.spilled(entry["data"])]
    return [path for path in named if spills.exists(root, path)]


def _there(scene: Scene, cut: int, root: Path) -> Iterator[Finding]:
    """All that the log had made durable is in the journals, whole and once; git is sound, and says all is clean."""
    read, findings = journals.read(root)
    yield from findings
    yield from journals.numbering(read)
    yield from journals.spills(root, read)
    there = {entry["n"] for entries in read.values() for entry in entries}
    if lacking := sorted(scene.logged(cut) - there):
        yield Finding("lost", str(lacking[:10]), f"{len(lacking)} entries that were durable")
    yield from repository.sound(root)
    yield from repository.committed(root, read)
    for one in repository.clean(root):
        of_first_commit = "'??'" in one.what or one.where.startswith("memory/")  # with records, and files of users
        if not of_first_commit or one.where.endswith(".jsonl"):
            yield one


def by_daemon(scene: Scene, cut: int, root: Path) -> list[Finding]:
    """The real daemon on it: its work is brought to an end, and the checker looks at all of it."""
    daemon = Daemon(root, scene.workspace)
    acks = scene.acknowledged(cut)
    load = Load(daemon)
    try:
        daemon.start()
        until(lambda: load.settle_step(random.Random(cut)), timeout=60, what="all work has ended")
        until(load.tasks_ended, timeout=60, what="all commands in the background have ended")
        daemon.quiet(60)
        daemon.stop()
    except AssertionError as error:
        return [Finding("daemon", str(root), f"{error}\n{daemon.stderr()}")]
    finally:
        daemon.end()
    read, _ = journals.read(root)
    there = {entry["n"] for entries in read.values() for entry in entries}
    lacking = sorted(scene.logged(cut) - there)
    lost = [Finding("lost", str(lacking[:10]), f"{len(lacking)} entries that were durable")] if lacking else []
    return [*lost, *checker.check(root, acks)]
