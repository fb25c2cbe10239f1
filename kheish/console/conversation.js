// A session's entries in the page: the last ones, or those around an event; live, and never more than a window.

import { at, get } from "./api.js";
import { Stream } from "./live.js";
import { changed, logOut } from "./store.js";
import { fold } from "./timeline.js";

const PAGE = 200;
const WINDOW = 400;

/** The window of one session's journal. `items` are folded entries; `drafts` is text that is still being written. */
export class Conversation {
  constructor(id) {
    this.id = id;
    this.entries = [];
    this.items = [];
    this.drafts = new Map();
    this.isAtEnd = true;
    this.isAtStart = false;
    this.first = null; // the session's first event
    this.last = null; // its last event, as far as it is known
    this.error = null;
    this.isLoading = true;
    this.since = Date.now();
  }

  /** Load the end, or the entries around event `n`, and follow the session. */
  async open(n = null) {
    this.isLoading = true;
    this.since = Date.now();
    try {
      const journal = at`/v1/sessions/${this.id}/journal`;
      const [begin, page, before] = await Promise.all([
        this.first === null ? get(`${journal}?limit=1`) : null,
        get(n === null ? `${journal}?limit=${PAGE}&before=999999999999999` : `${journal}?limit=${PAGE / 2}&after=${Math.max(0, n - 1)}`),
        n === null ? null : get(`${journal}?limit=${PAGE / 2}&before=${n}`),
      ]);
      if (begin) this.first = begin.items[0]?.n ?? 0;
      const items = [...(before?.items || []), ...page.items];
      this.isAtEnd = n === null || page.next_cursor === null;
      this.#keep(items);
      this.isAtStart = !items.length || items[0].n <= this.first;
      this.error = null;
      if (this.isAtEnd) this.#follow();
    } catch (error) {
      this.error = error;
      if (error.status === 401) logOut();
      // The index is behind, or the daemon starts: ask again.
      if (error.status === 503 || error.status === 0) this.retry = setTimeout(() => this.open(n), 1000);
    }
    this.isLoading = false;
    changed();
  }

  /** Put earlier entries before the window. */
  async earlier() {
    const { items } = await get(`${at`/v1/sessions/${this.id}/journal`}?limit=${PAGE}&before=${this.entries[0].n}`);
    this.isAtStart = items.length < PAGE;
    const all = [...items, ...this.entries];
    if (all.length > WINDOW) {
      this.isAtEnd = false;
      this.close();
    }
    this.#keep(all.slice(0, WINDOW));
    changed();
  }

  /** Put later entries after the window. */
  async later() {
    const { items, next_cursor: next } = await get(`${at`/v1/sessions/${this.id}/journal`}?limit=${PAGE}&after=${this.entries.at(-1).n}`);
    this.isAtEnd = next === null;
    const all = [...this.entries, ...items];
    if (all.length > WINDOW) this.isAtStart = false;
    this.#keep(all.slice(-WINDOW));
    if (this.isAtEnd) this.#follow();
    changed();
  }

  close() {
    clearTimeout(this.retry);
    this.stream?.stop();
    this.stream = null;
  }

  #keep(entries) {
    this.entries = entries;
    this.last = Math.max(this.last ?? 0, entries.at(-1)?.n ?? 0);
    this.items = fold(entries);
  }

  #follow() {
    this.close();
    this.stream = new Stream(at`/v1/sessions/${this.id}/events`, { heard: (event) => this.#heard(event), after: this.entries.at(-1)?.n ?? 0 });
    this.stream.start();
  }

  #heard(event) {
    if (event.live) {
      this.#draft(event);
      return;
    }
    if (this.entries.length && event.n <= this.entries.at(-1).n) return;
    if (/^(model\.|tool\.finished|run\.)/.test(event.kind)) this.#endDrafts(event);
    this.waiting ??= [];
    this.waiting.push(event);
    if (this.timer) return;
    this.timer = setTimeout(() => {
      const fresh = this.waiting;
      this.waiting = null;
      this.timer = null;
      const all = [...this.entries, ...fresh];
      if (all.length > WINDOW) this.isAtStart = false;
      this.#keep(all.slice(-WINDOW));
      changed();
    }, 40);
  }

  #draft(event) {
    const key = `${event.kind}/${event.run}/${event.data?.call_id ?? ""}`;
    const draft = this.drafts.get(key) || { kind: event.kind, text: "" };
    // A draft is cut in front: its whole text comes with the entry.
    draft.text = (draft.text + (event.data?.text ?? event.text ?? "")).slice(-20_000);
    this.drafts.set(key, draft);
    changed();
  }

  #endDrafts(event) {
    const kind = event.kind.startsWith("model.") ? "model.delta" : event.kind === "tool.finished" ? "tool.output" : "";
    for (const [key, draft] of this.drafts) if (!kind || draft.kind === kind) this.drafts.delete(key);
  }
}
