// Projects: the board by status, with holder, attempt and what a task waits for.

import { html } from "lit-html";
import { repeat } from "lit-html/repeat";
import { button, change, may } from "../acting.js";
import { at } from "../api.js";
import { open } from "../dialogs.js";
import { list } from "../lists.js";
import { failure, joined, olderSoon } from "../paged.js";
import { badge, empty, fields, raw, shown, time } from "../parts.js";
import { to } from "../router.js";
import { off, why } from "../shell.js";
import { read } from "../store.js";
import { count, short, visible, words } from "../text.js";
import { range } from "../windowed.js";

const KINDS = ["project.", "project_task.", "definition."];

export const title = ({ params }) => params.id || "Projects";

export function view({ params, query }) {
  if (!params.id) return all();
  return query.task ? task(params.id, query.task) : board(params.id);
}

function all() {
  return html`<div class="head"><h1>Projects</h1><div class="buttons"><a class="button" href="#/edit/projects">New project</a></div></div>
    ${list({
      path: "/v1/projects?limit=100",
      kinds: KINDS,
      label: "Projects",
      none: "There is no project yet.",
      command: "kheish projects edit NAME",
      open: (item) => to`projects/${item.id}`,
      columns: [
        ["Project", (item) => html`<strong>${short(item.title || item.id, 70)}</strong>`],
        ["State", (item) => badge(item.state)],
        ["Tasks", (item) => Object.entries(item.counts).map(([status, number]) => `${number} ${words(status)}`).join(", ") || "none"],
        ["Claimed", (item) => String(item.claimed), "num"],
      ],
    })}`;
}

function board(id) {
  const entry = read(`${at`/v1/projects/${id}/board`}?limit=20`, KINDS);
  return html`<div class="head"><h1>${visible(entry.data?.title || id)}</h1><div class="buttons"><a class="button" href=${to`edit/projects/${id}`}>Edit</a>
      <button class="main" data-key="n" ?disabled=${off() || !may("operator")} title=${why()} @click=${() => add(id)}>New task…</button></div></div>
    ${shown(entry, (item) => html`<p>${badge(item.state)} <span class="soft">${item.claimed} claimed</span></p>
      ${item.columns.some((column) => column.count) ? html`<div class="board">${item.columns.filter((column) => column.count).map((column) => columnOf(id, column))}</div>` : empty("No task yet.", `kheish projects tasks add ${id} "…"`)}`)}`;
}

const keyOf = (one) => one.task_id;

/** Return the tasks of one status: those near the screen; more come as one scrolls. */
function columnOf(id, column) {
  const path = `${at`/v1/projects/${id}/tasks`}?status=${column.status}`;
  const one = joined(path, column, keyOf, { isRenewed: true });
  const { from, to, above, below } = range(path, one.rows, keyOf);
  if (to === one.rows.length) olderSoon(one);
  return html`<section data-window=${path} aria-label=${words(column.status)}><h2>${badge(column.status)} ${count(column.count)}</h2>
    <div class="gap" .style=${`height: ${above}px`}></div>
    ${repeat(one.rows.slice(from, to), keyOf, (task_, index) => card(id, task_, from + index))}
    <div class="gap" .style=${`height: ${below}px`}></div>${failure(one)}</section>`;
}

function card(id, one, index) {
  return html`<div class="card" data-at=${index}><a data-row href="${to`projects/${id}`}?task=${encodeURIComponent(one.task_id)}"><strong>${short(one.title, 80)}</strong></a>
    <div class="soft">${one.claim ? html`held by ${visible(one.claim.by)}, attempt ${one.attempt}` : one.assignee ? html`for ${visible(one.assignee)}` : "nobody"}
    ${one.waits_for.length ? html`<br>waits for ${one.waits_for.map((other) => html`<code>${short(other, 20)}</code> `)}` : ""}${one.block_kind ? html`<br>${words(one.block_kind)}` : ""}${one.reason ? html`<br>${short(one.reason, 90)}` : ""}</div></div>`;
}

function task(id, taskId) {
  const path = at`/v1/projects/${id}/tasks/${taskId}`;
  const entry = read(path, KINDS);
  return html`<div class="head"><h1>${entry.data ? short(entry.data.title, 120) : "Task"}</h1></div>
    <p><a href=${to`projects/${id}`}>← ${visible(id)}</a></p>
    ${shown(entry, (one) => html`<p>${badge(one.status)}${one.reason ? html` ${visible(one.reason)}` : ""}</p><p>${visible(one.description || "")}</p>
      <div class="buttons">${one.status === "pending" || one.status === "blocked" ? button({ label: "Start", path: `${path}/start`, body: {}, done: "Started." }) : ""}
        ${one.ended_at ? "" : button({ label: "Cancel", method: "PATCH", path, body: { status: "cancelled" }, confirm: "The task ends without a result.", isBad: true, done: "Cancelled." })}
        ${one.question_id ? html`<a class="button" href=${to`inbox/${one.question_id}`}>Answer</a>` : ""}</div>
      ${fields([
        ["Holder", one.claim ? `${one.claim.by}, attempt ${one.claim.attempt}` : "nobody"],
        ["Assignee", one.assignee],
        ["Waits for", one.waits_for.join(", ")],
        ["Blocks", one.blocks.join(", ")],
        ["Run", one.run_id ? html`<a href=${to`runs/${one.run_id}`}>${one.run_id}</a>` : ""],
        ["Created", html`${time(one.created_at)} by ${visible(one.created_by)}`],
        ["Ended", one.ended_at ? time(one.ended_at) : "not yet"],
        ["Output", one.output],
        ["File", html`<code>${visible(one.path)}</code>`],
      ])}${raw(one)}`)}`;
}

async function add(id) {
  const members = read(`${at`/v1/projects/${id}/members`}?limit=200`);
  const made = await open((done) => html`<form @submit=${(event) => {
    event.preventDefault();
    done(Object.fromEntries(new FormData(event.target)));
  }}><h2 id="dialog-title">New task</h2>
    <label>Title <input name="title" required></label>
    <label>Description <textarea name="description" rows="4"></textarea></label>
    <label>For <select name="assignee"><option value="">nobody yet</option>${(members.data?.items || []).map((one) => html`<option>${one.member}</option>`)}</select></label>
    <div class="buttons"><button class="main">Create</button><button type="button" @click=${() => done(null)}>Cancel</button></div></form>`);
  if (made) await change("POST", at`/v1/projects/${id}/tasks`, Object.fromEntries(Object.entries(made).filter(([, value]) => value)), "Created.");
}

export const keys = ({ params }) => (params.id ? { n: ["new task", () => document.querySelector('[data-key="n"]:not(:disabled)')?.click()] } : {});
