// Flows: phases as a diagram, with evidence, approvals, runs; the report; a new one.

import { html } from "lit-html";
import { button } from "../acting.js";
import { at } from "../api.js";
import { list } from "../lists.js";
import { badge, fields, pre, raw, shown, time } from "../parts.js";
import { to } from "../router.js";
import { read } from "../store.js";
import { cost, short, visible, when, yaml } from "../text.js";

const KINDS = ["flow.", "phase.", "evidence.", "run.", "approval."];

export const title = () => "Flows";

export function view({ params }) {
  return params.id ? one(params.id) : all();
}

function all() {
  return html`<div class="head"><h1>Flows</h1><div class="buttons"><a class="button" href="#/playbooks">Start one from a Playbook</a></div></div>
    ${list({
      path: "/v1/flows?limit=50",
      kinds: KINDS,
      label: "Flows",
      none: "There is no Flow yet: a Flow is one start of a Playbook.",
      command: "kheish flows start PLAYBOOK",
      open: (flow) => to`flows/${flow.flow_id}`,
      columns: [
        ["Flow", (flow) => html`<strong>${short(flow.title, 80)}</strong>`],
        ["Playbook", (flow) => visible(`${flow.playbook}@${flow.version}`)],
        ["Status", (flow) => html`${badge(flow.status)}${flow.reason ? html` <span class="soft">${short(flow.reason, 80)}</span>` : ""}`],
        ["Phases", (flow) => (flow.phases.length ? `${flow.phases.filter((phase) => phase.status === "satisfied").length} of ${flow.phases.length}` : "–")],
        ["Started", (flow) => time(flow.started_at)],
        ["Cost", (flow) => cost(flow.usage.cost_usd), "num"],
      ],
    })}`;
}

function one(id) {
  const entry = read(at`/v1/flows/${id}`, KINDS);
  const report = at`/v1/flows/${id}/report`;
  return html`<div class="head"><h1>${entry.data ? short(entry.data.title, 120) : "Flow"}</h1></div>${shown(entry, (flow) => html`
    <p>${badge(flow.status)} <a href=${to`playbooks/${flow.playbook}`}>${visible(`${flow.playbook}@${flow.version}`)}</a> <code>${id}</code>${flow.reason ? html` · ${visible(flow.reason)}` : ""}</p>
    <p>${visible(flow.objective)}</p>
    <div class="buttons">
      <a class="button" href=${to`sessions/${flow.session_id}`}>Session</a>
      <a class="button" href="${report}?format=html" target="_blank" rel="noopener">Report</a>
      ${flow.finished_at ? "" : button({ label: "Cancel", path: at`/v1/flows/${id}/cancel`, field: "Reason", body: (reason) => (reason ? { reason } : {}), isBad: true, done: "Cancelled." })}
    </div>
    ${flow.phases.length ? html`<h2>Phases</h2><p><img class="diagram" src="${report}?format=svg#${flow.n}" alt="Phases: ${flow.phases.map((phase) => `${phase.phase_id} ${phase.status}`).join(", ")}"></p>
      <div class="wide"><table class="rows" aria-label="Phases"><thead><tr><th scope="col">Phase</th><th scope="col">Status</th><th scope="col">Evidence</th><th scope="col">Missing</th><th scope="col">Runs</th></tr></thead>
      <tbody>${flow.phases.map((phase) => phaseRow(phase, flow))}</tbody></table></div>` : ""}
    ${flow.evidence.length ? html`<h2>Evidence</h2><ul class="plainlist">${flow.evidence.map((item) => html`<li>${visible(item.kind)} <code>${visible(item.id ?? item.evidence_id)}</code> ${visible(item.description || "")}</li>`)}</ul>` : ""}
    ${flow.outputs.length ? html`<h2>Outputs</h2>${flow.outputs.map((output) => pre(output.content, output.kind))}` : ""}
    ${flow.refused.length ? html`<h2>Refused calls</h2><ul class="plainlist">${flow.refused.map((call) => html`<li><code>${visible(call.tool)}</code> ${visible(call.reason)}</li>`)}</ul>` : ""}
    <h2>Facts</h2>${fields([
      ["Started", `${when(flow.started_at)} by ${flow.started_by}`],
      ["Ended", flow.finished_at ? when(flow.finished_at) : "not yet"],
      ["Inputs", Object.keys(flow.inputs).length ? pre(yaml(flow.inputs).trim(), "Inputs") : ""],
      ["Cost", cost(flow.usage.cost_usd)],
      ["Tag", html`<code>${visible(flow.tag)}</code>`],
    ])}
    ${raw(flow)}`)}`;
}

function phaseRow(phase, flow) {
  const waits = flow.approvals.filter((one_) => one_.phase === phase.phase_id && one_.status === "pending");
  return html`<tr data-row tabindex="0"><td><strong>${visible(phase.phase_id)}</strong><br><span class="soft">${short(phase.objective, 120)}</span></td>
    <td data-name="Status">${badge(phase.status)}${phase.reason ? html` <span class="soft">${short(phase.reason, 90)}</span>` : ""}${waits.map((one_) => html`<br><a href=${to`inbox/${one_.approval_id}`}>Decide</a>`)}</td>
    <td data-name="Evidence">${phase.evidence.map((item) => visible(item.id ?? "")).join(", ") || "–"}</td>
    <td data-name="Missing">${phase.missing.map(visible).join(", ") || "–"}</td>
    <td data-name="Runs">${phase.run_ids.map((run, index) => html`<a href=${to`runs/${run}`}>${index + 1}</a> `)}</td></tr>`;
}
