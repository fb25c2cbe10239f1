// Memory: files with their authors, proposals as diffs with their source; accept, reject, revoke.

import { html } from "lit-html";
import { button } from "../acting.js";
import { at } from "../api.js";
import { list } from "../lists.js";
import { markdown } from "../markdown.js";
import { badge, diff, fields, pre, raw, shown, time } from "../parts.js";
import { setQuery, to } from "../router.js";
import { changed, nextPage, read } from "../store.js";
import { count, short, visible, when } from "../text.js";

const KINDS = ["memory."];

export const title = () => "Memory";

export function view({ params, query }) {
  if (params.rest) return file(params.rest);
  return params.id ? proposal(params.id) : all(query);
}

function all(query) {
  const proposals = read("/v1/memory/proposals?status=pending&limit=50", KINDS);
  const search = (event) => {
    setQuery({ q: event.target.value.trim() });
    query.q = event.target.value.trim();
    nextPage();
    changed();
  };
  return html`<div class="head"><h1>Memory</h1></div>
    <h2>Proposals of agents</h2>
    ${shown(proposals, ({ items }) => (items.length ? html`<ul class="plainlist">${items.map((one) => html`<li><a data-row href=${to`memory/proposals/${one.proposal_id}`}>${one.operation} ${visible(one.path)}</a> <span class="soft">by ${visible(one.by)} ${time(one.at)}${one.tainted_by ? ` · after untrusted content: ${one.tainted_by}` : ""}</span></li>`)}</ul>` : html`<p class="soft">None waits.</p>`))}
    <h2>Files</h2>
    <form class="filters" role="search" @submit=${(event) => event.preventDefault()}><label>Search <input type="search" .value=${query.q || ""} @change=${search}></label></form>
    ${list({
      path: `/v1/memory?limit=100${query.q ? `&q=${encodeURIComponent(query.q)}` : ""}`,
      kinds: KINDS,
      label: "Memory files",
      none: query.q ? "No file matches." : "There is no memory file yet.",
      command: "kheish memory edit shared/conventions.md",
      open: (one) => `#/memory/file/${one.path.split("/").map(encodeURIComponent).join("/")}`,
      columns: [
        ["File", (one) => html`<strong>${visible(one.path.replace(/^memory\//, ""))}</strong>${one.snippet ? html`<br><span class="soft">… ${short(one.snippet, 140)}</span>` : ""}`],
        ["Description", (one) => short(one.description, 90)],
        ["Loaded", (one) => one.load],
        ["Written by", (one) => html`${visible(one.by || "–")} <span class="soft">(${one.origin})</span>${one.tainted ? " tainted" : ""}`],
        ["Bytes", (one) => count(one.bytes), "num"],
        ["When", (one) => time(one.at)],
      ],
    })}`;
}

/** Return the API's path of a memory file: scope, owner, path. */
function address(path) {
  const [, scope, ...rest] = path.split("/");
  const names = scope === "shared" ? ["-", ...rest] : rest;
  return `/v1/memory/${[scope, ...names].map(encodeURIComponent).join("/")}`;
}

function file(path) {
  const whole = path.startsWith("memory/") ? path : `memory/${path}`;
  const entry = read(address(whole), KINDS);
  return html`<div class="head"><h1>${visible(whole.replace(/^memory\//, ""))}</h1></div><p><a href="#/memory">← Memory</a></p>
    ${shown(entry, (one) => html`
      <p class="soft">${one.description} · loaded: ${one.load} · ${count(one.bytes)} bytes · ${one.origin}${one.tainted ? ", tainted" : ""} · by ${visible(one.by || "–")} ${when(one.at)}</p>
      <div class="buttons">${one.origin === "person"
        ? button({ label: "Revoke", path: "/v1/memory/revoke", role: "admin", body: { path: one.path, digest: one.digest }, confirm: "It counts as an agent's from then on.", done: "Revoked." })
        : button({ label: "Accept", path: "/v1/memory/accept", role: "operator", body: { path: one.path, digest: one.digest }, confirm: "It counts as a user's from then on.", done: "Accepted." })}
        ${button({ label: "Edit", method: "PUT", path: address(one.path), field: "Content", value: one.content || "", body: (content) => ({ content }), done: "Saved." })}</div>
      <div class="card">${markdown(one.content || "")}</div>${pre(one.content || "", "As it is")}
      <h2>History</h2>${list({
        path: `${address(one.path)}/history?limit=50`,
        label: "Commits",
        none: "Not committed yet.",
        columns: [["Commit", (commit) => html`<code>${commit.commit.slice(0, 12)}</code>`], ["When", (commit) => when(commit.time), "line"], ["By", (commit) => visible(commit.author.name)], ["Message", (commit) => short(commit.message, 120)]],
      })}`)}`;
}

function proposal(id) {
  const entry = read(at`/v1/memory/proposals/${id}`, KINDS);
  const path = at`/v1/memory/proposals/${id}/decide`;
  return html`<div class="head"><h1>Proposal</h1></div><p><a href="#/memory">← Memory</a></p>${shown(entry, (one) => html`
    <p>${badge(one.status)} ${one.operation} <code>${visible(one.path)}</code>${one.new_path ? html` → <code>${visible(one.new_path)}</code>` : ""}</p>
    ${one.tainted_by ? html`<p class="badge wait">◆ written after untrusted content: ${visible(one.tainted_by)}</p>` : ""}
    ${diff(one.diff)}
    ${fields([["By", one.by], ["Session", html`<a href=${to`sessions/${one.session_id}`}>${visible(one.session_id)}</a>`], ["Run", one.run_id ? html`<a href=${to`runs/${one.run_id}`}>${one.run_id}</a>` : ""], ["When", when(one.at)], ["Decided by", one.decided_by], ["Reason", one.reason]])}
    ${one.status === "pending" ? html`<div class="decide"><div class="buttons">${button({ label: "Accept", path, isMain: true, body: { decision: "accept" }, done: "Accepted." })}${button({ label: "Reject", path, isBad: true, field: "Reason", body: (reason) => ({ decision: "reject", ...(reason ? { reason } : {}) }), done: "Rejected." })}</div></div>` : ""}
    ${raw(one)}`)}`;
}
