// A list of any noun as rows: its columns are data; rows open with Enter or a click; older ones come while one scrolls.

import { html } from "lit-html";
import { repeat } from "lit-html/repeat";
import { failure, joined, olderSoon } from "./paged.js";
import { empty, shown } from "./parts.js";
import { read } from "./store.js";
import { count } from "./text.js";
import { range } from "./windowed.js";

/**
 * Return the list of `path`. `columns` are [name, (item) => template, "num"?]; `open(item)` returns an address. The
 * first page is live, and older pages come when the end of the list comes near. Only rows near the screen are in the
 * document.
 */
export function list({ path, kinds = [], columns, open, none, command, label = "List" }) {
  const entry = read(path, kinds);
  return shown(entry, (data) => {
    const keyOf = (item) => open?.(item) ?? item.commit ?? item.seq ?? JSON.stringify(item);
    const one = joined(path, data, keyOf);
    if (!one.rows.length) return empty(none, command);
    const { from, to, above, below } = range(path, one.rows, keyOf);
    if (to === one.rows.length) olderSoon(one);
    const gap = (height) => html`<tbody class="gap" aria-hidden="true"><tr><td colspan=${columns.length} .style=${`height: ${height}px`}></td></tr></tbody>`;
    return html`
      <div class="wide"><table class="rows" aria-label=${label} aria-rowcount=${one.cursor ? -1 : one.rows.length + 1} data-window=${path}>
        <thead><tr aria-rowindex="1">${columns.map(([name, , kind]) => html`<th scope="col" class=${kind || ""}>${name}</th>`)}</tr></thead>
        ${gap(above)}
        <tbody>${repeat(one.rows.slice(from, to), keyOf, (item, at) => row(item, columns, open, from + at))}</tbody>
        ${gap(below)}
      </table></div>
      ${failure(one)}
      ${one.older.length || one.cursor ? html`<p class="soft">${count(one.rows.length)} rows${one.cursor ? "; older ones come as you scroll" : ""}</p>` : ""}`;
  });
}

function row(item, columns, open, at) {
  const target = open?.(item);
  const cells = columns.map(([name, cell, kind], index) => html`<td class=${kind || ""} data-name=${index ? name : ""}>${
    index === 0 && target ? html`<a href=${target} tabindex="-1">${cell(item)}</a>` : cell(item)}</td>`);
  const go = (event) => {
    if (!target || (event.target.closest("a, button, input") && event.type === "click")) return;
    if (event.type === "keydown" && (event.key !== "Enter" || event.target !== event.currentTarget)) return;
    location.hash = target;
  };
  return html`<tr data-row data-at=${at} aria-rowindex=${at + 2} tabindex="0" @click=${go} @keydown=${go}>${cells}</tr>`;
}
