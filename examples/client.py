"""Start a run, follow it, and answer what it asks: python client.py STATE_ROOT SESSION "task"."""

import sys

from kheish.client import Kheish


def main(state_root: str, session: str, task: str) -> int:
    kheish = Kheish(state_root=state_root)
    kheish.sessions.create(session)  # returns the session if it exists
    run = kheish.runs.start(session, task)
    for event in run.follow():
        if event.kind == "model.delta":
            print(event.data["text"], end="", flush=True)
        elif event.kind == "model.responded":
            print()
        elif event.kind == "tool.started":
            print(f"-> {event.data['tool']}")
        elif event.kind == "run.waiting":
            answer(kheish, run)
    print(f"{run.status}: {run.output}")
    return 0 if run.status == "completed" else 1


def answer(kheish: Kheish, run) -> None:
    """Allow every approval and choose the first option of every question. A real client would ask a user."""
    approvals, questions = run.refresh().waits_for
    for approval_id in approvals:
        approval = kheish.approvals.get(approval_id)
        print(f"allowing {approval['tool']} {approval['arguments']}")
        kheish.approvals.allow(approval_id, reason="the example allows everything")
    for question_id in questions:
        asked = kheish.questions.get(question_id)["questions"]
        answers = {one["id"]: {"selected": [one["options"][0]["id"]], "text": None} for one in asked}
        print("answering " + ", ".join(f"{one['text']} {one['options'][0]['label']}" for one in asked))
        kheish.questions.answer(question_id, answers)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
