"""Requests about Flows, as data (see `calls`)."""

from __future__ import annotations

from kheish.client.calls import Call, Query, Text, get, given, path, read_text, send, wait_seconds
from kheish.client.shapes import FlowView, Json, Page


def flow_start(
    playbook: str, version: str | None, inputs: Json, key: str | None, wait: str | None, more: Json
) -> Call[FlowView]:
    return send(
        "POST",
        "flows",
        body={**given(playbook=playbook, version=version, inputs=inputs), **given(**more)},
        query={"wait": wait},
        headers={"idempotency-key": key} if key else {},
        patience=60.0 + wait_seconds(wait),
    )


def flow_get(flow_id: str, at: str | None = None, wait: str | None = None) -> Call[FlowView]:
    where = path("flows", flow_id, query={"at": at, "wait": wait})
    found: Call[FlowView] = get("flows", flow_id)
    return Call("GET", where, found.read, patience=60.0 + wait_seconds(wait))


def flow_list(query: Query) -> Call[Page[FlowView]]:
    return get("flows", query=query)


def flow_cancel(flow_id: str, reason: str | None) -> Call[FlowView]:
    return send("POST", "flows", flow_id, "cancel", body=given(reason=reason))


def flow_evidence(flow_id: str, evidence: Json, key: str | None) -> Call[FlowView]:
    headers = {"idempotency-key": key} if key else {}
    return send("POST", "flows", flow_id, "evidence", body=given(**evidence), headers=headers)


def flow_report(flow_id: str, form: str) -> Call[Text]:
    return Call("GET", path("flows", flow_id, "report", query={"format": form}), read_text)
