"""The gateway to a Ray cluster, `python -m kheish.runtime.workers.cluster.gateway`: a child process of the daemon.

The daemon never imports Ray, which brings threads, signal handlers and a large library. The first line of standard
input is a Setting; from then on, standard input and output are the stream to the worker, and standard error has one
line on why it ended. The token comes with the setting or from Ray's own file: it is in no command line, and in no
environment that another process could read.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from kheish import resources
from kheish.runtime.workers.cluster.actor import WorkerActor

NAMESPACE = "kheish"
_CHUNK = 1024 * 1024
#: seconds until the actor must have been placed, within those of the handshake
_PLACED = 15.0
_CLOSING = 2.0
#: names of resources that Ray takes as arguments of their own
_OWN = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
_UNPROVEN = (
    "Ray is used with a token only. Put the cluster's token into ~/.ray/auth_token of the daemon's user, or set "
    "RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN for the daemon."
)
_OPEN = (
    "The Ray cluster accepts anyone: its nodes run without RAY_AUTH_MODE=token. Set it, and a token, for each "
    "`ray start` (`ray get-auth-token --generate` makes one)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The worker's place. `record` is a file that keeps the node, to which a new actor returns if it can."""

    address: str
    name: str
    resources: Mapping[str, float] = field(default_factory=dict)
    record: str | None = None
    token: str | None = field(default=None, repr=False)

    def line(self) -> bytes:
        """Return the setting as the first line of the gateway's input."""
        return json.dumps({**asdict(self), "resources": dict(self.resources)}).encode() + b"\n"


def _fail(reason: str) -> NoReturn:
    print(reason, file=sys.stderr, flush=True)  # noqa: T201 - the daemon shows it
    os._exit(1)


def _read_setting(readable: int) -> Setting:
    """Read the first line, and nothing of what follows it."""
    line = bytearray()
    while not line.endswith(b"\n"):
        if not (byte := os.read(readable, 1)):
            os._exit(0)
        line += byte
    return Setting(**json.loads(line))


def _authenticate(setting: Setting) -> None:
    """Set what makes Ray send the token."""
    os.environ["RAY_AUTH_MODE"] = "token"
    if setting.token:
        os.environ["RAY_AUTH_TOKEN"] = setting.token  # of this process alone; /proc shows what it was started with
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        if path.read_text().strip():
            return
    except OSError:
        pass
    _fail(_UNPROVEN)


def _options(setting: Setting) -> dict[str, Any]:
    """Return how Ray makes the actor: found by its name, never restarted, no method repeated."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    wanted = {"num_cpus": 0.0, **{_OWN[name]: amount for name, amount in setting.resources.items() if name in _OWN}}
    others = {name: amount for name, amount in setting.resources.items() if name not in _OWN}
    options: dict[str, Any] = {
        "name": setting.name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": 1000,
        "resources": others,
        **wanted,
    }
    if (node := _last_node(setting)) is not None:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=True)
    return options


def _last_node(setting: Setting) -> str | None:
    if setting.record is None:
        return None
    try:
        node = json.loads(Path(setting.record).read_text())["node"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return node if isinstance(node, str) else None


def _keep_node(setting: Setting, node: str) -> None:
    if setting.record is None or node == _last_node(setting):
        return
    path = Path(setting.record)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps({"node": node}))
    temporary.replace(path)


def _find_actor(setting: Setting) -> Any:
    """Connect, and return the actor, which is made if it does not exist."""
    import ray

    ray.init(address=setting.address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    actor = ray.remote(WorkerActor).options(**_options(setting)).remote(dict(setting.resources))
    told = actor.describe.remote()
    ready, _ = ray.wait([told], timeout=_PLACED)
    if not ready:
        wanted = ", ".join(f"{name}: {amount:g}" for name, amount in setting.resources.items()) or "nothing"
        _fail(f"The Ray cluster has no room yet for the worker, which needs {wanted}.")
    facts = ray.get(told)
    if facts["auth"] != "token":
        ray.kill(actor)
        _fail(_OPEN)
    if facts["version"] != resources.version():
        _fail(f"The cluster has Kheish {facts['version']}, and the daemon {resources.version()}: install the same.")
    _keep_node(setting, str(facts["node"]))
    return actor


def _pass_on(actor: Any, link: str, readable: int) -> None:
    """Pass what the daemon sends to the worker, until the daemon closes the stream."""
    import ray

    while data := os.read(readable, _CHUNK):
        if not ray.get(actor.give.remote(link, data)):
            _fail("The worker in the Ray cluster ended.")
    with contextlib.suppress(Exception):  # the stream is over, and the cluster may be gone
        ray.get(actor.close.remote(link), timeout=_CLOSING)
    os._exit(0)


def _bring_back(actor: Any, link: str, writable: int) -> None:
    """Pass what the worker sends to the daemon, until the worker ends."""
    import ray

    while (data := ray.get(actor.take.remote(link))) is not None:
        view = memoryview(data)
        while view:
            view = view[os.write(writable, view) :]
    _fail("The worker in the Ray cluster ended.")


def _guarded(step: Any, *args: Any) -> None:
    """Run a step; whatever Ray raises ends the process, with one line."""
    try:
        step(*args)
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:  # noqa: BLE001 - the rim of the process
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
        _fail(f"Ray: {type(error).__name__}: {lines[0][:400]}")


def main() -> None:
    """Serve one stream."""
    readable, writable = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what Ray prints is no part of the stream
    setting = _read_setting(readable)
    _authenticate(setting)
    _guarded(_serve, setting, readable, writable)


def _serve(setting: Setting, readable: int, writable: int) -> None:
    import ray

    actor, link = _find_actor(setting), uuid.uuid4().hex
    ray.get(actor.open.remote(link))
    threading.Thread(target=_guarded, args=(_bring_back, actor, link, writable), daemon=True).start()
    _pass_on(actor, link, readable)


if __name__ == "__main__":
    main()
