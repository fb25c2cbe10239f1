// One session: its live timeline and the chat; the files it changed, its memory, its history, its settings.

import { html } from "lit-html";
import { live } from "../composer.js";
import { button } from "../acting.js";
import { at } from "../api.js";
import { context } from "../context.js";
import { Conversation } from "../conversation.js";
import { badge, problem, shown } from "../parts.js";
import { go, setQuery, to } from "../router.js";
import { timeline } from "../session.js";
import { changes, history, settings } from "../sessiontabs.js";
import { changed, read } from "../store.js";
import { count, short, visible } from "../text.js";
import { center } from "../windowed.js";

const TABS = { timeline: "Timeline", changes: "Files", context: "Context", history: "History", settings: "Settings" };
const opened = new Map();
let conversation = null;
let follows = true;
let jumped = null;

export const title = ({ params }) => params.id;

export function start() {
  const scrolled = () => {
    follows = innerHeight + scrollY >= document.documentElement.scrollHeight - 60;
  };
  addEventListener("scroll", scrolled, { passive: true });
  return () => {
    removeEventListener("scroll", scrolled);
    conversation?.close();
    conversation = null;
    opened.clear();
  };
}

export function view({ params, query }) {
  const { id, tab = "timeline" } = params;
  const entry = read(at`/v1/sessions/${id}`, ["session.", "run.", "project."]);
  if (entry.error && !entry.data) return html`<h1>${visible(id)}</h1>${problem(entry.error)}`;
  return html`${shown(entry, (session) => html`
    <div class="head"><h1>${short(session.title || id, 120)}</h1><div class="buttons">${actions(session)}</div></div>
    <p class="soft">${badge(session.active_run_id ? "busy" : session.status)} <code>${visible(id)}</code> · route ${visible(session.route || "default")} · ${session.permission_mode}${session.forked_from ? html` · fork of <a href=${to`sessions/${session.forked_from.session_id}`}>${visible(session.forked_from.session_id)}</a>` : ""}${session.tainted_by ? html` · <span class="badge wait">◆ read untrusted content: ${short(session.tainted_by, 60)}</span>` : ""}</p>
    <nav class="tabs" aria-label="Parts of the session">${Object.entries(TABS).map(([name, text]) => html`<a href=${name === "timeline" ? to`sessions/${id}` : to`sessions/${id}/${name}`} aria-current=${name === tab ? "page" : "false"}>${text}</a>`)}</nav>
    ${tab === "timeline" ? talk(session, query) : { changes, context, history, settings }[tab]?.(session, query) || ""}`)}`;
}

function talk(session, query) {
  const id = session.session_id;
  const n = query.n ? Number(query.n) : null;
  if (conversation?.id !== id || jumped !== n) {
    if (conversation?.id !== id) {
      conversation?.close();
      conversation = new Conversation(id);
      opened.clear();
    }
    jumped = n;
    conversation.close();
    follows = n === null;
    conversation.open(n).then(() => n !== null && setTimeout(() => reveal(n), 60));
  }
  const { items, error, drafts } = conversation;
  if (follows) setTimeout(() => follows && scrollTo(0, document.documentElement.scrollHeight), 0);
  const toggled = (key, isOpen) => {
    opened.set(key, isOpen);
    changed();
  };
  return html`
    ${error ? problem(error) : ""}
    ${conversation.entries.length ? jump(conversation) : ""}
    ${conversation.entries.length && !conversation.isAtStart ? html`<p><button @click=${() => guarded(() => conversation.earlier())}>Earlier events</button></p>` : ""}
    ${timeline(items, { name: id, atEnd: n === null, opened, toggled })}
    ${[...drafts.values()].map((draft) => html`<div class="said"><div class="by">${draft.kind === "model.delta" ? "Agent writes…" : "Output…"}</div><pre class="live" aria-label="Live">${visible(draft.text)}</pre></div>`)}
    ${conversation.isAtEnd ? "" : html`<p class="buttons"><button @click=${() => guarded(() => conversation.later())}>Later events</button><a class="button" href=${to`sessions/${id}`}>To the end</a></p>`}
    <div class="withcomposer">${live(session)}</div>`;
}

async function guarded(work) {
  follows = false;
  try {
    await work();
  } catch (error) {
    conversation.error = error;
    changed();
  }
}

function jump(open) {
  const { first, last, entries } = open;
  if (last - first < 300) return "";
  const move = (event) => go(`${to`sessions/${open.id}`}?n=${event.target.value}`);
  return html`<div class="jump"><label for="jump" class="soft">Event ${count(entries[0].n)}–${count(entries.at(-1).n)} of ${count(first)}–${count(last)}</label>
    <input id="jump" type="range" min=${first} max=${last} .value=${String(entries[0].n)} @change=${move}></div>`;
}

/** Show the item that has event `n`. */
function reveal(n) {
  const { id, items } = conversation;
  center(id, Math.max(0, items.findLastIndex((item) => item.n <= n)));
}

function actions(session) {
  const id = session.session_id;
  return html`
    ${session.active_run_id ? button({ label: "Interrupt", path: at`/v1/sessions/${id}/interrupt`, field: "Reason", body: (reason) => (reason ? { reason } : {}), done: "It stops at the next safe point." }) : ""}
    ${button({ label: "Fork", path: at`/v1/sessions/${id}/fork`, field: "Title of the fork", body: (text) => (text ? { title: text } : {}), done: "Forked.", then: (made) => go(to`sessions/${made.session_id}`) })}
    ${session.status === "ended" ? "" : button({ label: "End", path: at`/v1/sessions/${id}/end`, confirm: "The session accepts no more input.", body: {}, done: "Ended." })}`;
}

function press(label) {
  [...document.querySelectorAll(".head button")].find((one) => one.textContent.trim() === label && !one.disabled)?.click();
}

export const keys = () => ({
  c: ["write a message", () => document.querySelector("#message")?.focus()],
  i: ["interrupt", () => press("Interrupt")],
  F: ["fork", () => press("Fork")],
  e: ["to the end", () => {
    follows = true;
    jumped = undefined;
    setQuery({ n: "" });
    changed();
  }],
});
