"""Where the daemon, its token and the state root are found."""

import json
from pathlib import Path

import pytest

from kheish.client import discovery
from kheish.errors import Invalid, Unreachable


def noted(root: Path, url: str = "http://127.0.0.1:4000") -> Path:
    (root / ".kheish").mkdir(parents=True)
    (root / "kheish.yaml").touch()
    (root / ".kheish" / "daemon.json").write_text(json.dumps({"pid": 1, "url": url}))
    (root / ".kheish" / "token").write_text("local\n")
    return root


def test_the_nearest_parent_with_kheish_yaml_is_the_state_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = noted(tmp_path / "state")
    (root / "routes" / "deep").mkdir(parents=True)
    monkeypatch.chdir(root / "routes" / "deep")

    assert discovery.find() == discovery.Address("http://127.0.0.1:4000", "local", root)


def test_the_order_is_option_then_environment_then_folder_then_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert discovery.state_root() == Path.home() / "kheish-state"
    monkeypatch.setenv("KHEISH_STATE_ROOT", str(tmp_path / "env"))
    assert discovery.state_root() == tmp_path / "env"
    assert discovery.state_root(tmp_path / "option") == tmp_path / "option"


def test_a_state_root_named_outright_beats_a_url_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = noted(tmp_path / "state")
    monkeypatch.setenv("KHEISH_URL", "https://kheish.example")

    assert discovery.find().url == "https://kheish.example"
    assert discovery.find(root=root).url == "http://127.0.0.1:4000"


def test_the_local_token_never_goes_to_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KHEISH_STATE_ROOT", str(noted(tmp_path / "state")))

    assert discovery.find("https://kheish.example").token is None
    assert discovery.find("http://localhost.example.org:4000").token is None
    assert discovery.find("http://127.0.0.1:4001").token == "local"
    (tmp_path / "file").write_text("remote\n")
    monkeypatch.setenv("KHEISH_TOKEN_FILE", str(tmp_path / "file"))
    assert discovery.find("https://kheish.example").token == "remote"


def test_where_nothing_is_noted_the_error_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="kheish init"):
        discovery.find(root=tmp_path)
    (tmp_path / "kheish.yaml").touch()
    with pytest.raises(Unreachable, match="kheish serve --state-root"):
        discovery.find(root=tmp_path)
    with pytest.raises(Invalid, match="http://HOST:PORT"):
        discovery.find("127.0.0.1:4000")
