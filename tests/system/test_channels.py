"""Channels of a real daemon: turns, rings, leases, kills, threads, reactions, search, proposals."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kheish.errors import Conflict
from tests.support.daemon import QUICK, Daemon, allow, bash, call, scripted, until

RING = ("a", "b", "c", "d")


def says(text: str, **more: Any) -> dict[str, Any]:
    """A turn that posts a message."""
    return {"tool_calls": [call("post_to_channel", text=text, **more)]}


def agent(member: str, **more: Any) -> dict[str, Any]:
    """A member that is the agent of the session with its id."""
    return {"member": member, "kind": "agent", "session": member, **more}


ROUTES: dict[str, Any] = {
    "quiet": scripted([{"text": "nothing to add"}]),
    "answers": scripted([says("I look at it."), {"text": "done"}]),
    "twice": scripted([says("first"), says("second"), {"text": "{{last_result}}"}]),
    "slow": scripted([{"text": "hm", "delay": "4s"}]),
    "brief": scripted([{"text": "hm", "delay": "1500ms"}]),
    "steady": scripted([{**says("at last"), "delay": "2500ms"}, {"text": "done"}]),
    "late": scripted([{**says("to the first"), "delay": "1s"}, {"text": "done"}]),
    "posts": scripted([says("posted"), {"text": "done", "delay": "1500ms"}]),
    "tainted": scripted([bash("echo x"), says("from outside"), {"text": "done"}]),
    "proposes": scripted([
        {"tool_calls": [call("propose", kind="topic", text="Talk about x", dedupe_key="x", channel="prop"),
                        call("propose", kind="topic", text="Talk about y", dedupe_key="y", channel="prop"),
                        call("propose", kind="topic", text="Talk about z", dedupe_key="z", channel="room")]},
        {"text": "{{last_result}}"}]),
    "reacts": scripted([{"tool_calls": [call("read_channel_thread", channel="react", thread="root")]},
                        {"tool_calls": [call("react", message_id="root", emoji="👀")]}, {"text": "done"}]),
    **{f"ring-{one}": scripted([says(f"over to @{after}"), {"text": "done"}])
       for one, after in zip(RING, "bcda", strict=True)},
}  # fmt: skip
ADA = {"member": "ada", "kind": "human", "person": "Ada", "name": "Ada"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("channels")
    with Daemon.fresh(folder, routes=ROUTES, config=QUICK, permissions=allow("echo *")) as daemon:
        yield daemon


def make(daemon: Daemon, channel: str, agents: dict[str, str], members: Sequence[Any] = (), **policy: Any) -> None:
    """A channel with these agents by id, each with its route; sessions have the channel's name before theirs."""
    rows = []
    for member, route in agents.items():
        daemon.client.sessions.create(f"{channel}-{member}", route=route)
        rows.append({"member": member, "kind": "agent", "session": f"{channel}-{member}"})
    given = {one["member"]: one for one in members}
    rows = [{**one, **given.pop(one["member"], {})} for one in rows]
    file = {"members": [*rows, *given.values()], "policy": {"cooldown": "0s", **policy}}
    assert daemon.http("PUT", f"/v1/channels/{channel}", file).status_code == 201


def posts(daemon: Daemon, channel: str, **given: Any) -> list[dict[str, Any]]:
    """The messages, oldest first."""
    return [dict(one) for one in daemon.client.channels.messages(channel, limit=200, **given)["items"]][::-1]


def turns(daemon: Daemon, channel: str) -> list[dict[str, Any]]:
    return [dict(one) for one in daemon.client.channels.turns(channel, limit=200)["items"]]


def following(daemon: Daemon, *words: str) -> subprocess.Popen[str]:
    """A command that goes on meanwhile."""
    line = [sys.executable, "-m", "kheish.cli.main", "--state-root", str(daemon.root), "channels", *words]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=daemon.environment())


def settled(daemon: Daemon, channel: str) -> list[dict[str, Any]]:
    """The turns, once none is open in any thread."""

    def are_closed() -> bool:
        return all(
            one["floor"] is None and not one["holders"] for one in daemon.client.channels.threads(channel)["items"]
        )

    until(are_closed, what=f"the turns of {channel} end: {turns(daemon, channel)}")
    return turns(daemon, channel)


