// One question of an agent with its items; answers are kept as a draft until they are sent.

import { html } from "lit-html";
import { may } from "./acting.js";
import { badge, fields, raw, time } from "./parts.js";
import { to } from "./router.js";
import { off, why } from "./shell.js";
import { visible, yaml } from "./text.js";

/** Return the question; `answer(question, answers)` and `decline(question)` end it. */
export function question(one, { answer, decline }) {
  const isPending = one.status === "pending";
  const submit = (event) => {
    event.preventDefault();
    answer(one, answers(one, new FormData(event.target)));
  };
  return html`
    <h2>Question ${isPending ? "" : badge(one.status)}</h2>
    ${fields([
      ["Session", html`<a href=${to`sessions/${one.session_id}`}>${visible(one.session_id)}</a>`],
      ["Run", html`<a href=${to`runs/${one.run_id}`}>${one.run_id}</a>`],
      ["Asked", time(one.asked_at)],
      ["Expires", one.expires_at ? time(one.expires_at) : "never"],
      ["Answered by", one.answered_by],
      ["Reason", one.reason],
    ])}
    ${one.answers ? html`<pre tabindex="0" aria-label="Answers">${visible(yaml(one.answers)).trim()}</pre>` : ""}
    <form @submit=${submit}>
      ${one.questions.map((item) => ask(item, !isPending))}
      ${isPending && may("approver") ? html`<div class="decide"><div class="buttons">
        <button class="main" ?disabled=${off()} title=${why()}>Answer</button>
        <button type="button" data-key="d" ?disabled=${off()} title=${why()} @click=${() => decline(one)}>Decline…</button>
      </div></div>` : ""}
    </form>
    ${raw(one)}`;
}

function ask(item, isEnded) {
  const kind = item.multi_select ? "checkbox" : "radio";
  return html`<fieldset ?disabled=${isEnded}>
    <legend>${visible(item.header)}</legend>
    <p>${visible(item.text)}</p>
    ${item.options.map((option) => html`<label class="choice"><input type=${kind} name=${item.id} value=${option.id}>
      <span>${visible(option.label)}${option.description ? html` <span class="soft">${visible(option.description)}</span>` : ""}</span></label>`)}
    ${item.free_text ? html`<label>${item.options.length ? "Or in your words" : "Answer"}<textarea name="${item.id}:text" rows="2"></textarea></label>` : ""}
  </fieldset>`;
}

function answers(one, data) {
  return Object.fromEntries(one.questions.map((item) => {
    const text = String(data.get(`${item.id}:text`) || "").trim();
    return [item.id, { selected: data.getAll(item.id), ...(text ? { text } : {}) }];
  }));
}
