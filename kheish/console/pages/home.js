// At a glance: what waits for me, what runs and since when, what failed since I looked, cost today, and the daemon.

import { html } from "lit-html";
import { badge, shown, time } from "../parts.js";
import { go, to } from "../router.js";
import { waiting } from "../shell.js";
import { read } from "../store.js";
import { cost, count, short, span, visible } from "../text.js";
import { summary } from "./inbox.js";

const LOOKED = "kheish.looked";
const RUNS = ["run."];
let looked = null;

export const title = () => "Home";

export function start() {
  looked = localStorage.getItem(LOOKED) || "";
  const later = setTimeout(() => localStorage.setItem(LOOKED, new Date().toISOString()), 5000);
  return () => clearTimeout(later);
}

export function view() {
  const routes = read("/v1/routes?limit=1", ["definition."]);
  if (routes.data && !routes.data.items.length) setTimeout(() => go("#/first-steps"), 0);
  return html`<h1>Home</h1><div class="grid">${inbox()}${running()}${failed()}${spent()}${daemon()}</div>`;
}

function inbox() {
  const { approvals, questions, count: all } = waiting();
  const items = [...(approvals.data?.items || []), ...(questions.data?.items || [])].slice(0, 6);
  return html`<section><h2>Waiting for you</h2>
    ${approvals.data ? html`<p class="number">${all}</p>` : ""}
    <ul class="plainlist">${items.map((one) => html`<li><a data-row href=${to`inbox/${one.approval_id || one.question_id}`}>${one.tool || "question"}: ${short(one.tool ? summary(one) : one.questions[0]?.text, 60)}</a> <span class="soft">${time(one.requested_at || one.asked_at)}</span></li>`)}</ul></section>`;
}

function running() {
  const active = read("/v1/runs?status=running&limit=20", RUNS);
  const queued = read("/v1/runs?status=queued&limit=20", RUNS);
  const agents = read("/v1/runs?status=waiting_for_agent&limit=20", RUNS);
  return html`<section><h2>At work</h2>${shown(active, () => {
    const items = [...active.data.items, ...(agents.data?.items || []), ...(queued.data?.items || [])].slice(0, 8);
    return items.length
      ? html`<ul class="plainlist">${items.map((one) => html`<li>${badge(one.status)} <a data-row href=${to`sessions/${one.session_id}`}>${visible(one.session_id)}</a> <span class="soft">since ${time(one.started_at || one.submitted_at)}</span></li>`)}</ul>`
      : html`<p class="soft">Nothing runs. Start something: <code>kheish run SESSION "text"</code></p>`;
  })}</section>`;
}

function failed() {
  const entry = read("/v1/runs?status=failed&limit=10", RUNS);
  return html`<section><h2>Failed</h2>${shown(entry, ({ items }) => {
    const fresh = items.filter((one) => !looked || one.finished_at > looked);
    return items.length
      ? html`<p class="soft">${fresh.length ? `${fresh.length} since you looked` : "None since you looked; the last ones:"}</p>
        <ul class="plainlist">${(fresh.length ? fresh : items).slice(0, 6).map((one) => html`<li>${badge("failed")} <a data-row href=${to`runs/${one.run_id}`}>${visible(one.session_id)}</a> <span class="soft">${short(one.error?.message, 80)} · ${time(one.finished_at)}</span></li>`)}</ul>`
      : html`<p class="soft">No run has failed.</p>`;
  })}</section>`;
}

function spent() {
  const today = new Date().toISOString().slice(0, 10);
  const usage = read("/v1/usage?by=day&limit=14", ["run.completed", "run.failed"]);
  const config = read("/v1/config", ["definition."]);
  return html`<section><h2>Cost today</h2>${shown(usage, ({ items }) => {
    const day = items.find((one) => one.day === today);
    const limit = config.data?.limits?.cost_usd;
    return html`<p class="number">${cost(day?.cost_usd ?? (day ? null : 0))}</p>
      <p class="soft">${day ? `${count(day.input_tokens + day.output_tokens)} tokens in ${count(day.model_calls)} calls` : "No model was called today."}${limit ? html`; a run may cost ${cost(limit)}` : ""}</p>
      <p><a href="#/usage">Usage</a></p>`;
  })}</section>`;
}

function daemon() {
  const entry = read("/v1/status", ["daemon.", "definition."]);
  return html`<section><h2>Daemon</h2>${shown(entry, (status) => html`
    <p>${badge(status.paused.everything ? "paused" : status.status)} <span class="soft">version ${status.version}, for ${span(status.uptime_seconds)}</span></p>
    <ul class="plainlist">
      <li>Git: ${status.git.held ? html`${badge("held")} ${visible(JSON.stringify(status.git.held))}` : html`${badge("ok")} <span class="soft">event ${count(status.git.committed_n)} of ${count(status.events.newest)} committed</span>`}</li>
      <li>Backup: ${status.backup.remote ? html`${badge(status.backup.outcome === "pushed" ? "ok" : status.backup.outcome === "never" ? "pending" : "failed", "")} <span class="soft">${status.backup.outcome} ${time(status.backup.tried_at)}</span>` : html`<span class="soft">no remote; <code>kheish backup add URL</code></span>`}</li>
      <li>Problems: ${status.problems ? html`<a href="#/problems">${status.problems}</a>` : html`<span class="soft">none</span>`}</li>
      ${status.low_space ? html`<li>${badge("error")} ${visible(JSON.stringify(status.low_space))}</li>` : ""}
    </ul>`)}</section>`;
}
