"""Import of MCP servers: which values become slots, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kheish.client import mcp_import
from kheish.client.mcp_import import Imported


def imported(**servers: Any) -> dict[str, Imported]:
    return {one.id: one for one in mcp_import.read(json.dumps({"mcpServers": servers}))}


def test_values_that_look_like_secrets_become_slots() -> None:
    env = {
        "GITHUB_PERSONAL_ACCESS_TOKEN": "abc", "MODE": "fast", "URL": "postgres://u:pw@h/db", "HOME": "${HOME}",
        "API_KEY": "${env:MY_KEY}", "PLAIN": "ghp_0123456789abcdefghij",
    }  # fmt: skip
    one = imported(**{"Git Hub": {"command": "npx", "args": ["-y", "server-github"], "env": env}})["git-hub"]
    assert one.refusal is None
    assert one.file["env"] == {
        "GITHUB_PERSONAL_ACCESS_TOKEN": {"slot": "git-hub.github-personal-access-token"},
        "MODE": "fast",
        "URL": {"slot": "git-hub.url"},
        "HOME": {"variable": "HOME"},
        "API_KEY": {"slot": "env:MY_KEY"},
        "PLAIN": {"slot": "git-hub.plain"},
    }
    assert set(one.secrets.values()) == {"abc", "postgres://u:pw@h/db", "ghp_0123456789abcdefghij"}
    assert one.file["sandbox"] == "off"


def test_headers_of_a_url() -> None:
    headers = {"Authorization": "Bearer xyz", "X-Api-Key": "k", "X-Team": "blue"}
    one = imported(web={"type": "http", "url": "https://h/mcp", "headers": headers, "disabled": True})["web"]
    assert one.file == {
        "url": "https://h/mcp",
        "auth": {"bearer": "web.token"},
        "headers": {"X-Api-Key": {"slot": "web.x-api-key"}, "X-Team": "blue"},
        "disabled": True,
    }
    assert one.secrets == {"web.token": "xyz", "web.x-api-key": "k"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"command": "x", "args": ["--api-key", "abc"]}, "looks like a secret"),
        ({"command": "x", "args": ["sk-0123456789abcdefgh"]}, "looks like a secret"),
        ({"command": "x", "args": ["${workspaceFolder}"]}, "placeholder"),
        ({"url": "https://h/sse"}, "old HTTP"),
        ({"type": "sse", "url": "https://h/x"}, "old HTTP"),
        ({"url": "https://u:p@h/mcp"}, "by hand"),
        ({"url": "https://h/mcp", "headers": {"Authorization": "Basic eA=="}}, "no bearer"),
        ({}, "neither"),
        ("x", "no object"),
    ],
)
def test_what_cannot_be_taken(given: Any, why: str) -> None:
    assert why in (imported(one=given)["one"].refusal or "")


def test_the_file_of_an_editor_with_comments_and_inputs() -> None:
    text = """{
      // servers
      "inputs": [{"id": "key", "type": "promptString"}],
      "servers": {"a": {"command": "a", "env": {"A": "${input:key}", "B": "http://x // no comment"},}, /* b */ "A": {"url": "http://h/mcp"}},
    }"""  # noqa: E501
    first, second = mcp_import.read(text)
    assert (first.file["env"], first.open_slots) == ({"A": {"slot": "a.a"}, "B": "http://x // no comment"}, ["a.a"])
    assert (second.id, second.file) == ("a-2", {"url": "http://h/mcp"})
    with pytest.raises(mcp_import.Unreadable, match="neither mcpServers nor servers"):
        mcp_import.read("{}")
