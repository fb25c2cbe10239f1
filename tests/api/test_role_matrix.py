"""Every operation with every kind of token: allowed, 403, or hidden by the token's filter (404). Made from the table.

What must be so is written here by name, not taken from `roles`: a new operation fails until it is placed.
"""

from __future__ import annotations

import pytest

from kheish.api.http.operation import Operation
from kheish.api.operations import OPERATIONS
from kheish.domain import events
from kheish.domain.deliveries import verbs
from tests.api.harness import World, approval, question
from tests.api.test_tokens import make

OPEN = "health ready login_page log_in return_from_login receive_ingress"
LOGIN = "make_login_link who_am_i log_out"
ANSWERS = (
    "list_approvals get_approval resolve_approval resolve_approvals list_questions get_question answer_question "
    "decline_question"
)
LOOK = (
    "metrics openapi problems config usage logs events state_log state_blame state_head list_sessions get_session "
    "session_history session_diff session_changes search_session session_journal session_events list_tasks list_runs "
    "get_run run_events permissions list_audit list_flows get_flow flow_events flow_report list_versions "
    "get_version list_trust get_trust get_trusted_skill diff_playbook blame_playbook "
    "runtime list_routes get_route route_history list_personas "
    "get_persona persona_history list_skills get_skill skill_history "
    "list_playbooks get_playbook playbook_history list_schedules get_schedule schedule_history schedule_next "
    "schedule_fires list_agents get_agent agent_tree agent_quotas "
    "list_worktrees get_worktree list_mail get_mail get_task task_output "
    "list_mcp get_mcp_server mcp_server_history get_trusted_server "
    "list_hooks get_hook hook_history hook_invocations get_trusted_hook "
    "list_connectors get_connector connector_history connector_receipts "
    "list_workers get_worker worker_history "
    "list_outputs get_output output_history get_trusted_output list_deliveries get_delivery "
    "list_channels get_channel channel_history list_channel_members list_channel_messages get_channel_message "
    "list_channel_threads get_channel_thread list_channel_turns list_channel_proposals get_channel_proposal "
    "list_projects get_project project_history list_project_members list_project_channels list_project_tasks "
    "get_project_task project_board get_goal list_goals list_memory get_memory memory_history list_proposals "
    "list_debug get_debug export_stack config_history permissions_history instructions instructions_history "
    "get_proposal session_memory list_assets get_asset get_asset_raw get_asset_content asset_references "
    "list_sources get_source source_history list_observations get_observation get_observation_raw"
)
CHECK = (
    "check_permission validate_route validate_persona validate_skill validate_playbook validate_schedule "
    "validate_channel validate_project validate_mcp_server validate_hook validate_output validate_source "
    "validate_connector validate_worker validate_config validate_permissions validate_instructions"
)
WORK = (
    "compact_session "
    "pause resume create_session change_session end_session interrupt_session fork_session delete_session start_run "
    "cancel_run retry_run cancel_runs start_flow cancel_flow attach_evidence "
    "trigger_schedule pause_schedule resume_schedule pause_project resume_project archive_project "
    "create_project_task change_project_task delete_project_task start_project_task claim_project_task "
    "extend_project_task release_project_task complete_project_task "
    "pause_channel resume_channel post_channel_message edit_channel_message remove_channel_message add_reaction "
    "remove_reaction change_channel_thread propose resolve_channel_proposal "
    "spawn_agent explain_spawn change_agent close_agent change_worktree steer_run post_mail ack_mail redeliver_mail "
    "create_task change_task stop_task put_goal change_goal clear_goal create_asset delete_asset collect_assets "
    "replay_delivery replay_deliveries resolve_delivery "
    "create_observations materialize_observations"
)
ADMIN = (
    "put_back_state accept_rewind pack_state reindex_state push_backup list_tokens create_token revoke_token "
    "list_secrets get_secret put_secret delete_secret note_revealed_secret rekey_secrets list_accounts "
    "list_grants list_leases get_subject revoke_subject revoke_lease revoke restore_access verify_audit "
    "publish_playbook release_version trust "
    "put_route delete_route put_persona delete_persona put_skill delete_skill put_playbook delete_playbook "
    "put_schedule delete_schedule put_project delete_project "
    "put_channel delete_channel add_channel_member remove_channel_member "
    "put_mcp_server delete_mcp_server call_mcp_tool connect_mcp_server "
    "plan_stack apply_stack put_config restore_config put_permissions restore_permissions put_instructions "
    "restore_instructions "
    "put_hook delete_hook test_hook test_route put_output delete_output test_output enable_output "
    "put_source delete_source rotate_source_token revoke_source_token "
    "put_connector delete_connector test_connector put_worker delete_worker test_worker examine_worker "
    "add_account get_login refresh_account remove_account "
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
    "observer:absent": f"{OPEN} create_observations",
}
#: what a token for some sessions may ask for though it is about no session
FREE = (
    f"{OPEN} {LOGIN} openapi check_permission list_sessions "
    "create_asset get_asset get_asset_raw get_asset_content asset_references delete_asset"
)
THINGS = ("run_id", "approval_id", "question_id", "agent_id", "delivery_id")
LISTS = (
    "list_assets list_deliveries list_runs list_approvals list_questions list_goals list_proposals list_agents "
    "agent_quotas events usage"
)
#: about a part of a thing that the test's things lack
LACKING = "get_debug get_worktree change_worktree get_mail ack_mail redeliver_mail"
NAMES = {operation.name for operation in OPERATIONS}


def placed(text: str) -> set[str]:
    names = set(text.split())
    assert names <= NAMES, names - NAMES
    return names


def path_of(operation: Operation, **ids: str) -> str:
    names = ("id", "version", "slot", "name", "subject", "lease", "flow_id", "session_id", "run_id", "approval_id")
    names += (
        "delivery_id",
        "asset_id",
        "observation_id",
        "connector",
        "scope",
        "owner",
        "path",
        "proposal_id",
        "thread",
        "member",
        "tool",
        "account",
        "artifact",
    )
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
    kinds = {role: await make(w, role.replace(":", "-"), role=role) for role in ROLES}
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


@pytest.mark.found("S14")
@pytest.mark.demand(16)
@pytest.mark.parametrize("role", ["operator", "reader", "approver"])
async def test_a_token_for_some_sessions_reaches_only_these(w: World, role: str) -> None:
    ids: dict[str, dict[str, str]] = {}
    for session_id in ("team-a", "other"):
        agent_id = (await w.session(session_id))["agent_id"]
        asked = [approval(f"appr_{session_id}"), question(f"ques_{session_id}")]
        runs = [await w.waiting(one, session_id=session_id) for one in asked]
        sent = verbs.created("out_1", "final", {"output": session_id})
        died = events.DeliveryDied(delivery_id=sent.delivery_id, output=session_id, reason="refused")
        w.move(runs[0]["run_id"], sent, died)
        ids[session_id] = {
            "delivery_id": sent.delivery_id,
            "session_id": session_id, "run_id": runs[0]["run_id"], "approval_id": asked[0].approval_id,
            "question_id": asked[1].question_id, "agent_id": agent_id,
        }  # fmt: skip
    headers, wrong = await make(w, "limited", role=role, sessions=["team-*"]), []
    may, order = placed(ROLES[role]), sorted(OPERATIONS, key=lambda one: (one.method == "DELETE", one.method != "GET"))
    for operation in order:
        name, is_thing = (
            operation.name,
            any(
                f"{{{key}}}" in operation.path
                for key in ("run_id", "approval_id", "question_id", "agent_id", "delivery_id")
            ),
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


@pytest.mark.found("S14")
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
