"""The console's files: what is served, how, and where it came from. No browser is needed."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from kheish import resources
from kheish.api.http import console
from kheish.domain import events
from tests.support.daemon import Daemon

FOLDER = resources.console()
VENDOR = FOLDER / "vendor"
OURS = sorted(path for path in FOLDER.rglob("*.js") if not path.is_relative_to(VENDOR))
#: what the first page loads, without the editor
FIRST = 60 * 1024


@pytest.fixture(scope="module")
def files() -> console.Files:
    return console.load(FOLDER, resources.folder("docs"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("files")) as served:
        yield served


def test_vendored_files_are_those_that_the_manifest_names() -> None:
    manifest = json.loads((VENDOR / "vendor.json").read_text())
    listed = {row["file"]: row for row in manifest["files"]}
    found = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*.js")}
    assert found == set(listed) == {*listed}
    for name, row in listed.items():
        assert sha256((VENDOR / name).read_bytes()).hexdigest() == row["sha256"], name
        assert row["licence"] in ("MIT", "BSD-3-Clause") and re.fullmatch(r"\d+\.\d+\.\d+", row["version"])
    assert set(manifest["imports"].values()) <= set(listed)
    assert "Permission is hereby granted" in (VENDOR / "LICENCES.txt").read_text()


def test_the_first_load_is_small(files: console.Files) -> None:
    names = {"app.js", "app.css", "icon.svg", "pages/home.js"}
    size = len(files.page.packed or b"")
    todo = sorted(names)
    while todo:
        name = todo.pop()
        size += len(files.files[name].packed or files.files[name].raw)
        text = files.files[name].raw.decode() if name.endswith(".js") else ""
        for target in re.findall(r'from\s*"([^"]+)"', text):
            imports = json.loads((VENDOR / "vendor.json").read_text())["imports"]
            path = f"vendor/{imports[target]}" if target in imports else (Path(name).parent / target).as_posix()
            path = Path("/", path).resolve().relative_to("/").as_posix()
            if path not in names:
                names.add(path)
                todo.append(path)
    assert not any(name.startswith("vendor/editor") for name in names)
    assert size <= FIRST, size


def test_modules_are_small_and_say_what_they_are_for() -> None:
    for path in OURS:
        text = path.read_text()
        assert text.startswith("// "), path
        assert text.count("\n") <= 300, path
        assert not re.search(r"\binnerHTML\b|\bouterHTML\b|unsafeHTML|\beval\(|document\.write|https?://cdn", text), (
            path
        )
        assert "style=" not in text.replace(".style=", ""), f"{path}: the policy refuses style attributes"


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to check the syntax with")
def test_modules_parse() -> None:
    code = (
        "const vm = require('vm'), fs = require('fs');"
        "for (const name of process.argv.slice(1)) "
        "new vm.SourceTextModule(fs.readFileSync(name, 'utf8'), {identifier: name});"
    )
    words = ["node", "--no-warnings", "--experimental-vm-modules", "-e", code, *map(str, OURS)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_events_that_pages_follow_exist() -> None:
    kinds = re.findall(r'^  "([a-z_.]+)",$', (FOLDER / "kinds.js").read_text(), re.M)
    assert 50 < len(kinds) <= 100  # a query has at most 100 values
    assert set(kinds) <= set(events.kinds())


def test_the_page_names_its_import_map_in_its_policy(daemon: Daemon) -> None:
    answer = httpx.get(daemon.url + "/", trust_env=False)
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert re.search(r"script-src 'self' 'sha256-[A-Za-z0-9+/=]{44}'", policy)
    again = httpx.get(daemon.url + "/", headers={"if-none-match": answer.headers["etag"]}, trust_env=False)
    assert again.status_code == 304 and not again.content


def test_files_are_immutable_and_compressed(daemon: Daemon, files: console.Files) -> None:
    path = f"{daemon.url}/console/{files.version}/app.js"
    answer = httpx.get(path, trust_env=False)
    assert answer.headers["content-encoding"] == "gzip" and "immutable" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.content == (FOLDER / "app.js").read_bytes()
    plain = httpx.get(path, headers={"accept-encoding": "identity"}, trust_env=False)
    assert plain.content == answer.content and "content-encoding" not in plain.headers
    assert gzip.decompress(files.files["app.js"].packed or b"") == answer.content


@pytest.mark.parametrize(
    "name",
    ["nothing.js", "../config.py", "..%2fconfig.py", "%2e%2e/%2e%2e/kheish/config.py", "vendor/", "index.html", ""],
)
def test_unknown_files_are_not_found(daemon: Daemon, files: console.Files, name: str) -> None:
    with httpx.Client(trust_env=False) as client:
        request = client.build_request("GET", f"{daemon.url}/console/{files.version}/x")
        request.url = request.url.copy_with(raw_path=f"/console/{files.version}/{name}".encode())
        answer = client.send(request)
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"


def test_unknown_paths_answer_as_before(daemon: Daemon, files: console.Files) -> None:
    assert httpx.get(daemon.url + "/nothing", trust_env=False).status_code == 401
    assert daemon.http("GET", "/nothing").status_code == 404
    assert daemon.http("GET", "/console/0123456789abcdef/app.js").status_code == 404
    assert daemon.http("POST", "/").status_code == 405


def test_links_are_not_followed(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "console")
    (tmp_path / "secret.js").write_text("secret")
    (tmp_path / "console" / "link.js").symlink_to(tmp_path / "secret.js")
    assert "link.js" not in console.load(tmp_path / "console", tmp_path / "none").files


def test_the_list_of_the_docs_has_every_page(files: console.Files) -> None:
    folder = resources.folder("docs")
    there = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.md")}
    listed = json.loads(files.files["docs/pages.json"].raw)
    assert set(listed) == there >= {"connectors", "connectors/http", "reference/cli"} and len(listed) == len(there)
    assert listed[0] == "acp" and "/" in listed[-1]  # by name, those in folders last
    assert "pages.json" in files.files["pages/docs.js"].raw.decode()
