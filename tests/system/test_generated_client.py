"""A client that a public generator makes from `/openapi.json` speaks to a real daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.daemon import Daemon

USE = """
import sys
from generated import AuthenticatedClient
from generated.api.runs import get_run, list_runs
from generated.api.sessions import create_session, start_run
from generated.models import CreateSession, Run, Submission

url, token = sys.argv[1:]
with AuthenticatedClient(base_url=url, token=token) as client:
    create_session.sync(client=client, body=CreateSession(session_id="generated"))
    started = start_run.sync("generated", client=client, body=Submission(content="you", route="hello"), wait="20s")
    assert isinstance(started, Run), started
    run = get_run.sync(started.run_id, client=client, wait="20s")
    page = list_runs.sync(client=client, session="generated")
print(run.status.value, run.output, run.settings.permission_mode, len(page.items))
"""


@pytest.mark.found("C3")
def test_a_generated_client_starts_and_reads_a_run(shared: Daemon, tmp_path: Path) -> None:
    token = (shared.root / ".kheish" / "token").read_text().strip()
    described = httpx.get(f"{shared.url}/openapi.json", headers={"Authorization": f"Bearer {token}"})
    (tmp_path / "openapi.json").write_bytes(described.content)
    options = ("--path", "openapi.json", "--meta", "none", "--output-path", "generated")
    done = subprocess.run(
        [Path(sys.executable).with_name("openapi-python-client"), "generate", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removal of" not in done.stdout + done.stderr  # a model that no generator can make is left out
    used = subprocess.run(
        [sys.executable, "-c", USE, shared.url, token], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert used.stdout.split() == ["completed", "hello", "you", "default", "1"], used.stderr
