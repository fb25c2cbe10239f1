"""The rate of deliveries to an http output, and the CPU time that each takes: runs with many targets, whose outputs a
receiver in a process of its own answers at once.

`python -m bench.deliveries` is that receiver; it prints its URL.
"""

from __future__ import annotations

import asyncio
import os
import time

from bench import processes
from bench.report import Report, Row
from kheish.client import Kheish

RUNS, TARGETS = 50, 40
WARM = 5
KEY, SECRET = "KHEISH_BENCH_HOOK_KEY", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def measure() -> Report:
    """Return the rate from the first submission to the last delivery."""
    report, count = Report("deliveries"), RUNS * TARGETS
    os.environ[KEY] = SECRET
    with processes.scratch() as folder, processes.receiver() as url:
        root = processes.new_root(folder)
        (root / "outputs").mkdir(exist_ok=True)
        (root / "outputs" / "hook.yaml").write_text(f"kind: http\nurl: {url}/in\nsecret: env:{KEY}\n")
        (root / "kheish.yaml").write_text('network: {allow: ["127.0.0.1"]}\n')
        with processes.daemon(root) as daemon:
            client = Kheish(url=daemon.url, token=daemon.token)
            _deliver(client, url, "warm", WARM, total=WARM)
            used, everything = processes.cpu(daemon.pid), _all_cpu(daemon.pid)
            began = time.monotonic()
            _deliver(client, url, "s", RUNS, total=WARM + RUNS)
            took = time.monotonic() - began
            used, everything = processes.cpu(daemon.pid) - used, _all_cpu(daemon.pid) - everything
    report.rows = [
        Row(what=f"{count:,} signed deliveries, from the first submission to the last answer",
            measured=count / took, unit="/s", limit=300.0, better="more"),
        Row(what="… CPU of the daemon's process for each", measured=used / count * 1000, unit="ms"),
        Row(what="… the same with its children", measured=everything / count * 1000, unit="ms"),
    ]  # fmt: skip
    report.notes.append(f"{RUNS} runs with {TARGETS} targets each; the receiver shares the machine.")
    return report


def _deliver(client: Kheish, url: str, session: str, runs: int, *, total: int) -> None:
    """Submit runs and wait until their deliveries have arrived: those of `total` runs since the start."""
    targets = [{"output": "hook", "url": f"{url}/in/{number}"} for number in range(TARGETS)]
    for number in range(runs):
        client.sessions.create(f"{session}{number}", reply_targets=targets)
    for number in range(runs):
        client.runs.start(f"{session}{number}", "Say what was done.")
    for arrived, event in enumerate(client.events(after=0, kind=["delivery.delivered", "delivery.died"]), 1):
        if event.kind == "delivery.died":
            raise RuntimeError(f"a delivery died: {event.data}")
        if arrived == total * TARGETS:
            return


def _all_cpu(pid: int) -> float:
    return processes.cpu(pid) + sum(processes.cpu(one) for one in processes.children(pid))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))
    writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=512)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