def test_agents_answer_in_turns_and_each_once(shared: Daemon) -> None:
    make(shared, "room", {"db": "answers", "net": "quiet"}, [ADA])
    posted = shared.client.channels.post("room", "It is slow, @net")
    assert posted["from"]["name"] == "local"
    assert posted["addressed"] == ["net"]
    found = settled(shared, "room")
    ends = [(one["member"], one["state"]) for one in found[::-1]]
    assert ends == [("net", "silent"), ("db", "posted"), ("net", "silent")], "net sees what db posted"
    [asked, answer] = posts(shared, "room")
    assert (answer["text"], answer["thread"], answer["from"]["member"]) == ("I look at it.", asked["thread"], "db")
    assert answer["turn_id"] == found[1]["turn_id"]
    [run] = shared.client.runs.list(session="room-db")["items"]
    assert run["kind"] == "channel_turn" and run["run_id"] == found[1]["run_id"]
    assert "local (a person, guest)" in run["request"]["items"][2]["text"]


def test_a_ring_of_mentions_ends_with_the_replies(shared: Daemon) -> None:
    make(shared, "ring", {one: f"ring-{one}" for one in RING}, agent_mentions="spend")
    shared.client.channels.post("ring", "Begin, @a")
    found = settled(shared, "ring")
    assert [one["text"] for one in posts(shared, "ring")] == ["Begin, @a", "over to @b", "over to @c", "over to @d"]
    assert [one["member"] for one in found if one["state"] == "passed"], "the last mention got no turn"
    assert len(shared.client.runs.list(session="ring-d")["items"]) == 0


@pytest.mark.parametrize("how", ["removed", "replaced", "muted", "paused"])
def test_a_member_that_leaves_in_its_turn_posts_nothing_more(shared: Daemon, how: str) -> None:
    """No member, no message; one that gets no further turns still ends the one that it has."""
    c = f"leaves-{how}"
    make(shared, c, {"db": "posts"})
    shared.client.channels.post(c, "Anyone?")
    kinds = "channel.turn_replied"
    until(lambda: kinds in [one.kind for one in shared.client.past_events(channel=c)], what="it has posted")
    [turn] = turns(shared, c)
    member = {"member": "db", "kind": "agent", "session": f"{c}-db"}
    if how == "paused":
        shared.client.channels.pause(c)
    elif how == "removed":
        shared.client.channels.remove_member(c, "db")
    else:
        given = {"muted": True} if how == "muted" else {"session": "another"}
        shared.client.channels.add_member(c, **{**member, **given})
    if how in ("removed", "replaced"):
        until(lambda: turns(shared, c)[-1]["state"] == "expired", what="its turn ends")
        assert turns(shared, c)[-1]["reason"] == "it is no member any more"
        until(lambda: shared.client.runs.get(turn["run_id"]).data["status"] == "cancelled", what="its run ends")
        assert [one["text"] for one in posts(shared, c)] == ["Anyone?"]
    else:
        until(lambda: turns(shared, c)[-1]["state"] == "posted", what="it ends as usual")
        assert [one["text"] for one in posts(shared, c)] == ["Anyone?", "posted"]


def test_a_second_message_in_a_turn_is_refused(shared: Daemon) -> None:
    make(shared, "twice", {"db": "twice"})
    shared.client.channels.post("twice", "Go")
    settled(shared, "twice")
    assert [one["text"] for one in posts(shared, "twice")] == ["Go", "first"]
    [run] = shared.client.runs.list(session="twice-db")["items"]
    assert "posted in this turn already" in run["output"]
    shared.client.sessions.create("outside", route="answers")
    run = shared.client.runs.start("outside", "post it", wait="20s")
    assert run.output == "done" and not posts(shared, "twice", thread="outside")


# --- leases -----------------------------------------------------------------------------------------------------------


@pytest.mark.demand(26)
def test_a_lease_is_handed_over_where_another_agent_waits(shared: Daemon) -> None:
    make(shared, "rivals", {"slow": "slow", "db": "answers"}, lease="1s")
    shared.client.channels.post("rivals", "Anyone?", addressed=["slow"])
    found = settled(shared, "rivals")
    ends = {one["member"]: one for one in found if one["state"] in ("expired", "posted")}
    assert ends["slow"]["state"] == "expired" and ends["db"]["state"] == "posted"
    stale = shared.client.runs.list(session="rivals-slow")["items"][-1]
    assert until(lambda: shared.client.runs.get(stale["run_id"]).data["status"] == "cancelled", what="the run ends")


