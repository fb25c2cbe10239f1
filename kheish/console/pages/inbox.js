// What waits for a person: approvals and questions; allow, deny with a reason, edit, answer, several at once.

import { html } from "lit-html";
import { repeat } from "lit-html/repeat";
import { at, key } from "../api.js";
import { change, may } from "../acting.js";
import { approval } from "../approval.js";
import { prompt } from "../dialogs.js";
import { failure, joined, olderSoon } from "../paged.js";
import { badge, empty, problem, shown, time } from "../parts.js";
import { question } from "../question.js";
import { go, to } from "../router.js";
import { APPROVALS, QUESTIONS, off, waiting, why } from "../shell.js";
import { changed, read } from "../store.js";
import { count, short, whole } from "../text.js";
import { range } from "../windowed.js";

const marked = new Set();
const keyOf = (one) => one.id;

export const title = () => "Inbox";

export function view({ params }) {
  const { approvals, questions } = waiting();
  const lists = [everything(APPROVALS, approvals.data, "approval_id"), everything(QUESTIONS, questions.data, "question_id")].filter(Boolean);
  const items = sorted(lists);
  const ids = new Set(items.map((one) => one.id));
  for (const id of [...marked]) if (!ids.has(id)) marked.delete(id);
  const chosen = params.id;
  return html`
    <div class="head"><h1>Inbox</h1><span class="soft">${items.length ? `${count(items.length)}${lists.some((one) => one.cursor) ? "+" : ""} waiting` : ""}</span></div>
    <div class="inbox ${chosen ? "one" : ""}">
      <div class="list">
        ${batch()}
        ${approvals.error ? problem(approvals.error) : ""}
        ${lists.map(failure)}
        ${items.length ? queue(items, chosen) : approvals.data && questions.data ? empty("Nothing waits for you. Approvals and questions of agents appear here.", "kheish inbox") : ""}
      </div>
      <div class="decided">${chosen ? detail(chosen) : items.length ? html`<p class="soft keys">Choose a row: <kbd>j</kbd> <kbd>k</kbd> and <kbd>Enter</kbd>.</p>` : ""}</div>
    </div>`;
}

/** Return all items of a list: what waits longest is on its last page. */
function everything(path, data, field) {
  if (!data) return null;
  const one = joined(path, data, (item) => item[field], { isRenewed: true });
  olderSoon(one);
  return one;
}

let before = { rows: [], items: [] };

/** Return the items of both lists, the oldest first; the same array while the lists are the same. */
function sorted(lists) {
  const rows = lists.map((one) => one.rows);
  if (rows.length !== before.rows.length || rows.some((one, index) => one !== before.rows[index])) {
    const items = rows.flat().map((one) => ({ id: one.approval_id ?? one.question_id, at: one.requested_at ?? one.asked_at, ...one }));
    before = { rows, items: items.sort((one, other) => (one.at < other.at ? -1 : 1)) };
  }
  return before.items;
}

function queue(items, chosen) {
  const { from, to, above, below } = range("inbox", items, keyOf);
  return html`<ul class="queue" data-window="inbox"><li class="gap" aria-hidden="true" .style=${`height: ${above}px`}></li>
    ${repeat(items.slice(from, to), keyOf, (one, at) => line(one, chosen, from + at))}
    <li class="gap" aria-hidden="true" .style=${`height: ${below}px`}></li></ul>`;
}

function line(one, chosen, at) {
  const isApproval = one.id.startsWith("appr");
  const text = isApproval ? summary(one) : one.questions[0]?.text;
  return html`<li data-at=${at}>
    ${isApproval && may("approver") ? html`<input type="checkbox" aria-label="Select ${short(text, 60)}" .checked=${marked.has(one.id)} @change=${(event) => {
      event.target.checked ? marked.add(one.id) : marked.delete(one.id);
      changed();
    }}>` : ""}
    <a data-row href=${to`inbox/${one.id}`} aria-current=${one.id === chosen}>
      <span class="what"><strong>${isApproval ? one.tool : "Question"}</strong> ${short(text, 90)}</span>
      <span class="soft">${one.session_id} · ${time(one.at)}${isApproval ? html` · ${badge(one.risk, "risk ")}` : ""}${one.expires_at ? html` · expires ${time(one.expires_at)}` : ""}</span>
    </a></li>`;
}

/** Return the call in a few words: its command, path or address. */
export function summary(one) {
  const { command, path, url, objective, phase } = one.arguments || {};
  return whole(command ?? path ?? url ?? phase ?? objective ?? JSON.stringify(one.arguments || {}));
}

function batch() {
  if (!marked.size) return "";
  return html`<p class="buttons batch"><strong>${marked.size} selected</strong>
    <button ?disabled=${off()} title=${why()} @click=${() => together("allow")}>Allow</button>
    <button ?disabled=${off()} title=${why()} @click=${() => together("deny")}>Deny</button></p>`;
}

async function together(decision) {
  const ids = [...marked];
  const reason = await prompt({
    title: `${decision === "allow" ? "Allow" : "Deny"} ${ids.length} calls`,
    text: "All of them are decided, or none.",
    field: "Reason",
    action: decision === "allow" ? "Allow all" : "Deny all",
    isBad: decision === "deny",
  });
  if (reason === null) return;
  const body = { approval_ids: ids, decision, ...(reason ? { reason } : {}) };
  if (await change("POST", "/v1/approvals/resolve", body, `${ids.length} decided.`)) marked.clear();
  changed();
}

function detail(id) {
  const isApproval = id.startsWith("appr");
  const path = isApproval ? at`/v1/approvals/${id}` : at`/v1/questions/${id}`;
  const entry = read(path, isApproval ? ["approval."] : ["question."]);
  return html`<p class="back"><a href="#/inbox">← Inbox</a></p>${shown(entry, (one) => (isApproval ? approval(one, { decide }) : question(one, { answer, decline })))}`;
}

async function decide(one, body) {
  const path = at`/v1/approvals/${one.approval_id}/resolve`;
  const done = await change("POST", path, { ...body, idempotency_key: key() }, body.decision === "allow" ? "Allowed." : "Denied.");
  if (done) next();
}

async function answer(one, answers) {
  const done = await change("POST", at`/v1/questions/${one.question_id}/answer`, { answers, idempotency_key: key() }, "Answered.");
  if (done) next();
}

async function decline(one) {
  const reason = await prompt({ title: "Decline to answer", field: "Reason", action: "Decline" });
  if (reason === null) return;
  const body = { ...(reason ? { reason } : {}), idempotency_key: key() };
  if (await change("POST", at`/v1/questions/${one.question_id}/decline`, body, "Declined.")) next();
}

function next() {
  go("#/inbox");
}

function press(name) {
  document.querySelector(`[data-key="${name}"]:not(:disabled)`)?.click();
}

export const keys = ({ params }) => (params.id ? {
  a: ["allow the call on show", () => press("a")],
  d: ["deny it, with a reason", () => press("d")],
  e: ["edit its arguments", () => press("e")],
} : {});
