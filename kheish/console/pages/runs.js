// Runs: state, age, why they wait, route and cost; failed only.

import { html } from "lit-html";
import { button } from "../acting.js";
import { at, key } from "../api.js";
import { list } from "../lists.js";
import { markdown } from "../markdown.js";
import { badge, fields, pre, raw, shown, time } from "../parts.js";
import { go, setQuery, to } from "../router.js";
import { changed, nextPage, read } from "../store.js";
import { cost, count, short, span, visible, when, whole } from "../text.js";

const STATES = ["queued", "running", "waiting_for_approval", "waiting_for_question", "waiting_for_agent", "completed", "failed", "interrupted", "cancelled"];

export const title = ({ params }) => params.id || "Runs";

export function view({ params, query }) {
  return params.id ? one(params.id) : all(query);
}

function all(query) {
  const choose = (event) => {
    setQuery({ status: event.target.value });
    query.status = event.target.value;
    nextPage();
    changed();
  };
  return html`<div class="head"><h1>Runs</h1><div class="filters">
      <label>Status <select @change=${choose}>${["", ...STATES].map((name) => html`<option value=${name} ?selected=${(query.status || "") === name}>${name.replace(/_/g, " ") || "all"}</option>`)}</select></label>
      <label><input type="checkbox" .checked=${query.status === "failed"} @change=${(event) => choose({ target: { value: event.target.checked ? "failed" : "" } })}> failed only</label></div></div>
    ${list({
      path: `/v1/runs?limit=50${query.status ? `&status=${query.status}` : ""}`,
      kinds: ["run.", "approval.", "question."],
      label: "Runs",
      none: query.status ? `No run is ${query.status.replace(/_/g, " ")}.` : "There is no run yet.",
      command: 'kheish run hello "Say hello"',
      open: (run) => to`runs/${run.run_id}`,
      columns: [
        ["Run", (run) => html`<strong>${short(asked(run), 70) || run.kind}</strong>`],
        ["Session", (run) => html`<a href=${to`sessions/${run.session_id}`}>${visible(run.session_id)}</a>`, "long"],
        ["Status", (run) => html`${badge(run.status)}${run.queue_position ? html` <span class="soft">number ${run.queue_position}</span>` : ""}`],
        ["Why", (run) => (why(run) ? html`<span class="soft">${short(why(run), 90)}</span>` : ""), "long"],
        ["Age", (run) => html`${time(run.submitted_at)}${run.started_at && run.finished_at ? html` <time class="soft">took ${span((Date.parse(run.finished_at) - Date.parse(run.started_at)) / 1000)}</time>` : ""}`],
        ["Route", (run) => visible(run.route), "far"],
        ["Cost", (run) => cost(run.usage.cost_usd), "num"],
      ],
    })}`;
}

function asked(run) {
  return run.request.items.map((item) => item.text || "attachment").join(" ");
}

/** Return why a run waits, or failed. */
function why(run) {
  if (run.error) return run.error.message;
  if (run.waits_for) return `${run.waits_for.message} (${run.waits_for.attempts} attempts)`;
  if (run.pending_approvals.length) return `${run.pending_approvals.length} approval`;
  if (run.pending_questions.length) return `${run.pending_questions.length} question`;
  return run.status === "queued" ? "another run of the session is first" : "";
}

function one(id) {
  const entry = read(at`/v1/runs/${id}`, ["run.", "approval.", "question."]);
  return html`<div class="head"><h1>Run</h1></div>${shown(entry, (run) => {
    const isOpen = !run.finished_at;
    return html`
      <p>${badge(run.status)} <code>${id}</code> of <a href=${to`sessions/${run.session_id}`}>${visible(run.session_id)}</a></p>
      ${run.error ? html`<div class="card problem"><p><strong>${visible(run.error.message)}</strong></p><p class="soft"><code>${run.error.code}</code>${run.error.retryable ? "; a retry may succeed" : ""}</p></div>` : ""}
      ${isOpen && why(run) ? html`<div class="card"><p>Waits: ${visible(why(run))}</p>${[...run.pending_approvals, ...run.pending_questions].map((one_) => html`<p><a class="button" href=${to`inbox/${one_}`}>Decide</a></p>`)}</div>` : ""}
      <div class="buttons">
        ${isOpen ? button({ label: "Cancel", path: at`/v1/runs/${id}/cancel`, field: "Reason", body: (reason) => (reason ? { reason } : {}), isBad: true, done: "Cancelled." }) : button({ label: "Retry", path: at`/v1/runs/${id}/retry`, body: { idempotency_key: key() }, done: "Queued.", then: (made) => go(to`runs/${made.run_id}`) })}
        <a class="button" href="${to`sessions/${run.session_id}`}?n=${run.n}">In the timeline</a>
      </div>
      <h2>Asked</h2>${markdown(asked(run))}
      ${run.output ? html`<h2>Answer</h2>${markdown(whole(run.output))}` : ""}
      ${run.outputs.length ? html`<h2>Outputs</h2>${run.outputs.map((output) => pre(output.content, output.kind))}` : ""}
      <h2>Facts</h2>
      ${fields([
        ["Route", `${run.route}${run.model ? ` (${run.model})` : ""}`],
        ["Kind", run.kind],
        ["By", run.request.actor],
        ["Submitted", when(run.submitted_at)],
        ["Started", run.started_at ? when(run.started_at) : "not yet"],
        ["Ended", run.finished_at ? when(run.finished_at) : "not yet"],
        ["Mode", run.mode],
        ["Flow", run.flow?.flow_id ? html`<a href=${to`flows/${run.flow.flow_id}`}>${run.flow.flow_id}</a>` : ""],
        ["Retry of", run.retry_of ? html`<a href=${to`runs/${run.retry_of}`}>${run.retry_of}</a>` : ""],
        ["Tokens", `${count(run.usage.input_tokens)} in, ${count(run.usage.output_tokens)} out, ${count(run.usage.model_calls)} calls of the model, ${count(run.usage.tool_calls)} of tools`],
        ["Cost", `${cost(run.usage.cost_usd)} with its agents, ${cost(run.usage.own.cost_usd)} by itself`],
      ])}
      ${raw(run)}`;
  })}`;
}
