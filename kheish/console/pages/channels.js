// Channels: threads, who holds the turn, who is queued and why; messages, reactions, posting.

import { html } from "lit-html";
import { repeat } from "lit-html/repeat";
import { button, change, may } from "../acting.js";
import { at, key } from "../api.js";
import { list } from "../lists.js";
import { markdown } from "../markdown.js";
import { failure, joined, older } from "../paged.js";
import { badge, empty, fields, raw, shown, time } from "../parts.js";
import { setQuery, to } from "../router.js";
import { off, why } from "../shell.js";
import { changed, nextPage, read } from "../store.js";
import { count, short, visible } from "../text.js";
import { range } from "../windowed.js";

const KINDS = ["channel.", "definition."];

let reading = { path: null, follows: true }; // whether the page stays at the newest message

export const title = ({ params }) => params.id || "Channels";

export function start() {
  const scrolled = () => {
    const end = document.getElementById("newest")?.getBoundingClientRect().top;
    if (end !== undefined) reading.follows = end >= 0 && end <= innerHeight + 60;
  };
  addEventListener("scroll", scrolled, { passive: true });
  return () => {
    removeEventListener("scroll", scrolled);
    reading = { path: null, follows: true };
  };
}

export function view({ params, query }) {
  return params.id ? one(params.id, query) : all();
}

function all() {
  return html`<div class="head"><h1>Channels</h1><div class="buttons"><a class="button" href="#/edit/channels">New channel</a></div></div>
    ${list({
      path: "/v1/channels?limit=100",
      kinds: KINDS,
      label: "Channels",
      none: "There is no channel yet.",
      command: "kheish channels edit NAME",
      open: (item) => to`channels/${item.id}`,
      columns: [
        ["Channel", (item) => html`<strong>${short(item.title || item.id, 60)}</strong>`],
        ["Purpose", (item) => short(item.purpose || "", 100)],
        ["State", (item) => badge(item.state)],
        ["Messages", (item) => String(item.messages), "num"],
        ["Last", (item) => time(item.last_at)],
      ],
    })}`;
}

function one(id, query) {
  const entry = read(at`/v1/channels/${id}`, KINDS);
  const members = read(at`/v1/channels/${id}/members`, KINDS);
  const thread = query.thread || "";
  const path = `${at`/v1/channels/${id}/messages`}?limit=50${thread ? `&thread=${encodeURIComponent(thread)}` : ""}`;
  const messages = read(path, KINDS);
  const turns = read(`${at`/v1/channels/${id}/turns`}?limit=20`, KINDS);
  const threads = read(`${at`/v1/channels/${id}/threads`}?limit=50`, KINDS);
  const choose = (event) => {
    setQuery({ thread: event.target.value });
    query.thread = event.target.value;
    nextPage();
    changed();
  };
  return html`<div class="head"><h1>${visible(entry.data?.title || id)}</h1><div class="buttons">
      <a class="button" href=${to`edit/channels/${id}`}>Edit</a>
      ${entry.data?.state === "paused"
        ? button({ label: "Resume", path: at`/v1/channels/${id}/resume`, body: {}, done: "Active." })
        : button({ label: "Pause", path: at`/v1/channels/${id}/pause`, field: "Reason", body: (reason) => (reason ? { reason } : {}), done: "No turn is granted now." })}</div></div>
    ${shown(entry, (item) => html`<p>${badge(item.state)} ${visible(item.pause_reason || item.purpose || "")}</p>`)}
    ${threads.data?.items.length ? html`<div class="filters"><label>Thread <select @change=${choose}><option value="">all</option>${threads.data.items.map((item) => html`<option value=${item.thread} ?selected=${item.thread === thread}>${short(item.title, 60)} (${item.messages}, ${item.status})</option>`)}</select></label></div>` : ""}
    <h2>Messages</h2>
    ${shown(messages, (data) => talk(id, path, data))}
    ${members.data ? composer(id, members.data.items, thread) : ""}
    <div id="newest"></div>
    <h2>Turns</h2>
    ${shown(turns, ({ items }) => (items.length ? html`<ul class="plainlist">${items.map(turn)}</ul>` : html`<p class="soft">No agent has had a turn.</p>`))}
    <h2>Members</h2>
    ${shown(members, ({ items }) => fields(items.map((item) => [item.name, html`${item.kind}${item.session ? html` · <a href=${to`sessions/${item.session}`}>${visible(item.session)}</a>` : ""}${item.person ? ` · ${item.person}` : ""}${item.participation ? ` · ${item.participation.replace(/_/g, " ")}` : ""}${item.muted ? " · muted" : ""}`])))}
    ${entry.data ? raw(entry.data) : ""}`;
}

