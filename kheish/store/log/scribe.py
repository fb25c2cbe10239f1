"""The scribe: a child process that writes what the log made durable into journals and into the index.

It is a process, not a thread, because each small write would pass the interpreter lock back and forth with the event
loop (a batch over 64 journals: 200 times). It receives the log's entries in order. After a kill, it finds unfinished
work in the log at its next start. So it needs no acknowledgement and no memory of its own.

    python -m kheish.store.log.scribe ROOT [FILTERS of the index, as JSON]

While another git works in the root the scribe *holds*: only the log and the index continue, and journals wait.

Notices: `journaled {n}`, `held {reason}`, `restored {paths, aside}`, `damaged {journal, path, line, detail}`.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from kheish.errors import Damaged, NotFound, StoreFailed
from kheish.store import files, lock, pipes
from kheish.store.git import hold, stuck
from kheish.store.log import index, journal, outage, spills, texts, wal
from kheish.store.log.indexing import Indexing
from kheish.store.log.segments import Lines, Row, by_journal, row

#: seconds between checks whether a hold is over, and seconds that it must stay over (commands come in series)
_LOOK, _LINGER = 0.1, 0.3
_PORTION = (
    20_000  # entries that are read into the index at a time, so that a long journal is never in memory as a whole
)


class Scribe:
    """The command handlers of the process. `notify` sends a notice to the daemon."""

    def __init__(self, root: Path, parent: pipes.Parent, filters: index.Filters = index.NO_FILTERS) -> None:
        self._root = root
        self._parent = parent
        self._index = Indexing(root, filters, self._written, self._lost)
        self._journals = journal.Writer(root)
        self._stopped: set[str] = set()  # damaged journals: nothing is appended to them until they are repaired
        self._kept: int | None = None  # the oldest entry that only the log has, because its journal is damaged
        self._gate = hold.Gate(root)
        self._behind: str | None = None  # the reason why journals lack entries of the log
        self._doubted: set[str] = set()  # journals to check after a hold
        self._forgotten: set[str] = set()  # journals of deleted sessions, whose entries the log may still have
        self._free_since: float | None = None
        self._aside: list[str] = []
        self._last = 0  # the newest entry received
        self._done = 0  # the newest entry in its journal, or left in the log during a hold
        self._log: tuple[int, dict[str, Lines]] | None = None  # a cache of `_logged`, while many journals are repaired
        self._before: dict[str, Any] | None = None
        self._marking = False  # whether the index has the highest event of every commit
        self._lacks = False  # whether documents of entries from the log are missing since the start

    def _written(self, n: int) -> None:
        self._parent.notify("journaled", n=n)

    def _lost(self, detail: str) -> None:
        self._marking = False
        self._parent.notify("index_lost", detail=detail)

    def start(self) -> dict[str, Any]:
        """Bring journals up to date with the log, once. Return the previous state of the index: its newest entry and
        commit, and whether it was whole (a rebuilt index is not, until `whole`).

        The index claims an entry only once it has its documents too. The log does not contain documents, so the parent
        process sends them (`things` with its `n`).
        """
        if self._before is None:
            self._before = self._catch_up()
        return self._before

    def _catch_up(self) -> dict[str, Any]:
        known = {name: self._index.writer.get(name) for name in ("n", "commit", "whole")}
        before = {"n": known["n"] or 0, "commit": known["commit"], "whole": known["whole"] is not None}
        log = wal.recover(self._root / ".git" / "kheish" / "wal", cut=False)
        entries = [entry for group in log.groups for entry in group]
        self._last = log.last
        deleted = (entry["data"]["path"] for _, entry in entries if entry["kind"] == "session.deleted")
        self._forgotten |= {f"{path}/journal" for path in deleted}  # a commit may have removed their files
        lines, rows = by_journal(entries)
        self._write(lines, self._bring)  # no commit has these yet: all of them go into the next cut
        self._done = self._last
        self._index.apply(rows, [], 0, self._texts(entries))
        self._lacks = bool(entries)
        return before

    def apply(self, text: str, things: Sequence[Sequence[Any]]) -> None:
        """Apply a batch of log lines, and the newest documents of the things that they changed."""
        self.start()
        if self._done < self._last:
            return  # an earlier batch failed: the log has both, and another scribe is starting
        entries = [entry for line in text.split("\n") if line for entry in orjson.loads(line)["group"]]
        lines, rows = by_journal(entries)
        n = self._last = max(self._last, rows[-1][0])
        self._write(lines, self._append)
        self._done = n
        if self._lacks:
            self._index.apply(rows, things, 0, self._texts(entries))
        else:
            self._index.add(rows, things, n, self._texts(entries))

    def _write(self, journals: Mapping[str, Lines], write: Callable[[str, Lines], None]) -> None:
        """Append to the journals, unless another git is active."""
        if journals and self._behind is None and (reason := self._gate.reason()):
            self._hold(reason)
        for where, lines in journals.items():
            if self._behind is None and where not in self._forgotten:
                write(where, lines)
        self._log = None

    def _hold(self, reason: str) -> None:
        """Stop touching journals, since another git is active, until it is done."""
        if self._behind is None:
            self._parent.notify("held", reason=reason)
        self._behind, self._free_since = reason, None

    def idle(self) -> float | None:
        """Catch up once a hold is over; return the seconds until the next call."""
        if self._behind is None:
            return self._index.idle()
        self._index.write()
        reason, now = self._gate.reason(), time.monotonic()
        if reason is not None:
            self._behind, self._free_since = reason, None
            return _LOOK
        self._free_since = self._free_since or now
        if now - self._free_since < _LINGER:
            return _LOOK
        self._resume()
        return None if self._behind is None else _LOOK

    def _resume(self) -> None:
        """Bring journals up to the newest entry received; all of it goes into the next cut."""
        self._behind = None
        doubted, self._doubted = self._doubted, set()
        for where in sorted(doubted):
            self._doubt(where)
        self._write(self._logged(), self._bring)

    def _texts(self, entries: Iterable[Sequence[Any]]) -> list[texts.Text]:
        """Return the searchable texts of the entries."""
        rows = (texts.of(entry, partial(self._payload, where)) for where, entry in entries)
        return [text for text in rows if text is not None]

    def _payload(self, where: str, reference: Mapping[str, Any]) -> str | None:
        """Return the beginning of a spilled text; None if it is missing (then only the cache lacks it)."""
        path = spills.place_of(where.removesuffix("/journal"), str(reference["sha256"]))
        raw = spills.beginning(self._root, path, texts.SPILL_BYTES)
        return raw.decode(errors="replace") if raw is not None else None

    def _append(self, where: str, lines: Lines) -> None:
        if where in self._stopped:
            return self._keep(lines)
        try:
            return self._journals.append(where, lines)
        except (journal.Replaced, Damaged):
            return self._doubt(where)

    def _bring(self, where: str, lines: Lines) -> None:
        """Make a journal end with `lines`, all that the log has of it; the next cut includes them."""
        self._append(where, lines)
        if self._behind is None and where not in self._stopped and not self._journals.mark(where, lines):
            self._doubt(where)

    def _doubt(self, where: str) -> None:
        """Repair a journal whose files are not as the scribe left them, or postpone that during a hold."""
        reason = self._gate.reason(fresh=True)
        if reason is not None:
            self._hold(reason)
            self._doubted.add(where)
        else:
            self._mend(where)

    def _mend(self, where: str) -> None:
        """Restore the files of a journal from the last commit and the log."""
        self._journals.forget(where)
        logged = self._logged().get(where, [])  # before the last commit is read: it has what the log drops meanwhile
        try:
            paths = self._restore(where, journal.continued(self._committed(where), logged, where))
        except Damaged as error:
            self._stopped.add(where)
            self._keep(logged)
            self._journals.clean(where)
            self._parent.notify("damaged", journal=where, detail=error.detail)
            return
        if logged and not self._journals.mark(where, logged):
            self._doubted.add(where)
            self._hold(f"The files of {where} change while they are restored.")
        self._stopped.discard(where)
        self._kept = self._kept if self._stopped else None
        aside, self._aside = self._aside, []
        self._parent.notify("restored", paths=paths, aside=aside)

    def _keep(self, lines: Lines) -> None:
        """Keep lines in the log, since they cannot be written to their journal."""
        for _, line in lines[:1]:
            n = orjson.loads(line)["n"]
            self._kept = n if self._kept is None else min(n, self._kept)

    def _committed(self, where: str) -> dict[str, bytes]:
        """Return the segments in the last commit."""
        from kheish.store.git.repo import Repo

        repo = Repo(self._root)
        try:
            items = repo.entry("refs/kheish/last", where)
            # The audit's head is in the folder of its journal, but is a Record.
            return {item.name: repo.content(str(item.id)) for item in items if item.name.endswith(".jsonl")}
        except NotFound:
            return {}

    def _restore(self, where: str, expected: Mapping[str, bytes]) -> list[str]:
        """Write missing and changed segments; return their paths. Foreign content is set aside."""
        folder, written = self._root / where, []
        for path in [*journal.segments(folder), *(folder / name for name in expected)]:
            current = path.read_bytes() if path.is_file() else None
            content = expected.get(path.name)
            if current == content:
                continue
            if current is not None and not (content or b"").startswith(current):
                self._put_aside(f"{where}/{path.name}", current)
            if content is None:
                path.unlink()
            else:
                files.atomic_write(path, content, fsync=True)
            written.append(f"{where}/{path.name}")
        return written

    def _put_aside(self, relative: str, content: bytes) -> None:
        """Set foreign content aside; it is never deleted."""
        self._aside.append(files.put_aside(self._root, relative, content))

    def _logged(self) -> dict[str, Lines]:
        """Return the log's lines of each journal, up to the newest entry received: the rest is for a later cut."""
        if self._log is None or self._log[0] != self._last:
            log = wal.recover(self._root / ".git" / "kheish" / "wal", cut=False)
            entries = (entry for group in log.groups for entry in group if entry[1]["n"] <= self._last)
            self._log = self._last, by_journal(entries)[0]
        return self._log[1]

    def cut(self) -> dict[str, Any]:
        """Return the segments written since the last cut and their extent, fsynced, and the last entry (`n`) that a
        commit now holds; or why there are none (`held`). `kept` is the oldest entry that must stay in the log.

        Raises StoreFailed.
        """
        self.start()
        self._index.write()  # the log may drop these entries after the commit
        for where in self._journals.changed() if self._behind is None else ():
            self._append(where, [])  # checks the files, and repairs them
        if self._behind is not None:
            return {"held": self._behind}
        if self._done < self._last:
            return {"journals": {}, "n": self._done, "kept": self._kept}
        try:
            journals = self._journals.take_dirty()
        except OSError as error:  # a second fsync would report success
            outage.expect(self._root)
            raise StoreFailed.of("A journal cannot be made durable", error) from error
        return {"journals": journals, "n": self._done, "kept": self._kept}

    def check(self, paths: Sequence[str]) -> None:
        """Check and restore segments that a commit found different from the cut."""
        doubted = {path.rsplit("/", 1)[0] for path in paths if path.endswith(".jsonl")}
        if (reason := self._behind or self._gate.reason(fresh=True)) is not None:
            self._hold(reason)
            self._doubted |= doubted
            return
        for where in sorted(doubted - self._stopped):
            self._mend(where)

    def committed(self, commit: str, n: int | None = None, time: int = 0) -> None:
        """Record that a commit of a `time` holds every event up to `n`. The index records the commit only when it has
        the documents too: the next start reads the changes after the recorded commit, which the log no longer has."""
        if not self._lacks:
            self._index.writer.set("commit", commit)
        if n is not None:
            self._index.writer.mark([(n, commit, time)])
            if self._marking:
                self._index.writer.set("marked", commit)

    def marks(self, marks: Sequence[Sequence[Any]], upto: str | None = None) -> None:
        """Record the events of commits, as read from git. `upto`: they are complete up to this commit."""
        self._index.writer.mark(marks)
        if upto is not None:
            self._index.writer.set("marked", upto)
            self._marking = True

    def forget(self, session: str, path: str, things: Sequence[Sequence[Any]]) -> None:
        """Remove a deleted session from the index except `things`, and its files from the next cuts."""
        self.start()
        self._journals.forget(f"{path}/journal")
        self._journals.clean(f"{path}/journal")
        self._forgotten.add(f"{path}/journal")
        self._index.writer.forget(session)
        self._index.apply([], things, 0)

    def things(self, things: Sequence[Sequence[Any]], n: int = 0, lacking: Sequence[str] = ()) -> None:
        """Store documents that were recomputed for an index that was behind; it now has everything up to `n`. `lacking`
        are streams' journals that could not be read."""
        self._index.apply([], things, n)
        for where in lacking:
            self._index.writer.mark_lacking(where)
        self._lacks = self._lacks and not n

    def write(self) -> None:
        """Write to the index what was gathered for it: a reader waits."""
        self._index.write()

    def whole(self) -> None:
        """Record that the index is complete; until then a rebuilt index cannot prove absence."""
        self._index.writer.set("whole", 1)

    def close(self) -> None:
        """Close all files."""
        self._journals.close()
        self._index.close()

    def reindex(self, journals: Sequence[str], after: int = 0) -> int:
        """Read journals into the index; return the number of entries. Streams are read after event `after`, up to which
        the index has them. Unreadable journals are reported."""
        count = 0
        rows: list[Row] = []
        said: list[texts.Text] = []
        for where in journals:
            try:
                for portion in self._portions(where, after):
                    if len(rows) >= _PORTION:
                        count += self._take_in(rows, said)
                    rows += [row(where, entry, line) for entry, line in portion]
                    said += self._texts((where, entry) for entry, _ in portion)
            except Damaged as error:
                self._stopped.add(where)
                self._parent.notify("damaged", journal=where, detail=error.detail)
        return count + self._take_in(rows, said)

    def _portions(self, where: str, after: int) -> Iterator[list[tuple[dict[str, Any], bytes]]]:
        is_known = after > 0 and where.startswith("journals/")
        start = self._index.writer.last_seq(where, after) + 1 if is_known else 1
        return journal.portions(self._root, where, from_seq=start, size=_PORTION)

    def _take_in(self, rows: list[Row], said: list[texts.Text]) -> int:
        """Write rows and texts to the index, and empty the lists."""
        rows.sort()
        self._index.apply(rows, [], 0, said)
        count = len(rows)
        rows.clear()
        said.clear()
        return count


def main(root: Path, filters: str = "{}") -> None:
    """Serve the daemon until its end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = pipes.Parent()
    names = ("start", "apply", "cut", "check", "committed", "things", "reindex", "marks", "forget", "whole", "write")
    with lock.worker_lock(root, "scribe"):  # an orphan of a kill may still be writing
        watch = stuck.Watch(root, "scribe")
        if watch.said:
            from kheish.store.git import mending

            sys.stderr.write(f"the scribe was stuck; checking for damaged objects:\n{watch.said}\n")
            mending.repair(root)
        scribe = Scribe(root, parent, orjson.loads(filters))
        pipes.serve({name: getattr(scribe, name) for name in names}, parent=parent, idle=scribe.idle, wind=watch.wind)
        scribe.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
