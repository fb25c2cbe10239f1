"""Real work for a daemon that is about to be killed: sessions, runs, answers, by HTTP and by file, seeded.

Everything that the daemon acknowledged is kept in `acks`; a request whose answer was lost is sent again later under the
same key, as a careful client would.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.crash import afar, arrivals, boards, outbox, pursuits, rooms, served, stored, watched
from tests.support.daemon import Daemon, allow, ask, bash, call, until

_TEXT = {"text": "done: {{last_result}}"}
_NOTE = "/memories/session/{{input}}.md"
#: more than a journal line takes: as an argument, a result, an answer and a task
BULK = "".join(f" {number:07d}" for number in range(5000))
ROUTES: dict[str, list[dict[str, Any]]] = {
    "shell": [bash("echo {{input}}/1 >> ledger.txt"), bash("echo {{input}}/2 >> ledger.txt"), _TEXT],
    "slow": [bash("sleep 0.15; echo {{input}}/1 >> ledger.txt"), {"text": "slowly", "delay": "100ms", "chunks": 2}],
    "mixed": [
        {
            "tool_calls": [
                call("write_file", path="notes/{{input}}.txt", content="{{input}}"),
                call("todo_write", items=[{"content": "{{input}}", "status": "in_progress"}]),
                call("bash", command="echo {{input}}/1 >> ledger.txt"),
                call("bash", command="echo {{input}}/2 >> ledger.txt"),
            ]
        },
        {"tool_calls": [call("read_file", path="notes/{{input}}.txt"), call("list_files", path=".")]},
        {"tool_calls": [call("emit_output", content="half of {{input}}")]},
        _TEXT,
    ],
    "edits": [
        {"tool_calls": [call("write_file", path="notes/{{input}}.txt", content="base")]},
        {"tool_calls": [call("edit_file", path="notes/{{input}}.txt", old_string="base", new_string="base+{{input}}")]},
        _TEXT,
    ],
    "behind": [
        {
            "tool_calls": [
                call("shell_task_start", command="sleep 0.3; echo {{input}}/1 >> ledger.txt", notify=False),
                call("shell_task_start", command="echo {{input}}/2 >> ledger.txt; sleep 0.4", notify=False),
            ]
        },
        _TEXT,
    ],
    "notified": [
        {"tool_calls": [call("shell_task_start", command="sleep 0.2; echo {{input}}/1 >> ledger.txt")]},
        _TEXT,
    ],
    "asks": [
        {"tool_calls": [call("bash", command="env echo {{input}}/1 >> ledger.txt"), call("bash", command="id -u")]},
        _TEXT,
    ],
    "question": [ask("Go on with {{input}}?"), bash("echo {{input}}/1 >> ledger.txt"), _TEXT],
    "large": [bash("seq 1 6000"), bash("echo {{input}}/1 >> ledger.txt"), {"text": "{{last_result}}"}],
    "bulky": [
        {"tool_calls": [call("write_file", path="bulky/{{input}}.txt", content="{{input}}" + BULK)]},
        bash("echo {{input}}/1 >> ledger.txt"),
        {"tool_calls": [call("bash", command="seq 1 6000"), call("emit_output", content="{{input}}" + BULK)]},
        {"text": "{{input}}" + BULK},
    ],
    "told": [{"text": "{{input}}"}],
    "remembers": [
        {"tool_calls": [call("memory", command="create", path=_NOTE, file_text="{{input}}\n")]},
        {"tool_calls": [call("memory", command="insert", path=_NOTE, insert_line=1, insert_text="more")]},
        {"tool_calls": [call("memory", command="create", path="/memories/shared/{{input}}.md", file_text="shared")]},
        bash("echo {{input}}/1 >> ledger.txt"),
        _TEXT,
    ],
    "family": [
        {
            "tool_calls": [
                {
                    "name": "spawn_agent",
                    "arguments": {"name": "{{input}}.a", "prompt": "{{input}}.a", "route": "shell"},
                },
                {
                    "name": "spawn_agent",
                    "arguments": {"name": "{{input}}.b", "prompt": "{{input}}.b", "route": "behind"},
                },
            ]
        },
        {"tool_calls": [{"name": "wait_agent", "arguments": {}}]},
        bash("echo {{input}}/1 >> ledger.txt"),
        _TEXT,
    ],
    "pursues": pursuits.TURNS,
    rooms.ROUTE: rooms.TURNS,
    "flaky": [{"error": {"status": 429, "retry_after": 0.05}}, bash("echo {{input}}/1 >> ledger.txt"), _TEXT],
}
_ALLOWED = allow("echo *", "sleep *", "seq *")
_MORE = [
    *({"tool": "shell_task_start", "match": one, "decision": "allow"} for one in ("echo *", "sleep *")),
    {"tool": "edit_file", "match": "**", "decision": "allow"},
]
PERMISSIONS = {**_ALLOWED, "rules": [*_ALLOWED["rules"], *_MORE]}
#: schedules that fire by themselves in some of the lives, and by hand
SCHEDULES: dict[str, dict[str, Any]] = {
    "tick": {"every": "5s", "start": {"session": "ticks", "input": {"content": "tick", "route": "told"}}},
    "both": {
        "every": "5s",
        "overlap": "parallel",
        "start": {"session": "ticks", "input": {"content": "x", "route": "told"}},
    },
    "fresh": {
        "every": "6s",
        "overlap": "queue_one",
        "start": {"new_session": {}, "input": {"content": "x", "route": "told"}},
    },
}
#: sessions whose approval and question nobody answers for many rounds: `held.py`
HELD = "held-"
FINAL = frozenset({"completed", "failed", "cancelled", "interrupted"})
#: answers that a client in a hurry may get
TOLERATED = {
    404: {"not_found"},  # a schedule that a killed daemon was about to have
    409: {
        "approval_resolved",
        "question_resolved",
        "run_state_conflict",
        "session_ended",
        "session_not_idle",
        "task_blocked",
        "task_claimed",
        "task_state_conflict",
        "claim_lost",
    },
    503: None,
}
MOST_SESSIONS = 24
#: sessions that get messages, and whose route only repeats its input
MAIL = ("mail-1", "mail-2", "mail-3")
#: routes whose commands post their end to the session, so that its own route has to bear any text
NOTIFIED = "notified"


class Lost(Exception):
    """No answer, or one that says to come again: it may or may not have been accepted."""


@dataclass
class Load:
    """Clients of one daemon over all its lives."""

    daemon: Daemon
    receiver: str = ""  # the address that outputs are delivered to
    has_outbox: bool = False
    workspaces: Path | None = None  # of the sessions that work on copies; without it, none is on a worker
    has_workers: bool = False
    acks: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: dict[str, list[dict[str, Any]]](
            (noun, [])
            for noun in (
                "sessions",
                "runs",
                "approvals",
                "questions",
                "fires",
                "messages",
                "posts",
                "tasks",
                "starts",
                "results",
                "assets",
                "observations",
                "receipts",
            )
        )
    )
    sessions: list[str] = field(default_factory=list)
    unsure: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    unsure_fires: list[tuple[str, str]] = field(default_factory=list)
    unsure_mail: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    unsure_posts: list[dict[str, Any]] = field(default_factory=list)
    unsure_work: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)  # what, task, body
    unsure_seen: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    unsure_arrivals: list[dict[str, Any]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # answers that nobody should get
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    # --- from outside -------------------------------------------------------------------------------------------------

    def begin(self, rng: random.Random, clients: int) -> None:
        """Start clients; they work until `pause` or until the daemon is gone."""
        self._stop.clear()
        for _ in range(clients):
            client = _Client(self, random.Random(rng.random()))
            thread = threading.Thread(target=client.work, args=(self._stop,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def schedule(self) -> None:
        """Have schedules in force, and goals active; a daemon that is killed meanwhile has them in its next life."""
        with contextlib.suppress(Lost):
            client = _Client(self, random.Random(0))
            with contextlib.closing(client.http):
                for name, fields in SCHEDULES.items():
                    client.send("PUT", f"/v1/schedules/{name}", fields)
                pursuits.pursue(client.send, client.acknowledge)
                rooms.furnish(client.send, client.acknowledge)
                boards.set_up(client.send, client.acknowledge)
                watched.set_up(client.send)
                arrivals.set_up(client.send)
                if self.workspaces is not None:
                    afar.set_up(client.send)
                    self.has_workers = True
                self.has_outbox = bool(self.receiver) and outbox.set_up(client.send, self.receiver)

    def unschedule(self) -> None:
        """Remove the schedules and pause the goals, for the time in which it is quiet."""
        client = _Client(self, random.Random(0))
        with contextlib.closing(client.http):
            for name in SCHEDULES:
                until(lambda name=name: self._is_removed(client, name), what=f"{name} is removed")  # type: ignore[misc]
            pursuits.pause(client.send)

    def _is_removed(self, client: _Client, name: str) -> bool:
        """Return whether a schedule was removed; 503 says to try again."""
        with contextlib.suppress(Lost):
            client.send("DELETE", f"/v1/schedules/{name}")
            return True
        return False

    def pause(self) -> None:
        """Stop the clients, after the request that each has under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        self._threads.clear()

    def settle_step(self, rng: random.Random) -> bool:
        """Answer what waits and send again what was lost; True where everything acknowledged has ended.

        False where a request is lost: it is sent again in the next step.
        """
        client = _Client(self, rng)
        with contextlib.closing(client.http), contextlib.suppress(Lost):
            while self.unsure:
                client.again()
            while self.unsure_fires:
                client.trigger(*self.unsure_fires.pop(0))
            while self.unsure_mail:
                client.mail_again()
            while self.unsure_posts:
                client.talk_again()
            while self.unsure_seen:
                client.observe_again()
            while self.unsure_arrivals:
                client.arrive_again()
            while self.unsure_work:
                client.work_again()
            if client.has_open_mail() or rooms.has_open_turns(client.send) or boards.has_open_work(client.send):
                return False
            for noun, answer in (("approvals", client.decide), ("questions", client.reply)):
                for item in client.listed(noun):
                    answer(item)
            if outbox.has_open(client.send):
                return False
            return not client.listed("runs", statuses=("queued", "running", "waiting_for_agent", *WAITING))
        return False

    def tasks_ended(self) -> bool:
        """Whether no command runs in the background any more, and no folder of a job is left."""
        jobs = self.daemon.root / ".git/kheish/jobs"
        return not jobs.exists() or not any(jobs.iterdir())

    def number(self) -> int:
        with self._lock:
            self._count += 1
            return self._count


