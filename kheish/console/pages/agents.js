// Agents: the tree of who works and who waits on whom; what a subtree costs; the worktree's diff; the mailbox.

import { html } from "lit-html";
import { button } from "../acting.js";
import { at } from "../api.js";
import { list } from "../lists.js";
import { markdown } from "../markdown.js";
import { badge, diff, empty, fields, pre, raw, shown, time } from "../parts.js";
import { to } from "../router.js";
import { read } from "../store.js";
import { cost, count, short, visible, when, whole, words, yaml } from "../text.js";

const KINDS = ["agent.", "run.", "message."];

export const title = () => "Agents";

export function view({ params }) {
  return params.id ? one(params.id) : all();
}

function all() {
  const entry = read("/v1/agents?limit=200", KINDS);
  return html`<div class="head"><h1>Agents</h1></div>${shown(entry, ({ items, next_cursor: next }) => {
    if (!items.length) return empty("There is no agent yet: each session has one.", 'kheish run hello "Say hello"');
    const byParent = Map.groupBy ? Map.groupBy(items, (agent) => agent.parent) : grouped(items);
    const ids = new Set(items.map((agent) => agent.agent_id));
    const roots = items.filter((agent) => !ids.has(agent.parent));
    return html`<ul class="tree" aria-label="Agents">${roots.map((agent) => branch(agent, byParent, 0))}</ul>
      ${next ? html`<p class="soft">These are the newest ${count(items.length)} agents; the page of a session's agent has all below it.</p>` : ""}`;
  })}`;
}

function grouped(items) {
  const groups = new Map();
  for (const agent of items) groups.set(agent.parent, [...(groups.get(agent.parent) || []), agent]);
  return groups;
}

function branch(agent, byParent, depth) {
  const children = depth < 12 ? byParent.get(agent.agent_id) || [] : [];
  const usage = agent.usage.subtree;
  return html`<li>
    <span data-row tabindex="-1">${badge(agent.status)}${agent.waiting_on ? html` <span class="soft">on ${words(agent.waiting_on)}</span>` : ""}
    <a href=${to`agents/${agent.agent_id}`}>${visible(agent.nickname || (agent.parent ? agent.name : agent.session_id))}</a>
    <span class="soft">${usage.cost_usd === null ? "" : `${cost(usage.cost_usd)}${agent.children ? " with its children" : ""}`}${agent.mailbox_pending ? ` · ${agent.mailbox_pending} messages` : ""}${agent.worktree ? ` · worktree ${agent.worktree.branch}` : ""}${agent.agent ? ` · ${agent.agent}` : ""}</span></span>
    ${children.length ? html`<ul>${children.map((child) => branch(child, byParent, depth + 1))}</ul>` : ""}</li>`;
}

function one(id) {
  const entry = read(at`/v1/agents/${id}`, KINDS);
  return html`<div class="head"><h1>Agent</h1></div>${shown(entry, (agent) => html`
    <p>${badge(agent.status)}${agent.waiting_on ? html` on ${words(agent.waiting_on)}` : ""} <strong>${visible(agent.nickname || agent.name)}</strong> <code>${visible(agent.path)}</code></p>
    <div class="buttons"><a class="button" href=${to`sessions/${agent.session_id}`}>Session</a>
      ${agent.parent ? html`<a class="button" href=${to`agents/${agent.parent}`}>Parent</a>` : ""}
      ${agent.parent && agent.status !== "closed" ? button({ label: "Close", path: at`/v1/agents/${id}/close`, confirm: "The agent and all below it accept no more work.", body: { cascade: true }, isBad: true, done: "Closed." }) : ""}
      ${button({ label: "Message", path: at`/v1/agents/${id}/mailbox`, field: "Message", isRequired: true, body: (text) => ({ type: "message", payload: text }), done: "Posted." })}</div>
    ${fields([
      ["Spawned", agent.spawned_at ? when(agent.spawned_at) : ""],
      ["Settled", agent.settled_at ? when(agent.settled_at) : ""],
      ["Isolation", agent.isolation],
      ["Cost", `${cost(agent.usage.subtree.cost_usd)} with its children, ${cost(agent.usage.own.cost_usd)} by itself`],
      ["Worktree", agent.worktree ? html`<code>${visible(agent.worktree.path)}</code> on ${visible(agent.worktree.branch)}` : ""],
      ["Unfinished", agent.unfinished.length ? pre(yaml(agent.unfinished).trim(), "Unfinished") : ""],
    ])}
    ${agent.result?.output ? html`<h2>Result</h2>${markdown(whole(agent.result.output))}` : ""}
    ${agent.worktree ? worktree(id) : ""}
    ${agent.children ? tree(id) : ""}
    <h2>Mailbox</h2>${mailbox(id)}
    ${raw(agent)}`)}`;
}

function worktree(id) {
  const entry = read(at`/v1/agents/${id}/worktree`, ["agent.", "run."]);
  return html`<h2>Changes in the worktree</h2>${shown(entry, (one_) => html`${one_.diff ? diff(one_.diff) : html`<p class="soft">None.</p>`}
    ${one_.exists ? html`<div class="buttons">${button({ label: "Merge", path: at`/v1/agents/${id}/worktree`, body: { action: "merge" }, confirm: "The branch is merged into its base.", done: "Merged." })}${button({ label: "Discard", path: at`/v1/agents/${id}/worktree`, body: { action: "discard" }, confirm: "The worktree and its branch are removed.", isBad: true, done: "Discarded." })}</div>` : ""}`)}`;
}

function tree(id) {
  const entry = read(at`/v1/agents/${id}/tree`, KINDS);
  const node = (one_) => html`<li>${badge(one_.agent.status)} <a href=${to`agents/${one_.agent.agent_id}`}>${visible(one_.agent.name)}</a>${one_.children?.length ? html`<ul>${one_.children.map(node)}</ul>` : ""}</li>`;
  return html`<h2>Below it</h2>${shown(entry, (one_) => html`<ul class="tree">${(one_.children || []).map(node)}</ul>`)}`;
}

function mailbox(id) {
  return list({
    path: `${at`/v1/agents/${id}/mailbox`}?limit=50`,
    kinds: ["message."],
    label: "Messages",
    none: "No message.",
    columns: [
      ["From", (one_) => visible(one_.from_name || one_.from)],
      ["Message", (one_) => short(one_.subject || (typeof one_.payload === "string" ? one_.payload : JSON.stringify(one_.payload)), 140)],
      ["State", (one_) => html`${badge(one_.state)}${one_.last_error ? html` <span class="soft">${short(one_.last_error, 80)}</span>` : ""}`],
      ["Posted", (one_) => time(one_.posted_at)],
      ["", (one_) => (one_.state === "dead_letter" ? button({ label: "Redeliver", path: at`/v1/agents/${id}/mailbox/${one_.message_id}/redeliver`, body: {}, done: "Sent again." }) : "")],
    ],
  });
}