@pytest.mark.parametrize("why", ["handed over", "left", "replaced"])
def test_a_turn_whose_run_did_not_complete_has_shown_nothing(shared: Daemon, why: str) -> None:
    """What an agent was to read in a run that was cancelled, or another session of it read, is shown with its next."""
    c = f"unseen-{why.split()[0]}"
    make(shared, c, {"db": "quiet", "net": "answers"}, [{"member": "net", "participation": "manual_only"}],
         lease="1s")  # fmt: skip
    if why != "replaced":
        shared.client.runs.start(f"{c}-db", "busy meanwhile", route="brief")
    root = shared.client.channels.post(c, "The disk of pg-7 is full", addressed=["db", "net"])["thread"]
    if why == "left":
        until(lambda: [one for one in turns(shared, c) if one["state"] == "granted"], what="its turn begins")
        shared.client.channels.remove_member(c, "db")
        until(lambda: [one for one in turns(shared, c) if one["state"] == "expired"], what="its turn ends")
    settled(shared, c)
    session = f"{c}-{'new' if why == 'replaced' else 'db'}"
    if why != "handed over":
        shared.client.sessions.create(session, route="quiet")
        shared.client.channels.add_member(c, "db", "agent", session=session)
    for text in ("And now?", "Thanks"):
        shared.client.channels.post(c, text, thread=root, addressed=["db"])
        settled(shared, c)
    runs = [one for one in shared.client.runs.list(session=session)["items"] if one["kind"] == "channel_turn"]
    shown = ["".join(one["text"] for one in run["request"]["items"]) for run in runs if run["status"] == "completed"]
    assert ["pg-7" in one for one in shown].count(True) == 1 and "Thanks" in shown[0], shown


def test_a_lease_without_rivals_lasts_as_long_as_its_run(shared: Daemon) -> None:
    make(shared, "steady", {"db": "steady"}, lease="1s")
    posted = shared.client.channels.post("steady", "Anyone?")
    [turn] = settled(shared, "steady")
    assert turn["state"] == "posted" and turn["expires_at"] > posted["at"]
    kinds = [one.kind for one in shared.client.past_events(channel="steady")]
    assert kinds.count("channel.turn_renewed") >= 1 and kinds.count("channel.turn_granted") == 1
    assert [one["text"] for one in posts(shared, "steady")] == ["Anyone?", "at last"]


def test_a_newer_message_opens_the_turns_again(shared: Daemon) -> None:
    make(shared, "newer", {"db": "late"}, replies=1)
    first = shared.client.channels.post("newer", "One")
    until(lambda: any(one["state"] == "granted" for one in turns(shared, "newer")), what="the first has a turn")
    shared.client.channels.post("newer", "Two", thread=first["thread"])
    found = settled(shared, "newer")
    assert [one["state"] for one in found] == ["posted", "posted"], "each message has its reply"
    assert [one["text"] for one in posts(shared, "newer")] == ["One", "Two", "to the first", "to the first"]
    second = shared.client.runs.list(session="newer-db")["items"][0]["request"]["items"][2]["text"]
    assert "Two" in second and "One" not in second, "it sees the thread since its last turn"


@pytest.mark.demand(26)
def test_the_loop_guard_pauses_the_channel(shared: Daemon) -> None:
    make(shared, "guard", {"db": "answers"}, posts_per_hour=1)
    shared.client.channels.post("guard", "One")
    settled(shared, "guard")
    shared.client.channels.post("guard", "Two")
    channel = until(lambda: (one := shared.client.definitions("channels").get("guard"))["state"] == "paused" and one)
    assert channel["pause_reason"] == "loop_guard"

    def problems() -> list[str]:
        return [one["path"] for one in shared.http("GET", "/v1/problems?code=loop_guard").json()["items"]]

    until(lambda: problems() == ["channels/guard.yaml"], what="it is reported")
    [waiting] = [one for one in turns(shared, "guard") if one["state"] == "queued"]
    assert waiting["member"] == "db" and "has not replied to this message yet" in waiting["rank"]
    shared.client.channels.resume("guard")
    settled(shared, "guard")
    assert len(posts(shared, "guard")) == 4
    until(lambda: not problems(), what="it is reported no more")


