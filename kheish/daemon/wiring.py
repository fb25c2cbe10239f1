"""The composition root: it creates every service from keyword arguments that a test can replace."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from kheish.api.http.feed import Feed
from kheish.api.http.throttle import Refusals
from kheish.api.http.waiting import Closing, Waits
from kheish.api.services import Services
from kheish.auth import audit, logins, redaction, tokens
from kheish.auth.broker import Broker
from kheish.auth.vault import Vault
from kheish.authoring import memory as memory_files
from kheish.authoring.adopting import Adopting
from kheish.authoring.editor import Editor
from kheish.authoring.inbox.inbox import Inbox
from kheish.authoring.memory import MemoryFiles
from kheish.authoring.pending import Answers
from kheish.authoring.playbooks.tags import PlaybookTags
from kheish.authoring.playbooks.versions import Playbooks
from kheish.authoring.problems import Problems
from kheish.authoring.sources import LATER, LATER_FILE
from kheish.beneath import Hidden
from kheish.config import Config
from kheish.daemon import children, dropped, loops, reactors, remembering, status
from kheish.daemon.at_revision import Past
from kheish.daemon.backup import Backup
from kheish.daemon.batches import Batches
from kheish.daemon.children import child, on_loop
from kheish.daemon.firing import Firing
from kheish.daemon.git import Git
from kheish.daemon.holding import Holding
from kheish.daemon.inspector import Inspector
from kheish.daemon.next_cut import NextCut
from kheish.daemon.reactors.base import Reactor
from kheish.daemon.secrets import Secrets
from kheish.daemon.status import Facts
from kheish.daemon.upkeep import Upkeep
from kheish.daemon.workspaces import Workspaces, state_home
from kheish.domain import nouns
from kheish.domain.definitions import KINDS
from kheish.domain.permissions.rules import SandboxFacts
from kheish.errors import StoreFailed
from kheish.jobs import probing
from kheish.jobs.probing import Probe
from kheish.jobs.runner import Jobs, Limits
from kheish.runtime.agent import Agent
from kheish.runtime.agents.worktrees import Worktrees
from kheish.runtime.executor import Executor, Local
from kheish.runtime.gates import Gates
from kheish.runtime.tools import registry as tool_registry
from kheish.runtime.tools.shell import SandboxSettings
from kheish.runtime.worker import Worker
from kheish.state.state import State
from kheish.store.bus import Bus
from kheish.store.edits.watcher import Settled, Watcher
from kheish.store.git import root_format, template
from kheish.store.git.committer import Committer
from kheish.store.log.index import Reader
from kheish.store.log.wal import Group, Log
from kheish.store.pipes import Child
from kheish.store.secrets import config_folder, identity_path

log = logging.getLogger(__name__)

WATCHED_FOLDERS = (*KINDS, *sorted(LATER), memory_files.FOLDER, "pending", "inbox", "secrets")
WATCHED_FILES = ("kheish.yaml", "permissions.yaml", LATER_FILE)


@dataclass(slots=True, kw_only=True)
class Store:
    """The log and what follows it."""

    log: Log
    state: State
    bus: Bus
    scribe: Child
    git: Child
    batches: Batches
    next_cut: NextCut
    committer: Committer
    failed: asyncio.Event


@dataclass(slots=True, kw_only=True)
class Auth:
    """Authentication and access to credentials."""

    vault: Vault
    secrets: Secrets
    broker: Broker
    tokens: tokens.Tokens
    logins: logins.Logins


@dataclass(slots=True, kw_only=True)
class Daemon:
    """The parts of one daemon. `serve.py` starts and stops them in the order of time."""

    environ: Mapping[str, str]
    store: Store
    state: State
    parts: Services
    facts: Facts
    worker: Worker
    agent: Agent
    problems: Problems
    watcher: Watcher
    adopting: Adopting
    auth: Auth
    answers: Answers
    backup: Backup
    inbox: Inbox
    memory: MemoryFiles
    holding: Holding
    upkeep: Upkeep
    reactors: tuple[Reactor, ...]
    playbook_tags: PlaybookTags


def make(
    root: Path,
    config: Config,
    *,
    workspace: Path | None = None,
    allow_bypass: bool = False,
    secure: bool = False,
    environ: Mapping[str, str] = os.environ,
    executor: Executor | None = None,
    logs: Callable[[], Sequence[Mapping[str, Any]]] = tuple,
    sandbox: Probe | None = None,
) -> Daemon:
    """Make the parts. Nothing is started, and nothing but `.kheish/` and `.git/kheish/` is touched."""
    token, problems = template.ensure_token(root), Problems(root)
    facts = Facts(format=root_format.open_root(root), sandbox=sandbox or probing.probe(), token=token)
    state = (store := _store(root, config, lambda: daemon)).state
    watcher = _watcher(root, lambda paths: loops.changed(daemon, paths), lambda paths: loops.refs(daemon, paths))
    auth = _auth(token, store, problems, watcher, environ, lambda: daemon)
    agent = _agent(root, store, facts, auth.broker, executor or Local(), environ, allow_bypass, lambda: daemon)
    git, memory = Git(store.git), remembering.make(store, facts, problems, watcher, agent)
    folders = Workspaces(root, state.hidden, lambda: state.definitions.config, workspace)
    backup = _backup(store, facts, problems, adopting := _adopting(store, problems, git, environ))
    upkeep = Upkeep(root, store.git, facts, problems, lambda: loops.reindex(daemon))
    parts = Services(
        **_given(store, auth, agent, lambda: daemon) | {"allow_bypass": allow_bypass, "secure": secure, "logs": logs},
        backup=backup,
        editor=Editor(state, adopting, watcher, held=lambda: facts.held),
        inspector=Inspector(state, agent, folders),
        playbooks=(versions := _playbooks(store, adopting, tags := PlaybookTags(state, problems, store.git))),
        schedules=(firing := Firing(state, folders, versions.read)),
        upkeep=upkeep,
        workspaces=folders,
    )
    worker = Worker(agent, lambda run, is_missing: loops.waits_for_workspace(daemon, run, is_missing))
    answers, inbox = _answers(store, problems, agent), _inbox(store, problems, folders, git)
    acting = reactors.make(agent, worker, problems, answers, inbox, memory, firing, lambda: loops.learn_secrets(daemon))
    daemon = Daemon(
        environ=environ,
        store=store,
        state=state,
        parts=parts,
        facts=facts,
        worker=worker,
        agent=agent,
        problems=problems,
        watcher=watcher,
        adopting=adopting,
        auth=auth,
        answers=answers,
        backup=backup,
        inbox=inbox,
        memory=memory,
        upkeep=upkeep,
        holding=Holding(facts, problems, store.next_cut, git, watcher, lambda paths: loops.take(daemon, paths)),
        playbook_tags=tags,
        reactors=acting,
    )
    return daemon


def _given(store: Store, auth: Auth, agent: Agent, daemon: Callable[[], Daemon]) -> dict[str, Any]:
    """Return the services that the API receives unchanged."""
    state, bus, closing = store.state, store.bus, Closing()

    def ready() -> str | None:
        return daemon().facts.starting

    return {
        "state": state,
        "bus": bus,
        "tokens": auth.tokens,
        "logins": auth.logins,
        "secrets": auth.secrets,
        "broker": auth.broker,
        "past": Past(store.git, state),
        "git": Git(store.git),
        "memory": agent.memory,
        "worktrees": agent.worktrees,
        "problems": lambda: _listed(daemon()),
        "config": lambda: state.definitions.config,
        "status": lambda: _status(daemon()),
        "ready": ready,
        "closing": closing,
        "feed": Feed(bus),
        "waits": Waits(bus, closing),
        "jobs": agent.jobs,
        "refusals": Refusals(state, ready),
    }


def _auth(
    local_token: str,
    store: Store,
    problems: Problems,
    watcher: Watcher,
    environ: Mapping[str, str],
    daemon: Callable[[], Daemon],
) -> Auth:
    state, vault = store.state, Vault()
    state.scrub = redaction.scrubber({"token": local_token})
    secrets = Secrets(
        state,
        vault,
        problems,
        watcher,
        edited=store.next_cut.edited,
        changed=lambda: loops.learn_secrets(daemon()),
        held=lambda: daemon().facts.held,
        left_out=Git(store.git).left_out,
        environ=environ,
    )
    known = tokens.Tokens(local_token, tokens.read(state.root), clock=state.clock)
    browsers = logins.Logins(known, logins.read(state.root), clock=state.clock)
    broker = Broker(state, vault, environ)
    return Auth(vault=vault, secrets=secrets, broker=broker, tokens=known, logins=browsers)


def _adopting(store: Store, problems: Problems, git: Git, environ: Mapping[str, str]) -> Adopting:
    edited, state = store.next_cut.edited, store.state
    asked: dict[str, Any] = {"committed": git.committed, "listed": git.listed, "left_out": git.left_out}
    return Adopting(state, problems, edited=edited, environ=environ, **asked)


def _playbooks(store: Store, adopting: Adopting, tags: PlaybookTags) -> Playbooks:
    return Playbooks(store.state, adopting, store.git, tags, flush=store.committer.flush)


def _backup(store: Store, facts: Facts, problems: Problems, adopting: Adopting) -> Backup:
    flush, file = store.committer.flush, store.next_cut.file
    return Backup(store.state, facts, problems, adopting, store.git, flush=flush, file=file)


def _answers(store: Store, problems: Problems, agent: Agent) -> Answers:
    assert agent.memory is not None
    return Answers(store.state, problems, agent.memory.keeper, rewrite=store.next_cut.rewrite)


def _inbox(store: Store, problems: Problems, folders: Workspaces, git: Git) -> Inbox:
    file, edited, submit = store.next_cut.file, store.next_cut.edited, dropped.submitter(store.state, folders.default)
    inbox = Inbox(store.state, problems, file=file, edited=edited, submit=submit, held=git.held)
    store.next_cut.on_filed = inbox.filed
    return inbox


def _watcher(root: Path, changed: Settled, refs: Settled) -> Watcher:
    return Watcher(root, WATCHED_FOLDERS, WATCHED_FILES, changed, asyncio.get_running_loop(), on_refs=refs)


def _listed(daemon: Daemon) -> Sequence[Mapping[str, Any]]:
    return daemon.problems.list()


def _status(daemon: Daemon) -> Mapping[str, Any]:
    driving, wrong = daemon.worker.driving, len(daemon.problems.list())
    rewound, backup = daemon.upkeep.rewound() is not None, daemon.backup.view()
    return status.view(daemon.state, daemon.facts, driving=driving, problems=wrong, backup=backup, rewound=rewound)


def _store(root: Path, config: Config, daemon: Callable[[], Daemon]) -> Store:
    """Build the log with what follows it. `daemon` is called later, when all parts are there."""
    loop, failed = asyncio.get_running_loop(), asyncio.Event()

    def take(groups: Sequence[Group], text: bytes) -> None:
        batches.take(groups, text)

    def fail(error: StoreFailed) -> None:
        log.critical("%s", error.detail)
        state.fail(error)
        failed.set()

    wal = Log(root, on_batch=on_loop(loop, take), on_failure=on_loop(loop, fail), durability=config.durability)
    state = nouns.state(root, index=Reader(root / ".kheish" / "index.sqlite"), submit=wal.submit)
    state.definitions.config = config
    filters = nouns.NOUNS.filters
    scribe = children.scribe(root, filters, on_notice=lambda notice: loops.on_scribe(daemon(), notice))
    git = child("kheish.store.git.gitworker", root)
    bus = Bus()
    next_cut = NextCut(state, scribe)
    batches = Batches(state, bus, wal, scribe, next_cut)
    next_cut.committer = committer = Committer(
        git,
        next_cut.gather,
        lambda n, commit, time: loops.committed(daemon(), n, commit, time),
        config.commit.every,
        on_notice=lambda answer: loops.on_git(daemon(), answer),
    )
    return Store(
        log=wal,
        state=state,
        bus=bus,
        scribe=scribe,
        git=git,
        batches=batches,
        next_cut=next_cut,
        committer=committer,
        failed=failed,
    )


def _agent(
    root: Path,
    store: Store,
    facts: Facts,
    broker: Broker,
    executor: Executor,
    environ: Mapping[str, str],
    allow_bypass: bool,
    daemon: Callable[[], Daemon],
) -> Agent:
    state = store.state
    hide = (root, *_keys(environ))
    # A hidden folder stands for all that is in it, and for the files right in it by whatever name.
    state.hidden = Hidden((*hide, root / ".kheish", root / ".git" / "kheish"))

    def confinement() -> SandboxFacts:
        return SandboxFacts(mode=state.definitions.config.sandbox.mode, available=facts.sandbox.available)

    jobs = Jobs(root / ".git" / "kheish" / "jobs")
    trees = Worktrees(jobs, state_home() / "kheish" / "worktrees" / _unique_name(root))
    builtin = tool_registry.builtin(
        lambda: _sandbox(state, facts, hide),
        lambda: state.definitions.config.network.allow,
        worktrees=trees,
        allow_bypass=allow_bypass,
        definitions=lambda: daemon().parts.editor,
    )
    return Agent(
        state=state,
        bus=store.bus,
        executor=executor,
        tool_source=lambda run: builtin,
        jobs=jobs,
        gates=Gates(),
        broker=broker,
        sandbox=confinement,
        worktrees=trees,
    )


def _unique_name(root: Path) -> str:
    """Return a name for the folders that a state root has elsewhere: its own, and a digest of its path."""
    return f"{root.name}-{sha256(str(root.resolve()).encode()).hexdigest()[:8]}"


def _keys(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where keys are that no command may see: these may lie in a folder it can read (`sandbox.read_only`)."""
    return config_folder(environ), identity_path(environ), audit.key_path(environ)


def _sandbox(state: State, facts: Facts, hide: tuple[Path, ...]) -> SandboxSettings:
    """Return how a command is confined now. A changed kheish.yaml holds for the next command."""
    config, git = state.definitions.config.sandbox, state.definitions.config.git
    return SandboxSettings(
        mode=config.mode,
        available=facts.sandbox.available,
        read_only=tuple(Path(path).expanduser() for path in config.read_only),
        hide=(*hide, *([facts.key] if facts.key else [])),
        limits=Limits(processes=config.processes, memory=config.memory, file_size=config.file_size),
        identity=(git.name, git.email),
    )
