// Pieces of pages: states, links, problems, what is empty or still loading, diffs, fields.

import { html, nothing } from "lit-html";
import { ago, visible, whole, words, yaml } from "./text.js";

// Shape and word, not colour alone.
const SHAPES = {
  good: "●",
  busy: "◐",
  wait: "◆",
  bad: "✕",
  off: "○",
};
const TONES = {
  good: ["completed", "satisfied", "succeeded", "allowed", "answered", "ready", "active", "trusted", "accepted", "delivered", "acked", "posted", "settled", "done", "verified", "ok", "valid", "serving", "resolved", "granted", "retained"],
  busy: ["running", "busy", "queued", "starting", "in_progress", "delivering", "retrying", "dispatched", "claimed", "begun"],
  wait: ["waiting_for_approval", "waiting_for_question", "waiting_for_agent", "waiting", "pending", "blocked", "in_review", "paused", "not_ready", "untrusted", "warning", "medium", "held", "interrupted", "budget_limited", "draft", "open"],
  bad: ["failed", "denied", "error", "dead_letter", "invalid", "tampered", "revoked", "failing", "high", "refused", "expired", "rejected", "ERROR", "CRITICAL"],
};
const TONE = Object.fromEntries(Object.entries(TONES).flatMap(([tone, names]) => names.map((name) => [name, tone])));

/** Return a state as a shape, a colour and its word. */
export function badge(state, prefix = "") {
  const tone = TONE[state] || "off";
  return html`<span class="badge ${tone}"><span aria-hidden="true">${SHAPES[tone]}</span> ${prefix}${words(state)}</span>`;
}

/** Return a time with its exact value as a tooltip. */
export function time(stamp) {
  return stamp ? html`<time datetime=${stamp} title=${stamp}>${ago(stamp)}</time>` : html`<span class="soft">–</span>`;
}

/** Return the page of a problem document: what is wrong, where, and what to do. */
export function problem(error) {
  if (error.status === 404 && error.document?.domain === "request" && !error.document.id) {
    return html`<div class="card"><p><strong>This daemon does not have it.</strong></p><p class="soft">${visible(error.message)}</p></div>`;
  }
  const rows = error.problems?.length ? error.problems.map((one) => [place(one), one.message, one.suggestion]) : (error.errors || []).map((one) => [one.path, one.message, null]);
  return html`<div class="card problem" role="alert">
    <p><strong>${visible(error.message)}</strong></p>
    ${rows.length ? html`<ul>${rows.map(([where, text, how]) => html`<li><code>${visible(where)}</code> ${visible(text)}${how ? html` <span class="soft">${visible(how)}</span>` : ""}</li>`)}</ul>` : ""}
    ${error.code ? html`<p class="soft"><code>${error.code}</code></p>` : ""}
  </div>`;
}

/** Return the place of a file's problem: path:line:column. */
export function place(one) {
  return [one.path, one.line, one.column].filter((part) => part !== null && part !== undefined).join(":");
}

/** Return the sentence of an empty page, and the command that makes the first one. */
export function empty(text, command) {
  return html`<div class="empty"><p>${text}</p>${command ? html`<p><code>${command}</code></p>` : ""}</div>`;
}

/** Return what a store's entry shows: its skeleton, its problem, or `view(data)`; old content stays. */
export function shown(entry, view) {
  if (entry.data !== undefined) return html`${entry.error ? problem(entry.error) : ""}${view(entry.data)}`;
  if (entry.error) return problem(entry.error);
  if (Date.now() - entry.since < 150) return nothing;
  return html`<div class="skeleton" aria-busy="true" aria-label="Loading"><i></i><i></i><i></i></div>`;
}

const DIFF_LINES = 5000;
const DIFF_PARTS = 300; // elements

/**
 * Return a unified diff with its lines marked by sign and colour. Neighbours of one kind are one element; what follows
 * the first `most` elements has no colours.
 */
export function diff(text, most = DIFF_PARTS) {
  const lines = visible(text).split("\n");
  if (lines.at(-1) === "") lines.pop();
  const parts = [];
  for (const line of lines.slice(0, DIFF_LINES)) {
    const kind = parts.length < most ? sign(line) : "";
    if (parts.at(-1)?.kind === kind) parts.at(-1).lines.push(line);
    else parts.push({ kind, lines: [line] });
  }
  const rows = parts.map((part) => html`<span class=${part.kind}>${part.lines.join("\n")}\n</span>`);
  return html`<pre class="diff" tabindex="0" aria-label="Diff">${rows}${lines.length > DIFF_LINES ? html`<span class="hunk">… ${lines.length - DIFF_LINES} more lines</span>` : ""}</pre>`;
}

function sign(line) {
  if (/^(\+\+\+|---|diff |index )/.test(line)) return "file";
  if (line.startsWith("@@")) return "hunk";
  return line.startsWith("+") ? "add" : line.startsWith("-") ? "del" : "";
}

/** Return text of others, as it is. */
export function pre(value, label = "Text") {
  return html`<pre tabindex="0" aria-label=${label}>${visible(whole(value)).slice(0, 100_000)}</pre>`;
}

/** Return a document of the API, in full, folded. */
export function raw(value, title = "As JSON") {
  return html`<details class="raw"><summary>${title}</summary><pre tabindex="0" aria-label=${title}>${visible(JSON.stringify(value, null, 2)).slice(0, 200_000)}</pre></details>`;
}

/** Return pairs of a name and a template as a list of fields; pairs without a value are left out. */
export function fields(pairs) {
  const rows = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<dl class="fields">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${typeof value === "string" ? visible(value) : value}</dd></div>`)}</dl>`;
}

/** Return any value of the API: short ones as text, documents as indented text. */
export function anything(value) {
  if (value === null || value === undefined) return html`<span class="soft">–</span>`;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "object") return visible(value);
  if (Array.isArray(value) && !value.length) return html`<span class="soft">none</span>`;
  const known = Array.isArray(value) ? value : Object.fromEntries(Object.entries(value).filter(([, one]) => one !== null));
  if (!Array.isArray(value) && !Object.keys(known).length) return html`<span class="soft">none</span>`;
  return html`<pre tabindex="0" aria-label="Value">${visible(yaml(known)).trim().slice(0, 20_000)}</pre>`;
}
