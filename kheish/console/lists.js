// A list of any noun as rows: its columns are data; rows open with Enter or a click; older ones come while one scrolls.

import { html } from "lit-html";
import { repeat } from "lit-html/repeat";
import { get } from "./api.js";
import { empty, problem, shown } from "./parts.js";
import { changed, read } from "./store.js";
import { count } from "./text.js";
import { range } from "./windowed.js";

const PAGE = 200;
const KEPT = 10; // lists whose older rows are kept
const lists = new Map(); // path → {first, older, rows, cursor, error, isLoading}

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
    if (to === one.rows.length && one.cursor && !one.isLoading && !one.error) setTimeout(() => older(path, one, keyOf), 0);
    const gap = (height) => html`<tbody class="gap" aria-hidden="true"><tr><td colspan=${columns.length} .style=${`height: ${height}px`}></td></tr></tbody>`;
    return html`
      <div class="wide"><table class="rows" aria-label=${label} aria-rowcount=${one.cursor ? -1 : one.rows.length + 1} data-window=${path}>
        <thead><tr aria-rowindex="1">${columns.map(([name, , kind]) => html`<th scope="col" class=${kind || ""}>${name}</th>`)}</tr></thead>
        ${gap(above)}
        <tbody>${repeat(one.rows.slice(from, to), keyOf, (item, at) => row(item, columns, open, from + at))}</tbody>
        ${gap(below)}
      </table></div>
      ${one.error ? html`${problem(one.error)}<p><button @click=${() => older(path, one, keyOf)}>Try again</button></p>` : ""}
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

/** Return the rows of a list: its live first page, and the older ones that were loaded. */
function joined(path, data, keyOf) {
  let one = lists.get(path);
  if (!one) {
    one = { first: null, older: [], rows: [], keys: new Set(), cursor: null, error: null, isLoading: false };
    for (const old of [...lists.keys()].slice(0, 1 - KEPT)) lists.delete(old);
    lists.set(path, one);
  }
  if (one.first === data) return one;
  const before = one.older.length ? [...pushed(one.first.items, data.items, keyOf), ...one.older] : [];
  if (!before.length) one.cursor = data.next_cursor;
  one.first = data;
  one.keys = new Set(data.items.map(keyOf));
  one.older = fresh(one, before, keyOf);
  one.rows = [...data.items, ...one.older];
  return one;
}

/** Return the rows of an earlier first page that newer ones have pushed off it; others that are missing have gone. */
function pushed(before, now, keyOf) {
  const last = now.length ? before.findIndex((item) => keyOf(item) === keyOf(now.at(-1))) : -1;
  return before.slice(last + 1);
}

/** Return the items that the list does not have yet, and note their keys. */
function fresh({ keys }, items, keyOf) {
  return items.filter((item) => !keys.has(keyOf(item)) && keys.add(keyOf(item)));
}

async function older(path, one, keyOf) {
  if (one.isLoading || !one.cursor) return;
  one.isLoading = true;
  one.error = null;
  try {
    const [where, query] = path.split("?");
    const asked = new URLSearchParams(query);
    asked.set("limit", PAGE);
    asked.set("cursor", one.cursor);
    const page = await get(`${where}?${asked}`);
    one.older = [...one.older, ...fresh(one, page.items, keyOf)];
    one.cursor = page.next_cursor;
    one.rows = [...one.first.items, ...one.older];
  } catch (error) {
    one.error = error;
  }
  one.isLoading = false;
  changed();
}
