"""The daemon's status: `GET /v1/status`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kheish import ids, resources
from kheish.jobs.probing import Probe
from kheish.state.state import State
from kheish.store.git.root_format import Format


@dataclass(slots=True)
class Facts:
    """Runtime facts that are in no table."""

    format: Format
    sandbox: Probe
    url: str = ""
    certificate: str | None = None  # the file of the one that is served
    key: Path | None = None  # the file of its private key, which no command may see
    token: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)  # what is scrubbed, by name
    started_at: str = field(default_factory=ids.now)
    started: float = field(default_factory=time.monotonic)
    starting: str | None = "starting"
    commit: str | None = None
    committed_n: int = 0
    held: str | None = None
    scribe_failed: bool = False
    watching: str = "off"
    recovered: int = 0
    resumed: int = 0
    unread: bool = False  # Definitions were not read at the start: another git was at work
    put_back: list[str] = field(default_factory=list)  # by the scribe, before there was a log to say it in
    size: Mapping[str, int] | None = None


def view(
    state: State, facts: Facts, *, driving: int, problems: int, backup: Mapping[str, Any], rewound: bool
) -> Mapping[str, Any]:
    """Return the response. `rewound`: the daemon waits for an operator's decision on the branch that was moved back."""
    config = state.definitions.config
    serving = "rewound" if rewound else "paused" if None in state.paused else "serving"
    return {
        "version": resources.version(),
        "pid": os.getpid(),
        "url": facts.url,
        "state_root": str(state.root),
        "root_id": facts.format.root_id,
        "incarnation": facts.format.incarnation,
        "started_at": facts.started_at,
        "uptime_seconds": round(time.monotonic() - facts.started, 1),
        "status": "starting" if facts.starting else serving,
        "paused": {"everything": None in state.paused, "routes": sorted(one for one in state.paused if one)},
        "runs": {"running": driving, "limit": config.concurrency.runs},
        "sessions_loaded": len(state.sessions),
        "events": {"newest": state.n, "durable": state.durable_n, "journaled": state.journaled_n},
        "git": {"commit": facts.commit, "committed_n": facts.committed_n, "held": facts.held, "size": facts.size},
        "backup": backup,
        "durability": config.durability,
        "sandbox": {
            "mode": config.sandbox.mode,
            "available": facts.sandbox.available,
            "why": facts.sandbox.why,
        },
        "watching": facts.watching,
        "recovered_groups": facts.recovered,
        "resumed_sessions": facts.resumed,
        "low_space": state.low_space,
        "problems": problems,
    }