def test_a_member_without_a_session_is_a_problem_until_it_has_one(shared: Daemon) -> None:
    file = {"members": [{"member": "db", "kind": "agent", "session": "later"}], "policy": {"cooldown": "0s"}}
    assert shared.http("PUT", "/v1/channels/later", file).status_code == 201
    shared.client.channels.post("later", "Anyone?")

    def problem() -> list[Any]:
        return list(shared.http("GET", "/v1/problems?code=channel_member").json()["items"])

    assert "no session 'later'" in until(problem, what="it is reported")[0]["message"]
    [waiting] = turns(shared, "later")
    assert waiting["state"] == "queued" and waiting["reason"].startswith("cannot run: There is no session 'later'")
    assert shared.cli("channels", "turns", "later").stdout.count("cannot run: There is no session") == 1
    follow = following(shared, "post", "later", "And now?", "--thread", waiting["thread"], "--follow")
    assert follow.stderr is not None and "db waits: cannot run: There is no session" in follow.stderr.readline()
    shared.client.sessions.create("later", route="answers")
    settled(shared, "later")
    assert [one["text"] for one in posts(shared, "later")] == ["Anyone?", "And now?", "I look at it."]
    follow.communicate(timeout=20)
    assert follow.returncode == 0, "it ends with the turns"
    until(lambda: not problem(), what="the problem is over")


# --- messages ---------------------------------------------------------------------------------------------------------


def test_messages_are_edited_removed_found_and_reacted_to(shared: Daemon) -> None:
    make(shared, "react", {"db": "reacts"})
    channels = shared.client.channels
    root = channels.post("react", "Deployment of zebra failed", message_id="root")
    assert root["thread"] == "root" and channels.post("react", root["text"], message_id="root")["n"] == root["n"]
    assert shared.http("POST", "/v1/channels/react/messages", {"text": "x", "message_id": "root"}).status_code == 409
    settled(shared, "react")
    assert channels.message("react", "root")["reactions"] == [{"emoji": "👀", "by": ["db"]}]
    channels.react("react", "root", "👍")
    assert len(channels.remove_reaction("react", "root", "👀")["reactions"]) == 2, "a person takes back only their own"
    reply = channels.post("react", "It was the giraffe", reply_to="root", thread="root")
    wrong = {"text": "x", "thread": reply["message_id"]}
    assert shared.http("POST", "/v1/channels/react/messages", wrong).status_code == 404
    assert [one["message_id"] for one in channels.messages("react", q="zebra")["items"]] == ["root"]
    channels.edit("react", "root", text="Deployment of lion failed")
    assert not channels.messages("react", q="zebra")["items"] and channels.messages("react", q="lion")["items"]
    channels.remove("react", reply["message_id"])
    gone = channels.message("react", reply["message_id"])
    assert (gone["text"], gone["removed_at"] is not None) == ("", True)
    assert not channels.messages("react", q="giraffe")["items"]
    assert shared.http("PATCH", f"/v1/channels/react/messages/{gone['message_id']}", {"text": "y"}).status_code == 409
    refused = shared.http("POST", "/v1/channels/react/messages", {"text": "x", "attachments": ["sha256:1"]})
    assert refused.status_code == 400 and "there is no asset" in refused.json()["detail"]
    for wrong, status in (("x" * 16385, 413), ("ä" * 8193, 413), (" ", 400), ("\u200b\u2060\u3164", 400), ("", 400)):
        assert shared.http("POST", "/v1/channels/react/messages", {"text": wrong}).status_code == status, wrong[:9]
    assert shared.http("POST", "/v1/channels/react/messages", {"text": "ä" * 8192}).status_code == 201
    for spelling in (":+1:", "👍\ufe0f", ":thumbs_up:"):
        assert channels.react("react", "root", spelling)["reactions"][1] == {"emoji": "👍", "by": ["human:local"]}
    assert len(channels.remove_reaction("react", "root", ":thumbsup:")["reactions"]) == 1
    for wrong in ("<script>", "../..", "👍" * 64, ":nope:"):
        answer = shared.http("POST", f"/v1/channels/react/messages/{root['thread']}/reactions", {"emoji": wrong})
        assert answer.status_code == 400, wrong
    channels.react("react", "root", "👨‍👩‍👧‍👦")
    key = {"idempotency-key": "k1"}
    sent = [shared.http("POST", "/v1/channels/react/messages", {"text": "k"}, headers=key) for _ in "12"]
    assert [one.status_code for one in sent] == [201, 200] and len({one.json()["message_id"] for one in sent}) == 1
    again = {"text": "Deployment of zebra failed", "message_id": "root"}
    repeated = shared.http("POST", "/v1/channels/react/messages", again)
    assert (repeated.status_code, repeated.json()["text"]) == (200, "Deployment of lion failed"), "an edit is no other"
    channels.remove("react", "root")
    repeated = shared.http("POST", "/v1/channels/react/messages", again)
    assert repeated.status_code == 200 and repeated.json()["removed_at"]
    wanted = {"kind": "topic", "text": "x", "dedupe_key": "x"}
    made = [shared.http("POST", "/v1/channels/react/propose", wanted, headers=key).json() for _ in "12"]
    assert made[0] == made[1] and made[0]["count"] == 1


