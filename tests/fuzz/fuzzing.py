"""A real daemon in which something of everything is, and schemathesis over its description."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon, ask, bash, until
from tests.support.released import release

#: what is not asked, and why
LEFT_OUT: Mapping[str, str] = {
    r"/events$": "a stream has no end",
    r"/v1/state/(gc|reindex|backup)$": "takes seconds of git's and the index's; no body, no query",
}
#: For schemathesis: where a check asks for something else than what is right. 400 and 412 for what a schema allows:
#: rules between fields (`session` and `session_id` differ), what is looked up (a cursor, a moment, a version, an ETag),
#: the grammar of names. `validate` tells what is wrong, so it accepts all. An ETag is looked at before the body, so a
#: bad body may be 412.
CHECKS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "400", "401", "403", "404", "409", "412", "429"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "421", "429"]

[[operations]]
include-path-regex = "/validate$"
checks.negative_data_rejection.enabled = false
"""
#: all that schemathesis has: edges of each value, values at random, and what one answer links to
PHASES = "examples,coverage,fuzzing,stateful"
CONFIG: Mapping[str, Any] = {"default_route": "local"}
ROUTES: Mapping[str, Any] = {
    "local": [{"text": "hello"}],
    "asks": [bash("id -u"), {"text": "done"}],
    "wonders": [ask(), {"text": "done"}],
}
PLAYBOOK: Mapping[str, Any] = {
    "title": "Mend it",
    "objective": "It works again.",
    "phases": [{"id": "look", "instructions": "looked", "approval": "before"}],
}


def fill(daemon: Daemon) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Make something of everything; ids by the name that they have in paths, queries and bodies. The second: of what
    may be deleted."""
    client = daemon.client
    for name in ("one", "two", "spare"):
        _made(daemon, "POST", "sessions", {"session_id": name, "route": "local"})
    done = client.runs.start("one", "hello")
    daemon.run(done.run_id)
    client.runs.start("one", "ask", route="asks")
    client.runs.start("two", "wonder", route="wonders")
    release(daemon, "mend", PLAYBOOK)
    flow = client.flows.start("mend")["flow_id"]
    approvals = until(lambda: daemon.http("GET", "/v1/approvals").json()["items"], what="an approval waits")
    questions = until(lambda: daemon.http("GET", "/v1/questions").json()["items"], what="a question waits")
    for name in ("bob", "spare"):
        _made(daemon, "POST", "tokens", {"name": name, "role": "reader"})
        _made(daemon, "PUT", f"personas/{name}", {"body": "Be kind."})
        _made(daemon, "PUT", f"secrets/{name}", {"value": f"the value of {name}"})
    known = {
        "session_id": ["one", "two"],
        "session": ["one", "two"],
        "run_id": [done.run_id],
        "approval_id": [approvals[0]["approval_id"]],
        "question_id": [questions[0]["question_id"]],
        "flow_id": [flow],
        "name": ["bob"],
        "id": ["local", "bob"],
        "playbook": ["mend"],
        "version": ["1.0.0"],
        "slot": ["bob"],
        "subject": ["session:one"],
        "route": ["local", "asks"],
        "at": ["HEAD"],
        "path": ["routes/local.yaml"],
    }
    return known, {name: ["spare"] for name in ("session_id", "name", "id", "slot")}


def _made(daemon: Daemon, method: str, path: str, body: Mapping[str, Any]) -> None:
    done = daemon.http(method, f"/v1/{path}", dict(body))
    assert done.status_code in (200, 201), done.text


def run(
    daemon: Daemon, folder: Path, *, examples: int, seed: int, phases: str, only: str = ""
) -> subprocess.CompletedProcess[str]:
    """Ask all that is not left out; exit code 0 where every answer was one of those that are described."""
    known, spare = fill(daemon)
    left_out = ["--exclude-path-regex", "|".join(LEFT_OUT)]
    if only:
        left_out += ["--include-path", only]
    (folder / "schemathesis.toml").write_text(CHECKS)
    return subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{daemon.url}/openapi.json",
            "--header", f"Authorization: Bearer {daemon.token}", "--phases", phases, "--workers", "1",
            "--continue-on-failure", "--max-examples", str(examples),
            "--seed", str(seed), "--no-shrink", "--request-timeout", "20", "--suppress-health-check", "all",
            "--generation-database", "none", "--no-color", *left_out,
        ],
        cwd=folder,
        env={
            **daemon.environment(),
            "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "FUZZ_KNOWN": json.dumps(known),
            "FUZZ_SPARE": json.dumps(spare),
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
