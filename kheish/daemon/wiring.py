"""The composition root: every part is made here, from keyword arguments that a test can replace."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kheish.api.parts import Closing, Parts
from kheish.auth import redaction
from kheish.auth.tokens import Tokens
from kheish.config import Config
from kheish.daemon import loops, status
from kheish.daemon.answers import Answers
from kheish.daemon.editor import Editor
from kheish.daemon.git import Git
from kheish.daemon.inspector import Inspector
from kheish.daemon.pipeline import Pipeline, child, on_loop
from kheish.daemon.problems import Problems
from kheish.daemon.status import Facts
from kheish.daemon.taking import Taking
from kheish.daemon.workspaces import default_workspace
from kheish.domain.permission_rules import SandboxFacts
from kheish.domain.state import State
from kheish.errors import StoreFailed
from kheish.jobs import sandbox
from kheish.jobs.runner import Jobs
from kheish.runtime.agent import Agent
from kheish.runtime.executor import Executor, Local
from kheish.runtime.gates import Gates
from kheish.runtime.tools import registry as tools
from kheish.runtime.tools.shell import SandboxSettings
from kheish.runtime.worker import Worker
from kheish.store import template
from kheish.store.bus import Bus
from kheish.store.committer import Committer
from kheish.store.index import Reader
from kheish.store.pipes import Child
from kheish.store.wal import Log
from kheish.store.watcher import Watcher

log = logging.getLogger(__name__)

WATCHED_FOLDERS = ("routes", "personas", "pending")
WATCHED_FILES = ("kheish.yaml", "permissions.yaml")


@dataclass(slots=True)
class Daemon:
    """The parts of one daemon. `serve.py` starts and stops them in the order of time."""

    state: State
    parts: Parts
    facts: Facts
    worker: Worker
    agent: Agent
    pipeline: Pipeline
    problems: Problems
    log: Log
    scribe: Child
    git: Child
    committer: Committer
    watcher: Watcher
    taking: Taking
    answers: Answers
    failed: asyncio.Event


def make(
    root: Path,
    config: Config,
    *,
    workspace: Path | None = None,
    allow_bypass: bool = False,
    environ: Mapping[str, str] = os.environ,
    executor: Executor | None = None,
) -> Daemon:
    """Make the parts. Nothing is started, and nothing but `.kheish/` and `.git/kheish/` is touched."""
    loop = asyncio.get_running_loop()
    bus, closing = Bus(), Closing()
    token = template.ensure_token(root)
    facts = Facts(format=template.open_root(root), sandbox=sandbox.probe())
    problems = Problems(root)
    failed = asyncio.Event()
    index = Reader(root / ".kheish" / "index.sqlite")

    def fail(error: StoreFailed) -> None:
        log.critical("%s", error.detail)
        state.fail(error)
        failed.set()

    wal = Log(
        root,
        on_batch=on_loop(loop, lambda groups, text: pipeline.take(groups, text)),
        on_failure=on_loop(loop, fail),
        durability=config.durability,
    )
    state = State(root, index=index, submit=wal.submit, scrub=redaction.scrubber({"token": token}))
    state.definitions.config = config
    scribe = child("kheish.store.scribe", root, on_notice=lambda notice: on_scribe(notice))
    git_child = child("kheish.store.gitworker", root)
    pipeline = Pipeline(state, bus, wal, scribe)
    git = Git(git_child)
    agent = Agent(
        state=state,
        bus=bus,
        executor=executor or Local(),
        tools=tools.builtin(lambda: _sandbox(state, facts, root)),
        jobs=Jobs(root / ".git" / "kheish" / "jobs"),
        gates=Gates(),
        sandbox=lambda: SandboxFacts(mode=state.definitions.config.sandbox.mode, available=facts.sandbox.available),
    )
    worker = Worker(agent)
    taking = Taking(state, problems, edited=pipeline.edited, committed=git.committed, environ=environ)
    watcher = Watcher(root, WATCHED_FOLDERS, WATCHED_FILES, lambda paths: loops.changed(daemon, paths), loop)
    answers = Answers(state, problems, rewrite=pipeline.rewrite)
    editor = Editor(state, taking, watcher)
    committer = Committer(
        git_child,
        pipeline.gather,
        lambda n, commit: loops.committed(daemon, n, commit),
        config.commit.every,
        on_notice=lambda answer: loops.on_git(daemon, answer),
    )
    pipeline.committer = committer
    parts = Parts(
        state=state,
        bus=bus,
        tokens=Tokens(token),
        config=lambda: state.definitions.config,
        status=lambda: status.view(state, facts, driving=worker.driving, problems=len(problems.list())),
        problems=problems.list,
        git=git,
        editor=editor,
        inspector=Inspector(state, agent),
        workspace=lambda session_id: default_workspace(root, state.definitions.config, workspace, session_id),
        ready=lambda: facts.starting,
        closing=closing,
        allow_bypass=allow_bypass,
    )
    daemon = Daemon(
        state=state,
        parts=parts,
        facts=facts,
        worker=worker,
        agent=agent,
        pipeline=pipeline,
        problems=problems,
        failed=failed,
        log=wal,
        scribe=scribe,
        git=git_child,
        committer=committer,
        watcher=watcher,
        taking=taking,
        answers=answers,
    )

    def on_scribe(notice: dict[str, Any]) -> None:
        loops.on_scribe(daemon, notice)

    return daemon


def _sandbox(state: State, facts: Facts, root: Path) -> SandboxSettings:
    """How a command is confined now: a changed kheish.yaml holds for the next."""
    config = state.definitions.config.sandbox
    return SandboxSettings(
        mode=config.mode,
        available=facts.sandbox.available,
        read_only=tuple(Path(path).expanduser() for path in config.read_only),
        hide=(root,),
    )
