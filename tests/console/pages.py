"""The pages of the console, as the matrix and the screenshots visit them."""

from __future__ import annotations

from tests.support.daemon import Daemon

#: name of the picture → the address; `{approval}` and others are ids of the scene
PAGES = {
    "home": "",
    "first-steps": "first-steps",
    "inbox": "inbox",
    "approval": "inbox/{approval}",
    "question": "inbox/{question}",
    "sessions": "sessions",
    "session": "sessions/review-17",
    "session-waiting": "sessions/deploy-main",
    "session-hostile": "sessions/hostile",
    "session-files": "sessions/review-17/changes",
    "session-context": "sessions/review-17/context",
    "session-history": "sessions/review-17/history",
    "session-settings": "sessions/review-17/settings",
    "runs": "runs",
    "run": "runs/{run}",
    "agents": "agents",
    "agent": "agents/{agent}",
    "flows": "flows",
    "flow": "flows/{flow}",
    "playbooks": "playbooks",
    "playbook": "playbooks/upgrade",
    "schedules": "schedules",
    "schedule": "schedules/nightly",
    "channels": "channels",
    "channel": "channels/deploys",
    "projects": "projects",
    "project": "projects/shop",
    "memory": "memory",
    "memory-file": "memory/file/memory/shared/conventions.md",
    "assets": "assets",
    "deliveries": "deliveries",
    "observations": "sources",
    "runtime": "runtime",
    "routes": "routes",
    "route": "routes/hello",
    "personas": "personas",
    "skills": "skills",
    "hooks": "hooks",
    "mcp": "mcp",
    "connectors": "connectors",
    "outputs": "outputs",
    "workers": "workers",
    "trust": "trust",
    "secrets": "secrets",
    "tokens": "tokens",
    "problems": "problems",
    "audit": "audit",
    "logs": "logs",
    "usage": "usage",
    "docs": "docs",
    "docs-reference": "docs/reference/cli",
    "edit": "edit/schedules/nightly",
    "edit-new": "edit/playbooks",
    "missing": "nothing/at/all/here",
}


def addresses(daemon: Daemon) -> dict[str, str]:
    """Return the pages with the ids that the scene has."""

    def ids(path: str, field: str) -> list[str]:
        return [item[field] for item in daemon.http("GET", path).json()["items"]]

    agents = daemon.http("GET", "/v1/agents").json()["items"]
    known = {
        "approval": ids("/v1/approvals?session=deploy-main", "approval_id")[0],
        "question": ids("/v1/questions?session=release-2", "question_id")[0],
        "run": ids("/v1/runs?session=broken", "run_id")[0],
        "agent": next(agent["agent_id"] for agent in agents if agent["children"]),
        "flow": ids("/v1/flows?limit=100", "flow_id")[-1],
    }
    return {name: path.format(**known) for name, path in PAGES.items()}
