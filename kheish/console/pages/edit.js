// The editor of a Definition: the daemon's own problems by line, the version history, and what a save would conflict with.

import { html } from "lit-html";
import { may } from "../acting.js";
import { ask, at, Problem } from "../api.js";
import { FILES, KINDS } from "../definitions.js";
import { prompt } from "../dialogs.js";
import { list } from "../lists.js";
import { badge, problem } from "../parts.js";
import { go, to } from "../router.js";
import { off, why } from "../shell.js";
import { changed, refresh, say } from "../store.js";
import { short, visible, when } from "../text.js";

const MARKDOWN = new Set(["personas", "skills", "instructions"]);
const PAUSE = 350;
const PAGES = new Set(["playbooks", "schedules", "channels", "projects"]);
let draft = null; // {kind, id, text, saved, etag, problems, error, next}
let editor = null;

export const title = ({ params }) => `Edit ${params.id || params.kind}`;

export function start() {
  return () => {
    editor?.destroy();
    editor = null;
    draft = null;
  };
}

export function view({ params, query }) {
  const { kind } = params;
  const id = FILES[kind] ? kind : params.id || "";
  if (!KINDS.includes(kind) && !FILES[kind]) return html`<h1>Not found</h1><p>There is no kind <code>${visible(kind)}</code>.</p>`;
  if (draft?.kind !== kind || draft.asked !== id) load(kind, id, Number(query.line) || null);
  const isNew = !id;
  const errors = draft.problems.filter((one) => one.severity === "error").length;
  return html`<div class="head"><h1>${isNew ? `New: ${kind}` : visible(FILES[kind] || id)}</h1><div class="buttons">
      <button class="main" data-key="S" ?disabled=${off() || !may("admin") || draft.isLoading || errors > 0 || (draft.text === draft.saved && !isNew)} title=${why() || (errors ? "The problems below come first." : "")} @click=${save}>Save</button>
      ${isNew || FILES[kind] ? "" : html`<button class="bad" ?disabled=${off() || !may("admin")} title=${why()} @click=${remove}>Remove…</button>`}</div></div>
    ${isNew ? html`<label>Name <input id="name" .value=${draft.id} pattern="[a-z0-9][a-z0-9._\\-]*" @input=${(event) => {
      draft.id = event.target.value.trim();
      check();
    }}></label>` : html`<p class="soft"><code>${FILES[kind] || `${kind}/${id}`}</code>${draft.text === draft.saved ? "" : " · not saved"}</p>`}
    ${draft.error ? html`${problem(draft.error)}${draft.error.status === 412 ? html`<p class="buttons"><button @click=${theirs}>Load the other version</button><button class="bad" @click=${mine}>Save over it</button></p>` : ""}` : ""}
    <div class="editor" id="editor"></div>
    <div role="status" aria-live="polite">${draft.problems.length
      ? html`<ul class="plainlist">${draft.problems.map((one) => html`<li>${badge(one.severity)} <button class="plain" @click=${() => editor?.reveal(one.line || 1)}>line ${one.line ?? "–"}</button> ${visible(one.message)}${one.suggestion ? html` <span class="soft">Try: ${visible(one.suggestion)}</span>` : ""}</li>`)}</ul>`
      : html`<p class="soft">${draft.isChecked ? "The daemon finds no problem." : "The daemon checks what you write."}</p>`}</div>
    ${draft.next?.length ? html`<h2>It would fire next</h2><ol>${draft.next.map((one) => html`<li>${visible(one.local || one)}</li>`)}</ol>` : ""}
    ${isNew ? "" : html`<h2>History</h2>${list({
      path: `${address(kind, id)}/history?limit=30`,
      label: "Commits",
      none: "Not committed yet.",
      columns: [["Commit", (one) => html`<code>${one.commit.slice(0, 12)}</code>`], ["When", (one) => when(one.time), "line"], ["By", (one) => visible(one.author.name)], ["Message", (one) => short(one.message, 100)], ["", (one) => html`<button @click=${() => restore(one.commit)}>${FILES[kind] ? "Restore" : "Load this"}</button>`]],
    })}`}`;
}

/** Return the API's path of a file. */
function address(kind, id) {
  return FILES[kind] ? `/v1/${kind}` : at`/v1/${kind}/${id}`;
}

