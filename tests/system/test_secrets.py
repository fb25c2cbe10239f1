"""The vault with real daemons: age files, real use of a slot, revocation, and no value anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kheish.errors import IdentityMissing, RouteNotReady, SecretReferenced
from tests.support.daemon import Daemon, bash, git, until
from tests.system.conftest import Fresh

VALUE = "sk-planted-0123456789/+secret"


@contextmanager
def standin(*options: str) -> Iterator[str]:
    """An OpenAI-compatible server as a process; its base URL."""
    words = [sys.executable, "-m", "tests.support.openai_standin", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def route(daemon: Daemon, url: str, ref: str = "openai.prod") -> None:
    """A route that needs the credential, in force."""
    daemon.write("routes/main.yaml", {"driver": "openai", "model": "m", "api_base": url, "auth_ref": ref})
    until(lambda: "main" in {one["id"] for one in daemon.http("GET", "/v1/routes").json()["items"]})


def everything(root: Path) -> bytes:
    """All files of a state root, and every object that git has, unpacked."""
    found = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    every = ["git", "cat-file", "--batch-all-objects", "--batch"]
    return found + subprocess.run(every, cwd=root, capture_output=True, check=True).stdout


def test_a_slot_is_kept_used_and_nowhere_to_be_read(fresh: Fresh) -> None:
    daemon = fresh(routes={"leak": [bash("cat key.txt"), {"text": "it said {{last_result}}"}]})
    (daemon.workspace / "key.txt").write_text(VALUE)
    done = daemon.cli("secrets", "set", "openai.prod", "--from-env", "MY_KEY", "--output", "json")
    assert done.returncode != 0  # the tester's environment has no such variable
    daemon.env["MY_KEY"] = VALUE
    assert daemon.cli("secrets", "set", "openai.prod", "--from-env", "MY_KEY").returncode == 0
    with standin("--text", f"I know {VALUE}") as url:
        route(daemon, url)
        daemon.client.sessions.create("s")
        said = daemon.client.runs.start("s", f"my key is {VALUE}", route="main", wait="20s").data
        assert said["status"] == "completed"
        leaked = daemon.client.runs.start("s", "print it", route="leak", wait="20s").data
    daemon.quiet()

    assert said["output"] == "I know [redacted:openai.prod]"
    assert VALUE not in str(leaked)
    assert VALUE.encode() not in everything(daemon.root) + daemon.stderr_path.read_bytes()


@pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed")
def test_the_ordinary_age_tool_reads_and_writes_slots(fresh: Fresh) -> None:
    daemon = fresh()
    daemon.client.secrets.put("ours", "from the daemon")
    identity = daemon.root.parent / "home/.config/kheish/identity.txt"
    opened = subprocess.run(["age", "-d", "-i", identity, daemon.root / "secrets/ours.age"], capture_output=True)
    assert opened.stdout == b"from the daemon"

    keys = (daemon.root / "secrets/recipients.txt").read_text().splitlines()
    public = next(key for key in keys if key.startswith("age1"))
    theirs = daemon.root / "secrets/theirs.age"
    subprocess.run(["age", "-a", "-r", public, "-o", theirs], input=b"from a person", check=True)
    until(lambda: any(one["slot"] == "theirs" for one in daemon.client.secrets.list()["items"]))
    assert daemon.cli("secrets", "reveal", "theirs").stdout == "from a person\n"
    daemon.quiet()
    assert "secrets/theirs.age" in git(daemon.root, "ls-tree", "-r", "--name-only", "HEAD")
    assert "secrets/theirs.yaml" in git(daemon.root, "ls-tree", "-r", "--name-only", "HEAD")


def test_slots_survive_kill_and_a_missing_identity_is_said(fresh: Fresh) -> None:
    daemon = fresh()
    daemon.client.secrets.put("openai.prod", VALUE)
    route(daemon, "http://127.0.0.1:9/v1")
    daemon.restart()
    assert [one["status"] for one in daemon.client.secrets.list()["items"]] == ["ready"]
    with pytest.raises(SecretReferenced):
        daemon.client.secrets.remove("openai.prod")

    identity = daemon.root.parent / "home/.config/kheish/identity.txt"
    identity.rename(identity.with_name("away"))
    daemon.restart()

    (slot,) = daemon.client.secrets.list()["items"]
    assert (slot["status"], "identity" in slot["reason"]) == ("unreadable", True)
    daemon.client.sessions.create("s")
    with pytest.raises(RouteNotReady, match="identity"):
        daemon.client.runs.start("s", "hi", route="main")
    with pytest.raises(IdentityMissing):
        daemon.client.secrets.put("another", "value")
    codes = lambda: [one["code"] for one in daemon.client.problems()["items"]]  # noqa: E731
    until(lambda: codes() == ["secret_unreadable"], what="the problem, and no other")


def test_what_is_in_flight_ends_when_its_slot_is_revoked(fresh: Fresh) -> None:
    daemon = fresh()
    daemon.client.secrets.put("openai.prod", VALUE)
    with standin("--delay", "30") as url:
        route(daemon, url)
        daemon.client.sessions.create("s")
        run = daemon.client.runs.start("s", "hi", route="main")
        lease = until(lambda: daemon.client.access.leases()["items"])[0]
        assert (lease["subject"], lease["slot"], lease["audience"]) == ("session:s", "openai.prod", "route:main")
        assert VALUE not in str(lease)
        ended = daemon.client.access.revoke("slot", "openai.prod", "it leaked")
        failed = daemon.run(run.run_id)
    assert ended["leases"] == [lease["lease_id"]]
    assert failed["error"]["code"] == "credential_revoked"
    for way_on in ("kheish auth restore slot openai.prod", "kheish secrets rotate openai.prod", "kheish runs retry"):
        assert way_on in failed["error"]["message"]

    daemon.restart()
    assert daemon.client.access.grants()["items"][0]["status"] == "not_ready"
    with pytest.raises(RouteNotReady, match=r"the slot is revoked.*kheish auth restore slot openai\.prod"):
        daemon.client.runs.start("s", "hi", route="main")
    daemon.client.secrets.put("openai.prod", "sk-the-next-one")
    assert daemon.client.access.grants()["items"][0]["status"] == "ready"


@pytest.mark.parametrize("ref", ["openai.prod", "env:MY_KEY"])
def test_an_account_that_is_revoked_lends_nothing_before_it_is_restored(fresh: Fresh, ref: str) -> None:
    daemon = fresh(settings={"MY_KEY": VALUE})
    daemon.client.secrets.put("openai.prod", VALUE)
    with standin("--delay", "30") as url:
        route(daemon, url, ref)
        daemon.client.sessions.create("s")
        run = daemon.client.runs.start("s", "hi", route="main")
        until(lambda: daemon.client.access.leases()["items"])
        assert len(daemon.client.access.revoke("account", ref)["leases"]) == 1
        assert daemon.run(run.run_id)["error"]["code"] == "credential_revoked"

    (shown,) = [one for one in daemon.client.access.accounts()["items"] if one["audiences"] == ["route:main"]]
    assert (shown["account_id"], shown["status"]) == (ref, "not_ready")
    assert "not_ready" in daemon.cli("auth", "accounts").stdout
    with pytest.raises(RouteNotReady, match="the account is revoked"):
        daemon.client.runs.start("s", "hi", route="main")
    daemon.client.access.restore("account", ref)
    assert {one["status"] for one in daemon.client.access.accounts()["items"]} == {"ready"}


def test_a_bad_name_of_a_slot_is_told_before_its_value_is_read(fresh: Fresh) -> None:
    done = fresh().cli("secrets", "set", "Bad Slot")  # its stdin is empty
    assert done.returncode == 2 and "slot 'Bad Slot'" in done.stderr


def test_rekey_lets_another_person_read_everything_in_one_commit(fresh: Fresh, tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    from kheish.store import secrets as store

    daemon = fresh()
    for name in ("one", "two"):
        daemon.client.secrets.put(name, f"value of {name}")
    key = tmp_path / "ada"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with (daemon.root / "secrets/recipients.txt").open("a") as file:
        file.write(key.with_suffix(".pub").read_text())
    until(lambda: any(one["code"] == "secret_recipients" for one in daemon.client.problems()["items"]))

    assert daemon.cli("secrets", "rekey", "--quiet").stdout.split() == ["one", "two"]
    daemon.quiet()

    ada = store.read_identity(key)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", os.fspath(daemon.root), os.fspath(clone))
    assert {name: store.decrypt(raw, ada) for name, raw in store.read_all(clone).items()} == {
        "one": "value of one", "two": "value of two",
    }  # fmt: skip
    until(lambda: not daemon.client.problems()["items"], what="the problem is over")
