"""Errors in the shape of the OpenAI protocols, and runs that have failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kheish.errors import KheishError, NoAnswer

if TYPE_CHECKING:
    from kheish.client.shapes import RunView

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def document(error: KheishError) -> dict[str, Any]:
    """Return the body for an error."""
    faults = [f"{fault.path}: {fault.message}" for fault in error.errors if fault.message not in error.detail]
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    message = " ".join([error.detail, *faults])
    return {"error": {"message": message, "type": kind, "param": error.extra.get("param"), "code": error.code}}


def check(run: RunView) -> None:
    """Raise NoAnswer for a run that has ended without an answer."""
    if run["status"] in ("failed", "cancelled", "interrupted"):
        raise of_run(run)


def of_run(run: RunView) -> NoAnswer:
    """Return the failure of a run."""
    error = run["error"]
    why = error["message"] if error is not None else f"The run was {run['status']}."
    return NoAnswer(f"{run['run_id']}: {why}", run_code=error["code"] if error is not None else run["status"])