def test_edits_and_removals_reach_agents_that_read_the_earlier_text(shared: Daemon) -> None:
    make(shared, "edits", {"db": "late"}, [ADA])
    channels = shared.client.channels

    def shown(number: int) -> str:
        [*_, run] = sorted(shared.client.runs.list(session="edits-db")["items"], key=lambda one: one["submitted_at"])[
            :number
        ]
        return "\n".join(one["text"] for one in run["request"]["items"])

    root = channels.post("edits", "Drop users_old")["message_id"]
    until(lambda: [one for one in turns(shared, "edits") if one["state"] == "granted"])
    channels.edit("edits", root, text="Drop users_bak")
    assert [one["state"] for one in settled(shared, "edits")] == ["posted", "posted"], "a turn for the new text"
    assert "users_old" in shown(1) and "users_bak" not in shown(1)
    assert "users_bak" in shown(2) and ", edited:" in shown(2) and "users_old" not in shown(2)
    wrong = channels.post("edits", "And users_tmp", thread=root)["message_id"]
    assert len(settled(shared, "edits")) == 3 and "users_bak" not in shown(3), "it was shown"
    channels.edit("edits", root, text="Drop users_2019")
    channels.remove("edits", wrong)
    assert len(settled(shared, "edits")) == 3, "the turns are over: an edit opens none"
    channels.post("edits", "Go on", thread=root)
    settled(shared, "edits")
    assert [word in shown(4) for word in ("users_2019", "(removed)", "users_tmp", "Go on")] == [True, True, False, True]


def test_attachments_reach_the_agents_and_count_as_uses(shared: Daemon) -> None:
    client = shared.client
    shared.write("routes/attached.yaml", {"driver": "scripted", "script": {"echo": True}})
    until(lambda: shared.http("GET", "/v1/routes/attached").status_code == 200)
    [asset_id, pinned] = [
        client.assets.create(f"{word}.txt", base64.b64encode(f"{word} of the file".encode()).decode())["asset_id"]
        for word in ("attached-word", "pinned-word")
    ]
    client.sessions.create("handed-agent", route="attached")
    member = {"member": "ada", "kind": "agent", "session": "handed-agent"}
    client.channels.put("handed", {"members": [member], "assets": [pinned]})
    posted = client.channels.post("handed", "@ada look", message_id="look", attachments=[asset_id])
    assert posted["attachments"] == [asset_id]
    [run] = until(lambda: client.runs.list(session="handed-agent", status="completed")["items"])
    assert "attached-word of the file" in run["output"] and f"asset:{pinned}" in run["output"]
    uses = {one["kind"]: one["id"] for one in client.assets.get(asset_id)["references"]}
    assert uses["channel_message"] == "handed/look" and "run" in uses
    client.sessions.delete("handed-agent")
    for one, name in ((asset_id, "channel message handed/look"), (pinned, "channel handed")):
        refused = shared.http("DELETE", f"/v1/assets/{one}")
        assert refused.status_code == 409 and name in refused.text
    client.channels.remove("handed", "look")
    client.channels.put("handed", {})
    for one in (asset_id, pinned):
        assert shared.http("DELETE", f"/v1/assets/{one}").status_code == 204


