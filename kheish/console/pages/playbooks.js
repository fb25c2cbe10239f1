// Playbooks: the draft and its problems, versions, the difference, publish, release with percent; start a Flow.

import { html } from "lit-html";
import { button, change, may } from "../acting.js";
import { at, key } from "../api.js";
import { open } from "../dialogs.js";
import { list } from "../lists.js";
import { badge, diff, empty, raw, shown, time } from "../parts.js";
import { go, to } from "../router.js";
import { off, why } from "../shell.js";
import { read, say } from "../store.js";
import { short, visible } from "../text.js";

const KINDS = ["playbook.", "definition."];
const STATES = { published: ["verified", "revoked"], verified: ["canary", "active", "revoked"], canary: ["canary", "active", "revoked"], active: ["revoked"], revoked: [], tampered: [] };

export const title = () => "Playbooks";

export function view({ params }) {
  return params.id ? one(params.id) : all();
}

function all() {
  return html`<div class="head"><h1>Playbooks</h1><div class="buttons"><a class="button" href="#/edit/playbooks">New Playbook</a></div></div>
    ${list({
      path: "/v1/playbooks?limit=100",
      kinds: KINDS,
      label: "Playbooks",
      none: "There is no Playbook yet.",
      command: "kheish playbooks edit NAME",
      open: (book) => to`playbooks/${book.id}`,
      columns: [
        ["Playbook", (book) => html`<strong>${visible(book.id)}</strong>`],
        ["Title", (book) => short(book.title, 90)],
        ["Draft", (book) => badge(book.status.state)],
        ["Phases", (book) => String(book.phases?.length ?? 0), "num"],
      ],
    })}`;
}

function one(id) {
  const entry = read(at`/v1/playbooks/${id}`, KINDS);
  const versions = read(`${at`/v1/playbooks/${id}/versions`}?limit=50`, KINDS);
  const difference = read(at`/v1/playbooks/${id}/diff`, KINDS);
  const problems = read(`/v1/problems?limit=50&path=${encodeURIComponent(`playbooks/${id}/playbook.yaml`)}`, KINDS);
  return html`<div class="head"><h1>${visible(id)}</h1><div class="buttons">
      <a class="button" href=${to`edit/playbooks/${id}`}>Edit the draft</a>
      <button ?disabled=${off() || !may("admin")} title=${why()} data-key="p" @click=${() => publish(id)}>Publish…</button>
      <button class="main" ?disabled=${off() || !may("operator") || !entry.data} title=${why()} data-key="s" @click=${() => start(id, entry.data)}>Start a Flow…</button></div></div>
    ${shown(entry, (book) => html`<p><strong>${visible(book.title)}</strong></p><p>${visible(book.objective)}</p>
      ${(problems.data?.items || []).length ? html`<h2>Problems of the draft</h2><ul class="plainlist">${problems.data.items.map((fault) => html`<li>${badge(fault.severity)} <a href="${to`edit/playbooks/${id}`}?line=${fault.line || 1}">line ${fault.line ?? "–"}</a> ${visible(fault.message)}${fault.suggestion ? html` <span class="soft">${visible(fault.suggestion)}</span>` : ""}</li>`)}</ul>` : ""}`)}
    <h2>Versions</h2>
    ${shown(versions, ({ items }) => (items.length ? html`<div class="wide"><table class="rows" aria-label="Versions"><thead><tr><th scope="col">Version</th><th scope="col">State</th><th scope="col">Published</th><th scope="col">Live Flows</th><th scope="col">Release</th></tr></thead>
      <tbody>${items.map((version) => versionRow(id, version))}</tbody></table></div>` : empty("Nothing is published yet.", `kheish playbooks publish ${id} 1.0.0`)))}
    <h2>Draft against the newest version</h2>
    ${shown(difference, (one_) => (one_.fields.length || one_.text
      ? html`${one_.fields.length ? html`<ul class="plainlist">${one_.fields.map((field) => html`<li><code>${visible(field.path)}</code> ${field.change}${field.change === "changed" ? html`: ${short(text(field.before), 70)} → ${short(text(field.after), 70)}` : ""}</li>`)}</ul>` : ""}${one_.text ? diff(one_.text) : ""}`
      : html`<p class="soft">The draft is the newest version.</p>`))}
    ${entry.data ? raw(entry.data) : ""}`;
}

