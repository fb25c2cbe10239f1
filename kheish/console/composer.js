// The message field of a session: drafts are kept per session; it starts a run, or steers the one that runs.

import { html } from "lit-html";
import { change, may } from "./acting.js";
import { at, key } from "./api.js";
import { attached, attaching, clear, isStoring, items, taken } from "./attachments.js";
import { off, why } from "./shell.js";
import { changed, say } from "./store.js";

const DRAFT = "kheish.draft.";
const MOST = 40; // drafts that are kept
// A phone's Enter makes a new line; elsewhere it sends, and Shift+Enter makes the line.
const isTouch = matchMedia("(pointer: coarse)").matches || matchMedia("(max-width: 800px)");
let isSending = false;

/** Return the field and its buttons. */
export function live(session) {
  const id = session.session_id;
  if (session.status === "ended") return html`<p class="soft">The session has ended. A fork continues it.</p>`;
  if (!may("operator")) return html`<p class="soft">Your role does not permit messages; it needs operator.</p>`;
  const runs = session.active_run_id;
  const hasFiles = attached(id).length > 0;
  const steers = Boolean(runs) && !hasFiles;
  const keep = (event) => remember(id, event.target.value);
  const typed = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || isTouch === true || isTouch.matches) return;
    event.preventDefault();
    send(session, event.target, steers);
  };
  const field = () => document.getElementById("message");
  return html`<div class="composer" @paste=${(event) => taken(id, event)} @dragover=${(event) => event.preventDefault()} @drop=${(event) => taken(id, event)}>
    <label class="hidden" for="message">Message</label>
    <textarea id="message" rows="2" placeholder=${runs ? "Steer the run, or queue another" : "Message"} .value=${draft(id)} @input=${keep} @keydown=${typed}></textarea>
    <div class="buttons">
      ${runs ? html`<button class="main" ?disabled=${off() || isSending || hasFiles} title=${why() || (hasFiles ? "Files go with a run, not with a word to one." : "")} @click=${() => send(session, field(), true)}>Steer</button>` : ""}
      <button class=${steers ? "" : "main"} ?disabled=${off() || isSending} title=${why()} @click=${() => send(session, field(), false)}>${runs ? "Queue a run" : "Send"}</button>
      ${attaching(id)}
    </div></div>`;
}

async function send(session, field, steers) {
  const content = field.value.trim();
  const files = items(session.session_id);
  if (!(content || files.length) || isSending || off()) return;
  if (isStoring(session.session_id)) return say("A file is still on its way.", true);
  isSending = true;
  changed();
  const path = steers ? at`/v1/runs/${session.active_run_id}/steer` : at`/v1/sessions/${session.session_id}/runs`;
  const task = files.length ? { items: [...(content ? [{ type: "text", text: content }] : []), ...files] } : { content };
  const done = await change("POST", path, { ...task, idempotency_key: key() }, steers ? "The agent reads it in its next turn." : "");
  isSending = false;
  if (done) {
    remember(session.session_id, "");
    clear(session.session_id);
    field.value = "";
  }
  changed();
  field.focus();
}

function draft(id) {
  return localStorage.getItem(DRAFT + id) || "";
}

function remember(id, text) {
  if (!text) {
    localStorage.removeItem(DRAFT + id);
    return;
  }
  localStorage.setItem(DRAFT + id, text);
  const names = Object.keys(localStorage).filter((name) => name.startsWith(DRAFT) && name !== DRAFT + id);
  for (const name of names.slice(0, Math.max(0, names.length - MOST))) localStorage.removeItem(name);
}