def test_threads_have_a_status_and_things_that_they_are_about(shared: Daemon) -> None:
    make(shared, "threads", {})
    channels = shared.client.channels
    root = channels.post("threads", "A long story")
    about = [{"kind": "incident", "id": "42"}]
    changed = channels.change_thread("threads", root["thread"], status="resolved", about=about)
    assert (changed["status"], changed["about"], changed["title"]) == ("resolved", about, "A long story")
    assert [one["thread"] for one in channels.threads("threads", about="incident/42")["items"]] == [root["thread"]]
    assert not channels.threads("threads", status="open")["items"]
    for odd in ("incident", "/42", "incident/", "project_task/p", "x" * 401 + "/1"):
        answer = shared.http("GET", "/v1/channels/threads/threads", params={"about": odd})
        assert answer.status_code == 400 and "project_task/PROJECT/TASK" in answer.text, odd
    assert not channels.threads("threads", about="incident/43")["items"]
    slashed = {"about": [{"kind": "incident/4", "id": "2"}]}
    assert shared.http("PATCH", f"/v1/channels/threads/threads/{root['thread']}", slashed).status_code == 400
    named = [
        ("project_task", "p/none"),
        ("run", "run_none"),
        ("session", "nobody"),
        ("channel", "nowhere"),
        ("schedule", "x"),
    ]
    for kind, id in named:
        wrong = {"about": [{"kind": "incident", "id": "1"}, {"kind": kind, "id": id}]}
        answer = shared.http("PATCH", f"/v1/channels/threads/threads/{root['thread']}", wrong)
        assert answer.status_code == 400 and answer.json()["errors"][0]["path"] == "/about/1", (kind, answer.text)
    shared.client.sessions.create("exists", route="quiet")
    there = [{"kind": "session", "id": "exists"}, {"kind": "channel", "id": "threads"}]
    assert channels.change_thread("threads", root["thread"], about=there)["about"] == there
    channels.change_thread("threads", root["thread"], about=about)
    channels.post("threads", "Again", thread=root["thread"])
    [thread] = channels.threads("threads")["items"]
    assert (thread["status"], thread["messages"], thread["about"]) == ("open", 2, about)


def test_members_guests_readers_and_filtered_tokens(shared: Daemon) -> None:
    make(shared, "people", {}, [ADA])

    def token(name: str, *words: str) -> dict[str, str]:
        done = shared.cli("tokens", "create", name, *words, "--output", "json")
        return {"authorization": f"Bearer {json.loads(done.stdout)['token']}"}

    ada, guest = token("t-ada", "--role", "operator", "--person", "Ada"), token("t-guest", "--role", "operator")
    url = "/v1/channels/people/messages"
    by_ada = shared.http("POST", url, {"text": "hello"}, headers=ada).json()
    by_guest = shared.http("POST", url, {"text": "hello", "addressed": ["@Ada"]}, headers=guest).json()
    assert (by_ada["from"]["member"], by_ada["from"]["name"]) == ("ada", "Ada")
    assert (by_guest["from"]["member"], by_guest["from"]["name"], by_guest["addressed"]) == (None, "t-guest", ["ada"])
    mine = f"{url}/{by_ada['message_id']}"
    assert shared.http("PATCH", mine, {"text": "no"}, headers=guest).status_code == 403
    assert shared.http("DELETE", mine, headers=guest).status_code == 403
    member = {"member": "bob", "kind": "human", "person": "Bob"}
    assert shared.http("POST", "/v1/channels/people/members", member, headers=ada).status_code == 403
    assert shared.http("POST", "/v1/channels/people/members", member).json()["items"][-1]["name"] == "bob"
    assert shared.http("DELETE", "/v1/channels/people/members/bob").status_code == 200
    with ThreadPoolExecutor(8) as pool:
        added = [{**member, "member": f"m{number}", "person": f"P{number}"} for number in range(8)]
        codes = list(pool.map(lambda one: shared.http("POST", "/v1/channels/people/members", one).status_code, added))
    assert codes == [200] * 8, "nobody has to read the file again"
    assert len(shared.client.channels.members("people")["items"]) == 9
    stale = {"if-match": "0" * 40}
    assert shared.http("POST", "/v1/channels/people/members", member, headers=stale).status_code == 412
    reader = token("t-reader", "--role", "reader")
    assert shared.http("GET", url, headers=reader).status_code == 200
    assert shared.http("POST", url, {"text": "x"}, headers=reader).status_code == 403
    narrow = token("t-narrow", "--role", "operator", "--session", "other*")
    for path in (
        url,
        "/v1/channels/people/turns",
        "/v1/events?channel=people",
        "/v1/events?session=other&channel=people",
    ):
        assert shared.http("GET", path, headers=narrow).status_code in (400, 403), path
    assert shared.http("POST", url, {"text": "x"}, headers=narrow).status_code == 403


