"""The daemon itself by HTTP."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from kheish.domain import events
from kheish.domain.agents.agent import Agent
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.errors import StoreFailed
from tests.api.harness import World, world


async def test_probes_tell_ready_from_stopping_and_failed(w: World) -> None:
    assert (await w.http.get("/healthz")).json() == {"status": "ok"}
    assert (await w.http.get("/readyz")).status_code == 200

    w.state.fail(StoreFailed("The disk said no."))
    failed = await w.http.get("/readyz")
    w.parts.closing.begin()
    stopping = await w.http.get("/readyz")

    assert (failed.status_code, failed.json()["detail"]) == (503, "The disk said no.")
    assert "stopping" in stopping.json()["detail"]
    assert "retry-after" in stopping.headers
    assert (await w.http.get("/healthz")).status_code == 200


async def test_a_store_that_failed_refuses_writes(w: World) -> None:
    await w.session()
    w.state.fail(StoreFailed("The disk said no."))

    answer = await w.http.post("/v1/sessions/s/runs", json={"content": "x"})

    assert (answer.status_code, answer.json()["code"]) == (503, "store_failed")


async def test_pause_and_resume_are_events_and_repeatable(w: World) -> None:
    first = await w.http.post("/v1/pause", json={"route": "local"})
    again = await w.http.post("/v1/pause", json={"route": "local"})
    everything = await w.http.post("/v1/pause")
    resumed = await w.http.post("/v1/resume")

    assert first.json() == again.json() == {"everything": False, "routes": ["local"]}
    assert ("x-kheish-event" in first.headers, "x-kheish-event" in again.headers) == (True, False)
    assert everything.json() == {"everything": True, "routes": ["local"]}
    assert resumed.json() == {"everything": False, "routes": []}
    kinds = [kind for _, kind, _ in w.state.index.events(0, limit=10)]
    assert kinds == ["daemon.paused"] * 2 + ["daemon.resumed"] * 2
    assert (await w.http.post("/v1/pause", json={"route": "nope"})).status_code == 400
    await w.http.post("/v1/pause", json={"route": "local"})
    w.state.definitions.by_kind["routes"].clear()
    gone = await w.http.post("/v1/resume", json={"route": "local"})
    assert (gone.status_code, gone.json()["routes"]) == (200, []), "a route that was removed meanwhile"


async def test_problems_are_filtered_and_paged(w: World) -> None:
    w.problems.extend(
        {"problem_id": str(number), "path": f"routes/{number}.yaml", "severity": severity, "code": "unknown_key"}
        for number, severity in enumerate(("error", "warning", "error"))
    )

    first = (await w.http.get("/v1/problems?limit=2")).json()
    rest = (await w.http.get("/v1/problems", params={"cursor": first["next_cursor"]})).json()
    errors = (await w.http.get("/v1/problems?severity=error")).json()["items"]

    assert [one["problem_id"] for one in first["items"] + rest["items"]] == ["0", "1", "2"]
    assert [one["problem_id"] for one in errors] == ["0", "2"]


async def test_usage_by_row_and_summed_up(w: World) -> None:
    for session, cost in (("a", 0.5), ("b", None)):
        await w.session(session)
        run = await w.run(session)
        usage = events.Usage(input_tokens=10, output_tokens=1, cost_usd=cost)
        w.move(run["run_id"], events.RunStarted())
        w.move(run["run_id"], events.ModelResponded(turn=1, text="x", usage=usage, route="local"))
    await w.state.durable()

    rows = (await w.http.get("/v1/usage")).json()["items"]
    summed = (await w.http.get("/v1/usage?by=route")).json()["items"]
    one = (await w.http.get("/v1/usage?session=b&by=session")).json()["items"]

    assert [row["session_id"] for row in rows] == ["b", "a"]
    assert [(row["session_id"], row["route"], row["input_tokens"], row["cost_usd"]) for row in summed] == [
        (None, "local", 20, 0.5)
    ]
    assert [(row["session_id"], row["cost_usd"]) for row in one] == [("b", None)]


async def test_usage_of_trees_of_agents(w: World) -> None:
    await w.session("a")
    await w.session("other")
    agents: dict[str, str] = {}
    for name, parent in (("a", None), ("kid", "a"), ("leaf", "kid"), ("other", None)):
        session = name
        if parent is not None:
            made = await w.http.post(f"/v1/agents/{agents[parent]}/sidechains", json={"name": name, "prompt": "x"})
            session = made.json()["session_id"]
            run_id = next(iter(w.state.table(Run, session)))
        else:
            run_id = (await w.run(name))["run_id"]
        agents[name] = w.state.get(Session, session).agent_id
        w.move(run_id, events.RunStarted())
        usage = events.Usage(input_tokens=10, output_tokens=1, cost_usd=0.5 if name == "leaf" else None)
        w.move(run_id, events.ModelResponded(turn=1, text="x", usage=usage, route="local"))
    await w.state.durable()

    by_agent = (await w.http.get("/v1/usage?by=agent")).json()["items"]
    by_root = (await w.http.get("/v1/usage?by=root,day")).json()["items"]
    of_kid = (await w.http.get(f"/v1/usage?by=agent&session={w.state.get(Agent, agents['kid']).session_id}")).json()
    none = (await w.http.get("/v1/usage?by=agent&session=nothing")).json()["items"]

    rows = {row["agent_id"]: row for row in by_agent}
    assert {name: (rows[id]["own"]["input_tokens"], rows[id]["subtree"]["input_tokens"], rows[id]["input_tokens"])
            for name, id in agents.items()} == {"a": (10, 30, 10), "kid": (10, 20, 10), "leaf": (10, 10, 10),
                                                "other": (10, 10, 10)}  # fmt: skip
    assert rows[agents["a"]]["cost_usd"] is None and rows[agents["a"]]["subtree"]["cost_usd"] == 0.5
    assert {row["root"]: (row["own"]["model_calls"], row["model_calls"], row["subtree"]["model_calls"])
            for row in by_root} == {agents["a"]: (1, 3, 3), agents["other"]: (1, 1, 1)}  # fmt: skip
    assert all(row["day"] and row["agent_id"] is None for row in by_root)
    assert [(row["agent_id"], row["subtree"]["input_tokens"]) for row in of_kid["items"]] == [(agents["kid"], 20)]
    assert none == []


async def test_metrics_count_what_happened(w: World) -> None:
    await w.session()
    await w.run()

    text = (await w.http.get("/metrics")).text

    assert 'kheish_runs{status="queued"} 1\n' in text
    assert "kheish_events_total 2\n" in text
    assert 'kheish_http_requests_total{method="POST",status="202"} 1\n' in text


async def test_config_status_permissions_and_state(w: World) -> None:
    w.git.commits = [{"commit": "a" * 40}]
    checked = await w.http.post("/v1/permissions/check", json={"tool": "bash", "arguments": {"command": "ls"}})

    assert (await w.http.get("/v1/config")).json()["bind"] == "127.0.0.1:4000"
    assert (await w.http.get("/v1/status")).json() == {"version": "1"}
    assert (await w.http.get("/v1/permissions")).json()["mode"] == "default"
    assert (checked.status_code, checked.json()["decision"]) == (200, "ask")
    assert (await w.http.post("/v1/permissions/check", json={"tool": "nope"})).status_code == 404
    assert (await w.http.get("/v1/state/log?path=../x")).status_code == 400
    assert (await w.http.get("/v1/state/log")).json()["items"] == w.git.commits
    assert (await w.http.get("/v1/state/head")).json() == {"commit": "a" * 40}


async def test_unknown_paths_methods_and_defects_are_problems(w: World) -> None:
    missing = await w.http.get("/v1/nothing")
    wrong = await w.http.put("/v1/status")
    w.problems.append({})  # a defect: a problem without its fields
    defect = await w.http.get("/v1/problems?severity=error")

    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert (await w.http.request("TRACE", "/v1/status?x=1")).status_code == 405
    null = await w.http.post("/v1/pause", content=b"null", headers={"content-type": "application/json"})
    assert (null.status_code, null.json()["code"]) == (400, "invalid_request")
    assert "GET" in wrong.headers["allow"]
    assert (defect.status_code, defect.json()["code"]) == (500, "internal")


async def test_an_index_that_cannot_be_read_is_no_defect(w: World) -> None:
    w.log.writer._db.execute("DROP TABLE things")

    answer = await w.http.get("/v1/runs")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "retry-after" in answer.headers


async def test_the_newest_lines_of_the_log_are_paged_from_a_level_on(tmp_path: Path) -> None:
    lines = [{"number": n, "at": "2026-11-22T12:00:00.000000Z", "level": level, "name": "x", "text": f"line {n}"}
             for n, level in enumerate(["error", "info", "warning", "debug"], 1)][::-1]  # fmt: skip
    async with world(tmp_path, logs=lambda: lines) as w:
        first = (await w.http.get("/v1/logs", params={"level": "info", "limit": 2})).json()
        rest = (await w.http.get("/v1/logs", params={"level": "info", "cursor": first["next_cursor"]})).json()
        wrong = await w.http.get("/v1/logs", params={"level": "loud"})
    assert [one["number"] for one in first["items"]] == [3, 2]
    assert ([one["number"] for one in rest["items"]], rest["next_cursor"], wrong.status_code) == ([1], None, 400)


async def test_metrics_keep_their_names_and_have_no_ids(w: World) -> None:
    session = (await w.session())["session_id"]
    run = (await w.run())["run_id"]
    w.parts.measures.model_calls.labels("local", "ok").observe(0.2)
    w.parts.measures.committed(0.03, "committed")

    text = (await w.http.get("/metrics")).text
    families = {one.name: one for one in text_string_to_metric_families(text)}

    assert {"kheish_events", "kheish_runs", "kheish_event_durable", "kheish_cpu_seconds"} <= families.keys()
    assert families["kheish_model_call_seconds"].type == "histogram"
    (count,) = [one.value for one in families["kheish_commit_seconds"].samples if one.name.endswith("_count")]
    labels = {str(value) for one in families.values() for sample in one.samples for value in sample.labels.values()}
    assert count == 1 and not {session, run} & labels
