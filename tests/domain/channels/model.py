"""The rules of turns in other words: a history of journal lines is replayed, and each decision in it is judged.

It shares no code with Kheish.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Line = Mapping[str, Any]
ENDS = ("run.completed", "run.failed", "run.cancelled", "run.interrupted")


def seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


@dataclass
class Talk:
    """A thread: its messages as (number, author), and what the newest message of a person opened."""

    messages: list[tuple[int, str]] = field(default_factory=list)
    asked: int | None = None  # the number of that message; None: its turns are over
    addressed: list[str] = field(default_factory=list)
    tagged: list[str] = field(default_factory=list)
    replied_to: str | None = None
    replies: list[str] = field(default_factory=list)  # the authors of agents' messages since
    passed_on: list[str] = field(default_factory=list)  # members that agents mentioned, the newest first
    seen: dict[str, int] = field(default_factory=dict)
    last: str | None = None


@dataclass
class Member:
    id: str
    session: str
    mode: str
    muted: bool


@dataclass
class Rules:
    """A channel's file at some time."""

    members: list[Member]
    speakers: int
    replies: int
    cooldown: float
    lease: float
    posts: int


class History:
    """What has happened in one channel so far."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.talks: dict[str, Talk] = {}
        self.leases: dict[str, dict[str, Any]] = {}
        self.granted: set[str] = set()
        self.over: set[str] = set()
        self.posted: list[str] = []
        self.spoke: dict[str, float] = {}
        self.hour: list[float] = []
        self.busy: dict[str, set[str]] = {}
        self.faults: list[str] = []

    def blame(self, condition: bool, text: str) -> None:
        if not condition:
            self.faults.append(text)

    # --- candidates ---------------------------------------------------------------------------------------------------

    def may_speak(self, talk: Talk) -> list[Member]:
        """The agents that have something new before them, and that the modes let speak."""
        able = []
        for one in self.rules.members:
            news = [n for n, author in talk.messages if author != one.id and n > talk.seen.get(one.id, 0)]
            asked = one.id in talk.addressed
            allowed = {
                "manual_only": asked,
                "selected_only": asked or one.id in talk.passed_on,
                "prefer_selected": True,
                "always_listen": True,
            }[one.mode]
            if news and allowed and not one.muted:
                able.append(one)
        return able

    def ranked(self, talk: Talk, members: Sequence[Member]) -> list[Member]:
        """By the weakest criterion first: each sort is stable, so that the last decides."""
        line = sorted(members, key=lambda one: one.id)
        line.sort(key=lambda one: len(self.busy.get(one.session, ())))
        line.sort(key=lambda one: self.spoke.get(one.id, 0.0))
        line.sort(key=lambda one: 0 if one.mode == "prefer_selected" and one.id in talk.tagged else 1)
        line.sort(key=lambda one: 0 if one.id == talk.last else 1)
        line.sort(key=lambda one: 1 if one.id in talk.replies else 0)
        line.sort(key=lambda one: 0 if one.id == talk.replied_to else 1)
        line.sort(key=lambda one: talk.addressed.index(one.id) if one.id in talk.addressed else 10_000)
        line.sort(key=lambda one: talk.passed_on.index(one.id) if one.id in talk.passed_on else 10_000)
        return line

    def first(self, now: float, leases: Mapping[str, Mapping[str, Any]]) -> tuple[str, str] | None:
        """Who would get a turn next, and where, whatever the number of speakers."""
        speaking = {one["member"] for one in leases.values()}
        open_talks = [(talk.asked, id) for id, talk in self.talks.items() if talk.asked is not None]
        for _, id in sorted(open_talks, reverse=True):
            talk = self.talks[id]
            reserved = sum(1 for one in leases.values() if (one["thread"], one["asked"]) == (id, talk.asked))
            if len(talk.replies) + reserved >= self.rules.replies:
                continue
            for one in self.ranked(talk, self.may_speak(talk)):
                rests = one.id in self.spoke and self.spoke[one.id] + self.rules.cooldown > now
                if one.id not in speaking and not rests:
                    return id, one.id
        return None

    # --- the history --------------------------------------------------------------------------------------------------

    def add(self, line: Line) -> None:
        kind, data = line["kind"], line["data"]
        if kind == "run.submitted":
            self.busy.setdefault(line["session"], set()).add(line["run"])
        elif kind in ENDS:
            self.busy.get(line["session"], set()).discard(line["run"])
        elif kind in (known := {
            "channel.posted": self.posted_message,
            "channel.edited": self.edited_message,
            "channel.turn_granted": self.turn_granted,
            "channel.turn_renewed": self.turn_renewed,
            "channel.turn_ended": self.turn_ended,
            "channel.turns_closed": self.turns_closed,
            "channel.resumed": lambda *_: self.hour.clear(),
        }):  # fmt: skip
            known[kind](data, line)

    def posted_message(self, data: Mapping[str, Any], line: Line) -> None:
        post = data["post"]
        talk = self.talks.setdefault(post["thread"], Talk())
        author = post["author"]["member"] or f"human:{post['author']['name']}"
        talk.messages.append((line["n"], author))
        if post["opens"]:
            talk.asked = line["n"]
            talk.addressed, talk.tagged, talk.replied_to = post["addressed"], post["tagged"], post["replied_to"]
            talk.replies, talk.passed_on = [], []
        elif (turn := post["turn_id"]) is not None:
            self.blame(turn in self.leases, f"a message of {turn}, which has no lease")
            self.blame(turn not in self.posted, f"two messages of {turn}")
            self.posted.append(turn)
            self.spoke[author] = seconds(line["at"])
            self.hour.append(seconds(line["at"]))
            talk.last = author
            if talk.asked is not None and self.leases.get(turn, {}).get("asked") == talk.asked:
                talk.replies.append(author)
                talk.passed_on = [*post["mentioned"], *(one for one in talk.passed_on if one not in post["mentioned"])]
                self.blame(len(talk.replies) <= self.rules.replies, f"{len(talk.replies)} replies to one message")

    def edited_message(self, data: Mapping[str, Any], line: Line) -> None:
        """While turns are open, an edit is news like a message."""
        post = data["post"]
        talk = self.talks[post["thread"]]
        if talk.asked is not None or any(one["thread"] == post["thread"] for one in self.leases.values()):
            talk.messages.append((line["n"], f"human:{post['author']['name']}"))

    def turn_granted(self, data: Mapping[str, Any], line: Line) -> None:
        now, turn = seconds(line["at"]), data["turn_id"]
        self.blame(turn not in self.granted, f"{turn} was granted twice")
        self.blame(len(self.leases) < self.rules.speakers, "more leases than speakers")
        best = self.first(now, self.leases)
        self.blame(best == (data["thread"], data["member"]), f"{data['member']} speaks, and {best} was first")
        recent = [one for one in self.hour if one > now - 3600]
        self.blame(len(recent) + len(self.leases) < self.rules.posts, "the loop guard let one through")
        talk = self.talks[data["thread"]]
        talk.seen[data["member"]] = data["upto"]
        self.blame(talk.messages[-1][0] <= data["upto"] < line["n"], f"{turn} is not shown the newest message")
        talk.passed_on = [one for one in talk.passed_on if one != data["member"]]
        self.granted.add(turn)
        self.leases[turn] = {**data, "until": seconds(data["expires_at"]), "asked": talk.asked}

    def turn_renewed(self, data: Mapping[str, Any], line: Line) -> None:
        now, lease = seconds(line["at"]), self.leases[data["turn_id"]]
        self.blame(lease["until"] <= now, "a lease was renewed before its end")
        self.blame(self.rival(data["turn_id"], now) is None, "a lease was renewed, and another member waited")
        lease["until"] = seconds(data["expires_at"])

    def turn_ended(self, data: Mapping[str, Any], line: Line) -> None:
        now, turn = seconds(line["at"]), data["turn_id"]
        self.blame(turn in self.leases and turn not in self.over, f"{turn} ended without a lease, or twice")
        if data["state"] == "expired":
            self.blame(self.leases[turn]["until"] <= now, "a lease was handed over before its end")
            self.blame(self.rival(turn, now) is not None, "a lease was handed over to none")
        self.blame((data["state"] == "posted") == (turn in self.posted), f"{turn} is {data['state']}: {self.posted}")
        self.over.add(turn)
        self.leases.pop(turn, None)

    def turns_closed(self, data: Mapping[str, Any], line: Line) -> None:
        talk = self.talks[data["thread"]]
        is_spent = len(talk.replies) >= self.rules.replies
        self.blame(is_spent or not self.may_speak(talk), f"the turns of {data['thread']} were closed too early")
        if is_spent:
            names = [one.id for one in self.ranked(talk, self.may_speak(talk))]
            self.blame([one["member"] for one in data["passed"]] == names[:10], "those who were passed over are wrong")
        talk.asked = None

    def rival(self, turn: str, now: float) -> str | None:
        """Who would get the turn of a lease that is over."""
        mine = self.leases[turn]["member"]
        rest = {id: one for id, one in self.leases.items() if id != turn}
        best = self.first(now, rest | {"its own": {"member": mine, "thread": "", "asked": 0}})
        return best[1] if best is not None else None

    def quiet(self, now: float) -> None:
        """Where no run is open, and all time is over, no member is left that should speak."""
        self.blame(not self.leases, f"leases without an end: {list(self.leases)}")
        for id, talk in self.talks.items():
            if talk.asked is not None:
                self.blame(False, f"the turns of {id} are open, and none speaks")
