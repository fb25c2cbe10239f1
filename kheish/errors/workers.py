"""Errors of workers: machines that run the workspace tools of sessions."""

from __future__ import annotations

from kheish.errors.base import KheishError


class WorkerUnreachable(KheishError):
    """No connection to a worker can be opened; the next attempt may succeed."""

    status, code, domain, exit_code, title = 503, "worker_unreachable", "workers", 6, "The worker is not reachable"


class WorkerLost(WorkerUnreachable):
    """The connection ended during a call; whether the worker has done it is not known."""

    code, title = "worker_lost", "The connection to the worker was lost"


class WorkerProtocolError(KheishError):
    """A message that is too long, or that the other side does not understand."""

    status, code, domain, exit_code, title = 502, "worker_protocol", "workers", 1, "The worker is not understood"


class WorkerFailed(KheishError):
    """A defect that a worker reported for one call."""

    status, code, domain, exit_code, title = 502, "worker_failed", "workers", 1, "The worker failed"
