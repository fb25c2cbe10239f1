"""What a channel of 50 members costs: a decision, a page of messages and a post, with ten messages and with 10,000.

Decisions are measured in this process, with one thread and with as many as a channel keeps open. Pages and posts are
asked over HTTP; the channel is paused, so that no run starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bench import processes
from bench.report import Report, Row, median
from kheish.client import Kheish
from kheish.domain.channels import arbitrate
from kheish.domain.channels.arbitrate import Room
from kheish.domain.channels.channel import Channel
from kheish.domain.channels.definition import ChannelFile
from kheish.domain.channels.thread import Floor, Thread
from kheish.domain.events.channels import ThreadBase

MEMBERS, SIZES = 50, (10, 10_000)
COUNT = 200
DECISION, PAGE = 2.0, 5.0
NOW = 1_800_000_000.0
#: what is asked; {thread} is the first thread of the channel
ASKED = {
    "the newest messages": "/v1/channels/room/messages?limit=10",
    "messages of the first thread": "/v1/channels/room/messages?limit=10&thread={thread}",
    "search: a word said once": "/v1/channels/room/messages?limit=10&q=zebra",
    "turns": "/v1/channels/room/turns?limit=10",
}


def measure() -> Report:
    """The decision, then each question at both sizes."""
    report = Report("channels")
    for threads in (1, arbitrate.FLOORS):
        took = decision(threads)
        report.rows.append(
            Row(what=f"a decision, {MEMBERS} members, {threads} open threads", measured=took, unit="ms", limit=DECISION)
        )
    with processes.scratch() as folder, processes.daemon(processes.new_root(folder)) as daemon:
        client = Kheish(url=daemon.url, token=daemon.token)
        client.channels.put("room", members())
        client.channels.pause("room")
        done, thread = 0, ""
        for size in SIZES:
            took = []
            for number in range(done, size):
                text = "zebra" if number == 5 else f"message {number}"
                began = time.perf_counter()
                posted = client.channels.post("room", text, thread=thread or None)
                took.append((time.perf_counter() - began) * 1000)
                thread = thread or posted["thread"]
            done = size
            report.details[str(size)] = found = _asked(daemon, thread)
            found["a post"] = {"p50": median(took[-COUNT:])}
            for what, one in found.items():
                report.rows.append(Row(what=f"{what}, {size:,} messages, p50", measured=one["p50"], unit="ms",
                                       limit=PAGE if what != "a post" else None))  # fmt: skip
    report.notes.append(f"{COUNT} requests each, one after the other.")
    return report


def _asked(daemon: processes.Daemon, thread: str) -> dict[str, dict[str, float]]:
    spec = {"url": daemon.url, "token": daemon.token}
    return {
        what: processes.load("gets", **spec, paths=[path.format(thread=thread)] * COUNT) for what, path in ASKED.items()
    }


def members() -> dict[str, Any]:
    """A channel's file."""
    rows = [{"member": f"m{n:02}", "kind": "agent", "session": f"s{n:02}", "tags": ["db"]} for n in range(MEMBERS)]
    return {"members": rows}


def decision(threads: int, rounds: int = 50) -> float:
    """The median of a decision in ms, with so many open threads in which only the oldest has a member that is ready."""
    file = ChannelFile.model_validate(members())
    spoke = {one.member: NOW - number for number, one in enumerate(file.agents)}
    room = Room(
        channel=Channel(channel_id="room", made=1, n=1, spoke=spoke),
        file=file,
        threads=tuple(_thread(number) for number in range(threads)),
        turns=(),
        now=NOW,
    )
    return median([_timed(lambda: arbitrate.next_step(room)) for _ in range(rounds)])


def _thread(number: int) -> Thread:
    base = ThreadBase(thread_id=f"t{number}", opened_at="", made=number + 1, newest=number + 1, newest_by="human:ann")
    floor = Floor(message_id=f"t{number}", n=number + 1, at="")
    return Thread(channel_id="room", base=base, made=number + 1, n=number + 1, floor=floor)


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000
