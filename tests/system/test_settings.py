"""kheish.yaml, permissions.yaml and instructions.md by HTTP and command line: checked, kept byte for byte, restored."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kheish.store.files import blob_id
from tests.support.daemon import Daemon, git, until

YAML = {"content-type": "application/yaml"}
TEXT = {"accept": "application/yaml"}
CONFIG = "# limits of a night\nsandbox: {mode: 'off'}   # a test machine\nlimits: {turns: 17}\n"
RULES = """# first
mode: default
rules:
  - {tool: read_file, decision: deny}
  - {tool: bash, match: 'ls *', decision: allow}
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    routes: dict[str, Any] = {"hello": [{"text": "hi"}]}
    with Daemon.fresh(tmp_path_factory.mktemp("settings"), routes=routes) as daemon:
        yield daemon


def put(daemon: Daemon, path: str, text: str, **headers: str) -> Any:
    return daemon.http("PUT", path, content=text.encode(), headers={**YAML, **headers})


def test_settings_are_kept_byte_for_byte_and_in_force_at_once(daemon: Daemon) -> None:
    before = daemon.http("GET", "/v1/config", headers=TEXT)
    stale = put(daemon, "/v1/config", CONFIG, **{"if-match": '"' + "0" * 40 + '"'})
    checked = daemon.http("POST", "/v1/config/validate", content=CONFIG.encode(), headers=YAML).json()
    assert checked == {"valid": True, "problems": []}
    assert daemon.http("GET", "/v1/config", headers=TEXT).content == before.content
    answer = put(daemon, "/v1/config", CONFIG, **{"if-match": before.headers["etag"]})

    assert (stale.status_code, stale.headers["etag"]) == (412, before.headers["etag"])
    assert (answer.status_code, answer.json()["limits"]["turns"]) == (200, 17)
    assert answer.headers["etag"] == f'"{blob_id(CONFIG.encode())}"'
    assert (daemon.root / "kheish.yaml").read_text() == CONFIG
    assert daemon.http("GET", "/v1/config", headers=TEXT).content == CONFIG.encode()
    assert daemon.http("GET", "/v1/config").json()["limits"]["turns"] == 17


@pytest.mark.parametrize(
    ("path", "text", "line", "code"),
    [
        ("/v1/config", "limits:\n  turms: 3\n", 2, "unknown_key"),
        ("/v1/config", "workspace: x\ndefault_route: absent\n", 2, "dangling_reference"),
        ("/v1/permissions", "rules:\n  - {tool: bash, decision: perhaps}\n", 2, "bad_value"),
        ("/v1/instructions", "---\nmode: prepend\n---\nx\n", 2, "bad_value"),
    ],
)
def test_an_invalid_file_changes_nothing(daemon: Daemon, path: str, text: str, line: int, code: str) -> None:
    before = daemon.http("GET", path, headers=TEXT).content

    checked = daemon.http("POST", f"{path}/validate", content=text.encode(), headers=YAML).json()
    answer = put(daemon, path, text)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_definition")
    for found in (answer.json(), checked):
        assert (found["problems"][0]["line"], found["problems"][0]["code"]) == (line, code)
    assert not checked["valid"]
    assert daemon.http("GET", path, headers=TEXT).content == before


def test_a_version_of_the_history_is_restored(daemon: Daemon) -> None:
    put(daemon, "/v1/permissions", RULES)
    (first, *_) = until(lambda: commits(daemon, "permissions.yaml", "# first"))
    put(daemon, "/v1/permissions", "mode: plan\n")

    gone = daemon.http("POST", "/v1/instructions/restore", {"rev": first})
    answer = daemon.http("POST", "/v1/permissions/restore", {"rev": first})

    assert gone.status_code == 404
    assert (answer.status_code, answer.json()["rules"][0]["tool"]) == (200, "read_file")
    assert (daemon.root / "permissions.yaml").read_text() == RULES
    listed = daemon.http("GET", "/v1/permissions/history").json()["items"]
    assert first in [one["commit"] for one in listed]


def commits(daemon: Daemon, path: str, text: str) -> list[str]:
    """The commits in which a file begins with a text, newest first."""
    ids = git(daemon.root, "log", "--format=%H", "--", path).split()
    return [id for id in ids if git(daemon.root, "show", f"{id}:{path}").startswith(text)]


def test_the_matrix_has_each_tool_with_the_deciding_rule(daemon: Daemon) -> None:
    put(daemon, "/v1/permissions", RULES)
    daemon.client.sessions.create("m", route="hello", permission_mode="accept_edits")

    found = daemon.http("GET", "/v1/permissions?session=m").json()

    rows = {one["tool"]: one for one in found["tools"]}
    assert found["effective_mode"] == "accept_edits"
    assert (rows["read_file"]["decision"], rows["read_file"]["origin"]) == ("deny", "permissions.yaml rule 1")
    assert (rows["write_file"]["decision"], rows["write_file"]["origin"]) == ("allow", "mode accept_edits")
    assert (rows["bash"]["decision"], rows["bash"]["conditional"][0]["match"]) == ("ask", "ls *")
    assert daemon.http("GET", "/v1/permissions?session=absent").status_code == 404


def test_the_base_prompt_is_added_or_replaces(daemon: Daemon) -> None:
    asked = daemon.http("GET", "/v1/instructions")
    made = put(daemon, "/v1/instructions", "Speak like a pirate.\n", **{"if-none-match": "*"})
    again = put(daemon, "/v1/instructions", "x", **{"if-none-match": "*"})
    replaced = daemon.http("PUT", "/v1/instructions", {"mode": "replace", "body": "Only this."})

    assert (asked.status_code, made.status_code, again.status_code) == (404, 201, 412)
    assert made.json() == {"mode": "append", "body": "Speak like a pirate."}
    assert replaced.json() == {"mode": "replace", "body": "Only this."}
    assert (daemon.root / "instructions.md").read_text() == "---\nmode: replace\n---\nOnly this.\n"
    assert not [one for one in daemon.client.problems()["items"] if one["path"] == "instructions.md"]


def test_the_command_line_edits_and_restores(daemon: Daemon, tmp_path: Path) -> None:
    put(daemon, "/v1/permissions", RULES)
    daemon.client.sessions.create("by-words", route="hello")
    file = tmp_path / "p.yaml"
    file.write_text("mode: plan\n")

    stored = daemon.cli("permissions", "put", str(file))
    shown = daemon.cli("permissions", "show")
    (rev, *_) = until(lambda: commits(daemon, "permissions.yaml", "# first"))
    restored = daemon.cli("permissions", "restore", rev)

    assert (stored.returncode, shown.stdout, restored.returncode) == (0, "mode: plan\n", 0), restored.stderr
    assert (daemon.root / "permissions.yaml").read_text() == RULES
    for words in (("config", "history"), ("permissions", "history"), ("permissions", "show", "--session", "by-words")):
        done: subprocess.CompletedProcess[str] = daemon.cli(*words)
        assert done.returncode == 0 and done.stdout, done.stderr