def test_taint_travels_with_a_message(shared: Daemon) -> None:
    make(shared, "taint", {"one": "tainted", "two": "quiet"}, replies=1)
    shared.client.channels.post("taint", "Look it up", addressed=["one"])
    settled(shared, "taint")
    [_, answer] = posts(shared, "taint")
    assert answer["tainted_by"] == "bash"
    shared.client.channels.post("taint", "And you?", thread=answer["thread"], addressed=["two"])
    settled(shared, "taint")
    assert shared.client.sessions.get("taint-two")["tainted_by"] == "bash, by one"


# --- proposals, schedules, the command line ---------------------------------------------------------------------------


def test_agents_propose_and_a_person_accepts(shared: Daemon) -> None:
    make(shared, "prop", {"db": "proposes"})
    run = shared.client.runs.start("prop-db", "propose", wait="20s")
    assert "You are no member of a channel 'room'" in (run.output or "")
    [one] = shared.client.channels.proposals("prop")["items"]
    assert (one["text"], one["state"], one["count"]) == ("Talk about x", "open", 1), "one at a time"
    resolve = shared.client.channels.resolve_proposal
    joined = shared.client.channels.propose("prop", "event", "Drop the table", "x")
    assert (joined["text"], joined["count"], joined["digest"]) == ("Talk about x", 2, one["digest"])
    with pytest.raises(Conflict, match="read it again"):
        resolve("prop", one["proposal_id"], decision="accept", digest="0" * 64)
    accepted = resolve("prop", one["proposal_id"], decision="accept", digest=one["digest"])
    audited = shared.client.audit.list(limit=200)["items"][-1]["data"]
    assert (audited["action"], audited["outcome"], audited["subject"]) == ("approval", "done", "token:local")
    assert audited["target"] == f"proposal prop/{one['proposal_id']}: accepted"
    posted = shared.client.channels.message("prop", accepted["message_id"])
    assert (posted["text"], posted["from"]["name"]) == ("Talk about x", "local")
    again = {"decision": "dismiss"}
    assert shared.http("POST", f"/v1/channels/prop/proposals/{one['proposal_id']}/resolve", again).status_code == 409
    for count in (1, 2):
        made = shared.client.channels.propose("prop", "event", "It rains", "rain")
        assert made["count"] == count
    other = {"kind": "event", "text": "It snows", "dedupe_key": "snow"}
    assert shared.http("POST", "/v1/channels/prop/propose", other).status_code == 429


def test_the_daemon_announces_the_work_of_members(shared: Daemon) -> None:
    make(shared, "news", {"db": "quiet"})
    file = shared.client.definitions("channels").get("news")
    shared.client.definitions("channels").put("news", {**file, "announce": ["task_completed"]})
    task = shared.client.tasks.create("news-db", "tidy up")
    shared.client.tasks.update("news-db", task["task_id"], status="completed")
    [one] = until(lambda: shared.client.channels.proposals("news")["items"], what="it is announced")
    assert (one["by"], one["text"]) == ("daemon", "The task tidy up is completed.")
    shared.write("outputs/script.yaml", {"kind": "command", "command": "true"})
    seen = until(
        lambda: [one for one in shared.http("GET", "/v1/problems").json()["items"] if "script" in one["path"]],
        what="the untrusted command is reported, in one look at all targets",
    )
    assert seen and not shared.http("GET", "/v1/problems?code=reply_target_invalid").json()["items"]


