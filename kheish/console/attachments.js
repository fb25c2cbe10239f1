// Files that go with the next message of a session: chosen, dropped or pasted, and stored by the daemon at once.

import { html } from "lit-html";
import { ask } from "./api.js";
import { off } from "./shell.js";
import { changed } from "./store.js";
import { short, size, visible } from "./text.js";

const all = new Map(); // session → [{name, bytes, id, error}]

/** Return the files that a session's next message has. */
export function attached(session) {
  return all.get(session) || [];
}

/** Return the items of a message for the files that are stored. */
export function items(session) {
  return attached(session).filter((one) => one.id).map((one) => ({ type: "asset", asset_id: one.id }));
}

/** Return whether a file is still on its way. */
export function isStoring(session) {
  return attached(session).some((one) => !one.id && !one.error);
}

/** Forget the files, after the message was sent. */
export function clear(session) {
  all.delete(session);
}

/** Store files, and attach them to the next message. */
export function attach(session, files) {
  for (const file of files) {
    const one = { name: file.name || "pasted", bytes: file.size, id: null, error: null };
    all.set(session, [...attached(session), one]);
    store(one, file);
  }
  changed();
}

async function store(one, file) {
  const form = new FormData();
  form.append("name", one.name);
  form.append("file", file, one.name);
  try {
    one.id = (await ask("POST", "/v1/assets", { form })).data.asset_id;
  } catch (error) {
    one.error = error.message;
  }
  changed();
}

function drop(session, one) {
  all.set(session, attached(session).filter((other) => other !== one));
  changed();
}

/** Return the button that chooses files, and the chosen ones. */
export function attaching(session) {
  const chosen = (event) => {
    attach(session, [...event.target.files]);
    event.target.value = "";
  };
  return html`<label class="button attach" ?inert=${off()}>Attach files<input class="hidden" type="file" multiple ?disabled=${off()} @change=${chosen}></label>
    ${attached(session).length ? html`<ul class="attached" aria-label="Attached files">${attached(session).map((one) => html`<li class=${one.error ? "bad" : ""}>
      ${short(one.name, 60)} <span class="soft">${one.error ? visible(one.error) : one.id ? size(one.bytes) : "is sent…"}</span>
      <button class="plain" aria-label="Remove ${short(one.name, 60)}" @click=${() => drop(session, one)}>✕</button></li>`)}</ul>` : ""}`;
}

/** Attach the files of a paste or a drop, if there are any. */
export function taken(session, event) {
  const { files } = event.clipboardData || event.dataTransfer || { files: [] };
  if (!files.length || off()) return;
  event.preventDefault();
  attach(session, [...files]);
}
