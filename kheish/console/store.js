// The one store: answers of GET by their path, refreshed when an event says that they changed.

import { get } from "./api.js";
import { Stream } from "./live.js";

const KEPT = 60;
const PAUSE = 120;

export const store = {
  me: null, // GET /v1/auth/login
  isOut: false, // not logged in
  connection: { state: "starting", since: Date.now() },
  notice: null, // {text, isBad}
};

const entries = new Map();
const listeners = new Set();
const hearers = new Set();
let turn = 0;
let stream = null;

/** Call `listener` after each change. */
export function subscribe(listener) {
  listeners.add(listener);
}

/** Announce a change of the store or of a page's own state. */
export function changed() {
  for (const listener of listeners) listener();
}

/** Call `hearer` with each event of the daemon; return the function that ends it. */
export function onEvent(hearer) {
  hearers.add(hearer);
  return () => hearers.delete(hearer);
}

/**
 * Return {data, error, isLoading, since} of a path, and load it if it is not there. It is loaded again after an event
 * of one of these `kinds` (beginnings of kinds); until then, and while it loads, the old content stays.
 */
export function read(path, kinds = []) {
  let entry = entries.get(path);
  if (!entry) {
    entry = { path, data: undefined, error: null, isLoading: false, since: Date.now(), isStale: true };
    entries.set(path, entry);
    for (const old of [...entries.values()].slice(0, -KEPT)) if (old.turn !== turn) entries.delete(old.path);
  }
  entry.kinds = kinds;
  if (entry.turn !== turn) {
    entry.turn = turn;
    entry.isStale = true;
  }
  if (entry.isStale && !entry.isLoading) load(entry);
  return entry;
}

/** Forget nothing, but load again what the next page reads. */
export function nextPage() {
  turn += 1;
}

/** Load again everything that the page shows. */
export function refresh(beginning = "") {
  for (const entry of entries.values()) {
    if (!entry.path.startsWith(beginning)) continue;
    if (entry.turn === turn) soon(entry);
    else entry.isStale = true;
  }
}

async function load(entry) {
  entry.isLoading = true;
  entry.isStale = false;
  entry.since = Date.now();
  setTimeout(() => entry.isLoading && changed(), 160); // the skeleton
  try {
    entry.data = await get(entry.path);
    entry.error = null;
  } catch (error) {
    entry.error = error;
    if (error.status === 401) logOut();
    // The index is behind, or the daemon starts: ask again while the page shows it.
    if (error.status === 503) setTimeout(() => entry.turn === turn && soon(entry), 1000);
  }
  entry.isLoading = false;
  changed();
}

function soon(entry) {
  entry.isStale = true;
  if (entry.timer) return;
  entry.timer = setTimeout(() => {
    entry.timer = null;
    if (!entry.isStale || entry.turn !== turn) return;
    if (entry.isLoading) soon(entry);
    else load(entry);
  }, PAUSE);
}

/** Show the login page: the cookie is no longer valid. */
export function logOut() {
  store.me = null;
  store.isOut = true;
  stream?.stop();
  changed();
}

function heard(event) {
  for (const entry of entries.values()) {
    if (entry.kinds?.some((kind) => event.kind.startsWith(kind))) {
      if (entry.turn === turn) soon(entry);
      else entry.isStale = true;
    }
  }
  for (const hearer of hearers) hearer(event);
}

function moved(state) {
  if (state === "ended") return logOut();
  const was = store.connection.state;
  if (was === state) return;
  store.connection = { state, since: Date.now() };
  if (state === "live" && was === "lost") refresh();
  changed();
}

/** Follow the daemon's events of these kinds. A hidden page needs no stream: it catches up when it is shown. */
export function follow(kinds) {
  const query = kinds.map((kind) => `kind=${encodeURIComponent(kind)}`).join("&");
  stream = new Stream(`/v1/events?${query}`, { heard, moved });
  const look = () => (document.hidden ? stream.stop() : stream.start());
  document.addEventListener("visibilitychange", look);
  look();
}

/** Show a short message, for some seconds. */
export function say(text, isBad = false) {
  store.notice = { text, isBad };
  changed();
  const shown = store.notice;
  setTimeout(() => {
    if (store.notice === shown) {
      store.notice = null;
      changed();
    }
  }, isBad ? 12_000 : 5_000);
}