const keyOf = (item) => item.message_id;

/** Return the messages near the screen, oldest first, and a button for earlier ones. */
function talk(id, path, data) {
  const one = joined(path, data, keyOf, { isRenewed: true });
  if (!one.rows.length) return empty("No message yet.");
  const rows = turned(one);
  const { from, to, above, below } = range(path, rows, keyOf, { atEnd: true });
  if (reading.path !== path) reading = { path, follows: true };
  if (reading.follows) setTimeout(() => reading.follows && document.getElementById("newest")?.scrollIntoView({ block: "nearest" }), 0);
  const earlier = async () => {
    reading.follows = false;
    await older(one);
  };
  return html`${one.cursor ? html`<p><button ?disabled=${off() || one.isLoading} title=${why()} @click=${earlier}>Earlier messages</button> <span class="soft">${count(rows.length)} are loaded</span></p>` : ""}
    ${failure(one)}
    <div class="timeline" data-window=${path}><div class="gap" .style=${`height: ${above}px`}></div>
      ${repeat(rows.slice(from, to), keyOf, (item, index) => message(id, item, from + index))}
      <div class="gap" .style=${`height: ${below}px`}></div></div>`;
}

const reversed = new WeakMap(); // rows → the same, oldest first

function turned({ rows }) {
  if (!reversed.has(rows)) reversed.set(rows, [...rows].reverse());
  return reversed.get(rows);
}

function message(id, item, index) {
  const react = (emoji) => change("POST", at`/v1/channels/${id}/messages/${item.message_id}/reactions`, { emoji }, "");
  return html`<div data-at=${index} class="said ${item.from.kind === "human" ? "person" : ""}">
    <div class="by">${visible(item.from.name)} · ${time(item.at)}${item.addressed.length ? ` · to ${item.addressed.join(", ")}` : ""}${item.edited_at ? " · edited" : ""}${item.tainted_by ? " · after untrusted content" : ""}</div>
    ${item.removed_at ? html`<p class="soft">(removed)</p>` : markdown(item.text)}
    ${item.reactions.map((one_) => html`<span class="badge off" title=${one_.by.join(", ")}>${visible(one_.emoji)} ${one_.by.length}</span> `)}
    ${may("operator") && !item.removed_at ? html`<button class="plain" aria-label="React with 👍" ?disabled=${off()} @click=${() => react("👍")}>React 👍</button>` : ""}</div>`;
}

function turn(item) {
  return html`<li>${badge(item.state)} <strong>${visible(item.member)}</strong> ${item.run_id ? html`<a href=${to`runs/${item.run_id}`}>run</a>` : ""} <span class="soft">${visible(item.rank.join("; "))}${item.reason ? ` · ${visible(item.reason)}` : ""}${item.granted_at ? html` · granted ${time(item.granted_at)}` : ""}</span></li>`;
}

function composer(id, members, thread) {
  if (!may("operator")) return "";
  const submit = async (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    const text = String(data.get("text")).trim();
    if (!text) return;
    const body = { text, addressed: data.getAll("addressed"), message_id: key(), ...(thread ? { thread } : {}) };
    const form = event.target;
    if (await change("POST", at`/v1/channels/${id}/messages`, body, "Posted.")) form.reset();
  };
  const agents = members.filter((item) => item.kind === "agent");
  return html`<form @submit=${submit} class="card"><label>Message <textarea name="text" rows="2" required></textarea></label>
    ${agents.length ? html`<div class="filters"><span>To</span>${agents.map((item) => html`<label><input type="checkbox" name="addressed" value=${item.member}> ${visible(item.name)}</label>`)}</div>` : ""}
    <div class="buttons"><button class="main" ?disabled=${off()} title=${why()}>Post</button></div></form>`;
}
