// The context of a session: its last prompt by part, with tokens, and what the next one has of memory.

import { html } from "lit-html";
import { at } from "./api.js";
import { empty, pre, shown, time } from "./parts.js";
import { read } from "./store.js";
import { count, short, visible } from "./text.js";

/** Return the parts of the last prompt, and the memory of the next one. */
export function context(session) {
  const path = `${at`/v1/sessions/${session.session_id}/journal`}?kind=model.requested&limit=20&before=999999999999999`;
  const entry = read(path, ["run.", "question.", "approval."]);
  return html`<h2>The last prompt</h2>${shown(entry, ({ items }) => {
    const last = items.findLast((line) => line.data.parts?.length);
    return last ? prompt(last) : empty("No model was asked in this session yet.");
  })}
  <h2>Memory in the next prompt</h2>${memory(session)}`;
}

function prompt({ n, at: when, data }) {
  const all = data.parts.reduce((sum, part) => sum + part.tokens, 0);
  const most = data.window || all;
  return html`<p>About ${count(all)} tokens${data.window ? html` of a window of ${count(data.window)} (${percent(all, data.window)})` : ""}, sent ${time(when)} to <code>${visible(data.model || data.route)}</code> <span class="soft">event ${count(n)}</span></p>
    <div class="wide"><table class="rows" aria-label="Parts of the prompt"><thead><tr><th scope="col">Part</th><th scope="col" class="num">Tokens</th><th scope="col">${data.window ? "Share of the window" : "Share"}</th></tr></thead>
      <tbody>${data.parts.map((part) => html`<tr data-row tabindex="0"><td>${visible(part.name)}</td><td class="num" data-name="Tokens">${count(part.tokens)}</td><td data-name="Share"><meter min="0" max=${most} .value=${part.tokens} aria-label=${visible(part.name)}></meter> <span class="soft">${percent(part.tokens, most)}</span></td></tr>`)}</tbody></table></div>
    ${data.omitted?.length ? html`<h3>What did not fit</h3><ul>${data.omitted.map((line) => html`<li>${visible(line)}</li>`)}</ul>` : ""}`;
}

function percent(part, whole) {
  const share = (100 * part) / (whole || 1);
  return share > 0 && share < 1 ? "< 1 %" : `${Math.round(share)} %`;
}

function memory(session) {
  const entry = read(at`/v1/sessions/${session.session_id}/memory`, ["memory.", "run."]);
  return shown(entry, (one) => html`
    <p class="soft">What goes into the next prompt of this session: ${count(one.files.reduce((sum, file) => sum + (file.tokens || 0), 0))} tokens of memory, ${one.records.length} records of runs.</p>
    ${one.files.length ? html`<div class="wide"><table class="rows" aria-label="Memory"><thead><tr><th scope="col">File</th><th scope="col">Loaded</th><th scope="col">Why</th><th scope="col">Origin</th><th scope="col" class="num">Tokens</th></tr></thead>
      <tbody>${one.files.map((file) => html`<tr data-row tabindex="0"><td><a href=${`#/memory/file/${file.path}`}>${visible(file.path)}</a></td><td data-name="Loaded">${file.loaded}</td><td data-name="Why">${visible(file.why)}</td><td data-name="Origin">${file.origin}</td><td class="num" data-name="Tokens">${count(file.tokens)}</td></tr>`)}</tbody></table></div>` : empty("No memory file applies to this session.", "kheish memory edit shared/notes.md")}
    ${one.records.length ? html`<h2>Records of earlier runs</h2><ul class="plainlist">${one.records.map((record) => html`<li>${time(record.at)} ${short(record.text, 300)}</li>`)}</ul>` : ""}
    ${one.text ? html`<h2>As the model reads it</h2>${pre(one.text, "Memory in the prompt")}` : ""}`);
}
