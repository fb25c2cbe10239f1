"""The carrier `ray` as the daemon has it: it starts the gateway, and hands it the setting."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from kheish.errors import WorkerUnreachable
from kheish.runtime.workers.carrier import Stream, start
from kheish.runtime.workers.cluster.gateway import Setting

_GATEWAY = "kheish.runtime.workers.cluster.gateway"
_ABSENT = "The carrier ray needs `pip install 'kheish[ray]'` here, and on the nodes of the cluster."
#: what the gateway gets of the daemon's environment: where the token is, and certificates; never the token
_VARIABLES = (
    "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT",
    "RAY_TMPDIR",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ray:
    """The way to a worker in a Ray cluster."""

    setting: Setting
    kind: str = "ray"

    async def open(self) -> Stream:
        """Start the gateway, which finds the actor or makes it. Raises WorkerUnreachable."""
        if await asyncio.to_thread(importlib.util.find_spec, "ray") is None:
            raise WorkerUnreachable(_ABSENT)
        more = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        more |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}
        stream = await start([sys.executable, "-m", _GATEWAY], more)
        stream.writer.write(self.setting.line())
        return stream


def ray(address: str, resources: Mapping[str, float], *, home: str, worker: str, record: str | None = None) -> Ray:
    """Return the carrier of a worker. `home` names the state root, so that no other daemon has the same actor."""
    name = f"kheish-{home}-{worker}"
    token = os.environ.get("RAY_AUTH_TOKEN") or None
    return Ray(Setting(address=address, name=name, resources=resources, record=record, token=token))
