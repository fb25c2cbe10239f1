// One approval in full: the call, what it changes, where it came from, what `remember` would add; and the decision.

import { html } from "lit-html";
import { may } from "./acting.js";
import { open, prompt } from "./dialogs.js";
import { badge, diff, fields, pre, raw, time } from "./parts.js";
import { to } from "./router.js";
import { off, why } from "./shell.js";
import { visible, when, whole, words, yaml } from "./text.js";

/** Return the approval; `decide(approval, body)` resolves it. */
export function approval(one, { decide }) {
  const isPending = one.status === "pending";
  return html`
    <h2>${words(one.tool)} ${badge(one.risk, "risk ")} ${isPending ? "" : badge(one.status)}</h2>
    <p>${visible(one.why)}</p>
    ${call(one)}
    ${one.preview ? html`${diff(one.preview.diff)}${one.preview.is_whole ? "" : html`<p class="soft">The diff is longer; only its beginning is shown.</p>`}` : ""}
    ${fields([
      ["Session", html`<a href=${to`sessions/${one.session_id}`}>${visible(one.session_id)}</a>`],
      ["Run", html`<a href=${to`runs/${one.run_id}`}>${one.run_id}</a>`],
      ["Asked by", origin(one)],
      ["Waiting since", html`${time(one.requested_at)} <span class="soft">${when(one.requested_at)}</span>`],
      ["Expires", one.expires_at ? html`${time(one.expires_at)} <span class="soft">${when(one.expires_at)}</span>` : "never"],
      ["Persons needed", one.required > 1 ? String(one.required) : ""],
      ["Files", one.files.length ? html`<ul class="plainlist">${one.files.map((file) => html`<li><code>${visible(file.path ?? JSON.stringify(file))}</code></li>`)}</ul>` : ""],
      ["Edited by", one.edited_by],
    ])}
    ${one.decisions.length ? html`<h3>Decisions</h3><ul class="plainlist">${one.decisions.map(decision)}</ul>` : ""}
    ${isPending ? "" : html`<p>${ended(one)}</p>`}
    ${raw(one)}
    ${isPending ? buttons(one, decide) : ""}`;
}

function call(one) {
  const { command, content, old_string, new_string, ...rest } = one.arguments || {};
  return html`
    ${command !== undefined ? pre(command, "Command") : ""}
    ${Object.keys(rest).length ? pre(yaml(rest).trim(), "Arguments") : ""}
    ${one.preview ? "" : html`${old_string !== undefined ? pre(old_string, "Old text") : ""}${new_string !== undefined ? pre(new_string, "New text") : ""}${content !== undefined ? pre(content, "Content") : ""}`}`;
}

function origin(one) {
  const { by, turn, tainted_by: tainted } = one.came_from || {};
  if (!by) return "";
  return html`${visible(by)}${turn !== undefined ? `, turn ${turn + 1}` : ""}${tainted ? html` <span class="badge wait">◆ after untrusted content: ${visible(tainted)}</span>` : ""}`;
}

function decision(one) {
  return html`<li>${badge(one.decision === "allow" ? "allowed" : "denied")} by <strong>${visible(one.person || one.by)}</strong> (${one.via}) ${time(one.at)}${one.reason ? html`: ${visible(one.reason)}` : ""}</li>`;
}

/** Return who decided, for a page that was open while another person did. */
function ended(one) {
  const last = one.decisions.at(-1);
  if (last) return `${visible(last.person || last.by)} has decided it (${words(one.status)}).`;
  return `It is ${words(one.status)}; nothing is left to decide.`;
}

function buttons(one, decide) {
  if (!may("approver")) return html`<p class="soft">Your role does not permit decisions; it needs approver.</p>`;
  const { exact, pattern } = one.remember || {};
  const allow = (more = {}) => decide(one, { decision: "allow", ...more });
  return html`<div class="decide"><div class="buttons">
    <button class="main" data-key="a" ?disabled=${off()} title=${why() || "Key: a"} @click=${() => allow()}>Allow</button>
    <button class="bad" data-key="d" ?disabled=${off()} title=${why() || "Key: d"} @click=${() => deny(one, decide)}>Deny…</button>
    ${one.tool === "phase" ? "" : html`<button data-key="e" ?disabled=${off()} title=${why() || "Key: e"} @click=${() => edit(one, allow)}>Edit…</button>`}
    ${exact || pattern ? html`<button ?disabled=${off()} title=${why()} @click=${() => remember(one, allow)}>Always…</button>` : ""}
  </div></div>`;
}

async function deny(one, decide) {
  const reason = await prompt({ title: "Deny this call", text: "The agent reads the reason.", field: "Reason", action: "Deny", isBad: true });
  if (reason !== null) decide(one, { decision: "deny", ...(reason ? { reason } : {}) });
}

async function edit(one, allow) {
  let value = JSON.stringify(one.arguments, null, 2);
  for (;;) {
    value = await prompt({ title: "Allow with other arguments", text: "The call runs with these arguments (JSON) instead.", field: "Arguments", value, action: "Allow as edited" });
    if (value === null) return;
    try {
      return allow({ arguments: JSON.parse(value) });
    } catch (error) {
      value = `${value}`;
      await prompt({ title: "This is not JSON", text: error.message, action: "Back" });
    }
  }
}

async function remember(one, allow) {
  const rules = Object.entries(one.remember).filter(([, rule]) => rule);
  const chosen = await open((done) => html`<h2 id="dialog-title">Allow, and do not ask again in this session</h2>
    ${rules.map(([name, rule]) => html`<div class="card"><p><strong>${name === "exact" ? "This very call" : "Calls like it"}</strong></p>
      ${pre(`${rule.decision} ${rule.tool}: ${whole(rule.match)}`, "Rule")}
      <button class="main" @click=${() => done(name)}>Allow and add this rule</button></div>`)}
    <div class="buttons"><button @click=${() => done(null)}>Cancel</button></div>`);
  if (chosen) allow({ remember: chosen });
}
