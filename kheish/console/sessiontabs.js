// Parts of a session beside its timeline: changed files, history with a diff of two moments, settings.

import { html } from "lit-html";
import { repeat } from "lit-html/repeat";
import { button } from "./acting.js";
import { at, get } from "./api.js";
import { list } from "./lists.js";
import { failure, joined, olderSoon } from "./paged.js";
import { badge, diff, empty, fields, pre, problem, raw, shown, time } from "./parts.js";
import { go, to } from "./router.js";
import { changed, read } from "./store.js";
import { count, short, visible, when, yaml } from "./text.js";
import { range } from "./windowed.js";

const FIRST = 6; // files before any is measured
const PARTS = 120; // coloured parts of a diff, of which several are on the screen

/** Files of the workspace that the session changed. */
export function changes(session) {
  const path = `${at`/v1/sessions/${session.session_id}/changes`}?limit=50`;
  const keyOf = (file) => file.path;
  return shown(read(path, ["tool.", "run."]), (data) => {
    const one = joined(path, data, keyOf, { isRenewed: true });
    if (!one.rows.length) return empty("The session's file tools have changed no file. Changes by commands are not recorded.");
    const { from, to, above, below } = range(path, one.rows, keyOf, { first: FIRST });
    if (to === one.rows.length) olderSoon(one);
    return html`<div data-window=${path}><div class="gap" .style=${`height: ${above}px`}></div>
      ${repeat(one.rows.slice(from, to), keyOf, (file, index) => fileCard(file, from + index))}
      <div class="gap" .style=${`height: ${below}px`}></div></div>${failure(one)}`;
  });
}

function fileCard(file, index) {
  return html`<section class="card" data-at=${index}><h2><code>${visible(file.path)}</code> ${badge(file.change)}</h2>
    <p class="soft">${file.edits === 1 ? "1 edit," : `${file.edits} edits, the last`} ${time(file.changed_at)}${file.is_current ? "" : "; the file has changed since, by another hand"}${file.note ? html` · ${visible(file.note)}` : ""}</p>
    ${file.diff ? diff(file.diff, PARTS) : ""}</section>`;
}

let moments = null; // {id, from, to, answer, state, error}

/** Commits as a slider; the session at that moment, and what happened between two of them. */
export function history(session, query) {
  const id = session.session_id;
  const entry = read(`${at`/v1/sessions/${id}/history`}?limit=200`, ["run.completed", "run.failed"]);
  return shown(entry, ({ items }) => {
    if (!items.length) return empty("No commit has this session yet; the daemon commits within seconds.");
    const commits = [...items].reverse();
    if (moments?.id !== id) moments = { id, from: Math.max(0, commits.length - 2), to: commits.length - 1 };
    const at_ = Math.min(moments.to, commits.length - 1);
    const choose = (name) => (event) => {
      moments = { ...moments, [name]: Number(event.target.value), answer: null, state: null, error: null };
      compare(id, commits);
      changed();
    };
    if (moments.answer === undefined) compare(id, commits);
    return html`
      <div class="card">
        <label>To: ${label(commits[at_])}<br><input type="range" min="0" max=${commits.length - 1} .value=${String(at_)} @change=${choose("to")} aria-valuetext=${short(commits[at_].message, 60)}></label>
        <label>From: ${moments.from < at_ ? label(commits[moments.from]) : "the beginning"}<br><input type="range" min="0" max=${commits.length - 1} .value=${String(moments.from)} @change=${choose("from")} aria-valuetext=${short(commits[moments.from].message, 60)}></label>
        <div class="buttons">${button({ label: "Fork from here", path: at`/v1/sessions/${id}/fork`, body: { at: commits[at_].commit }, confirm: `A new session with the history up to ${commits[at_].commit.slice(0, 12)}.`, done: "Forked.", then: (made) => go(to`sessions/${made.session_id}`) })}</div>
      </div>
      ${moments.error ? problem(moments.error) : ""}
      ${moments.state ? html`<p class="at">As of ${when(commits[at_].time)}: ${badge(moments.state.status)} ${short(moments.state.title || id, 80)}, event ${count(moments.state.last_n)}</p>` : ""}
      ${moments.answer ? html`<h2>Between the two moments</h2>${moments.answer.text ? pre(moments.answer.text, "Difference") : html`<p class="soft">Nothing happened between them.</p>`}${moments.answer.next_from ? html`<p class="soft">Only the first ${moments.answer.entries.length} entries; choose moments that are closer.</p>` : ""}` : ""}
      <h2>Commits</h2>
      ${list({
        path: `${at`/v1/sessions/${id}/history`}?limit=50`,
        label: "Commits",
        none: "No commit.",
        columns: [["Commit", (one) => html`<code>${one.commit.slice(0, 12)}</code>`], ["When", (one) => when(one.time), "line"], ["By", (one) => visible(one.author.name)], ["Message", (one) => short(one.message, 120)]],
      })}`;
  });
}

function label(commit) {
  return html`<strong>${when(commit.time)}</strong> <code>${commit.commit.slice(0, 12)}</code> ${short(commit.message, 80)}`;
}

async function compare(id, commits) {
  const asked = moments;
  asked.answer = null;
  const to_ = commits[Math.min(asked.to, commits.length - 1)].commit;
  const from = asked.from < asked.to ? `from=${commits[asked.from].commit}&` : "";
  try {
    const [answer, state] = await Promise.all([
      get(`${at`/v1/sessions/${id}/diff`}?${from}to=${to_}`),
      get(`${at`/v1/sessions/${id}`}?at=${to_}`),
    ]);
    Object.assign(asked, { answer, state });
  } catch (error) {
    asked.error = error;
  }
  if (moments === asked) changed();
}

/** The settings of a session, and its tasks and goal. */
export function settings(session) {
  const id = session.session_id;
  const goal = read(at`/v1/sessions/${id}/goal`, ["goal."]);
  const tasks = `${at`/v1/sessions/${id}/tasks`}?limit=50`;
  return html`
    ${fields([
      ["Agent", html`<a href=${to`agents/${session.agent_id}`}>${session.agent_id}</a>`],
      ["Created", when(session.created_at)],
      ["Workspace", html`<code>${visible(session.workspace)}</code>`],
      ["Project", session.project ? html`<a href=${to`projects/${session.project}`}>${visible(session.project)}</a>` : ""],
      ["Permission mode", session.permission_mode],
      ["Rules", session.permission_rules.length ? pre(yaml(session.permission_rules).trim(), "Rules") : ""],
      ["Persona", session.persona ? pre(yaml(session.persona).trim(), "Persona") : ""],
      ["Budget", session.budget ? pre(yaml(session.budget).trim(), "Budget") : ""],
      ["Folder", html`<code>${visible(session.path)}</code>`],
    ])}
    <h2>Goal</h2>
    ${goal.data ? html`<p>${badge(goal.data.status)} ${visible(goal.data.objective)}</p><p class="soft">${visible(goal.data.next || goal.data.why || "")}</p>` : html`<p class="soft">None. <code>kheish goals set ${id} "…"</code></p>`}
    <h2>Tasks</h2>
    ${list({
      path: tasks,
      kinds: ["task."],
      label: "Tasks",
      none: "No task.",
      columns: [["Task", (one) => short(one.title, 90)], ["Status", (one) => badge(one.status)], ["Created", (one) => time(one.created_at)]],
    })}
    ${raw(session)}`;
}
