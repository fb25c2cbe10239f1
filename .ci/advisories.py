"""`make audit`, second half: known vulnerabilities of what is installed, as far as they can be looked up from here.

`python .ci/advisories.py PIP_AUDIT`: exit code 1 where there is one that is not ignored, or pip-audit itself is broken.
What could not be looked up (no network, a mirror without advisories) is said, and fails nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

#: advisories that don't fail the build, by id, and why; look at each again with a new release
IGNORED: Mapping[str, str] = {}
#: in what pip-audit says where nobody answers, rather than that something is wrong with it
UNREACHABLE = ("Could not connect", "not redirecting properly", "requests.exceptions.", "ServiceError", "urllib3.exc")


def main(pip_audit: str) -> int:
    """The exit code."""
    ignored = [word for id in IGNORED for word in ("--ignore-vuln", id)]
    command = [pip_audit, "--local", "--skip-editable", "--progress-spinner", "off", "--format", "json", *ignored]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return _silent(done)
    return _said(found)


def _silent(done: subprocess.CompletedProcess[str]) -> int:
    """It ended without a report."""
    if any(word in done.stderr for word in UNREACHABLE):
        print(f"not audited: no package, for advisories cannot be reached: {done.stderr.strip().splitlines()[-1]}")
        return 0
    print(f"pip-audit is broken (exit code {done.returncode}): {done.stderr or done.stdout}", file=sys.stderr)
    return 1


def _said(found: list[dict[str, Any]]) -> int:
    """Tell its report."""
    vulnerable = [one for one in found if one.get("vulns")]
    unknown = [f"{one['name']} ({one['skip_reason']})" for one in found if "skip_reason" in one]
    print(f"advisories: {len(found) - len(unknown)} of {len(found)} packages audited, {len(vulnerable)} vulnerable")
    if unknown:
        print(f"not audited: {len(unknown)} packages: {'; '.join(unknown[:3])}{'; …' if unknown[3:] else ''}")
    for one in vulnerable:
        for vuln in one["vulns"]:
            mended = ", ".join(vuln["fix_versions"]) or "no version yet"
            print(f"{one['name']} {one['version']}: {vuln['id']}, mended in {mended}", file=sys.stderr)
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
