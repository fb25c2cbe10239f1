"""Every operation with every kind of token: allowed, 403, or hidden by the token's filter (404). Made from the table.

What must be so is written here by name, not taken from `roles`: a new operation fails until it is placed.
"""

from __future__ import annotations

import pytest

from kheish.api.http.operation import Operation
from kheish.api.operations import OPERATIONS
from tests.api.harness import World, approval, question
from tests.api.test_tokens import make

OPEN = "health ready login_page log_in"
LOGIN = "make_login_link who_am_i log_out"
ANSWERS = (
    "list_approvals get_approval resolve_approval resolve_approvals list_questions get_question answer_question "
    "decline_question"
)
LOOK = (
    "metrics openapi problems config usage logs events state_log state_blame state_head list_sessions get_session "
    "session_history session_diff session_changes search_session session_journal session_events list_tasks list_runs "
    "get_run run_events permissions list_audit list_flows get_flow flow_events flow_report list_versions "
    "get_version list_trust get_trust diff_playbook blame_playbook list_routes get_route route_history list_personas "
    "get_persona persona_history "
    "list_playbooks get_playbook playbook_history list_schedules get_schedule schedule_history schedule_next "
    "schedule_fires list_agents get_agent agent_tree agent_quotas "
    "list_worktrees get_worktree list_mail get_mail get_task task_output "
    "get_goal list_memory get_memory memory_history list_proposals get_proposal session_memory"
)
CHECK = "check_permission validate_route validate_persona validate_playbook validate_schedule"
WORK = (
    "pause resume create_session change_session end_session interrupt_session fork_session delete_session start_run "
    "cancel_run retry_run cancel_runs start_flow cancel_flow attach_evidence "
    "trigger_schedule pause_schedule resume_schedule "
    "spawn_agent explain_spawn change_agent close_agent change_worktree steer_run post_mail ack_mail redeliver_mail "
    "create_task change_task stop_task put_goal change_goal clear_goal"
)
ADMIN = (
    "put_back_state accept_rewind pack_state reindex_state push_backup list_tokens create_token revoke_token "
    "list_secrets get_secret put_secret delete_secret note_revealed_secret rekey_secrets list_accounts "
    "list_grants list_leases get_subject revoke_subject revoke_lease revoke restore_access verify_audit "
    "publish_playbook release_version trust "
    "put_route delete_route put_persona delete_persona put_playbook delete_playbook put_schedule delete_schedule "
    "put_memory delete_memory accept_memory revoke_memory promote_memory decide_proposal"  # operators need a person
)
READ_ANSWERS = "list_approvals get_approval list_questions get_question"
ROLES = {
    "admin": " ".join((OPEN, LOGIN, ANSWERS, LOOK, CHECK, WORK, ADMIN, "status")),
    "operator": " ".join((OPEN, LOGIN, ANSWERS, LOOK, CHECK, WORK, "status")),
    "reader": " ".join((OPEN, LOGIN, READ_ANSWERS, LOOK, CHECK, "status")),
    "approver": " ".join((OPEN, LOGIN, ANSWERS, "status")),
    "ingress:hook": OPEN,
    "observer:cam": OPEN,
}
#: what a token for some sessions may ask for though it is about no session
FREE = f"{OPEN} {LOGIN} openapi check_permission"
LISTS = "list_runs list_approvals list_questions list_proposals list_agents agent_quotas events"
#: about a part of a thing that the test's things lack
LACKING = "get_worktree change_worktree get_mail ack_mail redeliver_mail"
NAMES = {operation.name for operation in OPERATIONS}


def placed(text: str) -> set[str]:
    names = set(text.split())
    assert names <= NAMES, names - NAMES
    return names


def path_of(operation: Operation, **ids: str) -> str:
    names = ("id", "version", "slot", "name", "subject", "lease", "flow_id", "session_id", "run_id", "approval_id")
    names += ("scope", "owner", "path", "proposal_id")
    given = dict.fromkeys((*names, "question_id", "agent_id", "message_id", "task_id"), "absent") | ids
    return operation.path.format(**given)


async def status(w: World, operation: Operation, path: str, headers: dict[str, str] | None) -> int:
    # An event stream never ends; a parameter that nobody knows ends it, after the role was looked at.
    query = {"bogus": "1"} if "event-stream" in operation.media and "?" not in path else None
    body = {} if operation.method in ("POST", "PUT", "PATCH") else None
    body = {"session_id": "team-fork"} if operation.name == "fork_session" else body
    w.http.headers.pop("authorization", None)
    answer = await w.http.request(operation.method, path, headers=headers, params=query, json=body)
    return answer.status_code


def test_every_operation_is_placed() -> None:
    every = [name for text in (OPEN, LOGIN, ANSWERS, LOOK, CHECK, WORK, ADMIN, "status") for name in text.split()]
    assert sorted(every) == sorted(NAMES), "each is in one list"


