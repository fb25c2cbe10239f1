"""What the API can do, as data: the query parameters that are taken, and what OpenAPI says of each endpoint."""

from __future__ import annotations

from collections.abc import Iterator

from kheish.api import (
    answers,
    answers_past,
    answers_tasks,
    approvals,
    at_revision,
    backup_answers,
    definitions,
    history,
    models,
    operations_auth,
    operations_flows,
    operations_playbooks,
    questions,
    runs,
    sessions,
    state,
    status,
)
from kheish.api.http import paging, sse
from kheish.api.http.operation import Operation, get, post
from kheish.domain.definitions import KINDS, Kind


def _daemon() -> Iterator[Operation]:
    yield get("/healthz", "health", "Whether the process answers.", answers.Free, open=True)
    yield get("/readyz", "ready", "Whether work is taken.", answers.Free, open=True)
    yield get("/metrics", "metrics", "Counters for Prometheus.", None, media="text/plain")
    yield get("/openapi.json", "openapi", "This description.", answers.Free)
    yield get("/v1/status", "status", "What the daemon does, and how it is.", answers.Free)
    yield get("/v1/problems", "problems", "What is wrong in files.", answers.FileProblem, *status.PROBLEMS, page=True)
    yield get("/v1/config", "config", "The settings in force.", answers.Free)
    yield get("/v1/usage", "usage", "What was spent.", answers.UsageRow, *status.USAGE, page=True)
    yield get("/v1/logs", "logs", "The newest lines of the daemon's log.", answers.LogLine, *status.LOGS, page=True)
    yield get("/v1/events", "events", "All events.", None, *sse.FILTERED, media="text/event-stream", problems=(404,))
    yield post("/v1/pause", "pause", "Start no new step.", models.WhichRoute, answers.Paused)
    yield post("/v1/resume", "resume", "Go on.", models.Resume, answers.Paused, problems=(409,))
    yield get(
        "/v1/state/log", "state_log", "Commits, newest first.", answers.Commit, *state.LOG, page=True, problems=(404,)
    )
    yield get(
        "/v1/state/blame",
        "state_blame",
        "Who wrote each line of a file of people's, and with which commit.",
        answers_past.Blame,
        *state.BLAME,
        problems=(404, 503),
    )
    yield get("/v1/state/head", "state_head", "Where the branch is.", answers.Free)
    for path, name, about, problems in (
        ("put-back", "put_back_state", "The branch was moved back: bring the daemon's files back.", (409,)),
        ("accept-rewind", "accept_rewind", "The branch was moved back: go on from there.", (409,)),
        ("gc", "pack_state", "Pack git's objects now.", ()),
        ("reindex", "reindex_state", "Make the index again.", ()),
    ):
        yield Operation(
            method="POST", path=f"/v1/state/{path}", name=name, about=about, answer=answers.Free, problems=problems
        )
    yield Operation(
        method="POST",
        path="/v1/state/backup",
        name="push_backup",
        about="Push to the backup's remote now.",
        answer=backup_answers.Backup,
        problems=(409,),
    )


def _sessions() -> Iterator[Operation]:
    one = "/v1/sessions/{session_id}"
    yield post(
        "/v1/sessions",
        "create_session",
        "Make a session (201), or get the one that is there with the same settings (200).",
        models.CreateSession,
        answers.Session,
        good=(201, 200),
        problems=(409,),
        key=True,
    )
    yield get(
        "/v1/sessions", "list_sessions", "Sessions, newest first.", answers_past.FoundSession, *sessions.LIST, page=True
    )
    yield get(one, "get_session", "One session, now or as it was.", answers.Session, at_revision.AT, problems=(404,))
    yield Operation(
        method="PATCH",
        path=one,
        name="change_session",
        about="Change settings for what comes after; null resets one.",
        body=models.SessionChanges,
        answer=answers.Session,
        problems=(404, 409),
    )
    yield post(
        f"{one}/end", "end_session", "Take no more input.", models.EndSession, answers.Session, problems=(404, 409)
    )
    yield post(
        f"{one}/interrupt",
        "interrupt_session",
        "Stop the active run at its next safe point.",
        models.Because,
        answers.Session,
        problems=(404, 409),
    )


def _past() -> Iterator[Operation]:
    one = "/v1/sessions/{session_id}"
    yield get(
        f"{one}/history",
        "session_history",
        "Commits that changed a session, newest first.",
        answers.Commit,
        *paging.PAGE,
        page=True,
        problems=(404,),
    )
    yield get(
        f"{one}/diff",
        "session_diff",
        "What happened between two moments.",
        answers_past.SessionDiff,
        *history.DIFF,
        problems=(404,),
    )
    yield get(
        f"{one}/changes",
        "session_changes",
        "Files of the workspace that the session's file tools changed, the last changed first. What commands (`bash`) "
        "changed is not seen.",
        answers_past.ChangedFile,
        *paging.PAGE,
        page=True,
        problems=(404,),
    )
    yield get(
        f"{one}/search",
        "search_session",
        "What was said, newest first.",
        answers_past.Found,
        *history.SEARCH,
        page=True,
        problems=(404,),
    )
    yield post(
        f"{one}/fork",
        "fork_session",
        "Make a session with this one's history (201); the same request finds it again (200).",
        models.ForkSession,
        answers.Session,
        good=(201, 200),
        problems=(404, 409),
        key=True,
    )
    yield Operation(
        method="DELETE",
        path=one,
        name="delete_session",
        about="Take a session out of the tree and the index; git's history keeps it.",
        answer=answers_past.DeletedSession,
        problems=(404, 409),
    )