#: the routes of sessions without messages and goals
OTHERS = sorted({*ROUTES, served.ROUTE} - {NOTIFIED, "pursues", rooms.ROUTE})
WAITING = ("waiting_for_approval", "waiting_for_question")


class _Client:
    """One thread's connection."""

    def __init__(self, load: Load, rng: random.Random) -> None:
        self.load = load
        self.rng = rng
        self.claim = ""  # the newest
        daemon = load.daemon
        headers = {"authorization": f"Bearer {daemon.token}"}
        self.http = httpx.Client(base_url=daemon.url, headers=headers, timeout=20, trust_env=False, verify=False)

    def work(self, stop: threading.Event) -> None:
        actions: list[Callable[[], None]] = [self.submit] * 7 + [self.answer] * 4 + [self.create, self.again, self.halt]
        actions += [self.mail] * 3 + [self.mail_again, self.fire]
        actions += [self.talk, self.talk_again, self.assign, self.assign, self.work_again, self.store]
        actions += [self.observe, self.observe, self.observe_again, self.arrive, self.arrive, self.arrive_again]
        with contextlib.closing(self.http), contextlib.suppress(Lost):
            while not stop.is_set():
                self.rng.choice(actions)()

    def send(
        self, method: str, path: str, body: Any = None, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any], int]:
        """Status, answer, event number. Raises Lost."""
        more = {**(headers or {}), **({"idempotency-key": key} if key else {})}
        try:
            answer = self.http.request(method, path, json=body, headers=more)
        except httpx.TransportError as error:
            raise Lost(str(error)) from error
        said = answer.json() if "json" in answer.headers.get("content-type", "") else {"code": answer.text}
        if answer.status_code == 503:
            raise Lost("503")
        if answer.status_code >= 400 and said.get("code") not in (TOLERATED.get(answer.status_code) or ()):
            self.load.odd.append(f"{method} {path} {body}: {answer.status_code} {said}")
        return answer.status_code, said, int(answer.headers.get("x-kheish-event") or 0)

    def acknowledge(self, noun: str, id: str, n: int, **more: Any) -> None:
        self.load.acks[noun].append({"id": id, "n": n, **more})

    # --- what a client does -------------------------------------------------------------------------------------------

    def create(self) -> None:
        number = self.load.number()
        if len(self.load.sessions) >= MOST_SESSIONS:
            return
        name = f"s{number}"
        settings = {"session_id": name, "route": self.rng.choice(OTHERS)}
        if number % 5 == 0:
            settings["while_waiting"] = "park"
        if self.load.has_workers and self.load.workspaces is not None:
            settings |= afar.settings(number, self.load.workspaces)
        status, said, n = self.send("POST", "/v1/sessions", settings)
        if status in (200, 201):
            self.acknowledge("sessions", said["session_id"], n)
            self.load.sessions.append(said["session_id"])

    def submit(self) -> None:
        if not self.load.sessions:
            return self.create()
        session = self.rng.choice(self.load.sessions)
        routes = afar.ROUTES if session.startswith(afar.COPIED) else OTHERS
        token, route = f"{session}.{self.load.number()}", self.rng.choice(routes)
        body: dict[str, Any] = {"content": token + BULK if route == "told" else token, "route": route}
        if self.load.has_outbox and self.rng.random() < 0.5:
            body["reply_targets"] = outbox.TARGETS
        self._submit(session, token, body)
        return None

    def again(self) -> None:
        """Send a request again whose answer was lost."""
        with self.load._lock:
            lost = self.load.unsure.pop(0) if self.load.unsure else None
        if lost:
            self._submit(*lost)

    def _submit(self, session: str, key: str, body: dict[str, Any]) -> None:
        try:
            status, said, n = self.send("POST", f"/v1/sessions/{session}/runs", body, key)
        except Lost:
            self.load.unsure.append((session, key, body))
            raise
        if status == 202:
            self.acknowledge("runs", said["run_id"], n, session=session)

    def fire(self) -> None:
        """Fire a schedule by hand, or again where the answer was lost."""
        with self.load._lock:
            lost = self.load.unsure_fires.pop(0) if self.load.unsure_fires else None
        self.trigger(*(lost or (self.rng.choice(sorted(SCHEDULES)), f"fire.{self.load.number()}")))

    def trigger(self, name: str, key: str) -> None:
        try:
            status, said, n = self.send("POST", f"/v1/schedules/{name}/trigger", {}, key)
        except Lost:
            self.load.unsure_fires.append((name, key))
            raise
        if status == 202:
            self.acknowledge("fires", said["fire_id"], n)
            if said["run_id"] is not None:  # a start that failed is retried
                self.acknowledge("runs", said["run_id"], n, session=said["session_id"])

    def mail(self) -> None:
        """Post a message, or start a command whose end is one."""
        session, token = self.rng.choice(MAIL), f"mail.{self.load.number()}"
        status, said, n = self.send("POST", "/v1/sessions", {"session_id": session, "route": "told"})
        if status == 201:
            self.acknowledge("sessions", said["session_id"], n)
        if self.rng.random() < 0.2:
            return self._submit(session, token, {"content": token, "route": NOTIFIED})
        payload = token + (BULK if self.rng.random() < 0.1 else "")
        self._post(session, {"payload": payload, "message_id": token})
        return None

    def mail_again(self) -> None:
        """Send a message again whose answer was lost."""
        with self.load._lock:
            lost = self.load.unsure_mail.pop(0) if self.load.unsure_mail else None
        if lost:
            self._post(*lost)

    def _post(self, session: str, body: dict[str, Any]) -> None:
        try:
            status, said, n = self.send("POST", f"/v1/agents/{session}/mailbox", body)
        except Lost:
            self.load.unsure_mail.append((session, body))
            raise
        if status == 202:
            self.acknowledge("messages", said["message_id"], n, session=session)

    def store(self) -> None:
        """Store a file as an asset."""
        stored.store(self.send, self.acknowledge, self.load.number())

    def observe(self) -> None:
        """Send a batch of observations to a source."""
        self._observe(watched.batch(self.rng.choice(sorted(watched.SOURCES)), self.load.number()))

    def observe_again(self) -> None:
        """Send a batch again whose answer was lost."""
        with self.load._lock:
            lost = self.load.unsure_seen.pop(0) if self.load.unsure_seen else None
        if lost:
            self._observe(lost)

    def _observe(self, given: tuple[str, str, dict[str, Any]]) -> None:
        try:
            watched.store(self.send, self.acknowledge, given)
        except Lost:
            self.load.unsure_seen.append(given)
            raise

    def arrive(self) -> None:
        """Send a request to a connector, now and then one that was acknowledged before."""
        before = self.load.acks["receipts"][-20:]
        if before and self.rng.random() < 0.3:
            number = int(self.rng.choice(before)["key"].rpartition(".")[2])
        else:
            number = self.load.number()
        self._deliver(arrivals.body(number))

    def arrive_again(self) -> None:
        """Send a request to a connector again whose answer was lost."""
        with self.load._lock:
            lost = self.load.unsure_arrivals.pop(0) if self.load.unsure_arrivals else None
        if lost:
            self._deliver(lost)

    def _deliver(self, body: dict[str, Any]) -> None:
        try:
            arrivals.deliver(self.send, self.acknowledge, body)
        except Lost:
            self.load.unsure_arrivals.append(body)
            raise

    def talk(self) -> None:
        """Post a message in the channel, in a thread that there is or in a new one."""
        token = f"talk.{self.load.number()}"
        threads = [one["thread"] for one in self.load.acks["posts"][-5:]]
        body = {"text": token, "message_id": token}
        self._say({**body, "thread": self.rng.choice(threads)} if threads and self.rng.random() < 0.5 else body)

    def talk_again(self) -> None:
        """Send a message for the channel again whose answer was lost."""
        with self.load._lock:
            lost = self.load.unsure_posts.pop(0) if self.load.unsure_posts else None
        if lost:
            self._say(lost)

    def _say(self, body: dict[str, Any]) -> None:
        try:
            status, said, n = self.send("POST", f"/v1/channels/{rooms.ROOM}/messages", body)
        except Lost:
            self.load.unsure_posts.append(body)
            raise
        if status in (200, 201):
            self.acknowledge("posts", said["message_id"], n, thread=said["thread"])

    def assign(self) -> None:
        """Create a task, and have it done: by a run of its assignee, or by an outside holder."""
        task = f"t{self.load.number()}"
        body = {"title": task, "task_id": task, "assignee": self.rng.choice(boards.WORKERS)}
        if self._work("tasks", task, body) != 201:
            return
        if self.rng.random() < 0.5:
            self._work("starts", task, {})
        elif self._work("claims", task, {"holder": f"ci-{task}", "ttl": "1h"}) == 200:
            claim = self.claim
            self._work("results", task, {"claim_id": claim, "output": f"result of {task}"})

    def work_again(self) -> None:
        """Send a request for a task again whose answer was lost, under its key."""
        with self.load._lock:
            lost = self.load.unsure_work.pop(0) if self.load.unsure_work else None
        if lost:
            self._work(*lost)

    def _work(self, what: str, task: str, body: dict[str, Any]) -> int:
        base = f"/v1/projects/{boards.BOARD}/tasks"
        path = {"tasks": base, "starts": f"{base}/{task}/start", "claims": f"{base}/{task}/claim",
                "results": f"{base}/{task}/complete"}[what]  # fmt: skip
        try:
            status, said, n = self.send("POST", path, body, f"{what}.{task}" if what != "results" else None)
        except Lost:
            self.load.unsure_work.append((what, task, body))
            raise
        if status < 300 and what == "claims":
            self.claim = said["claim_id"]
        elif status < 300:
            self.acknowledge(what, task, n, **({"output": body["output"]} if what == "results" else {}))
        return status

    def has_open_mail(self) -> bool:
        """Whether a message is on its way."""
        known = {one["id"] for one in self.load.acks["sessions"]}
        states = "pending,delivering,delivered"
        pages = [self.send("GET", f"/v1/agents/{one}/mailbox?state={states}&limit=1") for one in MAIL if one in known]
        return any(said.get("items") for _, said, _ in pages)

    def listed(self, noun: str, statuses: tuple[str, ...] = ("pending",)) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for status in statuses:
            _, said, _ = self.send("GET", f"/v1/{noun}?status={status}&limit=100")
            found += [item for item in said.get("items", []) if not item["session_id"].startswith(HELD)]
        return found

    def answer(self) -> None:
        """Decide one approval, or answer one question."""
        noun = self.rng.choice(("approvals", "questions"))
        waiting = self.listed(noun)
        if waiting:
            (self.decide if noun == "approvals" else self.reply)(self.rng.choice(waiting))

    def decide(self, approval: dict[str, Any]) -> None:
        decision = self.rng.choice(("allow", "allow", "deny"))
        if self.rng.random() < 0.2:
            return self._decide_by_file(approval["approval_id"], decision)
        path = f"/v1/approvals/{approval['approval_id']}/resolve"
        status, _, n = self.send("POST", path, {"decision": decision})
        if status == 200:
            self.acknowledge("approvals", approval["approval_id"], n, decision=decision)
        return None

    def _decide_by_file(self, approval_id: str, decision: str) -> None:
        """As an editor does: whatever the file says now, with one word more. No answer, so nothing acknowledged."""
        path = self.load.daemon.root / "pending" / "approvals" / f"{approval_id}.yaml"
        with contextlib.suppress(FileNotFoundError):
            path.write_text(path.read_text().replace("\ndecision:\n", f"\ndecision: {decision}\n"))

    def reply(self, question: dict[str, Any]) -> None:
        chosen = {
            item["id"]: {"selected": [self.rng.choice(item["options"])["id"]], "text": None}
            for item in question["questions"]
        }
        path = f"/v1/questions/{question['question_id']}"
        if self.rng.random() < 0.15:
            status, _, n = self.send("POST", f"{path}/decline", {"reason": "not now"})
            decision = "decline"
        else:
            status, _, n = self.send("POST", f"{path}/answer", {"answers": chosen})
            decision = "answer"
        if status == 200:
            self.acknowledge("questions", question["question_id"], n, decision=decision)

    def halt(self) -> None:
        """Now and then somebody cancels a run, or interrupts a session."""
        runs = [run for run in self.load.acks["runs"][-10:] if not run["session"].startswith(HELD)]
        if self.rng.random() > 0.2 or not runs:
            return
        run = self.rng.choice(runs)
        if self.rng.random() < 0.5:
            self.send("POST", f"/v1/runs/{run['id']}/cancel", {})
        else:
            self.send("POST", f"/v1/sessions/{run['session']}/interrupt", {})
