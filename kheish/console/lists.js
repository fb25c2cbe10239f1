// A list of any noun as rows: its columns are data; rows open with Enter or a click; more come by page.

import { html } from "lit-html";
import { get } from "./api.js";
import { empty, problem, shown } from "./parts.js";
import { changed, read } from "./store.js";

const MORE = new Map(); // path → {items, cursor, error}

/**
 * Return the list of `path`. `columns` are [name, (item) => template, "num"?]; `open(item)` returns an address.
 * The first page is live; older pages are loaded on demand and windowed: at most `most` rows are in the document.
 */
export function list({ path, kinds = [], columns, open, none, command, most = 200, label = "List" }) {
  const entry = read(path, kinds);
  return shown(entry, (data) => {
    const more = MORE.get(path) || { items: [], cursor: data.next_cursor, error: null };
    const known = new Set(data.items);
    const all = [...data.items, ...more.items.filter((item) => !known.has(item))];
    if (!all.length) return empty(none, command);
    const from = more.from || 0;
    const rows = all.slice(from, from + most);
    return html`
      ${from ? html`<p><button @click=${() => move(path, more, from - most)}>Newer rows</button></p>` : ""}
      <div class="wide"><table class="rows" aria-label=${label}>
        <thead><tr>${columns.map(([name, , kind]) => html`<th scope="col" class=${kind || ""}>${name}</th>`)}</tr></thead>
        <tbody>${rows.map((item) => row(item, columns, open))}</tbody>
      </table></div>
      ${more.error ? problem(more.error) : ""}
      ${from + most < all.length || more.cursor
        ? html`<p class="buttons"><button @click=${() => older(path, more, all.length, most)}>More</button><span class="soft">${from + rows.length} shown</span></p>`
        : ""}`;
  });
}

function row(item, columns, open) {
  const target = open?.(item);
  const cells = columns.map(([name, cell, kind], index) => html`<td class=${kind || ""} data-name=${index ? name : ""}>${
    index === 0 && target ? html`<a href=${target} tabindex="-1">${cell(item)}</a>` : cell(item)}</td>`);
  if (!target) return html`<tr data-row tabindex="0">${cells}</tr>`;
  const go = (event) => {
    if (event.target.closest("a, button, input") && event.type === "click") return;
    if (event.type === "keydown" && (event.key !== "Enter" || event.target !== event.currentTarget)) return;
    location.hash = target;
  };
  return html`<tr data-row tabindex="0" @click=${go} @keydown=${go}>${cells}</tr>`;
}

function move(path, more, from) {
  MORE.set(path, { ...more, from: Math.max(0, from) });
  changed();
}

async function older(path, more, length, most) {
  const known = { ...more, error: null };
  if ((more.from || 0) + most >= length && more.cursor) {
    try {
      const page = await get(`${path}${path.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(more.cursor)}`);
      known.items = [...more.items, ...page.items];
      known.cursor = page.next_cursor;
      length += page.items.length;
    } catch (error) {
      known.error = error;
    }
  }
  known.from = Math.max(0, Math.min(length - most, (more.from || 0) + most));
  MORE.set(path, known);
  changed();
}