def _session_parts() -> Iterator[Operation]:
    one = "/v1/sessions/{session_id}"
    yield get(
        f"{one}/journal",
        "session_journal",
        "Journal lines, oldest first.",
        answers.Event,
        *sessions.JOURNAL,
        page=True,
        problems=(404,),
    )
    yield get(
        f"{one}/events",
        "session_events",
        "The session's events.",
        None,
        *sse.PARAMS,
        media="text/event-stream",
        problems=(404,),
    )
    yield post(
        f"{one}/runs",
        "start_run",
        "Queue a run.",
        models.Submission,
        answers.Run,
        good=(202,),
        problems=(404, 409),
        query=sessions.WAIT,
        key=True,
    )

    yield get(
        f"{one}/tasks",
        "list_tasks",
        "The session's tasks, newest first.",
        answers_tasks.Task,
        *sessions.TASKS,
        page=True,
        problems=(404,),
    )


def _runs() -> Iterator[Operation]:
    one = "/v1/runs/{run_id}"
    yield get("/v1/runs", "list_runs", "Runs, newest first.", answers.Run, *runs.LIST, page=True)
    yield get(
        one, "get_run", "One run, now or as it was.", answers.Run, *sessions.WAIT, at_revision.AT, problems=(404,)
    )
    yield get(
        f"{one}/events",
        "run_events",
        "The run's events.",
        None,
        *sse.PARAMS,
        media="text/event-stream",
        problems=(404,),
    )
    yield post(f"{one}/cancel", "cancel_run", "Stop a run for good.", models.Because, answers.Run, problems=(404, 409))
    yield post(
        f"{one}/retry",
        "retry_run",
        "Queue a new run with the same task.",
        models.Retry,
        answers.Run,
        good=(202,),
        problems=(404, 409),
        query=sessions.WAIT,
        key=True,
    )
    yield post(
        "/v1/runs/cancel",
        "cancel_runs",
        "Cancel every unfinished run that fits.",
        models.CancelRuns,
        answers.Run,
        page=True,
    )


def _people() -> Iterator[Operation]:
    approval, question = "/v1/approvals/{approval_id}", "/v1/questions/{question_id}"
    yield get(
        "/v1/approvals", "list_approvals", "Approvals, newest first.", answers.Approval, *approvals.LIST, page=True
    )
    yield get(
        approval, "get_approval", "One approval, now or as it was.", answers.Approval, at_revision.AT, problems=(404,)
    )
    yield post(
        f"{approval}/resolve",
        "resolve_approval",
        "Allow or deny.",
        models.ResolveApproval,
        answers.Approval,
        problems=(404, 409),
        key=True,
    )
    yield post(
        "/v1/approvals/resolve",
        "resolve_approvals",
        "Resolve several: all, or none.",
        models.ResolveApprovals,
        answers.Approval,
        page=True,
        problems=(404, 409),
    )
    yield get(
        "/v1/questions", "list_questions", "Questions, newest first.", answers.Question, *questions.LIST, page=True
    )
    yield get(
        question, "get_question", "One question, now or as it was.", answers.Question, at_revision.AT, problems=(404,)
    )
    yield post(
        f"{question}/answer",
        "answer_question",
        "Answer all of its items.",
        models.AnswerQuestion,
        answers.Question,
        problems=(404, 409),
        key=True,
    )
    yield post(
        f"{question}/decline",
        "decline_question",
        "There will be no answer.",
        models.DeclineQuestion,
        answers.Question,
        problems=(404, 409),
        key=True,
    )
    yield get("/v1/permissions", "permissions", "The rules in force.", answers.Free)
    yield post(
        "/v1/permissions/check",
        "check_permission",
        "What a call would meet, without making it.",
        models.CheckPermission,
        answers.Verdict,
        problems=(404,),
    )


def _definitions(kind: Kind) -> Iterator[Operation]:
    many, one, noun = f"/v1/{kind.name}", f"/v1/{kind.name}/{{id}}", kind.singular
    yield get(many, f"list_{kind.name}", f"{kind.name} in force, by id.", answers.Definition, *paging.PAGE, page=True)
    yield get(one, f"get_{noun}", f"One {noun}.", answers.Definition, at_revision.AT, problems=(404,), text=True)
    yield Operation(
        method="PUT",
        path=one,
        name=f"put_{noun}",
        about=f"Make (201) or replace (200) a {noun}.",
        body=kind.model,
        answer=answers.Definition,
        good=(200, 201),
        problems=(404, 409, 412),
        text=True,
    )
    yield Operation(
        method="DELETE",
        path=one,
        name=f"delete_{noun}",
        about=f"Remove a {noun}.",
        good=(204,),
        problems=(404, 409, 412),
    )
    yield post(
        f"{many}/validate",
        f"validate_{noun}",
        f"What is wrong with a {noun}; nothing is changed.",
        kind.model,
        answers.Validation,
        query=definitions.VALIDATE,
        text=True,
    )
    yield get(
        f"{one}/history",
        f"{noun}_history",
        f"Commits that changed a {noun}, newest first.",
        answers.Commit,
        *paging.PAGE,
        page=True,
        problems=(404,),
    )


OPERATIONS: tuple[Operation, ...] = (
    *_daemon(),
    *_sessions(),
    *_past(),
    *_session_parts(),
    *_runs(),
    *_people(),
    *operations_auth.operations(),
    *operations_flows.operations(),
    *operations_playbooks.operations(),
    *(operation for kind in KINDS.values() for operation in _definitions(kind)),
)
