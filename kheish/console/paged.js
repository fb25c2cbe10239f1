// Pages of a list: the first one is live, older ones are loaded when they are asked for.

import { html } from "lit-html";
import { get } from "./api.js";
import { problem } from "./parts.js";
import { changed } from "./store.js";

const PAGE = 200;
const KEPT = 20; // lists whose older rows are kept
const lists = new Map(); // path → {first, older, rows, keys, cursor, error, isLoading}

/**
 * Return {rows, cursor, error, isLoading} of the list of `path`, whose live first page is `data`. With `isRenewed`,
 * the older rows are loaded again when the first page changes: they change as well, or leave the list.
 */
export function joined(path, data, keyOf, { isRenewed = false } = {}) {
  let one = lists.get(path);
  if (!one) {
    one = { path, keyOf, first: null, older: [], rows: [], keys: new Set(), cursor: null, error: null, isLoading: false };
    for (const old of [...lists.keys()].slice(0, 1 - KEPT)) lists.delete(old);
    lists.set(path, one);
  }
  if (one.first === data) return one;
  const before = one.older.length ? [...pushed(one.first.items, data.items, keyOf), ...one.older] : [];
  if (!before.length) one.cursor = data.next_cursor;
  one.first = data;
  one.keys = new Set(data.items.map(keyOf));
  one.older = fresh(one, before);
  one.rows = [...data.items, ...one.older];
  if (isRenewed && one.older.length) setTimeout(() => renew(one), 0);
  return one;
}

/** Load the page after the last row. */
export async function older(one) {
  if (one.isLoading || !one.cursor) return;
  await loading(one, async () => {
    const page = await get(next(one.path, one.cursor));
    one.older = [...one.older, ...fresh(one, page.items)];
    one.cursor = page.next_cursor;
  });
}

/** Load the next page soon, unless one is on its way or has failed. */
export function olderSoon(one) {
  if (one.cursor && !one.isLoading && !one.error) setTimeout(() => older(one), 0);
}

/** Return the problem of the last page that was asked for, with a button that asks again; nothing without one. */
export function failure(one) {
  return one.error ? html`${problem(one.error)}<p><button @click=${() => older(one)}>Try again</button></p>` : "";
}

/** Load the older rows again, as many as there are. */
async function renew(one) {
  if (one.isLoading) {
    one.isStale = true;
    return;
  }
  await loading(one, async () => {
    const { first } = one;
    const wanted = one.rows.length;
    const items = [];
    let cursor = first.next_cursor;
    while (cursor && first.items.length + items.length < wanted) {
      const page = await get(next(one.path, cursor));
      items.push(...page.items);
      cursor = page.next_cursor;
    }
    one.keys = new Set(one.first.items.map(one.keyOf));
    one.older = fresh(one, items);
    one.cursor = cursor;
  });
}

async function loading(one, work) {
  one.isLoading = true;
  one.error = null;
  try {
    await work();
    one.rows = [...one.first.items, ...one.older];
  } catch (error) {
    one.error = error;
  }
  one.isLoading = false;
  if (one.isStale) {
    one.isStale = false;
    renew(one);
  }
  changed();
}

/** Return the address of the page at a cursor. */
function next(path, cursor) {
  const [where, query] = path.split("?");
  const asked = new URLSearchParams(query);
  asked.set("limit", PAGE);
  asked.set("cursor", cursor);
  return `${where}?${asked}`;
}

/** Return the rows of an earlier first page that newer ones have pushed off it; others that are missing have gone. */
function pushed(before, now, keyOf) {
  const last = now.length ? before.findIndex((item) => keyOf(item) === keyOf(now.at(-1))) : -1;
  return before.slice(last + 1);
}

/** Return the items that the list does not have yet, and note their keys. */
function fresh({ keys, keyOf }, items) {
  return items.filter((item) => !keys.has(keyOf(item)) && keys.add(keyOf(item)));
}
