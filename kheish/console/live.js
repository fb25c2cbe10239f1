// An event stream, read with fetch: it resumes by the id of the last event, so nothing is missed over restarts.

const QUIET = 40_000; // the daemon sends a comment each 15 s
const LONGEST = 8_000;

/** A stream of `path`; `heard(event)` gets {n, kind, live, ...line}, `moved(state)` "live", "lost" or "ended". */
export class Stream {
  constructor(path, { heard, moved, after = null }) {
    this.path = path;
    this.heard = heard;
    this.moved = moved || (() => {});
    this.last = after;
    this.tries = 0;
    this.stopped = true;
  }

  start() {
    if (!this.stopped) return;
    this.stopped = false;
    this.tries = 0;
    this.#run();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.control?.abort();
  }

  async #run() {
    this.control = new AbortController();
    const { signal } = this.control;
    try {
      await this.#read(signal);
    } catch (error) {
      if (this.stopped) return;
      if (error.newest !== undefined) this.last = error.newest;
      else if (error.final) return this.moved("ended", error);
    }
    if (this.stopped) return;
    this.moved("lost");
    const wait = Math.min(LONGEST, 250 * 2 ** this.tries++) * (0.75 + Math.random() / 2);
    this.timer = setTimeout(() => this.stopped || this.#run(), wait);
  }

  async #read(signal) {
    const headers = { accept: "text/event-stream" };
    if (this.last !== null) headers["last-event-id"] = String(this.last);
    const answer = await fetch(this.path, { headers, signal, cache: "no-store" });
    if (!answer.ok) throw await refusal(answer);
    if (this.last === null) this.last = Number(answer.headers.get("x-kheish-event") || 0);
    this.tries = 0;
    this.moved("live");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await this.#next(reader);
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) this.#take(frame);
    }
  }

  async #next(reader) {
    const quiet = setTimeout(() => this.control.abort(), QUIET);
    try {
      return await reader.read();
    } finally {
      clearTimeout(quiet);
    }
  }

  #take(frame) {
    let kind = "";
    let id = null;
    let data = "";
    for (const line of frame.split("\n")) {
      if (line.startsWith("event: ")) kind = line.slice(7);
      else if (line.startsWith("id: ")) id = Number(line.slice(4));
      else if (line.startsWith("data: ")) data = line.slice(6);
    }
    if (!data) return;
    if (id !== null) this.last = id;
    this.heard({ ...JSON.parse(data), kind });
  }
}

async function refusal(answer) {
  const error = new Error(`The stream was refused with ${answer.status}.`);
  const document = await answer.json().catch(() => ({}));
  error.status = answer.status;
  // The state was moved back: continue from the event that is the newest now.
  if (document.code === "unknown_event" && typeof document.newest === "number") error.newest = document.newest;
  else error.final = answer.status === 401 || answer.status === 403 || answer.status === 404;
  return error;
}
