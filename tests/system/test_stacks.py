"""Folders of Definitions: planned, applied as one commit or not at all, pruned, exported, completed after a kill."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kheish.authoring.stacks import intent
from kheish.authoring.stacks.plan import File
from tests.support.daemon import Daemon, git, until

ROUTE = "# of {name}\ndriver: scripted\nscript: {{echo: true}}\n"
PERSONA = "---\nroute: {route}\n---\nYou are kind.\n"
Folder = Callable[..., Path]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    routes: dict[str, Any] = {"hello": [{"text": "hi"}]}
    with Daemon.fresh(tmp_path_factory.mktemp("stacks"), routes=routes) as daemon:
        yield daemon


numbers = itertools.count()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """`folder({path: text})`: a folder with these files, and a name that no other test has."""
    name = f"team-{next(numbers)}"

    def make(files: dict[str, str]) -> Path:
        place = tmp_path / name
        for path, text in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text)
        return place

    return make


def apply(daemon: Daemon, place: Path, *words: str) -> dict[str, Any]:
    done = daemon.cli("apply", str(place), "--yes", "--output", "json", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def actions(found: dict[str, Any]) -> dict[str, str]:
    return {one["path"]: one["action"] for one in found["changes"]}


def test_a_stack_is_one_commit_that_the_plan_describes(daemon: Daemon, folder: Folder) -> None:
    place = folder({
        "routes/one.yaml": ROUTE.format(name="one"), "personas/kind.md": PERSONA.format(route="one"),
        "skills/pdf/SKILL.md": "---\nname: pdf\ndescription: Reads.\n---\nDo.\n", "skills/pdf/run.sh": "#!/bin/sh\n",
        "README.md": "ours",
    })  # fmt: skip
    (place / "skills/pdf/run.sh").chmod(0o755)

    planned = daemon.cli("plan", str(place), "--output", "json")
    nothing = daemon.client.definitions("routes").list()["items"]
    done = apply(daemon, place)
    again = apply(daemon, place)

    assert json.loads(planned.stdout) == done
    assert "one" not in [one["id"] for one in nothing]
    assert set(actions(done).values()) == {"create"} and done["ignored"] == ["README.md"]
    assert set(actions(again).values()) == {"keep"}
    assert (daemon.root / "routes/one.yaml").read_text() == ROUTE.format(name="one")
    assert (daemon.root / "skills/pdf/run.sh").stat().st_mode & 0o100
    assert daemon.client.definitions("routes").get("one")["managed_by"] == place.name
    commits = until(lambda: git(daemon.root, "log", "--format=%H", "--", "routes/one.yaml").split())
    files = git(daemon.root, "show", "--format=", "--name-only", commits[0]).split()
    assert {"routes/one.yaml", "personas/kind.md", "skills/pdf/SKILL.md", "skills/pdf/run.sh"} <= set(files)


def test_a_bad_file_applies_nothing(daemon: Daemon, folder: Folder) -> None:
    place = folder({"routes/two.yaml": ROUTE.format(name="two"), "personas/sad.md": PERSONA.format(route="absent")})

    odd = place / "routes" / os.fsdecode(b"caf\xe9.yaml")
    odd.write_text("x: 1\n")
    unnamed = daemon.cli("apply", str(place), "--yes")
    odd.unlink()
    planned = daemon.cli("plan", str(place))
    done = daemon.cli("apply", str(place), "--yes")
    files = [{"path": "routes/two.yaml", "text": "driver: none\n"}]
    answer = daemon.http("POST", "/v1/stacks/apply", {"managed_by": "x", "files": files})

    assert unnamed.returncode == 2 and r"routes/caf\xe9.yaml has a name that is not UTF-8" in unnamed.stderr
    assert (planned.returncode, done.returncode) == (1, 1)
    assert "personas/sad.md:2:8: there is no route 'absent'" in done.stderr
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_definition")
    assert not (daemon.root / "routes/two.yaml").exists()
    assert daemon.http("GET", "/v1/routes/two").status_code == 404


def test_prune_deletes_only_what_the_stack_applied(daemon: Daemon, folder: Folder) -> None:
    place = folder({f"routes/{name}.yaml": ROUTE.format(name=name) for name in ("keep", "drop")})
    apply(daemon, place)
    (place / "routes/drop.yaml").unlink()

    without = apply(daemon, place)
    pruned = apply(daemon, place, "--prune")

    assert actions(without) == {"routes/keep.yaml": "keep"}
    assert actions(pruned) == {"routes/drop.yaml": "delete", "routes/keep.yaml": "keep"}
    assert not (daemon.root / "routes/drop.yaml").exists()
    assert {"hello", "keep"} <= {one["id"] for one in daemon.client.definitions("routes").list()["items"]}


def test_a_definition_in_use_is_not_pruned(daemon: Daemon, folder: Folder) -> None:
    place = folder({"routes/used.yaml": ROUTE.format(name="used"), "routes/other.yaml": ROUTE.format(name="other")})
    apply(daemon, place)
    daemon.client.definitions("personas").put("user", PERSONA.format(route="used"))
    (place / "routes/used.yaml").unlink()
    (place / "routes/other.yaml").write_text(ROUTE.format(name="changed"))

    done = daemon.cli("apply", str(place), "--yes", "--prune")

    assert done.returncode == 1 and "personas/user.md refers to it" in done.stderr
    assert (daemon.root / "routes/other.yaml").read_text() == ROUTE.format(name="other")


def test_an_admin_who_applies_a_hook_trusts_its_command(daemon: Daemon, folder: Folder) -> None:
    place = folder({"hooks/applied.yaml": "events: [SessionEnd]\ncommand: 'true'\n"})
    daemon.write("hooks/written.yaml", "events: [SessionEnd]\ncommand: 'true'\n")
    apply(daemon, place)

    hooks = until(lambda: {one["id"]: one["trusted"] for one in daemon.client.definitions("hooks").list()["items"]})

    assert hooks["applied"] and not hooks.get("written")


def test_a_stack_takes_nothing_from_another(daemon: Daemon, folder: Folder) -> None:
    place = folder({"routes/mine.yaml": ROUTE.format(name="mine")})
    apply(daemon, place)
    files = [{"path": "routes/mine.yaml", "text": "driver: scripted\nscript: {echo: true}\n"}]

    answer = daemon.http("POST", "/v1/stacks/plan", {"managed_by": "theirs", "files": files})

    assert (answer.status_code, answer.json()["code"]) == (409, "definition_managed")
    assert answer.json()["managed_by"] == place.name


def test_what_changed_since_the_plan_is_not_overwritten(daemon: Daemon, folder: Folder) -> None:
    body = {"managed_by": "late", "files": [{"path": "routes/late.yaml", "text": ROUTE.format(name="late")}]}
    planned = daemon.http("POST", "/v1/stacks/plan", body).json()
    daemon.client.definitions("routes").put("late", "driver: scripted\nscript: {echo: true}  # by hand\n")

    stale = daemon.http("POST", "/v1/stacks/apply", {**body, "plan": planned["plan"]})

    assert stale.status_code == 412
    assert "by hand" in (daemon.root / "routes/late.yaml").read_text()


@pytest.mark.parametrize(
    "path", ["../x.yaml", "/routes/x.yaml", "routes/../../x.yaml", ".git/config", "sessions/x.yaml"]
)
def test_no_file_is_written_elsewhere(daemon: Daemon, path: str) -> None:
    answer = daemon.http(
        "POST", "/v1/stacks/apply", {"managed_by": "evil", "files": [{"path": path, "text": "x: 1\n"}]}
    )
    ignored = answer.json().get("ignored") == [path] and answer.json()["changes"] == []
    assert answer.status_code == 400 or ignored, answer.text


def test_an_export_is_applied_to_another_root_as_it_is(daemon: Daemon, folder: Folder, tmp_path: Path) -> None:
    place = folder({"routes/out.yaml": ROUTE.format(name="out"), "personas/out.md": PERSONA.format(route="out")})
    apply(daemon, place)

    done = daemon.cli("export", str(tmp_path / "copy"), "--managed-by", place.name)
    whole = daemon.cli("export", str(tmp_path / "all"))

    files = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    assert done.returncode == whole.returncode == 0, done.stderr
    assert all((tmp_path / "copy" / path).read_bytes() == (place / path).read_bytes() for path in files)
    assert (tmp_path / "all/routes/hello.yaml").read_bytes() == (daemon.root / "routes/hello.yaml").read_bytes()
    assert (tmp_path / "all/kheish.yaml").exists()


def test_a_killed_application_is_completed(fresh: Callable[..., Daemon]) -> None:
    daemon = fresh(routes={"hello": [{"text": "hi"}]})
    old = ROUTE.format(name="old")
    body = {"managed_by": "team", "files": [{"path": f"routes/{name}.yaml", "text": old} for name in ("a", "b")]}
    assert daemon.http("POST", "/v1/stacks/apply", body).status_code == 200
    daemon.kill9()
    new = File(ROUTE.format(name="new").encode())
    labels: dict[str, str | None] = {"routes/a.yaml": "team", "routes/c.yaml": "team", "routes/b.yaml": None}
    files: dict[str, File | None] = {"routes/a.yaml": new, "routes/c.yaml": new, "routes/b.yaml": None}
    intent.write(daemon.root, intent.Intent(stack="team", by="local", files=files, labels=labels))
    (daemon.root / "routes/a.yaml").write_bytes(new.content)  # the kill came after the first file

    daemon.start()

    routes = {one["id"]: one["managed_by"] for one in daemon.client.definitions("routes").list()["items"]}
    assert routes == {"a": "team", "c": "team", "hello": None}
    assert intent.read(daemon.root) is None
    until(lambda: git(daemon.root, "status", "--porcelain") == "", what="committed")