function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function versionRow(id, version) {
  const path = at`/v1/playbooks/${id}/versions/${version.version}/release`;
  return html`<tr data-row tabindex="0"><td><strong>${visible(version.version)}</strong>${version.notes ? html`<br><span class="soft">${short(version.notes, 120)}</span>` : ""}</td>
    <td data-name="State">${badge(version.state)}${version.percent !== null ? ` ${version.percent} %` : ""}${version.reason ? html` <span class="soft">${short(version.reason, 80)}</span>` : ""}</td>
    <td data-name="Published">${time(version.published_at)} <span class="soft">by ${visible(version.published_by)}</span></td>
    <td data-name="Live Flows">${version.live_flows ?? "–"}</td>
    <td><span class="buttons">${(STATES[version.state] || []).map((state) => release(path, state, version))}</span></td></tr>`;
}

function release(path, state, version) {
  const label = { verified: "Verify…", canary: "Canary…", active: "Activate…", revoked: "Revoke…" }[state];
  const asks = {
    verified: { field: "What did you check? (it becomes evidence)", isRequired: true, body: (said) => ({ state, evidence: [{ kind: "attestation", id: "console", description: said }] }) },
    canary: { field: "Percent of new Flows", value: String(version.percent ?? 10), isRequired: true, body: (said) => ({ state, percent: Number(said) }) },
    active: { confirm: "New Flows start this version.", body: { state } },
    revoked: { field: "Reason", isRequired: true, isBad: true, body: (said) => ({ state, reason: said }) },
  };
  return button({ label, path, role: "admin", done: `It is ${state}.`, ...asks[state] });
}

async function publish(id) {
  const made = await open((done) => html`<form @submit=${(event) => {
    event.preventDefault();
    done(Object.fromEntries(new FormData(event.target)));
  }}><h2 id="dialog-title">Publish the draft of ${visible(id)}</h2>
    <label>Version <input name="version" required pattern="\\d+\\.\\d+\\.\\d+.*" placeholder="1.0.0"></label>
    <label>Notes <textarea name="notes" rows="3"></textarea></label>
    <div class="buttons"><button class="main">Publish</button><button type="button" @click=${() => done(null)}>Cancel</button></div></form>`);
  if (!made) return;
  await change("POST", at`/v1/playbooks/${id}/versions`, { version: made.version, ...(made.notes.trim() ? { notes: made.notes } : {}) }, `${made.version} is published; verify and activate it.`);
}

async function start(id, book) {
  const inputs = Object.entries(book.inputs || {});
  const made = await open((done) => html`<form @submit=${(event) => {
    event.preventDefault();
    done(new FormData(event.target));
  }}><h2 id="dialog-title">Start ${visible(id)}</h2>
    ${inputs.map(([name, input]) => html`<label>${visible(input.title || name)}${input.required ? "" : html` <span class="soft">(optional)</span>`}
      <input name=${name} ?required=${input.required && input.default === undefined} .value=${input.default === undefined || input.default === null ? "" : String(input.default)}>
      ${input.description ? html`<span class="soft">${visible(input.description)}</span>` : ""}</label>`)}
    <label>Session <span class="soft">(optional)</span> <input name=":session"></label>
    <div class="buttons"><button class="main">Start</button><button type="button" @click=${() => done(null)}>Cancel</button></div></form>`);
  if (!made) return null;
  const given = {};
  try {
    for (const [name, input] of inputs) if (made.get(name) !== "") given[name] = typed(made.get(name), input.type);
  } catch (error) {
    return say(`An input is not JSON: ${error.message}`, true);
  }
  const session = String(made.get(":session")).trim();
  const flow = await change("POST", "/v1/flows", { playbook: id, inputs: given, idempotency_key: key(), ...(session ? { session_id: session } : {}) }, "Started.");
  return flow && go(to`flows/${flow.flow_id}`);
}

function typed(value, type) {
  if (type === "integer" || type === "number") return Number(value);
  if (type === "boolean") return value === "true" || value === "yes";
  return type === "array" || type === "object" ? JSON.parse(value) : value;
}

const press = (name) => () => document.querySelector(`[data-key="${name}"]:not(:disabled)`)?.click();

export const keys = ({ params }) => (params.id ? { p: ["publish the draft", press("p")], s: ["start a Flow", press("s")] } : {});
