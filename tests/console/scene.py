"""A state root that shows something on each page of the console: the tests and the screenshots look at it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon, allow, ask, bash, call, until
from tests.support.released import release

#: texts that must stay text, whoever wrote them
HOSTILE = (
    "<img src=x onerror=window.__xss=1>",
    "<script>window.__xss=1</script>",
    "[click](javascript:window.__xss=1)",
    "![x](https://evil.example/x.png)",
    '"><svg onload=window.__xss=1>',
    "${window.__xss=1} {{constructor.constructor('window.__xss=1')()}}",
    "<a href='data:text/html,<script>window.__xss=1</script>'>x</a>",
    "https://evil.example@good.example/path",
    "\u202eevil\u202c \u2066x\u2069",
)
USAGE = {"usage": {"input_tokens": 4200, "output_tokens": 310}}
FIXED = "def total(items):\n    return sum(item.price for item in items)\n"
BROKEN = "def total(items):\n    result = 0\n    for item in items:\n        result += item.price\n    return result\n"
REVIEW = """## Review

The change is *safe*. It replaces a loop by `sum`:

- the result is the same
- the tests pass

```python
total(items)
```

See [the pull request](https://example.org/pull/7).
"""
CHILD = {"name": "reader", "prompt": "Read the notes", "route": "asker"}
ROUTES: dict[str, Any] = {
    "reviewer": {
        "driver": "scripted",
        "price": {"input_per_mtok": 3, "output_per_mtok": 15},
        "script": {
            "turns": [
                {"text": "I read the file first.", "tool_calls": [call("read_file", path="shop/bill.py")], **USAGE},
                {
                    "text": "The loop can go.",
                    "tool_calls": [
                        call("write_file", path="shop/bill.py", content=FIXED),
                        call("bash", command="echo 3 passed"),
                    ],
                    **USAGE,
                },
                {"text": REVIEW, **USAGE},
            ]
        },
    },
    "deployer": [bash("git push --force origin main"), {"text": "It said {{last_result}}"}],
    "hostile": [
        {"text": "\n\n".join(HOSTILE), **bash("printf '%s' '" + HOSTILE[0] + "' && touch x")},
        {"text": "done"},
    ],
    "asker": [ask("Which branch is released?", ("main", "release-2", "none of them")), {"text": "Thank you."}],
    "hello": [{"text": "hello {{input}}"}],
    "fails": {"driver": "scripted", "max_retries": 0, "script": {"turns": [{"error": {"status": 500}}] * 4}},
    "talker": [{"tool_calls": [call("post_to_channel", text="The deploy of **2.1** is green.")]}, {"text": "posted"}],
    "parent": [
        {"tool_calls": [{"name": "spawn_agent", "arguments": CHILD}]},
        {"tool_calls": [call("wait_agent", agents=["reader"])]},
        {"text": "both are done"},
    ],
}
PLAYBOOK = {
    "title": "Upgrade a dependency",
    "objective": "The new version is in use and all tests pass.",
    "inputs": {"package": {"type": "string", "title": "Package", "required": True}},
    "phases": [
        {"id": "inspect", "instructions": "Look at {{inputs.package}}."},
        {"id": "change", "needs": ["inspect"], "instructions": "Change it."},
        {"id": "verify", "needs": ["change"], "instructions": "Run the tests.", "approval": "before"},
    ],
}


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Daemon]:
    """Serve a state root with sessions, runs, approvals, agents, Flows and Definitions of each kind."""
    rules = allow("echo *", "printf *")
    with Daemon.fresh(folder, routes=ROUTES, permissions=rules, config={"default_route": "hello"}) as daemon:
        (daemon.workspace / "shop").mkdir()
        (daemon.workspace / "shop" / "bill.py").write_text(BROKEN)
        _definitions(daemon)
        _work(daemon)
        yield daemon


def post(daemon: Daemon, path: str, body: Any = None, method: str = "POST") -> Any:
    """Ask for something that must succeed."""
    done = daemon.http(method, path, {} if body is None else body)
    assert done.status_code < 300, f"{method} {path}: {done.text}"
    return done.json() if done.content else None


def run(daemon: Daemon, session: str, route: str, content: str, status: str, **settings: Any) -> dict[str, Any]:
    """Start a run in a new session, and wait for its status."""
    post(daemon, "/v1/sessions", {"session_id": session, "route": route, **settings})
    made = post(daemon, f"/v1/sessions/{session}/runs", {"content": content})

    def reached() -> dict[str, Any] | None:
        found: dict[str, Any] = daemon.http("GET", f"/v1/runs/{made['run_id']}").json()
        return found if found["status"] == status else None

    return until(reached, what=f"{session} is {status}")


def put(daemon: Daemon, path: str, body: Any) -> Any:
    """Create or replace a Definition."""
    return post(daemon, path, body, "PUT")


def put_text(daemon: Daemon, path: str, text: str) -> None:
    """Store a file as it is."""
    done = daemon.http("PUT", path, content=text.encode(), headers={"content-type": "application/yaml"})
    assert done.status_code < 300, done.text


def _definitions(daemon: Daemon) -> None:
    put(
        daemon,
        "/v1/personas/reviewer",
        {"display_name": "Reviewer", "description": "Reviews code", "body": "Review with care."},
    )
    post(daemon, "/v1/sessions", {"session_id": "notifier", "title": "Notifies the team", "route": "talker"})
    put(
        daemon,
        "/v1/channels/deploys",
        {
            "title": "Deploys",
            "purpose": "What goes out, and when",
            "members": [
                {"member": "ada", "kind": "human", "person": "admin"},
                {"member": "notifier", "kind": "agent", "session": "notifier"},
            ],
        },
    )
    put(
        daemon,
        "/v1/schedules/nightly",
        {
            "title": "Nightly report",
            "cron": "30 2 * * *",
            "timezone": "Europe/Paris",
            "start": {"session": "reports", "input": {"content": "Write the report."}},
        },
    )
    put(
        daemon,
        "/v1/projects/shop",
        {
            "title": "The shop",
            "description": "Everything about the shop",
            "members": [{"member": "ada", "kind": "human", "person": "admin"}],
        },
    )
    for title in ("Mend the cart", "Translate the invoice", "Remove the old checkout", HOSTILE[0]):
        post(daemon, "/v1/projects/shop/tasks", {"title": title, "description": f"{title}."})
    put(daemon, "/v1/memory/shared/-/hostile.md", {"content": "# Hostile\n\n" + "\n\n".join(HOSTILE) + "\n"})
    put(daemon, "/v1/memory/shared/-/conventions.md", {"content": "# Conventions\n\n- Tabs are four spaces.\n"})
    release(daemon, "upgrade", PLAYBOOK)


def _work(daemon: Daemon) -> None:
    run(daemon, "review-17", "reviewer", "Review shop/bill.py", "completed", title="Review of the bill")
    run(daemon, "greeting", "hello", "to you", "completed", title="Says hello")
    run(daemon, "deploy-main", "deployer", "Deploy main", "waiting_for_approval", title="Deploy of main")
    run(daemon, "hostile", "hostile", HOSTILE[0], "waiting_for_approval", title=HOSTILE[1])
    run(daemon, "release-2", "asker", "Release it", "waiting_for_question", title="Release 2")
    run(daemon, "broken", "fails", "Try it", "failed", title="A route that is down")
    post(daemon, "/v1/sessions", {"session_id": "reports", "title": "Reports", "route": "hello"})
    run(daemon, "family", "parent", "Ask the reader", "waiting_for_agent", title="An agent with a child")
    post(daemon, "/v1/channels/deploys/messages", {"text": "Is **2.1** out yet?", "addressed": ["notifier"]})
    post(daemon, "/v1/channels/deploys/messages", {"text": "\n\n".join(HOSTILE)})
    post(daemon, "/v1/sessions", {"session_id": "upgrade-fairsplit", "title": "Upgrade fairsplit", "route": "hello"})
    post(
        daemon,
        "/v1/flows",
        {"playbook": "upgrade", "inputs": {"package": "fairsplit"}, "session_id": "upgrade-fairsplit"},
    )
    post(daemon, "/v1/assets", {"name": "notes.txt", "content_base64": "aGVsbG8gd29ybGQK"})
