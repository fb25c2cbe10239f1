// Journal lines folded into what people read: what was said, turns with their tool calls, ends of runs, notes.

import { short, visible, whole, words } from "./text.js";

/**
 * Return the items of some entries, oldest first. An item is {type, key, n, at, …}: `said` (by a person or an agent),
 * `turn` (calls of one answer of the model), `end` of a run, `note` (everything else, in one line).
 */
export function fold(entries) {
  const items = [];
  const calls = new Map(); // run/call → the call
  const turns = new Map(); // run/turn → the turn
  const callOf = (entry) => {
    const key = `${entry.run}/${entry.data.call_id}`;
    if (!calls.has(key)) {
      const call = { id: entry.data.call_id, name: entry.data.tool || "", arguments: entry.data.arguments };
      calls.set(key, call);
      turnOf(entry, "…").calls.push(call);
    }
    return calls.get(key);
  };
  const turnOf = (entry, number) => {
    const key = `${entry.run}/${number}`;
    if (!turns.has(key)) {
      const turn = { type: "turn", key: `t${entry.n}`, n: entry.n, at: entry.at, run: entry.run, number, calls: [], text: "", usage: null };
      turns.set(key, turn);
      items.push(turn);
    }
    return turns.get(key);
  };
  for (const entry of entries) {
    const step = STEPS[entry.kind];
    if (step) step(entry, { items, turnOf, callOf, calls });
    else if (!QUIET.has(entry.kind)) items.push(note(entry));
  }
  return items;
}

const QUIET = new Set(["run.started", "run.requeued", "checkpoint", "model.requested", "memory.recorded", "hooks.chosen", "run.resumed", "message.sender_told"]);

const STEPS = {
  "run.submitted": (entry, { items }) => {
    const { request, run_kind: kind } = entry.data;
    items.push({ type: "said", isPerson: true, key: `s${entry.n}`, n: entry.n, at: entry.at, by: request.actor, kind, run: entry.run, text: spoken(request.items), assets: request.items.flatMap((item) => item.asset_id || []) });
  },
  "model.responded": (entry, { turnOf, calls, items }) => {
    const { turn: number, text, calls: made, usage } = entry.data;
    if (!made?.length) {
      items.push({ type: "said", key: `s${entry.n}`, n: entry.n, at: entry.at, by: "agent", run: entry.run, text: whole(text), usage });
      return;
    }
    const turn = turnOf(entry, number);
    turn.text = whole(text);
    turn.usage = usage;
    for (const one of made) {
      const call = { id: one.id, name: one.name, arguments: one.arguments };
      calls.set(`${entry.run}/${one.id}`, call);
      turn.calls.push(call);
    }
  },
  "permission.decided": (entry, { callOf }) => {
    callOf(entry).decision = entry.data;
  },
  "approval.requested": (entry, { callOf, calls }) => {
    const call = callOf(entry);
    call.approval = { id: entry.data.approval_id, status: "pending", risk: entry.data.risk, why: entry.data.why, diff: entry.data.preview?.diff };
    calls.set(entry.data.approval_id, call);
  },
  "approval.resolved": (entry, { calls, items }) => {
    const call = calls.get(entry.data.approval_id);
    if (!call?.approval) items.push(note(entry));
    else Object.assign(call.approval, { status: entry.data.outcome, by: entry.data.person || entry.data.by, reason: entry.data.reason });
  },
  "question.asked": (entry, { callOf, calls }) => {
    const call = callOf(entry);
    call.question = { id: entry.data.question_id, status: "pending", text: entry.data.questions?.[0]?.text };
    calls.set(entry.data.question_id, call);
  },
  "question.answered": (entry, { calls, items }) => {
    const call = calls.get(entry.data.question_id);
    if (!call?.question) items.push(note(entry));
    else Object.assign(call.question, { status: entry.data.outcome, by: entry.data.by });
  },
  "tool.started": (entry, { callOf }) => {
    const call = callOf(entry);
    call.startedAt = entry.at;
    call.arguments ??= entry.data.arguments;
  },
  "tool.finished": (entry, { callOf }) => {
    Object.assign(callOf(entry), { endedAt: entry.at, isError: entry.data.is_error, content: entry.data.content, detail: entry.data.detail, code: entry.data.code });
  },
  "model.failed": (entry, { items }) => {
    items.push({ type: "end", isBad: true, key: `e${entry.n}`, n: entry.n, at: entry.at, status: "failed", title: "The model did not answer", text: entry.data.error?.message, again: entry.data.retry_in });
  },
  "run.completed": (entry, { items }) => items.push({ type: "end", key: `e${entry.n}`, n: entry.n, at: entry.at, run: entry.run, status: "completed" }),
  "run.failed": (entry, { items }) => items.push({ type: "end", isBad: true, key: `e${entry.n}`, n: entry.n, at: entry.at, run: entry.run, status: "failed", text: entry.data.error?.message }),
  "run.cancelled": (entry, { items }) => items.push({ type: "end", isBad: true, key: `e${entry.n}`, n: entry.n, at: entry.at, run: entry.run, status: "cancelled", text: entry.data.reason }),
  "run.interrupted": (entry, { items }) => items.push({ type: "end", isBad: true, key: `e${entry.n}`, n: entry.n, at: entry.at, run: entry.run, status: "interrupted", text: entry.data.reason }),
  "run.waiting": () => {},
};

function spoken(items) {
  return items.filter((item) => item.type !== "asset").map((item) => whole(item.text)).join("\n");
}

function note(entry) {
  const { kind, data } = entry;
  const [noun, event] = kind.split(".");
  const about = data.title || data.name || data.objective || data.path || data.reason || data.status || data.subject || data.phase || "";
  return { type: "note", key: `n${entry.n}`, n: entry.n, at: entry.at, by: entry.actor, text: `${words(noun)} ${words(event || "")}${about ? `: ${short(about, 140)}` : ""}`, data };
}

/** Return whether a turn needs the reader's eyes: a failure, or a decision that waits. */
export function isLoud(turn) {
  return turn.calls.some((call) => call.isError || call.approval?.status === "pending" || call.question?.status === "pending");
}

/** Return a turn in one line. */
export function gist(turn) {
  const names = turn.calls.map((call) => {
    const { command, path, url } = call.arguments || {};
    const about = command ?? path ?? url;
    return about ? `${call.name} ${short(about, 50)}` : call.name;
  });
  return visible([turn.text ? short(turn.text, 80) : "", names.join(" · ")].filter(Boolean).join(" — "));
}
