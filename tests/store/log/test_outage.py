"""After the machine went down, or where an object is damaged: what is not trusted, and what it is made again from."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from kheish.store import pipes
from kheish.store.git import gitworker
from kheish.store.log import outage
from tests.store import roots
from tests.store.log.test_scribe import JOURNAL, Fixture

#: the worker and the scribe as they are, but less patient
IMPATIENT = """
from pathlib import Path; import sys
from kheish.store.git import stuck
from kheish.store.{2} import {0}
stuck.LIMIT = 0.4
{0}.main({1})
"""


def cut_object(root: Path, rev: str) -> Path:
    """Cut the loose object of a revision in the middle."""
    id = roots.git(root, "rev-parse", rev)
    path = root / ".git" / "objects" / id[:2] / id[2:]
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)
    return path


def damage(path: Path) -> None:
    """Zeros in the first lines of a file that keeps its length and its times: a page that never came to the disk."""
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(5)
        file.write(bytes(20))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


async def test_a_hole_before_what_the_log_has_is_found_by_the_commit_and_mended(tmp_path: Path) -> None:
    at = Fixture(tmp_path)
    await at.scribe.start()
    await at.apply(5)
    await at.commit()
    at.log_file.unlink()  # as the log does once a commit has all of it
    await at.apply(3)
    await at.scribe.close()
    damage(at.root / JOURNAL / "000001.jsonl")
    await at.scribe.start()
    await at.scribe.request("start")
    with pytest.raises(AssertionError, match="not as the log has them"):
        await at.commit()
    await at.scribe.request("check", paths=[f"{JOURNAL}/000001.jsonl"])
    await at.commit()
    await at.scribe.close()
    assert at.seqs == list(range(1, 9)) and len(at.named("restored")) == 1
    assert [b"\0" in one for one in at.put_aside()] == [True]


def restarted(root: Path) -> gitworker.Worker:
    """The worker of a start after an outage, as the daemon has it look."""
    (root / ".git" / "kheish" / "boot").write_text("the start before")
    worker = gitworker.Worker(root)
    worker.start()
    worker.after_outage()
    return worker


def test_after_an_outage_files_are_compared_by_content_whatever_size_and_time_they_have(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    worker = gitworker.Worker(root)
    worker.start()
    worker.commit(**roots.cut(root, "a", 9))
    worker.sync_index()
    folder = root / "sessions/2026-11-22/a"
    for name in ("journal/000001.jsonl", "session.yaml"):
        damage(folder / name)
    lost = cut_object(root, "HEAD:sessions/2026-11-22/a/session.yaml")

    restored = restarted(root).look()["put_back"]

    # … but for a file of which git has lost the object too: `mending` tells that
    assert restored == ["sessions/2026-11-22/a/journal/000001.jsonl"] and not lost.exists()
    assert b"\0" not in (folder / "journal/000001.jsonl").read_bytes()


@pytest.mark.parametrize("left", [b"approve: \0\0\0\0\0\nnote: \n", b"approve: ", b"", None])
def test_what_an_outage_left_of_a_pending_file_is_no_answer(tmp_path: Path, left: bytes | None) -> None:
    root, whole, answer = roots.make(tmp_path), b"approve: maybe\nnote: \n", b"approve: yes\nnote: \n"
    worker = gitworker.Worker(root)
    worker.start()
    both = [[f"pending/approvals/{name}.yaml", whole.decode()] for name in "ab"]
    worker.commit(**roots.cut(root, "a", 1, files=both))
    worker.sync_index()
    mine, torn = (root / f"pending/approvals/{name}.yaml" for name in "ab")
    mine.write_bytes(answer)
    torn.unlink()
    if left is not None:
        torn.write_bytes(left)

    restarted(root).look()

    assert (mine.read_bytes(), torn.read_bytes()) == (answer, whole)


@pytest.mark.parametrize("module", ["gitworker", "scribe"])
async def test_a_child_that_an_object_keeps_busy_for_ever_is_ended_and_the_next_mends(
    tmp_path: Path, module: str
) -> None:
    at = Fixture(tmp_path)
    await at.scribe.start()
    await at.apply(5)
    await at.commit()
    await at.scribe.close()
    cut_object(at.root, f"HEAD:{JOURNAL}/000001.jsonl")
    (at.root / ".git" / "kheish" / "boot").unlink(missing_ok=True)
    outage.over(at.root)  # no outage: nobody looks at objects
    words = IMPATIENT.format(module, *(("Path(sys.argv[1])", "log") if module == "scribe" else ("", "git")))
    child = pipes.Child([sys.executable, "-c", words, os.fspath(at.root)])
    await child.start()
    with (at.root / JOURNAL / "000001.jsonl").open("ab") as file:
        file.write(b"mine\n")  # the scribe looks at the commit
    ask: dict[str, Any] = {"op": "read", "rev": "HEAD", "path": f"{JOURNAL}/000001.jsonl"}
    if module == "scribe":
        ask = {"op": "apply", "text": at.log(1), "things": []}
    with pytest.raises(pipes.ChildGone, match=f"-{signal.SIGPROF.value} "):
        await child.request(**ask)

    await child.respawn()
    await child.request("start" if module == "scribe" else "look")
    answer = await child.request(**ask) if module == "gitworker" else None
    await child.close()
    assert roots.git(at.root, "fsck", "--full", "--no-dangling") == ""
    assert answer is None or answer["text"].count("\n") == 5
    assert module == "gitworker" or at.seqs == list(range(1, 7))


async def test_a_journal_that_has_a_record_beside_it_is_put_back_as_well(tmp_path: Path) -> None:
    at = Fixture(tmp_path)
    (at.root / JOURNAL).mkdir(parents=True)
    (at.root / JOURNAL / "head.json").write_text("{}\n")
    await at.scribe.start()
    await at.apply(5)
    await at.commit()
    roots.git(at.root, "add", JOURNAL)
    roots.git(at.root, "commit", "-qm", "with its head")
    roots.git(at.root, "update-ref", "refs/kheish/last", "HEAD")
    (at.root / JOURNAL / "000001.jsonl").write_bytes(b"torn")
    await at.apply(1)
    await at.scribe.close()
    assert at.seqs == list(range(1, 7)) and len(at.named("restored")) == 1
