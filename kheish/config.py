"""The file kheish.yaml: the settings of the process, their environment names, and the location of the state root."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
)

from kheish.errors import Fault, Invalid
from kheish.ids import MOST
from kheish.settings import (
    AcpSettings,
    Duration as Duration,
    McpSettings,
    MemorySettings,
    Reachable,
    ReplyTarget,
    Settings as Settings,
    Size as Size,
    SkillSettings,
    TraceSettings,
    mcp_settings,
    memory_settings,
    skills_settings,
    split_bind as split_bind,
)

PREFIX = "KHEISH_"
FILE = "kheish.yaml"


def _week(seconds: float) -> float:
    if seconds < 604800:
        raise ValueError("must be 7d at least")
    return seconds


def _address(text: str) -> str:
    split_bind(text)
    return text


class CommitSettings(Settings):
    """Commits to git, which follow the log."""

    every: Duration = Field(
        default="5s",
        validate_default=True,
        gt=0,
        description="The longest delay between an entry and its commit.",
    )


class Edits(Settings):
    """Handling of users' edits."""

    commit: Literal["auto", "manual"] = Field(
        default="auto", description="auto commits a valid edit within a second; manual leaves it to the user."
    )


class Concurrency(Settings):
    """Number of concurrent runs."""

    runs: int = Field(default=64, ge=1, le=MOST, description="Concurrent runs in the whole daemon.")
    per_route: int | None = Field(
        default=None, ge=1, le=MOST, description="Concurrent runs on a route; null sets no separate limit."
    )
    driver_processes: int = Field(
        default=0, ge=0, le=64, description="Processes that run model calls; 0 runs them in the daemon's process."
    )


class Limits(Settings):
    """The widest limits of a run; a session or a request can only narrow them."""

    turns: int = Field(default=500, ge=1, le=MOST, description="Model turns of a run.")
    wall_time: Duration | None = Field(
        default=None, description="Active time of a run; waiting for users does not count."
    )
    tokens: int | None = Field(default=None, ge=1, le=MOST, description="Input and output tokens of a run.")
    cost_usd: float | None = Field(default=None, gt=0, le=MOST, description="Cost of a run in US dollars.")


class Sandbox(Settings):
    """Confinement of shell commands."""

    mode: Literal["required", "ask", "off"] = Field(
        default="ask",
        description="Without bubblewrap: required refuses shell calls, ask requests approval, off runs them "
        "unconfined.",
    )
    read_only: list[str] = Field(
        default_factory=list, description="Additional folders that a confined command may read."
    )
    processes: int | None = Field(
        default=1000,
        ge=10,
        le=MOST,
        description="Concurrent processes and threads of a command; a command above the limit is ended.",
    )
    memory: Size | None = Field(
        default=None,
        ge=16 * 1024**2,
        description="Memory of all processes of a command; a command above the limit is ended.",
    )
    file_size: Size | None = Field(
        default="10GiB", validate_default=True, ge=1024**2, description="Size of each file that a command writes."
    )


class Git(Settings):
    """Author of the commits that commands make in a workspace."""

    name: str | None = Field(
        default=None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f<>\x7f]+$",
        description="The name; null uses git's user.name of the workspace, or of the daemon's user.",
    )  # fmt: skip
    email: str | None = Field(
        default=None, min_length=1, max_length=200, pattern=r"^[^\x00-\x20<>\x7f]+$",
        description="The address; null uses git's user.email.",
    )  # fmt: skip


class Network(Settings):
    """Addresses that the network guard permits."""

    allow: list[Reachable] = Field(default_factory=list, description="Private hosts or networks that agents may reach.")


class Api(Settings):
    """Request limits of a caller (a token)."""

    requests_per_second: int | None = Field(
        default=5000, gt=0, le=MOST, description="Requests above the limit get 429; null: no limit."
    )
    streams: int | None = Field(
        default=2000, gt=0, le=MOST, description="Event streams open at a time; null: no limit."
    )


