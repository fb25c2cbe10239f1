// Changes: ask, do, say what came of it. A button that changes something is made here.

import { html } from "lit-html";
import { ask } from "./api.js";
import { prompt } from "./dialogs.js";
import { off, why } from "./shell.js";
import { changed, refresh, say, store } from "./store.js";

const RANKS = { reader: 0, approver: 1, operator: 2, admin: 3 };

/** Return whether the user's role has at least this rank. */
export function may(role) {
  return (RANKS[store.me?.role] ?? 0) >= RANKS[role];
}

/** Do a change; return its answer, or null after a problem, which is shown. */
export async function change(method, path, body, done = "Done.") {
  try {
    const answer = await ask(method, path, body === undefined ? {} : { body });
    if (done) say(done);
    refresh();
    return answer.data || true;
  } catch (error) {
    if (error.status === 409 || error.status === 412) refresh();
    say(error.message, true);
    return null;
  }
}

const busy = new Set();

/**
 * Return a button that changes something: {label, method, path, body, role, confirm, field, isBad, isMain, done, then}.
 * With `field`, a dialog asks for a text first, and `body(text)` makes the body.
 */
export function button(one) {
  const { label, method = "POST", path, role = "operator", isBad, isMain } = one;
  if (!may(role)) return html`<button disabled title="Your role (${store.me?.role}) does not permit this; it needs ${role}.">${label}</button>`;
  const name = `${method} ${path} ${label}`;
  return html`<button class=${isBad ? "bad" : isMain ? "main" : ""} ?disabled=${off() || busy.has(name)} title=${why()} @click=${() => press(one, name)}>${label}</button>`;
}

async function press({ label, method = "POST", path, body, confirm, field, value, isBad, isRequired, done, then }, name) {
  let text = null;
  if (confirm || field) {
    text = await prompt({ title: label, text: confirm, field, value, action: label, isBad, isRequired });
    if (text === null) return;
  }
  busy.add(name);
  changed();
  const answer = await change(method, path, typeof body === "function" ? body(text) : body, done);
  busy.delete(name);
  changed();
  if (answer && then) then(answer);
}
