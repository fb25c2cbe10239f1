// The timeline of a session as a view: turns are folded, failures and waiting decisions are open.

import { html } from "lit-html";
import { repeat } from "lit-html/repeat";
import { markdown } from "./markdown.js";
import { badge, diff, pre } from "./parts.js";
import { to } from "./router.js";
import { clock, cost, short, visible, whole, yaml } from "./text.js";
import { gist, isLoud } from "./timeline.js";

/** Return the items; `opened` remembers by key what the reader opened or closed, `toggled(key, isOpen)` is told of it. */
export function timeline(items, { opened, toggled, asset }) {
  const last = items.findLast?.((item) => item.type === "turn");
  return html`<div class="timeline">${repeat(items, (item) => item.key, (item) => {
    if (item.type === "said") return said(item);
    if (item.type === "end") return end(item);
    if (item.type === "note") return html`<div class="note" id=${`n${item.n}`}>${clock(item.at)} · ${item.text}</div>`;
    const isOpen = opened.get(item.key) ?? (isLoud(item) || (item === last && items.at(-1) === item));
    return turn(item, { isOpen, toggled, asset, opened });
  })}</div>`;
}

function said(item) {
  const by = item.isPerson ? visible(item.by) : "Agent";
  return html`<div class="said ${item.isPerson ? "person" : ""}" id=${`n${item.n}`}>
    <div class="by">${by}${item.kind && item.kind !== "input" ? html` · ${item.kind.replace(/_/g, " ")}` : ""} · ${clock(item.at)}${item.usage?.cost_usd ? ` · ${cost(item.usage.cost_usd)}` : ""}</div>
    ${markdown(item.text || "(nothing)")}</div>`;
}

function end(item) {
  if (!item.isBad) return html`<div class="note" id=${`n${item.n}`}>${badge(item.status)} ${clock(item.at)}</div>`;
  return html`<div class="said bad" id=${`n${item.n}`}>
    <div class="by">${badge(item.status)} ${clock(item.at)}${item.run ? html` · <a href=${to`runs/${item.run}`}>the run</a>` : ""}</div>
    ${item.title ? html`<p>${item.title}${item.again ? `; it is asked again in ${item.again} s` : ""}</p>` : ""}${item.text ? html`<p>${visible(whole(item.text))}</p>` : ""}</div>`;
}

function turn(item, { isOpen, toggled, opened }) {
  return html`<details class="turn" id=${`n${item.n}`} .open=${isOpen} @toggle=${(event) => {
    if (event.target === event.currentTarget && event.target.open !== isOpen) toggled(item.key, event.target.open);
  }}>
    <summary><span class="gist">${gist(item)}</span>${state(item)}<span class="soft">${clock(item.at)}</span></summary>
    ${isOpen ? html`<div>${item.text ? markdown(item.text) : ""}${item.calls.map((call) => tool(call, item, { toggled, opened }))}
      ${item.usage ? html`<p class="note">${item.usage.input_tokens} + ${item.usage.output_tokens} tokens${item.usage.cost_usd ? `, ${cost(item.usage.cost_usd)}` : ""} · event ${item.n}</p>` : ""}</div>` : ""}
  </details>`;
}

function state(item) {
  const bad = item.calls.find((call) => call.isError);
  const waits = item.calls.find((call) => call.approval?.status === "pending" || call.question?.status === "pending");
  if (waits) return badge("waiting");
  if (bad) return badge("failed");
  return item.calls.every((call) => call.endedAt) ? badge("done") : badge("running");
}

function tool(call, item, { toggled, opened }) {
  const key = `${item.key}/${call.id}`;
  const change = call.detail?.diff || (call.approval?.status === "pending" ? call.approval.diff : "");
  const isOpen = opened.get(key) ?? true;
  return html`<details class="tool" .open=${isOpen} @toggle=${(event) => {
    event.stopPropagation();
    if (event.target.open !== isOpen) toggled(key, event.target.open);
  }}>
    <summary>${visible(call.name)} ${call.isError ? badge("failed") : call.endedAt ? "" : call.startedAt ? badge("running") : ""}${call.detail?.exit_status ? html` <span class="soft">exit ${call.detail.exit_status}</span>` : ""}</summary>
    ${isOpen ? html`${given(call, change)}
      ${call.approval ? decided(call.approval, "approval") : ""}${call.question ? decided(call.question, "question") : ""}
      ${call.decision && call.decision.decision === "deny" ? html`<p class="note">Refused: ${visible(call.decision.why)}</p>` : ""}
      ${change ? diff(change) : ""}
      ${call.content !== undefined && !call.detail?.diff ? pre(call.content, "Output") : ""}` : ""}
  </details>`;
}

function given(call, change) {
  const { command, content, old_string, new_string, ...rest } = call.arguments || {};
  const text = change || content === undefined ? rest : { ...rest, content: whole(content), old_string, new_string };
  const others = Object.fromEntries(Object.entries(text).filter(([, value]) => value !== undefined && value !== null));
  return html`${command !== undefined ? pre(command, "Command") : ""}${Object.keys(others).length ? pre(yaml(others).trim(), "Arguments") : ""}`;
}

function decided(one, noun) {
  if (one.status === "pending") return html`<p><a class="button" href=${to`inbox/${one.id}`}>${noun === "approval" ? "Decide" : "Answer"}: ${short(one.why || one.text, 80)}</a></p>`;
  return html`<p class="note">${badge(one.status)} by ${visible(one.by || "the daemon")}${one.reason ? html`: ${visible(one.reason)}` : ""}</p>`;
}
