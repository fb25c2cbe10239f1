// Windowed lists: of many rows, only those near the screen are in the document; two gaps stand for the others.

const MARGIN = 700; // pixels beyond the screen that have rows, too
const FIRST = 30; // rows before any is measured, unless the list has another number
const GUESS = 40; // pixels of a row before any is measured
const BLOCK = 256; // rows whose heights are added up together
const KEPT = 20; // lists whose heights are kept

const lists = new Map(); // name → {rows, keyOf, heights, blocks, sum, known, from, to}
let redraw = () => {};
let isPlanned = false;

/**
 * Return {from, to, above, below} of the list `name`: which of `rows` are drawn, and the pixels of the gaps. In the
 * document, the list has `data-window=${name}`; in it are an element of class `gap`, the rows with `data-at` (the
 * index), drawn with `repeat`, and another `gap`. A list with `atEnd` begins with its last rows, and earlier ones that are
 * put before them do not move those that the reader sees.
 */
export function range(name, rows, keyOf, { atEnd = false, first = FIRST } = {}) {
  let one = lists.get(name);
  if (!one) {
    one = { rows: [], keyOf, heights: [], blocks: [], sum: 0, known: 0, from: atEnd ? rows.length - first : 0, to: 0, atEnd, isExtended: false };
    for (const old of [...lists.keys()].slice(0, 1 - KEPT)) lists.delete(old);
    lists.set(name, one);
  } else if (one.rows !== rows) follow(one, rows, keyOf);
  one.rows = rows;
  one.keyOf = keyOf;
  one.from = Math.max(0, Math.min(one.from, rows.length - 1));
  one.to = Math.min(rows.length, Math.max(one.to, one.from + (one.known ? 1 : first)));
  return { from: one.from, to: one.to, above: span(one, 0, one.from), below: span(one, one.to, rows.length) };
}

/** Scroll until a row of the list is in the middle of the screen. */
export function center(name, index) {
  const one = lists.get(name);
  const box = document.querySelector(`[data-window="${CSS.escape(name)}"]`);
  if (!one || !box) return;
  const begin = box.querySelector(".gap").getBoundingClientRect().top + scrollY;
  scrollTo(0, begin + span(one, 0, index) - innerHeight / 2);
  look();
  // It is near the screen now; once it is drawn, its place is known.
  setTimeout(() => box.querySelector(`[data-at="${index}"]`)?.scrollIntoView({ block: "center" }), 60);
}

/** Watch the screen; `draw()` draws the page again. */
export function watch(draw) {
  redraw = draw;
  const later = () => {
    if (isPlanned) return;
    isPlanned = true;
    requestAnimationFrame(() => {
      isPlanned = false;
      look();
    });
  };
  addEventListener("scroll", later, { passive: true });
  addEventListener("resize", () => {
    for (const one of lists.values()) measureAgain(one, []);
    redraw();
  });
}

/** Draw the page by `draw()`, measure its rows, and keep the first row of the screen where it was. */
export function steady(draw) {
  const held = hold();
  draw();
  measure();
  if (held) restore(held);
  look();
}

// By hand: the browser's own scroll anchoring does not look into tables that scroll sideways.
function hold() {
  for (const box of document.querySelectorAll("[data-window]")) {
    const one = lists.get(box.dataset.window);
    one.isExtended = false;
    const isAtStart = box.querySelector(".gap").getBoundingClientRect().top >= 0;
    if (isAtStart && !one.atEnd) continue;
    const row = [...box.querySelectorAll("[data-at]")].find((each) => each.getBoundingClientRect().bottom > 0);
    if (row) return { name: box.dataset.window, key: one.keyOf(one.rows[row.dataset.at]), top: row.getBoundingClientRect().top, isAtStart };
  }
  return null;
}

function restore({ name, key, top, isAtStart }) {
  const { rows, keyOf, from, to, isExtended } = lists.get(name) || { rows: [] };
  if (isAtStart && !isExtended) return;
  const index = rows.slice(from, to).findIndex((row) => keyOf(row) === key);
  const row = index < 0 ? null : document.querySelector(`[data-window="${CSS.escape(name)}"] [data-at="${from + index}"]`);
  const moved = row ? row.getBoundingClientRect().top - top : 0;
  if (Math.abs(moved) >= 1) scrollBy(0, moved);
}

