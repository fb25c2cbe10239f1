"""People edit Definitions while the daemon serves: by any way of saving, as sets, with mistakes, without watches."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from kheish.daemon.wiring import WATCHED_FOLDERS
from tests.support import saving
from tests.support.daemon import CLI, Daemon, git, insist, scripted, until
from tests.system.conftest import Fresh

PERSONA = "---\ndisplay_name: Ada\n---\n{text}\nsecond line\nthird line\n"


def changes(daemon: Daemon) -> list[tuple[str, str]]:
    """`(path, change)` of every `definition.changed`, oldest first."""
    lines = [line for path in sorted(daemon.root.glob("journals/daemon/*.jsonl"))
             for line in path.read_text().splitlines()]  # fmt: skip
    events = [json.loads(line) for line in lines if '"definition.changed"' in line]
    return [(event["data"]["path"], event["data"]["change"]) for event in events]


def in_force(daemon: Daemon, path: str, text: str) -> bool:
    answer = daemon.http("GET", f"/v1/{path.rpartition('.')[0]}")
    return answer.status_code == 200 and text in answer.text


def committed(daemon: Daemon, path: str) -> str:
    return git(daemon.root, "show", f"HEAD:{path}", check=False)


def problems(daemon: Daemon, path: str) -> list[dict[str, Any]]:
    found = daemon.http("GET", "/v1/problems").json()["items"]
    return [one for one in found if one["path"] == path]


def told(daemon: Daemon) -> str:
    """Return PROBLEMS.md; empty if it does not exist."""
    path = daemon.root / "PROBLEMS.md"
    return path.read_text() if path.exists() else ""


def test_each_way_of_saving_is_one_change_within_a_second(shared: Daemon) -> None:
    paths = {name: f"personas/{name.replace('_', '-')}.md" for name in saving.ALL}
    for path in paths.values():
        shared.write(path, PERSONA.format(text="before"))
    until(lambda: all(in_force(shared, path, "before") for path in paths.values()), what="all are there")
    took = []
    for name, path in paths.items():
        saving.ALL[name](shared.root / path, PERSONA.format(text=f"saved by {name}"))
        began = time.monotonic()
        until(lambda path=path, name=name: in_force(shared, path, f"saved by {name}"), what=f"{name}: in force")
        took.append(time.monotonic() - began)
        assert in_force(shared, path, "third line"), f"{name}: only the whole"
    assert statistics.median(took) < 2.0, took  # a second on a quiet machine (bench); by polling, three
    shared.write("personas/last.md", PERSONA.format(text="whatever came late has come before this"))
    until(lambda: committed(shared, "personas/last.md"), what="the last one is committed")
    assert all(f"saved by {name}" in committed(shared, path) for name, path in paths.items())
    until(lambda: ("personas/last.md", "added") in changes(shared), what="the last one")
    assert [one for one in changes(shared) if one[1] == "changed" and one[0] in paths.values()] == [
        (path, "changed") for path in paths.values()
    ]
    assert (shared.root / "personas/emacs.md~").exists() and not git(shared.root, "status", "--porcelain", "personas")


def test_a_rename_with_its_reference_is_one_set_and_one_commit(shared: Daemon) -> None:
    shared.write("routes/spare.yaml", scripted([{"text": "spare"}]))
    shared.write("routes/main.yaml", scripted([{"text": "main"}], fallbacks=["spare"]))
    until(lambda: "spare" in committed(shared, "routes/main.yaml"), what="both are there")
    (shared.root / "routes/spare.yaml").rename(shared.root / "routes/reserve.yaml")
    shared.write("routes/main.yaml", scripted([{"text": "main"}], fallbacks=["reserve"]))
    until(lambda: "reserve" in committed(shared, "routes/main.yaml"), what="the set is committed")
    said = git(shared.root, "log", "-1", "--format=%an", "--name-only", "--no-renames", "--", "routes").split()
    assert said[1:] == ["routes/main.yaml", "routes/reserve.yaml", "routes/spare.yaml"]
    assert not [one for one in problems(shared, "routes/main.yaml") if one["severity"] == "error"]
    expected = [
        ("routes/main.yaml", "changed"), ("routes/reserve.yaml", "added"), ("routes/spare.yaml", "removed"),
    ]  # fmt: skip
    until(lambda: changes(shared)[-3:] == expected, what="the journal has the set")


def test_what_is_wrong_changes_nothing_and_says_where_and_what_was_meant(shared: Daemon) -> None:
    good = "driver: scripted\nscript:\n  turns: [{text: fine}]\n"
    shared.write("routes/mended.yaml", good)
    until(lambda: committed(shared, "routes/mended.yaml") == good, what="it is there")
    bad = "driver: scripted\nscript:\n  turns: [{text: changed}]\nmax_retrys: 3\nfallbacks: [nowhere]\n"
    shared.write("routes/mended.yaml", bad)
    found = until(lambda: problems(shared, "routes/mended.yaml"), what="the problems")
    places = [(one["line"], one["column"], one["code"], one["suggestion"]) for one in found]
    assert places == [(4, 1, "unknown_key", "max_retries"), (5, 13, "dangling_reference", None)], found
    lines = ("`routes/mended.yaml:4:1` error:", "max_retries")
    until(lambda: all(line in told(shared) for line in lines), what="PROBLEMS.md has them")
    assert "routes/mended.yaml:4:1" in shared.cli("problems").stdout
    assert in_force(shared, "routes/mended.yaml", "fine") and committed(shared, "routes/mended.yaml") == good
    assert (shared.root / "routes/mended.yaml").read_text() == bad
    shared.write("routes/mended.yaml", good.replace("fine", "mended"))
    until(lambda: "mended" in committed(shared, "routes/mended.yaml"), what="the mended one is committed")
    until(lambda: not problems(shared, "routes/mended.yaml"), what="the problems are over")


def test_what_others_refer_to_is_not_gone_when_its_file_is(shared: Daemon) -> None:
    shared.write("routes/used.yaml", scripted([{"text": "used"}]))
    shared.write("routes/user.yaml", scripted([{"text": "user"}], fallbacks=["used"]))
    until(lambda: "used" in committed(shared, "routes/user.yaml"), what="both are there")
    (shared.root / "routes/used.yaml").unlink()
    (found,) = until(lambda: problems(shared, "routes/used.yaml"), what="the problem")
    assert "routes/user.yaml" in found["message"]
    assert in_force(shared, "routes/used.yaml", "used") and "used" in committed(shared, "routes/used.yaml")
    assert not (shared.root / "routes/used.yaml").exists(), "the person's work tree is as it was left"
    (shared.root / "routes/user.yaml").unlink()
    until(lambda: not problems(shared, "routes/used.yaml"), what="nothing refers to it any more")
    until(lambda: committed(shared, "routes/used.yaml") == "", what="now it is gone")
    assert shared.http("GET", "/v1/routes/used").status_code == 404


def test_manual_leaves_the_commit_to_the_person(fresh: Fresh) -> None:
    daemon = fresh(routes={"hello": [{"text": "hello {{input}}"}]}, config={"edits": {"commit": "manual"}})
    before = committed(daemon, "routes/hello.yaml")
    daemon.write("routes/hello.yaml", scripted([{"text": "good day {{input}}"}]))
    until(lambda: in_force(daemon, "routes/hello.yaml", "good day"), what="in force")
    daemon.client.sessions.create(session_id="s")
    run = daemon.run(daemon.client.runs.start(session="s", content="Ada").run_id)
    until(lambda: daemon.client.status()["git"]["committed_n"] >= run["n"], what="the run is committed")
    assert run["output"] == "good day Ada" and committed(daemon, "routes/hello.yaml") == before
    clean = " M routes/hello.yaml\n"  # git's index follows the commit
    until(lambda: git(daemon.root, "status", "--porcelain") == clean, what="all but the edit is committed")
    insist(daemon.root, "commit", "-q", "-m", "A better greeting", "routes/hello.yaml")
    daemon.quiet()
    assert "good day" in committed(daemon, "routes/hello.yaml")


def _limited(limits: str) -> tuple[str, ...]:
    """What runs a command with other limits, in a user namespace of its own; empty where none is to be had."""
    script = f'{limits}; exec "$@"'
    words = ("unshare", "--user", "--map-root-user", "sh", "-ec", script, "sh")
    try:
        done = subprocess.run([*words, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return ()
    return words if done.returncode == 0 else ()


def test_where_the_system_gives_no_watches_it_polls_and_says_so(tmp_path: Path) -> None:
    daemon = Daemon.make(tmp_path, routes={"hello": [{"text": "hello"}]})
    below = [path for name in WATCHED_FOLDERS for path in (daemon.root / name, *(daemon.root / name).rglob("*"))]
    needed = sum(path.is_dir() for path in below) + 5  # the root, and four of git's folders
    if not (words := _limited(f"echo {needed} > /proc/sys/user/max_inotify_watches")):
        pytest.skip("no user namespaces here")
    daemon.command = (*words, *CLI)
    try:
        daemon.start()
        assert daemon.client.status()["watching"] == "events", "enough at first"
        for folder in ("one", "two", "three"):  # each would need a watch
            (daemon.root / "inbox" / folder).mkdir(parents=True)
        until(lambda: daemon.client.status()["watching"] == "polling", what="it polls")
        (found,) = until(lambda: problems(daemon, ""), what="and says so")
        assert found["code"] == "files_polled" and "fs.inotify.max_user_watches" in found["message"]
        daemon.write("inbox/one/note.md", "anybody there?")
        daemon.write("personas/ada.md", PERSONA.format(text="You are Ada."))
        until(lambda: in_force(daemon, "personas/ada.md", "You are Ada."), what="the edit is in force")
        until(lambda: daemon.client.runs.list(session="one")["items"], what="the dropped file is a run")
    finally:
        daemon.end()


def test_an_edit_that_a_commit_from_a_stale_index_took_out_of_the_branch_is_committed_again(shared: Daemon) -> None:
    path = "personas/stale.md"
    for text in ("before", "edited"):
        shared.write(path, PERSONA.format(text=text))
        until(lambda text=text: text in committed(shared, path), what=f"{text}: committed")
        until(lambda: git(shared.root, "status", "--short", path) == "", what="the index has it, too")
    older = git(shared.root, "rev-list", "HEAD", "--", path).split()[1]
    blob = git(shared.root, "rev-parse", f"{older}:{path}").strip()

    insist(shared.root, "update-index", "--cacheinfo", f"100644,{blob},{path}")
    insist(shared.root, "commit", "-q", "-m", "from a stale index")

    until(lambda: "edited" in committed(shared, path), what="what is in force is committed")
    assert in_force(shared, path, "edited") and "edited" in (shared.root / path).read_text()
    until(lambda: git(shared.root, "status", "--short", path) == "", what="the index has it, too")


@pytest.mark.found("C12")
def test_an_edit_is_one_commit_in_its_makers_name_with_the_entry_that_tells_of_it(fresh: Fresh) -> None:
    daemon = fresh(routes={"hello": [{"text": "hi"}]})
    git(daemon.root, "config", "user.name", "Ada")
    git(daemon.root, "config", "user.email", "ada@example.org")
    daemon.quiet()
    persona = daemon.root / "personas" / "ada.md"
    before = git(daemon.root, "rev-parse", "HEAD").strip()
    for act in (
        lambda: persona.write_text(PERSONA.format(text="one")),
        lambda: persona.write_text(PERSONA.format(text="two")),
        persona.unlink,
        lambda: daemon.write("permissions.yaml", {"mode": "default", "rules": []}),
        lambda: daemon.http("PUT", "/v1/routes/three", {"driver": "scripted", "script": {"echo": True}}),
    ):
        told = len(changes(daemon))
        act()
        until(lambda told=told: len(changes(daemon)) > told, what="it is taken")
        daemon.quiet()
    log = git(daemon.root, "log", "--reverse", "--format=%an|%s|%(trailers:key=Kheish-Actor,valueonly)", f"{before}..")
    commits = [line for line in log.splitlines() if line]
    assert commits == [
        "Ada|edit: personas/ada.md|person", "Ada|edit: personas/ada.md|person", "Ada|edit: personas/ada.md|person",
        "Ada|edit: permissions.yaml|person", "Ada|edit: routes/three.yaml|token:local",
    ]  # fmt: skip
    daemon.client.sessions.create("s", route="hello")
    daemon.client.runs.start("s", "go")
    persona.write_text(PERSONA.format(text="beside an agent's work"))
    until(lambda: "beside" in committed(daemon, "personas/ada.md"), what="it is committed")
    daemon.quiet()
    mine = git(daemon.root, "log", "-1", "--format=%an", "--name-only", "--", "personas/ada.md").split()
    assert mine[0] == "Ada" and not [path for path in mine if path.startswith("sessions/")], (
        "an agent's work is not hers"
    )
