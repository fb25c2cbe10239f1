"""The composition root: it creates every service from keyword arguments that a test can replace."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kheish.api.foreign.mounts import MOUNTS
from kheish.api.http.feed import Feed
from kheish.api.http.throttle import Refusals
from kheish.api.http.waiting import Closing, Waits
from kheish.api.mcp.logins import CALLBACK
from kheish.api.operations import FEATURES
from kheish.api.services import Services
from kheish.auth import audit, logins, redaction, tokens
from kheish.auth.accounts import ProviderAccounts
from kheish.auth.broker import Broker
from kheish.auth.vault import Vault
from kheish.authoring import memory as memory_files
from kheish.authoring.adopting import Adopting
from kheish.authoring.editor import Editor
from kheish.authoring.inbox.inbox import Inbox
from kheish.authoring.memory import MemoryFiles
from kheish.authoring.pending import Answers
from kheish.authoring.playbooks.tags import PlaybookTags
from kheish.authoring.problems import Problems
from kheish.authoring.stacks.stacks import Stacks
from kheish.beneath import Hidden
from kheish.config import Config
from kheish.daemon import carriers, dropped, loops, reactors, remembering, status
from kheish.daemon.assembly import debugging, stores
from kheish.daemon.assembly.stores import Store
from kheish.daemon.at_revision import Past
from kheish.daemon.backup import Backup
from kheish.daemon.git import Git
from kheish.daemon.holding import Holding
from kheish.daemon.ingress import setup as ingress
from kheish.daemon.ingress.setup import Starting
from kheish.daemon.inspector import Inspector
from kheish.daemon.reactors.base import Guard, Reactor
from kheish.daemon.secrets import Secrets
from kheish.daemon.status import Facts
from kheish.daemon.upkeep import Upkeep
from kheish.daemon.workspaces import Workspaces, state_home, unique_name
from kheish.domain.definitions import KINDS, TOP
from kheish.domain.permissions.rules import SandboxFacts
from kheish.jobs import probing
from kheish.jobs.probing import Probe
from kheish.jobs.runner import Jobs
from kheish.runtime.agent import Agent
from kheish.runtime.agents.worktrees import Worktrees
from kheish.runtime.assets import service as assets
from kheish.runtime.driving.pool import Pool
from kheish.runtime.executor import Executor, Local
from kheish.runtime.gates import Gates
from kheish.runtime.hooks.service import Hooks
from kheish.runtime.mcp import setup as mcp_servers
from kheish.runtime.observations import service as observations
from kheish.runtime.skills.copies import Copies
from kheish.runtime.skills.service import Skills
from kheish.runtime.tools import registry as tool_registry, shell
from kheish.runtime.tools.shell import SandboxSettings
from kheish.runtime.worker import Worker
from kheish.runtime.workers.jobs import Routed
from kheish.runtime.workers.placed import Placed
from kheish.state.state import State
from kheish.store.edits.watcher import Settled, Watcher
from kheish.store.git import root_format, template
from kheish.store.secrets import config_folder, identity_path

log = logging.getLogger(__name__)

WATCHED_FOLDERS = (*KINDS, memory_files.FOLDER, "pending", "inbox", "secrets")
WATCHED_FILES = tuple(TOP)


@dataclass(slots=True, kw_only=True)
class Auth:
    """Authentication and access to credentials."""

    vault: Vault
    secrets: Secrets
    broker: Broker
    tokens: tokens.Tokens
    logins: logins.Logins
    accounts: ProviderAccounts


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
    guard: Guard
    playbook_tags: PlaybookTags


def make(
    root: Path,
    config: Config,
    *,
    workspace: Path | None = None,
    allow_bypass: bool = False,
    allow_unauthenticated: bool = False,
    secure: bool = False,
    environ: Mapping[str, str] = os.environ,
    executor: Executor | None = None,
    logs: Callable[[], Sequence[Mapping[str, Any]]] = tuple,
    sandbox: Probe | None = None,
) -> Daemon:
    """Make the parts. Nothing is started, and nothing but `.kheish/` and `.git/kheish/` is touched."""
    token, problems = template.ensure_token(root), Problems(root)
    facts = Facts(format=root_format.open_root(root), sandbox=sandbox or probing.probe(), token=token)
    state = (store := stores.make(root, config, lambda: daemon)).state
    watcher = _watcher(root, lambda paths: loops.changed(daemon, paths), lambda paths: loops.refs(daemon, paths))
    auth = _auth(token, store, problems, watcher, environ, lambda: daemon)
    agent = _agent(root, store, facts, problems, auth, executor, environ, allow_bypass, lambda: daemon)
    git, memory = Git(store.git), remembering.make(store, facts, problems, watcher, agent)
    folders = Workspaces(root, state.hidden, lambda: state.definitions.config, workspace)
    backup = _backup(store, facts, problems, adopting := _adopting(store, problems, git, environ))
    upkeep = Upkeep(root, store.git, facts, problems, lambda: loops.reindex(daemon))
    work = _starting(store, auth, agent, adopting, folders, problems, allow_unauthenticated)
    parts = Services(
        **_given(store, auth, agent, lambda: daemon) | {"allow_bypass": allow_bypass, "secure": secure, "logs": logs},
        **_editing(state, adopting, watcher, facts) | {"git": git, "backup": backup, "upkeep": upkeep},
        inspector=Inspector(state, agent, folders),
        **work.services,
    )
    worker = Worker(agent, lambda run, is_missing: loops.waits_for_workspace(daemon, run, is_missing))
    answers, inbox = _answers(store, problems, agent), _inbox(store, problems, folders, git, agent)
    acting = reactors.make(
        agent, worker, problems, answers, inbox, memory, work, lambda: loops.learn_secrets(daemon), store.measures
    )
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
        playbook_tags=work.tags,
        reactors=acting,
        guard=Guard(lambda message: problems.add("internal", "", message)),
    )
    return daemon


def _starting(
    store: Store, auth: Auth, agent: Agent, adopting: Adopting, folders: Workspaces, problems: Problems, allows: bool
) -> Starting:
    given = agent, auth.broker, auth.tokens, problems, folders, adopting, store.git, store.committer.flush
    return ingress.starting(*given, allow_unauthenticated=allows)


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
        "accounts": auth.accounts,
        "secrets": auth.secrets,
        "broker": auth.broker,
        "past": Past(store.git, state),
        "memory": agent.memory,
        "mcp": agent.mcp,
        "assets": agent.assets,
        "observations": agent.observations,
        "hooks": agent.hooks,
        "debug": agent.debug,
        "measures": store.measures,
        "worktrees": agent.worktrees,
        "workers": agent.workers,
        "skills": agent.skills,
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


def _editing(state: State, adopting: Adopting, watcher: Watcher, facts: Facts) -> dict[str, Any]:
    given = (state, adopting, watcher)
    return {kind.__name__.lower(): kind(*given, held=lambda: facts.held) for kind in (Editor, Stacks)}


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
    problems.scrub = lambda: state.scrub
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

    def redirect() -> str:
        return (state.definitions.config.public_url or daemon().facts.url) + CALLBACK

    accounts = ProviderAccounts(state, vault, secrets, redirect)
    broker.renew = accounts.renew
    return Auth(vault=vault, secrets=secrets, broker=broker, tokens=known, logins=browsers, accounts=accounts)


def _adopting(store: Store, problems: Problems, git: Git, environ: Mapping[str, str]) -> Adopting:
    edited, state = store.next_cut.edited, store.state
    asked: dict[str, Any] = {"committed": git.committed, "listed": git.listed, "left_out": git.left_out}
    return Adopting(state, problems, edited=edited, environ=environ, **asked)


def _backup(store: Store, facts: Facts, problems: Problems, adopting: Adopting) -> Backup:
    flush, file = store.committer.flush, store.next_cut.file
    return Backup(store.state, facts, problems, adopting, store.git, flush=flush, file=file)


def _answers(store: Store, problems: Problems, agent: Agent) -> Answers:
    assert agent.memory is not None
    return Answers(store.state, problems, agent.memory.keeper, rewrite=store.next_cut.rewrite)


def _inbox(store: Store, problems: Problems, folders: Workspaces, git: Git, agent: Agent) -> Inbox:
    observe = dropped.observer(observations.of(agent).keeper)
    file, edited, submit = store.next_cut.file, store.next_cut.edited, dropped.submitter(store.state, folders.default)
    inbox = Inbox(store.state, problems, file=file, edited=edited, submit=submit, observe=observe, held=git.held)
    store.next_cut.on_filed = inbox.filed
    return inbox


def _watcher(root: Path, changed: Settled, refs: Settled) -> Watcher:
    return Watcher(root, WATCHED_FOLDERS, WATCHED_FILES, changed, asyncio.get_running_loop(), on_refs=refs)


def _listed(daemon: Daemon) -> Sequence[Mapping[str, Any]]:
    return daemon.problems.list()


def _status(daemon: Daemon) -> Mapping[str, Any]:
    driving, wrong = daemon.worker.driving, len(daemon.problems.list())
    rewound, backup = daemon.upkeep.rewound() is not None, daemon.backup.view()
    shown = status.view(daemon.state, daemon.facts, driving=driving, problems=wrong, backup=backup, rewound=rewound)
    return {
        **shown,
        "features": sorted({*FEATURES, *(path.split("/")[1] for path in MOUNTS)}),
        "mcp": daemon.agent.mcp.servers.health() if daemon.agent.mcp is not None else None,
    }


def _agent(
    root: Path,
    store: Store,
    facts: Facts,
    problems: Problems,
    auth: Auth,
    executor: Executor | None,
    environ: Mapping[str, str],
    allow_bypass: bool,
    daemon: Callable[[], Daemon],
) -> Agent:
    state = store.state
    # Keys are hidden by name: they may lie in a folder that a command can read (`sandbox.read_only`).
    hide = (root, config_folder(environ), identity_path(environ), audit.key_path(environ))

    def sandbox() -> SandboxSettings:
        hidden = (*hide, *([facts.key] if facts.key else []))
        return shell.settings_of(state.definitions.config, available=facts.sandbox.available, hide=hidden)

    # A hidden folder stands for all that is in it, and for the files right in it by whatever name.
    state.hidden = Hidden((*hide, root / ".kheish", root / ".git" / "kheish"))

    def confined() -> SandboxFacts:
        return SandboxFacts(mode=state.definitions.config.sandbox.mode, available=facts.sandbox.available)

    processes = Pool(lambda: state.definitions.config.concurrency.driver_processes, environ, lambda: state.scrub)
    jobs = Jobs(root / ".git" / "kheish" / "jobs")
    workers, carrying = carriers.make(state, state_home() / "kheish" / "depots" / unique_name(root), sandbox)
    trees = Worktrees(jobs, state_home() / "kheish" / "worktrees" / unique_name(root), sandbox)
    builtin = tool_registry.builtin(
        sandbox,
        lambda: state.definitions.config.network.allow,
        worktrees=trees,
        allow_bypass=allow_bypass,
        definitions=lambda: daemon().parts.editor,
    )
    copies = state_home() / "kheish" / "skills" / unique_name(root)
    placed = Placed(executor or Local(processes), workers, sandbox)
    skills = Skills(state, Copies(copies), lambda: shell.is_confined(sandbox()), placed.mounting.folder)
    agent = Agent(
        state=state,
        skills=skills,
        bus=store.bus,
        executor=placed,
        tool_source=lambda run: builtin,
        jobs=Routed(jobs, workers.jobs),
        here=jobs,
        workers=workers,
        carrying=carrying,
        gates=Gates(),
        broker=auth.broker,
        sandbox=confined,
        worktrees=trees,
    )
    place = state_home() / "kheish" / "mcp" / unique_name(root)
    mcp_servers.make(agent, problems, place, sandbox, environ, auth.vault, auth.secrets, lambda: facts.url, CALLBACK)
    observations.make(agent, assets.make(agent, problems))
    agent.hooks = Hooks(agent, environ)
    debugging.make(agent, environ, problems)
    return agent
