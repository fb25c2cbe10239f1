"""The events of a Flow, and their stream."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from falcon.asgi import Request, Response

from kheish.api import views
from kheish.api.http import sse
from kheish.api.http.feed import Feed
from kheish.api.services import Services
from kheish.domain.flows.flow import Flow


@dataclass(slots=True)
class OfFlow:
    """A filter for the events of a Flow among those of its session: events that name it, and events of its runs."""

    flow_id: str
    runs: set[str]

    def takes(self, kind: str, run: str | None, line: bytes) -> bool:
        """Return whether the event belongs to the Flow."""
        if run is not None and run in self.runs:
            return True
        if self.flow_id.encode() not in line:
            return False
        data = orjson.loads(line)["data"]
        if kind != "run.submitted":
            return bool(data.get("flow_id") == self.flow_id)
        is_its = (data.get("flow") or {}).get("flow_id") == self.flow_id
        if is_its and run is not None:
            self.runs.add(run)
        return is_its


async def follow(services: Services, feed: Feed, req: Request, resp: Response, flow_id: str) -> None:
    """Answer with a stream of the events of a Flow and its runs. Raises NotFound."""
    doc = await views.document(services.state, Flow, flow_id)
    of = OfFlow(flow_id, {run["run_id"] for run in doc["runs"]})
    sse.answer(req, resp, services, feed, session=doc["session_id"], narrow=of.takes)