function measure() {
  for (const box of document.querySelectorAll("[data-window]")) {
    const one = lists.get(box.dataset.window);
    const marks = [...box.querySelectorAll("[data-at], .gap")].slice(1);
    const tops = marks.map((row) => row.getBoundingClientRect().top);
    for (const [at, row] of marks.slice(0, -1).entries()) keep(one, Number(row.dataset.at), tops[at + 1] - tops[at]);
  }
}

function keep(one, index, height) {
  const block = (one.blocks[Math.floor(index / BLOCK)] ??= { sum: 0, known: 0 });
  const before = one.heights[index];
  for (const all of [one, block]) {
    if (before === undefined) all.known += 1;
    all.sum += height - (before ?? 0);
  }
  one.heights[index] = height;
}

function measureAgain(one, heights) {
  Object.assign(one, { heights: [], blocks: [], sum: 0, known: 0 });
  for (const [index, height] of heights.entries()) if (height !== undefined) keep(one, index, height);
}

/** Keep the heights of rows that are still there, at other places: rows came before the first one, or it has gone. */
function follow(one, rows, keyOf) {
  const keys = (all, key) => all.findIndex((row) => keyOf(row) === key);
  const gone = rows.length ? keys(one.rows, keyOf(rows[0])) : -1;
  const added = one.rows.length && gone < 0 ? keys(rows, keyOf(one.rows[0])) : -gone;
  const moved = gone > 0 ? one.heights.slice(gone) : added > 0 ? [...new Array(added), ...one.heights] : gone < 0 ? [] : null;
  if (moved || rows.length < one.heights.length) measureAgain(one, (moved || one.heights).slice(0, rows.length));
  one.isExtended = added > 0;
  if (gone > 0 || added > 0) {
    one.from += added;
    one.to += added;
  }
}

const size = (one, index) => one.heights[index] ?? (one.known ? one.sum / one.known : GUESS);

/** Return the height of a block of rows, or of its beginning in a list that ends in it. */
function whole(one, block) {
  const { sum, known } = one.blocks[block] || { sum: 0, known: 0 };
  const rows = Math.min(BLOCK, one.rows.length - block * BLOCK);
  return sum + (rows - known) * (one.known ? one.sum / one.known : GUESS);
}

function span(one, from, to) {
  let all = 0;
  for (let index = from; index < to; ) {
    const isWhole = index % BLOCK === 0 && index + BLOCK <= to;
    all += isWhole ? whole(one, index / BLOCK) : size(one, index);
    index += isWhole ? BLOCK : 1;
  }
  return all;
}

/** Draw again if the rows on the screen are not those that are drawn. */
function look() {
  let isStale = false;
  for (const box of document.querySelectorAll("[data-window]")) {
    const one = lists.get(box.dataset.window);
    const top = topOf(one, box);
    const [from, to] = within(one, top - MARGIN / 2, top + innerHeight + MARGIN / 2);
    if (from >= one.from && to <= one.to) continue;
    [one.from, one.to] = within(one, top - MARGIN, top + innerHeight + MARGIN);
    isStale = true;
  }
  if (isStale) redraw();
}

/**
 * Return the height of a list that is at the top of the screen. Rows that are on the screen tell it: the gap before them
 * may have been guessed before they were measured.
 */
function topOf(one, box) {
  const gaps = box.querySelectorAll(".gap");
  const above = gaps[0].getBoundingClientRect();
  const isShown = above.bottom <= innerHeight && gaps[gaps.length - 1].getBoundingClientRect().top >= 0;
  return isShown ? span(one, 0, one.from) - above.bottom : -above.top;
}

/** Return the rows between two heights of a list. */
function within(one, top, bottom) {
  const last = one.rows.length;
  let at = 0;
  let from = 0;
  for (let block; (block = from / BLOCK) < Math.floor(last / BLOCK) && at + whole(one, block) < top; from += BLOCK) at += whole(one, block);
  while (from < last - 1 && at + size(one, from) < top) at += size(one, from++);
  let to = from;
  while (to < last && at < bottom) at += size(one, to++);
  return [from, Math.max(to, Math.min(last, from + 1))];
}
