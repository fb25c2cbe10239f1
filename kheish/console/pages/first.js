// First steps, while there is no route: which model was found, a form, the command, and the scripted demo in one click.

import { html } from "lit-html";
import { change, may } from "../acting.js";
import { at, key } from "../api.js";
import { shown } from "../parts.js";
import { go, to } from "../router.js";
import { off, why } from "../shell.js";
import { read } from "../store.js";
import { visible } from "../text.js";

const DEMO = {
  driver: "scripted",
  script: {
    turns: [
      { text: "I look around first.", tool_calls: [{ name: "list_files", arguments: { path: "." } }] },
      { text: "This command needs your decision: open the Inbox.", tool_calls: [{ name: "bash", arguments: { command: "date > kheish-demo.txt && cat kheish-demo.txt" } }] },
      { text: "You decided, and the command said: {{last_result}}\n\nEverything that happened here is in the state root: `git log -p sessions/`." },
    ],
  },
};

export const title = () => "First steps";

export function view() {
  const logs = read("/v1/logs?limit=200");
  const routes = read("/v1/routes?limit=5", ["definition."]);
  return html`<h1>First steps</h1>
    ${routes.data?.items.length ? html`<p class="card">There is a route now: <strong>${visible(routes.data.items[0].id)}</strong>. <a href="#/sessions">Start a session</a></p>` : html`<p>An agent needs a model. A <em>route</em> names one; there is none yet.</p>`}
    <div class="grid">
      <section><h2>What was found on this machine</h2>${shown(logs, ({ items }) => {
        const found = items.map((line) => /^(?:.*?\s)?(.*); to add it: (.*)$/.exec(line.text)).filter(Boolean);
        return found.length ? html`<ul class="plainlist">${found.map(([, what, command]) => html`<li>${visible(what)}<pre tabindex="0" aria-label="Command">${visible(command)}</pre></li>`)}</ul>` : html`<p class="soft">No API key in the daemon's environment, and no local server of models.</p>`;
      })}</section>
      <section><h2>Add a route</h2><form @submit=${add}>
        <label>Name <input name="id" required value="main" pattern="[a-z0-9][a-z0-9._\\-]*"></label>
        <label>Driver <select name="driver"><option value="openai">openai (and compatible servers)</option><option value="litellm">litellm (all others)</option></select></label>
        <label>Model <input name="model" required placeholder="gpt-5.4-mini"></label>
        <label>Server <span class="soft">(for a local one)</span> <input name="api_base" placeholder="http://127.0.0.1:11434/v1"></label>
        <label>Key <span class="soft">(a slot, or env:VARIABLE; never the key itself)</span> <input name="auth_ref" placeholder="env:OPENAI_API_KEY"></label>
        <div class="buttons"><button class="main" ?disabled=${off() || !may("admin")} title=${why()}>Add the route</button></div></form></section>
      <section><h2>Or look first</h2><p>The demo's model is a script: no key, no network. It asks you for a decision.</p>
        <div class="buttons"><button ?disabled=${off() || !may("admin")} title=${why()} @click=${demo}>Start the demo</button></div></section>
    </div>`;
}

async function add(event) {
  event.preventDefault();
  const { id, ...route } = Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value.trim()));
  if (await change("PUT", at`/v1/routes/${id}`, route, "The route is there.")) go("#/sessions");
}

async function demo() {
  if (!(await change("PUT", "/v1/routes/demo", DEMO, ""))) return;
  const session = await change("POST", "/v1/sessions", { title: "Demo", route: "demo" }, "");
  if (!session) return;
  await change("POST", at`/v1/sessions/${session.session_id}/runs`, { content: "Show me around.", idempotency_key: key() }, "");
  go(to`sessions/${session.session_id}`);
}
