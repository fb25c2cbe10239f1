"""`make audit` fails for a vulnerability, and says what it could not look up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "advisories.py"
SOUND = {"name": "falcon", "version": "4.4.0", "vulns": []}
HURT = {"name": "pip", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}]}
UNKNOWN = {"name": "yarl", "skip_reason": "Dependency not found on PyPI and could not be audited: yarl (1.25.1)"}


def audit(tmp_path: Path, code: int, out: str, err: str = "") -> subprocess.CompletedProcess[str]:
    """Run it over a pip-audit that says this."""
    stand_in = tmp_path / "pip-audit"
    text = f"import sys\nsys.stdout.write({out!r})\nsys.stderr.write({err!r})\nsys.exit({code})\n"
    stand_in.write_text(f"#!{sys.executable}\n{text}")
    stand_in.chmod(0o755)
    return subprocess.run([sys.executable, SCRIPT, stand_in], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        ([SOUND], 0, "1 of 1 packages audited"),
        ([SOUND, UNKNOWN], 0, "not audited: 1 packages: yarl (Dependency not found on PyPI"),
        ([HURT, UNKNOWN], 1, "pip 1.0: PYSEC-1, mended in 1.1"),
    ],
)
def test_a_report_is_told(tmp_path: Path, found: list[object], code: int, said: str) -> None:
    done = audit(tmp_path, code, json.dumps({"dependencies": found, "fixes": []}))

    assert done.returncode == code
    assert said in done.stdout + done.stderr


def test_an_audit_that_cannot_be_made_is_not_a_clean_one(tmp_path: Path) -> None:
    offline = audit(tmp_path, 1, "", "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed\n")
    broken = audit(tmp_path, 2, "", "usage: pip-audit [-h]\n")

    assert (offline.returncode, offline.stdout.startswith("not audited: no package")) == (0, True)
    assert (broken.returncode, "is broken" in broken.stderr) == (1, True)