@pytest.mark.demand(16)
async def test_each_role_reaches_what_it_may_and_nothing_else(w: World) -> None:
    kinds = {role: await make(w, role.partition(":")[0], role=role) for role in ROLES}
    revoked, expired = await make(w, "gone"), await make(w, "late", role="reader", expires="1s")
    await w.http.delete("/v1/tokens/gone")
    w.state.clock = lambda clock=w.state.clock: clock() + 2  # type: ignore[method-assign, misc]  # the second is over
    nobody = {
        "revoked": revoked,
        "expired": expired,
        "no token": {},
        "a made-up token": {"authorization": "Bearer kheish_x"},
    }
    wrong = []
    for operation in OPERATIONS:
        path, needs_none = path_of(operation), operation.name in OPEN.split()
        for role, headers in kinds.items():
            found = await status(w, operation, path, headers)
            may = operation.name in placed(ROLES[role])
            if (found in (401, 403)) is may and not needs_none:
                wrong.append((role, operation.name, found))
        for kind, headers in nobody.items():
            found = await status(w, operation, path, headers)
            if not needs_none and found not in (401, 429):
                wrong.append((kind, operation.name, found))
    assert not wrong


@pytest.mark.demand(16)
@pytest.mark.parametrize("role", ["operator", "reader", "approver"])
async def test_a_token_for_some_sessions_reaches_only_these(w: World, role: str) -> None:
    ids: dict[str, dict[str, str]] = {}
    for session_id in ("team-a", "other"):
        agent_id = (await w.session(session_id))["agent_id"]
        asked = [approval(f"appr_{session_id}"), question(f"ques_{session_id}")]
        runs = [await w.waiting(one, session_id=session_id) for one in asked]
        ids[session_id] = {
            "session_id": session_id, "run_id": runs[0]["run_id"], "approval_id": asked[0].approval_id,
            "question_id": asked[1].question_id, "agent_id": agent_id,
        }  # fmt: skip
    headers, wrong = await make(w, "limited", role=role, sessions=["team-*"]), []
    may, order = placed(ROLES[role]), sorted(OPERATIONS, key=lambda one: (one.method == "DELETE", one.method != "GET"))
    for operation in order:
        name, is_thing = (
            operation.name,
            any(key in operation.path for key in ("{run_id}", "{approval_id}", "{question_id}", "{agent_id}")),
        )
        theirs = await status(w, operation, path_of(operation, **ids["other"]), headers)
        if name not in may:
            right = {403}
        elif "{session_id}" in operation.path or is_thing:
            # A stream is stopped at its query before the filter is asked; it is asked without one below.
            right = {404} if is_thing else {403}
            right |= {400} if "event-stream" in operation.media else set()
            right |= {403} if "mailbox" in operation.path else set()  # which name an agent or a session
        elif name in placed(FREE):
            right = set(range(200, 600)) - {401, 403}
        else:
            right = {400, 403} if "event-stream" in operation.media else {403}
        if theirs not in right:
            wrong.append((name, "theirs", theirs))
        if name in may and ("{session_id}" in operation.path or is_thing):
            own = await status(w, operation, path_of(operation, **ids["team-a"]), headers)
            if own in (401, 403) or (own == 404 and is_thing and name not in placed(LACKING)):
                wrong.append((name, "own", own))
        if name in may & placed(LISTS):
            for session_id, good in (("team-a", (200, 400)), ("other", (403,))):
                if name == "events" and session_id == "team-a":
                    continue
                found = await status(w, operation, f"{operation.path}?session={session_id}", headers)
                if found not in good:
                    wrong.append((name, session_id, found))
        if name in may and "event-stream" in operation.media:
            w.http.headers.pop("authorization", None)
            hidden = await w.http.get(path_of(operation, **ids["other"]), headers=headers)
            if hidden.status_code not in (403, 404):
                wrong.append((name, "streamed", hidden.status_code))
    assert not wrong


async def test_a_check_tells_no_rules_of_a_session_that_the_token_does_not_see(w: World) -> None:
    for session_id in ("team-a", "other"):
        await w.session(session_id, permission_rules=[{"tool": "bash", "match": "secret-tool", "decision": "allow"}])
    headers = await make(w, "limited", role="reader", sessions=["team-*"])
    call = {"tool": "bash", "arguments": {"command": "secret-tool"}}
    for body, right in (
        ({}, 200), ({"session_id": "team-a"}, 200), ({"session": "team-a"}, 200), ({"session_id": "other"}, 403),
        ({"session": "other"}, 403), ({"session_id": "not-there"}, 403),
    ):  # fmt: skip
        answer = await w.http.post("/v1/permissions/check", json=call | body, headers=headers)
        assert answer.status_code == right, body
