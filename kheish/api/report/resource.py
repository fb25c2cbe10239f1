"""The auditor's page of a Flow: the request, the version, the approvals, the actions, and the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from falcon.asgi import Request, Response

from kheish.api import views
from kheish.api.http.operation import bind, get
from kheish.api.http.paging import Param
from kheish.api.report import diagram, to_html, to_markdown
from kheish.api.report.blocks import Block, Cell, Code, Commit, Commits, Diagram, Heading, Items, Node, Paragraph, Table
from kheish.api.report.facts import CALLS, MOST, Facts, Happened, gather
from kheish.api.report.phrases import arguments, cost, facts_of, moment, said, spent, text_of, what
from kheish.api.services import Services
from kheish.domain.flows.flow import Flow

PARAMS = (
    Param(
        name="format",
        kind="choice",
        choices=("md", "html", "svg"),
        about="`md` (default), `html`, or `svg`: the phases.",
    ),
)
_OUTPUT = 6000


class FlowReport:
    """The resource of `/v1/flows/{flow_id}/report`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def flow_report(self, req: Request, resp: Response, flow_id: str) -> None:
        """Answer with the report, as Markdown or as HTML; or with the picture of the phases alone."""
        if req.context.query.get("format") == "svg":
            doc = await views.document(self._services.state, Flow, flow_id)
            resp.content_type = "image/svg+xml"
            resp.set_header("Content-Security-Policy", to_html.POLICY)
            resp.text = diagram.picture([_node(phase) for phase in doc["phases"]])
            return
        facts = await gather(self._services, flow_id)
        blocks = list(page(facts))
        if req.context.query.get("format") == "html":
            resp.content_type = "text/html; charset=utf-8"
            resp.set_header("Content-Security-Policy", to_html.POLICY)
            resp.text = to_html.render(title(facts), blocks)
        else:
            resp.content_type = "text/markdown; charset=utf-8"
            resp.text = to_markdown.render(blocks)


def title(facts: Facts) -> str:
    """Return the report's title."""
    doc = facts.doc
    return f"{doc['title']} ({doc['playbook']}@{doc['version']})"


def page(facts: Facts) -> Iterator[Block]:
    """Yield all blocks, in the order of an auditor's questions."""
    yield Heading(1, title(facts))
    yield from _summary(facts)
    yield from _asked(facts.doc)
    yield from _version(facts)
    yield from _approvals(facts)
    yield from _phases(facts)
    yield from _evidence(facts)
    yield from _cost(facts.doc)
    yield from _timeline(facts)


def _summary(facts: Facts) -> Iterator[Block]:
    doc = facts.doc
    text = f"Flow {doc['flow_id']}: {doc['status']}."
    yield Paragraph(f"{text} {doc['reason']}" if doc["reason"] else text)
    yield Table(
        ("", ""),
        (
            ("Status", doc["status"]),
            ("Started", f"{moment(doc['started_at'])} by {doc['started_by']}"),
            ("Ended", moment(doc["finished_at"]) if doc["finished_at"] else "not yet"),
            ("Session", doc["session_id"]),
            ("Record", doc["path"]),
        ),
    )
    if doc["phases"]:
        yield Diagram([_node(phase) for phase in doc["phases"]])


def _node(phase: Mapping[str, Any]) -> Node:
    return Node(phase["phase_id"], f"{phase['phase_id']}: {phase['status']}", phase["status"], phase["needs"])


