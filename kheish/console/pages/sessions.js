// All sessions, newest first; search in their conversations; a new one.

import { html } from "lit-html";
import { at, key } from "../api.js";
import { change, may } from "../acting.js";
import { open } from "../dialogs.js";
import { list } from "../lists.js";
import { badge, time } from "../parts.js";
import { go, setQuery, to } from "../router.js";
import { off, why } from "../shell.js";
import { changed, read, nextPage } from "../store.js";
import { cost, short, visible } from "../text.js";

export const title = () => "Sessions";

export function view({ query }) {
  const asked = new URLSearchParams({ limit: "50" });
  for (const name of ["q", "status", "project", "route"]) if (query[name]) asked.set(name, query[name]);
  const usage = read("/v1/usage?by=session&limit=200", ["run.completed", "run.failed"]);
  const costs = new Map((usage.data?.items || []).map((one) => [one.session_id, one.cost_usd]));
  const choose = (name) => (event) => {
    setQuery({ [name]: event.target.value.trim() });
    query[name] = event.target.value.trim();
    nextPage();
    changed();
  };
  return html`
    <div class="head"><h1>Sessions</h1><div class="buttons">
      <button class="main" ?disabled=${off() || !may("operator")} title=${why() || "Key: n"} data-key="n" @click=${create}>New session</button></div></div>
    <form class="filters" role="search" @submit=${(event) => event.preventDefault()}>
      <label>Search <input type="search" name="q" .value=${query.q || ""} @change=${choose("q")} size="26" placeholder="words of the conversation"></label>
      <label>Status <select @change=${choose("status")}>${["", "idle", "busy", "ended"].map((one) => html`<option value=${one} ?selected=${(query.status || "") === one}>${one || "all"}</option>`)}</select></label>
    </form>
    ${list({
      path: `/v1/sessions?${asked}`,
      kinds: ["session.", "run."],
      label: "Sessions",
      none: query.q || query.status ? "No session matches." : "There is no session yet.",
      command: 'kheish run hello "Say hello"',
      open: (one) => to`sessions/${one.session_id}`,
      columns: [
        ["Session", (one) => html`<strong>${short(one.title || one.session_id, 80)}</strong>`],
        ["Id", (one) => html`<code>${visible(one.session_id)}</code>${one.match ? html`<br><span class="soft">… ${short(one.match.snippet, 160)} …</span>` : ""}`],
        ["Status", (one) => html`${badge(one.active_run_id ? "busy" : one.status)}${one.queued_runs ? html` <span class="soft">${one.queued_runs} queued</span>` : ""}${one.tainted_by ? html` <span class="soft">tainted</span>` : ""}`],
        ["Route", (one) => visible(one.route || "default"), "far"],
        ["Cost", (one) => cost(costs.get(one.session_id)), "num"],
        ["Created", (one) => time(one.created_at)],
      ],
    })}`;
}

async function create() {
  const routes = read("/v1/routes?limit=200");
  const made = await open((done) => html`<form @submit=${(event) => {
    event.preventDefault();
    done(Object.fromEntries(new FormData(event.target)));
  }}>
    <h2 id="dialog-title">New session</h2>
    <label>Title <input name="title"></label>
    <label>Id <input name="session_id" pattern="[a-z0-9][a-z0-9._\\-]*" placeholder="chosen by the daemon"></label>
    <label>Route <select name="route"><option value="">default</option>${(routes.data?.items || []).map((one) => html`<option>${one.id}</option>`)}</select></label>
    <label>First message <textarea name="content" rows="4"></textarea></label>
    <div class="buttons"><button class="main">Create</button><button type="button" @click=${() => done(null)}>Cancel</button></div>
  </form>`);
  if (!made) return;
  const { content, ...settings } = made;
  const session = await change("POST", "/v1/sessions", Object.fromEntries(Object.entries(settings).filter(([, value]) => value.trim())), "");
  if (!session) return;
  if (content.trim()) await change("POST", at`/v1/sessions/${session.session_id}/runs`, { content, idempotency_key: key() }, "");
  go(to`sessions/${session.session_id}`);
}

export const keys = () => ({
  n: ["new session", () => document.querySelector('[data-key="n"]:not(:disabled)')?.click()],
  "/": ["search", () => document.querySelector('input[type="search"]')?.focus()],
});
