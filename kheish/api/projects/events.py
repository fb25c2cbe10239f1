"""The events of a project, and their stream."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson
from falcon.asgi import Request, Response

from kheish.api.http import sse
from kheish.api.http.feed import Feed
from kheish.api.services import Services
from kheish.domain.events.projects import PROJECTS
from kheish.domain.runs import Run
from kheish.state.state import State

_KNOWN = 10_000  # runs whose project is kept in memory


@dataclass(slots=True)
class OfProject:
    """A filter for the events of a project: its own, those of its tasks, and those of runs that work for it."""

    state: State
    project: str
    runs: dict[str, bool] = field(default_factory=dict)

    def takes(self, kind: str, run: str | None, line: bytes) -> bool:
        """Return whether the event belongs to the project."""
        if run is not None and kind != "run.joined_project":
            return self._is_its(run, line)
        if self.project.encode() not in line:
            return False
        data = orjson.loads(line)["data"]
        is_its = data.get("project") == self.project
        if is_its and run is not None:
            self.runs[run] = True
        return bool(is_its)

    def _is_its(self, run: str, line: bytes) -> bool:
        known = self.runs.get(run)
        if known is None:
            if len(self.runs) >= _KNOWN:
                self.runs.clear()
            known = self.runs[run] = self._project_of(run) == self.project
        return known

    def _project_of(self, run_id: str) -> str | None:
        """Return the project of a run. One that has changed lately is in memory; the index has the others."""
        value = self.state.find(Run, run_id)
        change = self.state.unjournaled.get((Run, run_id))
        value = value if value is not None or change is None else change.value
        if value is not None:
            return value.project
        doc = self.state.index.thing("run", run_id)
        return doc.get("project") if doc is not None else None


def follow(services: Services, feed: Feed, req: Request, resp: Response, project: str) -> None:
    """Answer with a stream of the events of a project. Raises NotFound."""
    services.state.definitions.get(PROJECTS, project)
    sse.answer(req, resp, services, feed, narrow=OfProject(services.state, project).takes)
