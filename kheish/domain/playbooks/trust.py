"""Trust: the Definitions that start commands without asking, and whether an admin has permitted that.

A Playbook starts commands through its `acceptance` (other Definitions: `domain/trusts`). Releasing a version trusts it,
and the ledger of releases binds that to the digest of its content. So this module is a view of that ledger, and stores
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from kheish.domain import command_templates
from kheish.domain.playbooks.versions import NEED_EVIDENCE, Version

Trust = Literal["waiting", "trusted", "revoked", "tampered"]


def commands(manifest: Mapping[str, Any]) -> list[str]:
    """Return the command lines of a Playbook's acceptance that run without asking, each once, as written.

    There are none if an input is itself a command: then the permission rules apply to all of them.
    """
    requirements = [one for part in (manifest, *manifest.get("phases", ())) for one in part.get("acceptance", ())]
    written = [one["command"] for one in requirements if isinstance(one, dict) and "command" in one]
    lines = dict.fromkeys(str(one["run"] if isinstance(one, dict) else one) for one in written)
    return [] if any(map(command_templates.runs_input, lines)) else list(lines)


def of(version: Version) -> Trust:
    """Return the trust in a version's commands; those of tampered and revoked versions never start."""
    if version.tampered is not None:
        return "tampered"
    if version.state == "revoked":
        return "revoked"
    return "trusted" if version.state in NEED_EVIDENCE else "waiting"


def view(version: Version, manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the trust of a version as the API shows it.

    `manifest` is None if the tag was tampered with, so that the published commands are unknown.
    """
    state = of(version)
    first = version.evidence[0] if version.evidence and state == "trusted" else None
    return {
        "name": version.id,
        "kind": "playbook",
        "state": state,
        "digest": version.digest,
        "commands": commands(manifest) if manifest is not None else None,
        "published_by": version.published_by,
        "via": version.via,
        "trusted_by": first.by if first else None,
        "trusted_at": first.at if first else None,
        "reason": version.tampered or version.reason,
        "n": version.n,
    }