class Agents(Settings):
    """Quotas of agents that spawn agents."""

    depth: int = Field(default=4, ge=0, le=MOST, description="Levels below an agent without a parent.")
    live_per_parent: int = Field(default=6, ge=0, le=MOST, description="Children of an agent that have not settled.")
    live_per_root: int = Field(default=24, ge=0, le=MOST, description="Agents of a tree that have not settled.")
    spawns_per_run: int = Field(default=6, ge=0, le=MOST, description="Agents that a run spawns.")
    live: int = Field(default=128, ge=0, le=MOST, description="Children in the whole daemon that have not settled.")
    spawns_per_minute: int = Field(
        default=30, ge=0, le=MOST, description="Agents spawned in the whole daemon in a minute."
    )


class Recovery(Settings):
    """Treatment of a call that may or may not have happened before a restart."""

    ambiguous: Literal["ask", "fail", "retry"] = Field(
        default="ask", description="ask asks the user, fail fails the run, retry repeats the call."
    )


class BackupSettings(Settings):
    """Remote to which the state root is pushed."""

    remote: str | None = Field(default=None, description="The name of a git remote; null pushes nothing.")
    every: Duration | None = Field(default=None, description="Interval between pushes; null pushes only by command.")
    merge: Literal["safe", "all"] = Field(
        default="safe",
        description="Commits that others pushed: safe leaves changes of permissions, keys, work and destinations of "
        "prompts to be pulled by hand; all merges all user files.",
    )


class ScheduleSettings(Settings):
    """Firing of schedules."""

    spread: Duration = Field(
        default="60s", validate_default=True, ge=0,
        description="The time over which occurrences of several schedules are spread that were missed while the daemon "
        "was down.",
    )  # fmt: skip


class AssetSettings(Settings):
    """Stored files."""

    max: Size = Field(
        default="12MiB", validate_default=True, ge=1024, le=100 * 1024**2, description="Size of an asset."
    )


class GoalSettings(Settings):
    """Goals of sessions."""

    on_restart: Literal["continue", "pause"] = Field(
        default="continue",
        description="pause: a restart of the daemon pauses active goals. A restore from a backup always does.",
    )


class Retention(Settings):
    """Retention of data other than history."""

    idempotency: Annotated[Duration, AfterValidator(_week)] = Field(
        default="7d", validate_default=True, description="Idempotency keys and receipts; 7d at least."
    )
    debug: Duration = Field(default="7d", validate_default=True, gt=0, description="Debug artifacts.")


class Config(Settings):
    """The settings of a daemon; all of them are optional."""

    bind: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1:4000", description="Address of the API as HOST:PORT; port 0 selects a free one."
    )
    allowed_hosts: list[str] = Field(
        default_factory=list, description="Host names that requests may carry, besides loopback and bind."
    )
    workspace: str | None = Field(default=None, description="The working folder of tools, for sessions that set none.")
    workspaces: list[str] = Field(
        default_factory=list,
        description="Folders that a token of the role operator may choose as a session's workspace, with everything "
        "below them, besides the daemon's own (paths or globs, `~` is the home folder); an admin may choose any.",
    )
    default_route: str | None = Field(default=None, description="The route of sessions that set none.")
    durability: Literal["fsync", "os"] = Field(
        default="fsync", description="os does not wait for the disk: for benchmarks only."
    )
    commit: CommitSettings = Field(default_factory=CommitSettings, description="Commits to git, which follow the log.")
    edits: Edits = Field(default_factory=Edits, description="Handling of users' edits.")
    concurrency: Concurrency = Field(default_factory=Concurrency, description="Number of concurrent runs.")
    limits: Limits = Field(default_factory=Limits, description="The upper limits of a run.")
    sandbox: Sandbox = Field(default_factory=Sandbox, description="Confinement of shell commands.")
    git: Git = Field(default_factory=Git, description="Author of the commits that commands make.")
    network: Network = Field(default_factory=Network, description="Addresses that the network guard permits.")
    api: Api = Field(default_factory=Api, description="Request limits of a caller.")
    agents: Agents = Field(default_factory=Agents, description="Quotas of agents that spawn agents.")
    recovery: Recovery = Field(default_factory=Recovery, description="Treatment of an ambiguous call at a restart.")
    backup: BackupSettings = Field(
        default_factory=BackupSettings, description="Remote to which the state root is pushed."
    )
    schedules: ScheduleSettings = Field(default_factory=ScheduleSettings, description="Firing of schedules.")
    assets: AssetSettings = Field(default_factory=AssetSettings, description="Stored files.")
    goals: GoalSettings = Field(default_factory=GoalSettings, description="Goals of sessions.")
    retention: Retention = Field(default_factory=Retention, description="Retention of data other than history.")
    memory: Annotated[MemorySettings, BeforeValidator(memory_settings)] = Field(
        default_factory=MemorySettings, description="Memory across runs."
    )
    mcp: Annotated[McpSettings, BeforeValidator(mcp_settings)] = Field(
        default_factory=McpSettings, description="MCP: servers that agents use, and the daemon as a server."
    )
    announce: list[ReplyTarget] = Field(
        default_factory=list, max_length=20,
        description="Outputs that get waiting approvals and questions, and failures of runs, unless the session or its "
        "project names others.",
    )  # fmt: skip
    public_url: str | None = Field(
        default=None, pattern=r"^https?://[^/?#]+$", max_length=2000,
        description="The URL at which browsers reach this daemon, such as https://kheish.example.org; without it, "
        "its own address.",
    )  # fmt: skip
    skills: Annotated[SkillSettings, BeforeValidator(skills_settings)] = Field(
        default_factory=SkillSettings, description="Sources of skills besides the state root."
    )
    debug: Literal["off", "redacted", "full"] = Field(default="off", description="Capture of model calls and hooks.")
    acp: AcpSettings = Field(default_factory=AcpSettings, description="Editors.")
    traces: TraceSettings = Field(default_factory=TraceSettings, description="Traces of runs, sent by OTLP.")
    shutdown_grace: Duration = Field(
        default="10s", validate_default=True, description="The time for which tools may continue after SIGTERM."
    )


