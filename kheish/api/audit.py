"""The audit by HTTP: its entries, oldest first, and the verification of its chain."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, get_args

import orjson
from falcon.asgi import Request, Response
from pydantic import Field

from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.auth import audit
from kheish.domain.events.auth import Action, Outcome

LIST = (
    *paging.PAGE,
    Param(name="after", kind="count", about="Only entries above this event number."),
    Param(name="action", kind="choice", choices=get_args(Action), about="Only this action."),
    Param(name="outcome", kind="choice", choices=get_args(Outcome), about="Only this outcome."),
    paging.text("subject", "Only actions of this subject."),
    *paging.SESSION,
    paging.text("run", "Only events of this run."),
)
_FIELDS = ("action", "outcome", "subject", "session", "run")
_ROWS = 500


class VerifyAudit(Body):
    """The options of an audit verification."""

    key: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The public key (base64) that must have signed; without it, the key that the head names is trusted."""


class AuditEntry(Answer):
    """A line of `journals/audit`."""

    v: int
    n: int
    seq: int
    at: str
    kind: str
    stream: str
    actor: str
    data: dict[str, Any]


class AuditReport(Answer):
    """The result of an audit verification."""

    ok: bool
    entries: int
    head: str
    """The link of the last entry."""
    signed: int
    """The highest entry that a good signature vouches for."""
    key: str | None
    """The public key that signed."""
    finding: dict[str, Any] | None
    """The first problem: code, message, seq."""
    witnessed: int | None
    """The highest entry that a witness has seen; null if none was compared (`kheish audit verify --witness`)."""


class Audit:
    """The resource of `/v1/audit` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._state = services.state

    async def list_audit(self, req: Request, resp: Response) -> None:
        """Answer with a page of entries, oldest first, verbatim."""
        await self._state.durable()
        await self._state.caught_up()
        given = req.context.query
        place = paging.number_of("n", given.get("cursor"))
        after, limit = given.get("after", 0) if place is None else place, given.get("limit", paging.LIMIT)
        filters = {name: given[name] for name in _FIELDS if given.get(name) is not None}
        if "session_id" in given:
            filters["session"] = given["session_id"]
        rows = await asyncio.to_thread(self._rows, after, limit + 1, filters)
        cursor = f'"{paging.cursor_of("n", rows[limit - 1][0])}"' if len(rows) > limit else "null"
        lines = ",".join(line for _, line in rows[:limit])
        media.send(resp, f'{{"items":[{lines}],"next_cursor":{cursor}}}'.encode())

    def _rows(self, after: int, most: int, wanted: dict[str, str]) -> list[tuple[int, str]]:
        """Return the matching entries. The index filters by kind; the entries themselves are read in steps."""
        matches: list[tuple[int, str]] = []
        while len(matches) < most:
            rows = self._state.index.events(after, limit=_ROWS, kinds=("audit.recorded",))
            for n, _, line in rows:
                data = orjson.loads(line)["data"] if wanted else {}
                if all(data[name] == value for name, value in wanted.items()):
                    matches.append((n, line))
            if len(rows) < _ROWS:
                break
            after = rows[-1][0]
        return matches[:most]

    async def verify_audit(self, req: Request, resp: Response) -> None:
        """Verify the whole chain and the signature over its head."""
        body = await media.read(req, VerifyAudit)
        report = await asyncio.to_thread(audit.verify, self._state.root, key=body.key)
        media.send(resp, report.view())


OPERATIONS = bind(
    Audit,
    get("/v1/audit", Audit.list_audit, "List entries of the audit, oldest first.", AuditEntry, *LIST, page=True),
    post(
        "/v1/audit/verify",
        Audit.verify_audit,
        "Verify the chain and the signature over its head.",
        VerifyAudit,
        AuditReport,
    ),
)