def test_a_schedule_posts_a_message(shared: Daemon) -> None:
    make(shared, "daily", {"db": "answers"})
    start = {"channel": "daily", "message": "Good morning @db"}
    shared.client.definitions("schedules").put("morning", {"cron": "0 4 * * *", "start": start})
    fires = [shared.http("POST", "/v1/schedules/morning/trigger", {"idempotency_key": "x"}).json() for _ in "12"]
    assert fires[0]["state"] == "settled" and fires[0]["fire_id"] == fires[1]["fire_id"]
    settled(shared, "daily")
    [asked, answer] = posts(shared, "daily")
    assert (asked["message_id"], asked["from"]["kind"]) == (fires[0]["message_id"], "schedule")
    assert (asked["addressed"], answer["text"]) == (["db"], "I look at it.")
    assert shared.http("DELETE", "/v1/channels/daily").status_code == 409, "the schedule refers to it"


def test_the_command_line(shared: Daemon) -> None:
    make(shared, "cli", {"db": "answers"}, [ADA])
    done = shared.cli("channels", "post", "cli", "Is it slow?", "--to", "db", "--follow")
    assert done.returncode == 0, done.stderr
    assert "db has the turn (addressed, number 1" in done.stdout and "db: I look at it." in done.stdout
    [message, _] = posts(shared, "cli")
    id = message["message_id"]
    for words, said in (
        (("list",), "cli"), (("members", "cli"), "prefer_selected"), (("messages", "cli"), "I look at it."),
        (("threads", "cli"), "Is it slow?"), (("turns", "cli"), "posted"), (("react", "cli", id, "👍"), "👍1"),
        (("edit-message", "cli", id, "Is it fast?"), "is edited"), (("messages", "cli", "--search", "fast"), "fast?"),
        (("set-thread", "cli", id, "closed"), "is closed"), (("remove-message", "cli", id), "is removed"),
        (("pause", "cli", "--reason", "lunch"), "is paused"), (("resume", "cli"), "is active"),
        (("propose", "cli", "topic", "Caches", "--key", "c"), "is open"), (("proposals", "cli"), "Caches"),
    ):  # fmt: skip
        done = shared.cli("channels", *words)
        assert done.returncode == 0 and said in done.stdout, (words, done.stdout, done.stderr)
    proposed = shared.cli("channels", "proposals", "cli", "--quiet").stdout.strip()
    assert shared.cli("channels", "accept", "cli", proposed).stdout.endswith(": Caches\n")
    assert "channel.posted" in shared.cli("events", "--channel", "cli").stdout
    assert shared.cli("channels", "messages", "nowhere").returncode == 3


def test_an_edited_file_takes_effect_and_a_removed_one_ends_the_turns(shared: Daemon) -> None:
    make(shared, "files", {"slow": "slow", "db": "answers"})
    shared.client.channels.post("files", "Anyone?", addressed=["slow"])
    until(lambda: any(one["state"] == "granted" for one in turns(shared, "files")), what="it has a turn")
    (shared.root / "channels/files.yaml").write_text("members: [{member: x, kind: agent}]\n")
    until(lambda: shared.http("GET", "/v1/problems?path=channels/files.yaml").json()["items"], what="it is invalid")
    (shared.root / "channels/files.yaml").unlink()
    until(lambda: shared.http("GET", "/v1/channels/files").status_code == 404)
    [run] = shared.client.runs.list(session="files-slow")["items"]
    until(lambda: shared.client.runs.get(run["run_id"]).data["status"] == "cancelled", what="its run ends")
    assert [one["state"] for one in turns(shared, "files")] == ["expired"]
    assert [one["text"] for one in posts(shared, "files")] == ["Anyone?"], "what was, stays"


# --- kills ------------------------------------------------------------------------------------------------------------


@pytest.mark.demand(26)
@pytest.mark.parametrize("when", ["accepted", "granted", "replied"])
def test_a_kill_loses_no_turn_and_posts_nothing_twice(tmp_path: Path, when: str) -> None:
    with Daemon.fresh(tmp_path, routes=ROUTES, config=QUICK) as daemon:
        make(daemon, "kill", {"db": "posts"})
        daemon.client.channels.post("kill", "Anyone?")
        if when != "accepted":
            states = {"granted": "channel.turn_granted", "replied": "channel.turn_replied"}
            until(lambda: states[when] in [one.kind for one in daemon.client.past_events(channel="kill")], what=when)
        daemon.restart()
        assert [one["state"] for one in settled(daemon, "kill")] == ["posted"]
        assert [one["text"] for one in posts(daemon, "kill")] == ["Anyone?", "posted"]
        assert len(daemon.client.runs.list(session="kill-db")["items"]) == 1