@cache
def environment_names() -> Mapping[str, tuple[str, ...]]:
    """Return each setting's environment name with its path: `KHEISH_BACKUP__EVERY` is `("backup", "every")`."""
    return {PREFIX + "__".join(path).upper(): path for path, _ in _leaves(Config, ())}


def _leaves(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, (*path, name))
        else:
            yield (*path, name), Annotated[kind, *(field.metadata or [None])]


def apply_environment(config: Config, environ: Mapping[str, str]) -> Config:
    """Return the config with each setting that the environment names; an empty variable counts as unset.

    A list is written with commas (or as JSON). Raises Invalid with a fault for each variable that has a bad value, or
    that looks like a setting but is none.
    """
    data = config.model_dump()
    faults: list[Fault] = []
    names = environment_names()
    for name, text in sorted(environ.items()):
        if name in names and text:
            path = names[name]
            try:
                _put(data, path, _typed(dict(_leaves(Config, ()))[path], text))
            except ValidationError as error:
                faults.append(Fault(name, _reason(error)))
        elif name not in names and "__" in name and name.startswith(PREFIX):
            near = difflib.get_close_matches(name, names, n=1)
            faults.append(Fault(name, "is not a setting" + (f"; did you mean {near[0]}?" if near else "")))
    if faults:
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in faults), errors=faults)
    return Config.model_validate(data)


def _typed(kind: Any, text: str) -> Any:
    """Return the text as the setting's type, as the config file would have it."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    inner = get_args(kind)[0]
    if get_origin(inner) is list and not text.lstrip().startswith("["):
        return adapter.validate_python([part.strip() for part in text.split(",") if part.strip()])
    if get_origin(inner) is list:
        return adapter.validate_json(text)
    return adapter.dump_python(adapter.validate_python(text))


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


def _reason(error: ValidationError) -> str:
    return "; ".join(str(item.get("ctx", {}).get("error") or item["msg"]) for item in error.errors())


def find_state_root(explicit: str | Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """Return the state root: the given one, else `KHEISH_STATE_ROOT`, else the nearest folder upwards with kheish.yaml,
    else `~/kheish-state`. The folder is not checked."""
    named = explicit or environ.get("KHEISH_STATE_ROOT")
    if named:
        return (cwd / Path(named).expanduser()).absolute()
    for folder in (cwd, *cwd.parents):
        if (folder / FILE).is_file():
            return folder
    return Path(environ.get("HOME") or Path.home()) / "kheish-state"
