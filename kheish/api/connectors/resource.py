"""Connectors by HTTP: their files with their state, their receipts, and a signed sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from falcon.asgi import Request, Response

from kheish import ids
from kheish.api import definitions, views
from kheish.api.definitions import Definitions, DefinitionView
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body, Name
from kheish.api.http.operation import bind, get, post
from kheish.api.services import Services
from kheish.domain.connectors.connector import Connector
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.connectors.receipt import Receipt
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import INGRESS, frozen
from kheish.store import parsing
from kheish.store.edits import definitions as reading
from kheish.store.edits.problems import Problem

KIND = KINDS["connectors"]
RECEIPTS = (
    *paging.PAGE,
    paging.choices("state", ("accepted", "refused")),
    *(paging.text(name) for name in ("run_id", "flow_id", "message_id")),
)


@frozen
class ConnectorDetailsView(DefinitionView):
    """A connector: the fields of its file, and the following."""

    of_now = True

    state: Literal["ready", "connecting", "connected", "failing", "not_ready", "disabled"]
    """ready: it waits for requests; connected: its loop fetches them."""
    last_error: str | None
    """The reason why it fails, or is not ready."""
    ingress: str | None
    """The path that takes its requests; null for a loop."""
    received: int
    refused: int
    rejected: int
    """The requests without a valid proof since the daemon started; they have no receipts."""
    last_at: str | None
    """The time of the newest receipt."""


class TestConnector(Body):
    """A request to send a signed sample."""

    body: str | None = None
    """The body of the sample, for a connector of the kind http; without it, a small JSON object."""
    event: Name | None = None
    """The type of the event (GitHub's `X-GitHub-Event`), for a connector of the kind http; without it, the first that
    `allow.events` names."""


class SampleAnswer(Answer):
    """The outcome of a sample."""

    connector: str
    status: int
    """The status that the sender of such a request gets."""
    answer: dict[str, Any]
    """The body of the answer; for a loop, the platform's description of the bot."""


class ConnectorFiles(Definitions):
    """The files, each with the state of its connector."""

    added = ("state", "last_error", "ingress", "received", "refused", "rejected", "last_at")

    async def _added(self, found: Sequence[Definition]) -> list[dict[str, Any]]:
        added = []
        for one in found:
            doc = await self._state.recall(Connector, one.id) or {"received": 0, "refused": 0, "last_at": None}
            state, error = await self._services.ingress.state_of(one)
            takes = one.value.way in ("http", "webhook")
            added.append({
                "state": state, "last_error": error, "ingress": f"/v1/ingress/{one.id}" if takes else None,
                "received": doc["received"], "refused": doc["refused"], "last_at": doc["last_at"],
                "rejected": self._services.ingress.rejections.get(one.id, 0),
            })  # fmt: skip
        return added

    async def _warnings(self, id: str | None, raw: bytes, kind: str) -> list[Problem]:
        path = KIND.path(id or "new")
        file = await parsing.run(_parsed, raw, kind, path)
        why = await self._services.ingress.missing(id or "new", file) if file is not None else None
        return [Problem(path, 1, 1, "warning", "connector_not_ready", why)] if why is not None else []


def _parsed(raw: bytes, kind: str, path: str) -> ConnectorFile | None:
    """Return a file that is not saved yet. Parses untrusted text: call it in a thread."""
    return (reading.parse_json if kind == media.JSON else reading.parse)(ConnectorFile, raw, path).value


class Connectors:
    """The resource of the paths below `/v1/connectors/{id}` that other Definitions do not have."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def connector_receipts(self, req: Request, resp: Response, id: str) -> None:
        """Answer with a page of receipts, newest first; also those of a connector that was removed."""
        ids.check_slug(id, "id")
        given = {**req.context.query, "session": f"{INGRESS}/{id}", "status": req.context.query.get("state", ())}
        page = await views.listed(self._state, Receipt, given)
        if not page["items"] and id not in self._state.definitions.by_kind[KIND.name]:
            await views.document(self._state, Connector, id)  # raises NotFound
        media.send(resp, page)

    async def test_connector(self, req: Request, resp: Response, id: str) -> None:
        """Send a signed sample through all that a request passes, and answer with its outcome."""
        body = await media.read(req, TestConnector)
        self._state.definitions.get(KIND.name, ids.check_slug(id, "id"))
        status, answer = await self._services.ingress.test(id, body.body, body.event)
        media.send(resp, {"connector": id, "status": status, "answer": dict(answer)}, n=self._state.n)


ONE = "/v1/connectors/{id}"
OPERATIONS = (
    *definitions.operations(KIND, ConnectorFiles, ConnectorDetailsView),
    *bind(
        Connectors,
        get(
            f"{ONE}/receipts",
            Connectors.connector_receipts,
            "List what the requests of a connector led to, newest first.",
            Receipt,
            *RECEIPTS,
            page=True,
            problems=(404,),
        ),
        post(
            f"{ONE}/test",
            Connectors.test_connector,
            "Send a signed sample to a connector.",
            TestConnector,
            SampleAnswer,
            problems=(404, 409, 502),
        ),
    ),
)
