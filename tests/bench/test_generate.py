"""A generated state root is one that the daemon takes for its own."""

import json
import subprocess
import urllib.request
from pathlib import Path

from bench import generate, processes


def test_the_daemon_serves_what_was_generated(tmp_path: Path) -> None:
    root, entries = generate.generate(tmp_path, 3)

    with processes.daemon(root) as served:
        request = urllib.request.Request(
            f"{served.url}/v1/runs?session={generate.session_name(2)}",
            headers={"Authorization": f"Bearer {served.token}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            (run,) = json.load(answer)["items"]
        spec = {"url": served.url, "token": served.token, "names": [generate.session_name(1)]}
        found = processes.load("latency", **spec, count=2, warm=0, pause=0)

    assert entries == 7 + 18 + 18
    assert (run["status"], run["session_id"]) == ("completed", "bench-000002")
    assert found["failed"] == 0
    status = subprocess.run(["git", "status", "--porcelain", "sessions"], cwd=root, capture_output=True, check=True)
    assert status.stdout == b""
    subprocess.run(["git", "fsck", "--full", "--strict"], cwd=root, check=True, capture_output=True)