def _asked(doc: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading(2, "Request")
    yield Paragraph(doc["objective"])
    if doc["inputs"]:
        yield Table(("Input", "Value"), [(name, text_of(value)) for name, value in doc["inputs"].items()])


def _version(facts: Facts) -> Iterator[Block]:
    doc, version = facts.doc, facts.version
    yield Heading(2, "Playbook version")
    rows: list[tuple[str, Cell]] = [
        ("Playbook", f"{doc['playbook']}@{doc['version']}"),
        ("Tag", doc["tag"]),
        ("Digest", doc["digest"]),
    ]
    if doc["commit"]:
        rows.append(("Tagged commit", doc["commit"]))
    if version is not None:
        rows.append(("Published", f"{moment(version.published_at)} by {version.published_by}"))
        rows.append(("Current state", version.shown_state))
        if version.notes:
            rows.append(("Notes", version.notes))
    yield Table(("", ""), rows)
    if version is not None and version.evidence:
        shown = [(one.kind, one.id, one.description or "", one.by, moment(one.at or "")) for one in version.evidence]
        yield Paragraph("Evidence for its release:")
        yield Table(("Kind", "Reference", "Statement", "By", "When"), shown)
    if facts.trouble:
        yield Paragraph(f"The version cannot be read: {facts.trouble}")
    elif facts.previous is None:
        yield Paragraph("This is the first published version.")
    elif facts.diff:
        yield Paragraph(f"Changes since {facts.previous.version}:")
        yield Code(facts.diff)
    else:
        yield Paragraph(f"The manifest is the same as in {facts.previous.version}.")
    yield Paragraph(f"To read the manifest: git show {doc['tag']}:playbooks/{doc['playbook']}/playbook.yaml")


def _approvals(facts: Facts) -> Iterator[Block]:
    doc = facts.doc
    yield Heading(2, "Approvals")
    rows = [
        (
            one["tool"] if one["when"] is None else f"{one['when']} the phase",
            one["phase"] or "",
            one["status"],
            "\n".join(said(word) for word in one["decisions"]),
            moment(one["decided_at"] or one["requested_at"]),
            one["reason"] or one["why"],
        )
        for one in doc["approvals"]
    ]
    if rows:
        yield Table(("What", "Phase", "Decision", "By", "When", "Why"), rows)
    else:
        yield Paragraph("No call needed an approval.")
    if doc["refused"]:
        yield Paragraph("Refused calls:")
        refused = [(one["tool"], one["phase"] or "", moment(one["at"]), one["reason"]) for one in doc["refused"]]
        yield Table(("Tool", "Phase", "When", "Why"), refused)


def _phases(facts: Facts) -> Iterator[Block]:
    yield Heading(2, "Actions")
    runs = {run["run_id"]: run for run in facts.doc["runs"]}
    shown: set[str] = set()
    for phase in facts.doc["phases"]:
        yield Heading(3, f"{phase['phase_id']}: {phase['status']}")
        yield from ([Paragraph(phase["objective"])] if phase["objective"] else [])
        yield from ([Paragraph(phase["reason"])] if phase["reason"] else [])
        yield from _missing(phase["missing"])
        for run_id in phase["run_ids"]:
            if run_id not in shown:
                shown.add(run_id)
                yield from _run(facts, runs[run_id])
    for run_id in runs.keys() - shown:
        yield from _run(facts, runs[run_id])


def _missing(missing: list[str]) -> Iterator[Block]:
    if missing:
        yield Paragraph(f"Missing required evidence: {', '.join(missing)}.")


def _run(facts: Facts, run: Mapping[str, Any]) -> Iterator[Block]:
    yield Paragraph(
        f"Run {run['run_id']} (attempt {run['attempt']}): {run['status']}, from {moment(run['started_at'])} to "
        f"{moment(run['finished_at'])}, {spent(run['usage'])}."
    )
    calls = facts.calls.get(run["run_id"], ())
    if calls:
        yield Table(("When", "Tool", "Arguments", "Result"), [_call(call) for call in calls])
    if len(calls) >= CALLS:
        yield Paragraph(f"Only the first {CALLS} calls are listed; the journal has all.")
    if run["error"]:
        yield Paragraph(f"{run['error']['code']}: {run['error']['message']}")
    if run["output"]:
        text = run["output"]
        yield Code(text if len(text) <= _OUTPUT else f"{text[:_OUTPUT]}\n… ({len(text) - _OUTPUT} more characters)")


def _call(call: Mapping[str, Any]) -> tuple[str, ...]:
    result = "failed" if call.get("is_error") else "done"
    if call.get("code") == "permission_denied":
        result = f"refused: {call.get('why', '')}"
    elif "is_error" not in call:
        result = "no recorded end"
    return moment(call["at"]), call["tool"], arguments(call.get("arguments")), result


def _evidence(facts: Facts) -> Iterator[Block]:
    yield Heading(2, "Evidence")
    held = {one.entry["data"].get("evidence_id"): one for one in facts.timeline}
    rows = [
        (
            one["phase"] or "the whole",
            f"{one['id']} ({one['kind']})",
            one["ref"] or "",
            "\n".join(filter(None, (one["description"], *facts_of(one["facts"])))),
            f"{one['by']}, {moment(one['at'])}",
            _commit(held.get(one["evidence_id"])),
        )
        for one in facts.doc["evidence"]
    ]
    if rows:
        yield Table(("Phase", "Evidence", "Refers to", "Description", "Attached by", "Commit"), rows)
    else:
        yield Paragraph("No evidence was attached.")
    yield from _missing(facts.doc["missing"])


def _commit(happened: Happened | None) -> Cell:
    return Commit(happened.commit) if happened is not None and happened.commit else "not committed yet"


def _cost(doc: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading(2, "Cost")
    rows = [(phase["phase_id"], str(len(phase["run_ids"])), *cost(phase["usage"])) for phase in doc["phases"]]
    head = ("Phase", "Runs", "Model calls", "Tool calls", "Tokens in", "Tokens out", "US dollars")
    yield Table(head, [*rows, ("all", str(len(doc["runs"])), *cost(doc["usage"]))])
    if doc["budget"]:
        yield Items([f"Budget: {name} {value:g}" for name, value in doc["budget"].items()])


def _timeline(facts: Facts) -> Iterator[Block]:
    yield Heading(2, "Events, and the commits that contain them")
    rows = [
        (
            str(one.entry["n"]),
            moment(one.entry["at"]),
            what(one.entry),
            one.entry["actor"],
            Commit(one.commit) if one.commit else "",
        )
        for one in facts.timeline
    ]
    yield Table(("Event", "When", "What", "Who", "Commit"), rows)
    if facts.cut:
        yield Paragraph(f"Only the first {MOST} entries were read; the journal has all.")
    if facts.commits:
        yield Heading(2, "Commits of the state root")
        yield Paragraph("Each is a consistent snapshot of the daemon's state: git show COMMIT")
        yield Commits(facts.commits)


OPERATIONS = bind(
    FlowReport,
    get(
        "/v1/flows/{flow_id}/report",
        FlowReport.flow_report,
        "Get the auditor's report of a Flow, as Markdown or self-contained HTML.",
        None,
        *PARAMS,
        media="text/markdown",
        or_media="text/html",
        problems=(404,),
    ),
)
