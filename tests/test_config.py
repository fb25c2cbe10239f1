"""kheish.yaml: every setting has a default and an environment name; where the state root is."""

from __future__ import annotations

from pathlib import Path

import pytest

from kheish.config import Config, apply_environment, environment_names, find_state_root, split_bind
from kheish.errors import Invalid
from kheish.store.edits.definitions import parse


def test_the_defaults_are_those_of_the_specification() -> None:
    config = parse(Config, b"", "kheish.yaml").require()
    assert (config.bind, config.durability, config.sandbox.mode) == ("127.0.0.1:4000", "fsync", "ask")
    assert (config.limits.turns, config.shutdown_grace, config.edits.commit) == (500, 10.0, "auto")
    assert config.recovery.ambiguous == "ask"
    assert parse(Config, b"shutdown_grace: 500ms\ncommit: {every: 2s}\n", "x").require().shutdown_grace == 0.5


def test_mistakes_have_their_place() -> None:
    raw = b"bind: nowhere\nshutdown_grace: 10\nlimits: {turn: 4}\nretention: {idempotency: 1d}\n"
    found = [(item.line, item.column, item.code) for item in parse(Config, raw, "kheish.yaml").problems]
    assert found == [(1, 7, "bad_value"), (2, 17, "bad_value"), (3, 10, "unknown_key"), (4, 26, "bad_value")]


def test_every_setting_has_an_environment_name() -> None:
    names = environment_names()
    assert names["KHEISH_BACKUP__EVERY"] == ("backup", "every")
    assert {path[0] for path in names.values()} == set(Config.model_fields)


def test_the_environment_goes_before_the_file() -> None:
    config = parse(Config, b"debug: full\nlimits: {turns: 3, tokens: 9}\n", "kheish.yaml").require()
    environ = {
        "KHEISH_BACKUP__EVERY": "10m", "KHEISH_LIMITS__TURNS": "7", "KHEISH_LIMITS__COST_USD": "2.5",
        "KHEISH_MEMORY__RUN_RECORDS": "off",
        "KHEISH_ALLOWED_HOSTS": "a.test, b.test", "KHEISH_NETWORK__ALLOW": '["10.0.0.0/8"]',
        "KHEISH_WORKSPACE": "", "KHEISH_STATE_ROOT": "/else/where", "OTHER": "x",
    }  # fmt: skip
    config = apply_environment(config, environ)
    assert (config.backup.every, config.limits.turns, config.limits.tokens, config.limits.cost_usd) == (600, 7, 9, 2.5)
    assert (config.memory.run_records, config.debug, config.workspace) == ("off", "full", None)
    assert (config.allowed_hosts, config.network.allow) == (["a.test", "b.test"], ["10.0.0.0/8"])


def test_each_bad_variable_is_named() -> None:
    environ = {"KHEISH_DURABILITY": "never", "KHEISH_BACKUP__EVRY": "1h", "KHEISH_SHUTDOWN_GRACE": "10"}
    with pytest.raises(Invalid) as caught:
        apply_environment(Config(), environ)
    assert [fault.path for fault in caught.value.errors] == sorted(environ)
    assert "did you mean KHEISH_BACKUP__EVERY?" in caught.value.detail


def test_the_state_root_is_found(tmp_path: Path) -> None:
    root, inner = tmp_path / "root", tmp_path / "root" / "playbooks" / "x"
    inner.mkdir(parents=True)
    home = {"HOME": str(tmp_path / "home")}
    assert find_state_root(None, home, inner) == tmp_path / "home" / "kheish-state"
    (root / "kheish.yaml").touch()
    assert find_state_root(None, home, inner) == root
    assert find_state_root(None, home | {"KHEISH_STATE_ROOT": "other"}, inner) == inner / "other"
    assert find_state_root(tmp_path, home | {"KHEISH_STATE_ROOT": "other"}, inner) == tmp_path


@pytest.mark.parametrize("text", ["4000", ":4000", "host:", "host:99999", "host:x"])
def test_an_address_needs_host_and_port(text: str) -> None:
    assert split_bind("[::1]:0") == ("::1", 0)
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_bind(text)
