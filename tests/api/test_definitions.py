"""Definitions by HTTP, all kinds alike."""

from __future__ import annotations

from kheish.store.files import blob_id
from tests.api.harness import World

YAML = {"content-type": "application/yaml"}
ROUTE = b"# my route\ndriver: scripted\nscript: {echo: true}   # says what it hears\n"


async def test_yaml_is_kept_byte_for_byte(w: World) -> None:
    made = await w.http.put("/v1/routes/mine", content=ROUTE, headers=YAML)
    text = await w.http.get("/v1/routes/mine", headers={"accept": "application/yaml"})
    plain = await w.http.get("/v1/routes/mine")

    assert (made.status_code, made.headers["etag"]) == (201, f'"{blob_id(ROUTE)}"')
    assert (text.content, text.headers["content-type"]) == (ROUTE, "application/yaml; charset=utf-8")
    assert text.headers["etag"] == made.headers["etag"]
    assert (plain.json()["id"], plain.json()["driver"], plain.json()["status"]["state"]) == (
        "mine", "scripted", "ready",
    )  # fmt: skip
    assert (await w.http.put("/v1/routes/mine", content=ROUTE, headers=YAML)).status_code == 200


async def test_what_get_answers_can_be_changed_and_put_back(w: World) -> None:
    shown = (await w.http.get("/v1/routes/local")).json()

    answer = await w.http.put("/v1/routes/local", json={**shown, "max_retries": 1})
    other = await w.http.put("/v1/routes/else", json=shown)

    assert (answer.status_code, answer.json()["max_retries"]) == (200, 1)
    assert (other.status_code, other.json()["errors"][0]["path"]) == (400, "/id")


async def test_if_match_guards_against_a_change_meanwhile(w: World) -> None:
    etag = (await w.http.get("/v1/routes/local")).headers["etag"]
    await w.http.put("/v1/routes/local", content=ROUTE, headers={**YAML, "if-match": etag})

    stale = await w.http.put("/v1/routes/local", content=ROUTE + b"\n", headers={**YAML, "if-match": etag})
    gone = await w.http.delete("/v1/routes/local", headers={"if-match": f'"{blob_id(ROUTE)}"'})

    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert stale.headers["etag"] == f'"{blob_id(ROUTE)}"'
    assert gone.status_code == 204
    assert (await w.http.get("/v1/routes/local")).status_code == 404


async def test_bad_yaml_is_refused_with_line_and_column(w: World) -> None:
    answer = await w.http.put("/v1/routes/mine", content=b"driver: openai\nmodell: x\n", headers=YAML)
    problem = answer.json()

    assert (answer.status_code, problem["code"]) == (400, "invalid_definition")
    assert (problem["problems"][0]["line"], problem["problems"][0]["code"]) == (2, "unknown_key")
    assert problem["errors"][0]["path"] == "/modell"


async def test_validate_changes_nothing(w: World) -> None:
    bad = await w.http.post("/v1/routes/validate?id=x", content=b"driver: nope\n", headers=YAML)
    good = await w.http.post("/v1/routes/validate", json={"driver": "scripted", "script": {"echo": True}})

    assert (bad.status_code, bad.json()["valid"]) == (200, False)
    assert bad.json()["problems"][0]["path"] == "routes/x.yaml"
    assert good.json() == {"valid": True, "problems": []}
    assert (await w.http.get("/v1/routes/x")).status_code == 404


async def test_lists_are_by_id_and_paged(w: World) -> None:
    for name in ("b", "a"):
        await w.http.put(f"/v1/routes/{name}", content=ROUTE, headers=YAML)

    first = (await w.http.get("/v1/routes?limit=2")).json()
    rest = (await w.http.get("/v1/routes", params={"cursor": first["next_cursor"]})).json()

    assert [one["id"] for one in first["items"] + rest["items"]] == ["a", "b", "local"]
    assert rest["next_cursor"] is None
    assert (await w.http.get("/v1/personas")).json() == {"items": [], "next_cursor": None}


async def test_refusals(w: World) -> None:
    for method, path, headers, status in (
        ("PUT", "/v1/routes/..%2Fx", YAML, 400),
        ("PUT", "/v1/routes/UP", YAML, 400),
        ("PUT", "/v1/routes/x", {"content-type": "text/plain"}, 415),
        ("PUT", "/v1/routes/x", {"content-type": "application/json"}, 400),
        ("DELETE", "/v1/routes/none", {}, 404),
        ("GET", "/v1/routes/none/history", {}, 404),
        ("GET", "/v1/nonsense", {}, 404),
    ):
        answer = await w.http.request(method, path, content=ROUTE if method == "PUT" else None, headers=headers)
        assert answer.status_code == status, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_history_is_the_log_of_its_file(w: World) -> None:
    w.git.commits = [{"commit": str(number) * 40, "message": f"m{number}"} for number in range(3)]

    first = (await w.http.get("/v1/routes/local/history?limit=2")).json()
    rest = (await w.http.get("/v1/routes/local/history", params={"cursor": first["next_cursor"]})).json()

    assert [one["message"] for one in first["items"] + rest["items"]] == ["m0", "m1", "m2"]
    assert w.git.asked == ["routes/local.yaml"] * 2
