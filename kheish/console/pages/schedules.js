// Schedules: the next 24 hours as a line, the last outcome, why one was skipped, the next fires.

import { html } from "lit-html";
import { button } from "../acting.js";
import { at, key } from "../api.js";
import { list } from "../lists.js";
import { badge, fields, pre, raw, shown, time } from "../parts.js";
import { to } from "../router.js";
import { read } from "../store.js";
import { short, visible, when, words, yaml } from "../text.js";

const KINDS = ["schedule.", "fire.", "definition."];
const DAY = 86_400_000;

export const title = ({ params }) => params.id || "Schedules";

export function view({ params }) {
  return params.id ? one(params.id) : all();
}

function all() {
  const path = "/v1/schedules?limit=100";
  const entry = read(path, KINDS);
  return html`<div class="head"><h1>Schedules</h1><div class="buttons"><a class="button" href="#/edit/schedules">New schedule</a></div></div>
    ${entry.data?.items.length ? day(entry.data.items) : ""}
    ${list({
      path,
      kinds: KINDS,
      label: "Schedules",
      none: "There is no schedule yet.",
      command: "kheish schedules edit NAME",
      open: (item) => to`schedules/${item.id}`,
      columns: [
        ["Schedule", (item) => html`<strong>${short(item.title || item.id, 70)}</strong>`],
        ["State", (item) => html`${badge(item.state)}${item.pause_reason ? html` <span class="soft">${short(item.pause_reason, 80)}</span>` : ""}`],
        ["When", (item) => html`<code>${visible(item.cron || item.every || item.at)}</code> <span class="soft">${item.timezone}</span>`],
        ["Next", (item) => time(item.next)],
        ["Last", (item) => time(item.last)],
        ["Fires", (item) => `${item.counts.settled} done, ${item.counts.failed} failed, ${item.counts.skipped} skipped`],
      ],
    })}`;
}

function day(items) {
  const now = Date.now();
  const soon = items.filter((item) => item.next && Date.parse(item.next) - now < DAY && item.state === "active");
  const place = (stamp) => `left: ${Math.min(99.5, Math.max(0, ((Date.parse(stamp) - now) / DAY) * 100))}%`;
  return html`<h2>The next 24 hours</h2><div class="line24">
    ${soon.map((item) => html`<a .style=${place(item.next)} href=${to`schedules/${item.id}`} title="${item.id}: ${when(item.next)}"><span class="hidden">${item.id} ${when(item.next)}</span></a>`)}
    ${[0, 6, 12, 18, 24].map((hours) => html`<span .style=${`left: ${(hours / 24) * 100}%`}>${new Date(now + hours * 3_600_000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}</span>`)}</div>
    ${soon.length ? "" : html`<p class="soft">Nothing fires in the next 24 hours.</p>`}`;
}

function one(id) {
  const entry = read(at`/v1/schedules/${id}`, KINDS);
  const next = read(`${at`/v1/schedules/${id}/next`}?count=5`, KINDS);
  return html`<div class="head"><h1>${visible(id)}</h1><div class="buttons"><a class="button" href=${to`edit/schedules/${id}`}>Edit</a>
      ${button({ label: "Fire now", path: at`/v1/schedules/${id}/trigger`, body: { idempotency_key: key() }, confirm: "It fires now, also if it is paused.", done: "Fired." })}
      ${entry.data?.state === "paused"
        ? button({ label: "Resume", path: at`/v1/schedules/${id}/resume`, body: {}, done: "Active." })
        : button({ label: "Pause", path: at`/v1/schedules/${id}/pause`, field: "Reason", body: (reason) => (reason ? { reason } : {}), done: "Paused." })}</div></div>
    ${shown(entry, (item) => html`<p>${badge(item.state)}${item.pause_reason ? html` ${visible(item.pause_reason)}` : ""} ${short(item.title || "", 100)}</p>
      ${fields([
        ["When", html`<code>${visible(item.cron || item.every || item.at)}</code> ${item.timezone}`],
        ["Starts", pre(yaml(Object.fromEntries(Object.entries(item.start).filter(([, value]) => value !== null))).trim(), "Start")],
        ["Overlap", item.overlap],
        ["Missed", item.misfire],
        ["In flight", item.in_flight.length ? html`${item.in_flight.map((fire) => html`<a href=${to`runs/${fire.run_id || ""}`}>${when(fire.planned)}</a> `)}` : ""],
      ])}${raw(item)}`)}
    <h2>The next five</h2>${shown(next, ({ items }) => (items.length ? html`<ol>${items.map((item) => html`<li>${visible(item.local)} <span class="soft">${time(item.planned)}</span></li>`)}</ol>` : html`<p class="soft">It does not fire any more.</p>`))}
    <h2>Fires</h2>
    ${list({
      path: `${at`/v1/schedules/${id}/fires`}?limit=50`,
      kinds: ["fire."],
      label: "Fires",
      none: "It has not fired yet.",
      open: (fire) => (fire.run_id ? to`runs/${fire.run_id}` : fire.flow_id ? to`flows/${fire.flow_id}` : null),
      columns: [
        ["Planned", (fire) => when(fire.planned)],
        ["State", (fire) => badge(fire.state)],
        ["Why", (fire) => html`<span class="soft">${short(words(fire.reason || ""), 120)}${fire.is_late ? " (late)" : ""}</span>`],
        ["Attempt", (fire) => String(fire.attempt), "num"],
      ],
    })}`;
}