const text = (path) => ask("GET", path, { headers: { accept: MARKDOWN.has(draft.kind) ? "application/yaml, text/markdown" : "application/yaml" } });

async function load(kind, id, line) {
  editor?.destroy();
  editor = null;
  draft = { kind, id, asked: id, text: "", saved: "", etag: null, problems: [], error: null, isLoading: true, isChecked: false, next: null };
  const mine_ = draft;
  try {
    if (id) {
      const answer = await text(address(kind, id));
      Object.assign(mine_, { text: answer.data, saved: answer.data, etag: answer.etag });
    } else Object.assign(mine_, { text: "title: \n" });
  } catch (error) {
    mine_.error = error;
  }
  mine_.isLoading = false;
  if (draft !== mine_) return;
  changed();
  await mount(line);
  check();
}

async function mount(line) {
  try {
    const { open } = await import("../editor.js");
    await new Promise((resolve) => setTimeout(resolve, 30)); // the page is drawn
    const host = document.getElementById("editor");
    if (!host || editor) return;
    editor = open(host, draft.text, (value) => {
      draft.text = value;
      check();
    });
    if (line) editor.reveal(line);
  } catch (error) {
    draft.error = new Problem(0, { detail: `The editor could not be loaded: ${error.message}` });
    changed();
  }
}

let timer = null;

function check() {
  clearTimeout(timer);
  timer = setTimeout(validate, PAUSE);
  changed();
}

async function validate() {
  const asked = draft;
  if (!asked) return;
  const value = asked.text;
  const path = `/v1/${asked.kind}/validate${asked.id && !FILES[asked.kind] ? `?id=${encodeURIComponent(asked.id)}` : ""}`;
  try {
    const { data } = await ask("POST", path, { text: value });
    if (draft !== asked || asked.text !== value) return;
    Object.assign(asked, { problems: data.problems, isChecked: true, next: data.next || null });
  } catch (error) {
    if (draft !== asked) return;
    if (error.problems?.length) asked.problems = error.problems;
    else asked.problems = [{ severity: "error", line: null, message: error.message }];
  }
  editor?.mark(asked.problems);
  changed();
}

async function save() {
  const { kind, id, etag } = draft;
  if (!id) return say("Give it a name.", true);
  const headers = etag ? { "if-match": `"${etag}"` } : { "if-none-match": "*" };
  try {
    const answer = await ask("PUT", address(kind, id), { text: draft.text, headers });
    Object.assign(draft, { saved: draft.text, etag: answer.etag || null, error: null });
    say("Saved; the daemon uses it now.");
    refresh();
    if (draft.asked !== id) go(PAGES.has(kind) ? to`${kind}/${id}` : to`edit/${kind}/${id}`);
    else if (!draft.etag) load(kind, id, null);
  } catch (error) {
    draft.error = error;
    if (error.problems?.length) {
      draft.problems = error.problems;
      editor?.mark(error.problems);
    }
  }
  return changed();
}

function theirs() {
  load(draft.kind, draft.id, null);
}

async function mine() {
  draft.etag = draft.error.document.etag || (await text(address(draft.kind, draft.id))).etag;
  draft.error = null;
  save();
}

async function restore(commit) {
  try {
    if (FILES[draft.kind]) {
      if (!(await prompt({ title: `Restore ${FILES[draft.kind]} as of ${commit.slice(0, 12)}`, action: "Restore" }))) return;
      await ask("POST", `/v1/${draft.kind}/restore`, { body: { rev: commit } });
      say("Restored; the daemon uses it now.");
      load(draft.kind, draft.id, null);
      return;
    }
    const { data } = await text(`${at`/v1/${draft.kind}/${draft.id}`}?at=${commit}`);
    editor?.set(data);
    say("Loaded; save it to use it.");
  } catch (error) {
    say(error.message, true);
  }
}

async function remove() {
  const { kind, id, etag } = draft;
  if (!(await prompt({ title: `Remove ${kind}/${id}`, text: "The file is removed; git's history keeps it.", action: "Remove", isBad: true }))) return;
  try {
    await ask("DELETE", at`/v1/${kind}/${id}`, { headers: etag ? { "if-match": `"${etag}"` } : {} });
    say("Removed.");
    go(to`${kind}`);
  } catch (error) {
    draft.error = error;
    changed();
  }
}
