"""What OpenAPI says of Flows (see `operations`)."""

from __future__ import annotations

from collections.abc import Iterator

from kheish.api import at_revision, flow_models, flows
from kheish.api.http import sse
from kheish.api.http.operation import Operation, get, post
from kheish.api.report import answers, resource


def operations() -> Iterator[Operation]:
    """Each method of each path."""
    many, one = "/v1/flows", "/v1/flows/{flow_id}"
    yield post(
        many,
        "start_flow",
        "Start a Playbook version: release, inputs, routes and reply targets are checked; then it runs.",
        flow_models.StartFlow,
        answers.Flow,
        good=(202,),
        problems=(404, 409),
        query=(flows.WAIT,),
        key=True,
    )
    yield get(many, "list_flows", "Flows, newest first.", answers.Flow, *flows.LIST, page=True)
    yield get(one, "get_flow", "One Flow, now or as it was.", answers.Flow, flows.WAIT, at_revision.AT, problems=(404,))
    yield get(
        f"{one}/events",
        "flow_events",
        "The Flow's events, and those of its runs.",
        None,
        *sse.PARAMS,
        media="text/event-stream",
        problems=(404,),
    )
    yield get(
        f"{one}/report",
        "flow_report",
        "One page with all of it, for an auditor: Markdown, or HTML that needs nothing else.",
        None,
        *resource.PARAMS,
        media="text/markdown",
        or_media="text/html",
        problems=(404,),
    )
    yield post(
        f"{one}/cancel",
        "cancel_flow",
        "Stop a Flow and its runs for good.",
        flow_models.CancelFlow,
        answers.Flow,
        problems=(404, 409),
    )
    yield post(
        f"{one}/evidence",
        "attach_evidence",
        "Attach evidence (201); what it refers to must be there. The same key finds it again (200).",
        flow_models.AttachEvidence,
        answers.Flow,
        good=(201, 200),
        problems=(404, 409),
        key=True,
    )
