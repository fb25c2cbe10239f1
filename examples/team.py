"""Let a team of agents work on a board of dependent tasks.

    python examples/team.py STATE_ROOT

It needs a daemon with `projects/shop.yaml` and `routes/team.yaml`. The agents work at the same time, each on one
task; a task begins when those before it are completed. Start it again after a crash: what is done stays done.
"""

import sys
import time

from kheish.client import Kheish
from kheish.errors import Conflict

PROJECT = "shop"
#: the task, who does it, and what comes first
BOARD = {
    "compile": ("builder", []),
    "package": ("builder", ["compile"]),
    "unit-tests": ("tester", ["compile"]),
    "changelog": ("writer", []),
    "user-tests": ("tester", ["package", "unit-tests"]),
    "publish": ("builder", ["user-tests", "changelog"]),
}


def main(root: str) -> None:
    kheish = Kheish(state_root=root)
    for member in ("builder", "tester", "writer"):
        kheish.sessions.create(f"{PROJECT}-{member}", route="team")
    known = {task["task_id"] for task in kheish.projects.tasks(PROJECT)["items"]}
    for name, (member, before) in BOARD.items():
        if name not in known:
            title = f"Do the {name} of the release"
            kheish.projects.create_task(PROJECT, title, task_id=name, assignee=member, blocked_by=before)
    while (counts := kheish.projects.board(PROJECT)["counts"]).get("completed", 0) < len(BOARD):
        if counts.get("failed", 0):
            sys.exit("A task has failed: kheish projects board shop")
        for task in kheish.projects.tasks(PROJECT, status=["pending"])["items"]:
            try:
                kheish.projects.start_task(PROJECT, task["task_id"])
                print(f"{task['assignee']} begins {task['task_id']}")
            except Conflict:
                pass  # its assignee works on another task, or another program has started it
        time.sleep(0.2)
    [usage] = kheish.usage(by=["project"], project=PROJECT)["items"]
    print(f"All {len(BOARD)} tasks are completed, for {usage['cost_usd']:.4f} US dollars.")


if __name__ == "__main__":
    main(*sys.argv[1:])
