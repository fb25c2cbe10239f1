// Plain lists and their items: assets, deliveries, observations, problems, audit, logs, usage, Definitions.

import { html } from "lit-html";
import { ask } from "../api.js";
import { LISTS, named } from "../catalogue.js";
import { list } from "../lists.js";
import { anything, badge, fields, raw, shown } from "../parts.js";
import { setQuery, to } from "../router.js";
import { off, why } from "../shell.js";
import { changed, nextPage, read, refresh, say } from "../store.js";
import { visible, when, words } from "../text.js";

const HIDDEN = new Set(["id", "etag", "status", "path"]);
let report = null;

export const title = ({ params }) => params.id || named(params.list);

export function start({ params }) {
  const { every, path } = LISTS[params.list] || {};
  const timer = every ? setInterval(() => document.hidden || refresh(path.split("?")[0]), every) : null;
  return () => clearInterval(timer);
}

export function view({ params, query, path }) {
  const spec = LISTS[params.list];
  if (!spec) return html`<h1>Not found</h1><p>There is no page <code>${path}</code>. <a href="#/">Home</a></p>`;
  if (params.id) return one(spec, params);
  return html`<div class="head"><h1>${spec.title}</h1><div class="buttons">${spec.head || ""}${params.list === "audit" ? html`<button ?disabled=${off()} title=${why()} @click=${verify}>Verify the chain</button>` : ""}</div></div>
    ${params.list === "audit" && report ? verified() : ""}
    ${spec.filter ? filter(spec, query) : ""}
    ${list({ ...spec, path: filtered(spec, query), label: spec.title })}`;
}

function filtered(spec, query) {
  const [name, , value] = spec.filter || [];
  const chosen = name && (query[name] || value);
  return chosen ? `${spec.path}&${name}=${encodeURIComponent(chosen)}` : spec.path;
}

function filter(spec, query) {
  const [name, values, standard] = spec.filter;
  const choose = (event) => {
    setQuery({ [name]: event.target.value });
    query[name] = event.target.value;
    nextPage();
    changed();
  };
  return html`<div class="filters"><label>${words(name)} <select @change=${choose}>${[...(standard ? [] : [""]), ...values].map((value) => html`<option value=${value} ?selected=${(query[name] || standard || "") === value}>${words(value) || "all"}</option>`)}</select></label></div>`;
}

function one(spec, { list: name, id }) {
  const entry = read(spec.one.path(id), spec.kinds);
  const below = spec.below?.(id);
  return html`<div class="head"><h1>${visible(entry.data?.name || id)}</h1><div class="buttons">
      ${spec.one.edit ? html`<a class="button" href=${to`edit/${spec.one.edit}/${id}`}>Edit</a>` : ""}${entry.data && spec.actions ? spec.actions(entry.data) : ""}</div></div>
    <p><a href=${to`${name}`}>← ${spec.title}</a></p>
    ${shown(entry, (item) => html`
      ${item.status?.state ? html`<p>${badge(item.state || item.status.state)} ${item.path ? html`<code>${visible(item.path)}</code>` : ""}${item.status.last_error ? html` ${visible(item.status.last_error)}` : ""}</p>` : ""}
      ${fields(Object.entries(item).filter(([key, value]) => !HIDDEN.has(key) && value !== null && !(Array.isArray(value) && !value.length)).map(([key, value]) => [words(key), /_at$/.test(key) ? when(value) : anything(value)]))}
      ${raw(item)}`)}
    ${below ? html`<h2>${below.title}</h2>${list({ ...below, label: below.title })}` : ""}`;
}

async function verify() {
  try {
    report = (await ask("POST", "/v1/audit/verify", { body: {} })).data;
  } catch (error) {
    say(error.message, true);
  }
  changed();
}

function verified() {
  return html`<div class="card ${report.ok ? "" : "problem"}"><p>${badge(report.ok ? "ok" : "error")} ${report.ok ? `The chain is whole: ${report.entries} entries, signed up to ${report.signed}.` : visible(JSON.stringify(report.finding))}</p><p class="soft">Head <code>${visible(report.head)}</code></p></div>`;
}
