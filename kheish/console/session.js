// The timeline of a session as a view: turns are folded, failures and waiting decisions are open.

import { html } from "lit-html";
import { repeat } from "lit-html/repeat";
import { at } from "./api.js";
import { markdown } from "./markdown.js";
import { badge, diff, pre } from "./parts.js";
import { to } from "./router.js";
import { read } from "./store.js";
import { clock, cost, short, visible, whole, yaml } from "./text.js";
import { gist, isLoud } from "./timeline.js";
import { range } from "./windowed.js";

const keyOf = (item) => item.key;

/**
 * Return the items near the screen; `opened` remembers by key what the reader opened or closed, `toggled(key, isOpen)`
 * is told of it. `name` is that of the windowed list, which begins `atEnd` or at its first item.
 */
export function timeline(items, { name, atEnd, opened, toggled }) {
  const { from, to, above, below } = range(name, items, keyOf, { atEnd });
  return html`<div class="timeline" data-window=${name}><div class="gap" .style=${`height: ${above}px`}></div>
    ${repeat(items.slice(from, to), keyOf, (item, at) => html`<div data-at=${from + at}>${entry(item, item === items.at(-1), { opened, toggled })}</div>`)}
    <div class="gap" .style=${`height: ${below}px`}></div></div>`;
}

function entry(item, isLast, { opened, toggled }) {
  if (item.type === "said") return said(item);
  if (item.type === "end") return end(item);
  if (item.type === "note") return html`<div class="note">${clock(item.at)} · ${item.text}</div>`;
  return turn(item, { isOpen: opened.get(item.key) ?? (isLoud(item) || isLast), toggled, opened });
}

function said(item) {
  const by = item.isPerson ? visible(item.by) : "Agent";
  return html`<div class="said ${item.isPerson ? "person" : ""}">
    <div class="by">${by}${item.kind && item.kind !== "input" ? html` · ${item.kind.replace(/_/g, " ")}` : ""} · ${clock(item.at)}${item.usage?.cost_usd ? ` · ${cost(item.usage.cost_usd)}` : ""}</div>
    ${item.text || !item.assets?.length ? markdown(item.text || "(nothing)") : ""}
    ${item.assets?.length ? html`<p>${item.assets.map((id) => html`<a class="button" href=${to`assets/${id}`}>Attached: ${short(read(at`/v1/assets/${id}`).data?.name || id, 60)}</a> `)}</p>` : ""}</div>`;
}

function end(item) {
  if (!item.isBad) return html`<div class="note">${badge(item.status)} ${clock(item.at)}</div>`;
  return html`<div class="said bad">
    <div class="by">${badge(item.status)} ${clock(item.at)}${item.run ? html` · <a href=${to`runs/${item.run}`}>the run</a>` : ""}</div>
    ${item.title ? html`<p>${item.title}${item.again ? `; it is asked again in ${item.again} s` : ""}</p>` : ""}${item.text ? html`<p>${visible(whole(item.text))}</p>` : ""}</div>`;
}

function turn(item, { isOpen, toggled, opened }) {
  return html`<details class="turn" .open=${isOpen} @toggle=${(event) => {
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
