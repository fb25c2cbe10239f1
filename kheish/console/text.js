// Texts for people: times, sizes, costs, and what others wrote, made visible.

// Characters that hide or turn text around: controls, marks of direction, and what has no width.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Return a text with its hidden characters as ‹U+202E›. */
export function visible(text) {
  return String(text ?? "").replace(/\r\n/g, "\n").replace(HIDDEN, (char) => `‹U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}›`);
}

/** Return a `Text` of the API: a string, or the beginning of one that is kept beside the journal. */
export function whole(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  if (typeof value.preview === "string" && value.sha256) return `${value.preview}\n… (${size(value.bytes)} in all)`;
  return JSON.stringify(value, null, 2);
}

/** Return a text cut to a number of characters, on one line. */
export function short(text, most = 120) {
  const line = visible(whole(text)).replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

/** Return a duration: "12 s", "3 min", "5 h", "2 d". */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129_600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} d`;
}

/** Return how long ago, or in how long, a time of the API is. */
export function ago(stamp, now = Date.now()) {
  if (!stamp) return "–";
  const seconds = (now - Date.parse(stamp)) / 1000;
  return seconds >= 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
}

/** Return a time of the API, or in seconds, in the reader's zone. */
export function when(stamp) {
  if (stamp === null || stamp === undefined) return "–";
  const date = typeof stamp === "number" ? new Date(stamp * 1000) : new Date(stamp);
  return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** Return the time of day. */
export function clock(stamp) {
  return new Date(stamp).toLocaleTimeString();
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1_048_576) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1_048_576).toFixed(1)} MiB`;
}

export function cost(value) {
  if (value === null || value === undefined) return "–";
  return value < 0.01 && value > 0 ? "< $0.01" : `$${value.toFixed(2)}`;
}

export function count(value) {
  return value === null || value === undefined ? "–" : Number(value).toLocaleString();
}

/** Return a word of the API as words: waiting_for_approval → waiting for approval. */
export function words(name) {
  return String(name ?? "").replace(/_/g, " ");
}

/** Return a document of the API as readable text, of limited length. */
export function yaml(value, depth = 0) {
  const pad = "  ".repeat(depth);
  if (value === null || value === undefined) return "null";
  if (typeof value === "string") return value.includes("\n") ? `|\n${value.split("\n").map((line) => `${pad}${line}`).join("\n")}` : value || '""';
  if (typeof value !== "object") return String(value);
  if (depth > 8) return "…";
  if (Array.isArray(value)) return value.length ? value.map((item) => `\n${pad}- ${yaml(item, depth + 1).trimStart()}`).join("") : "[]";
  const names = Object.keys(value);
  if (!names.length) return "{}";
  return names.map((name) => `\n${pad}${name}: ${yaml(value[name], depth + 1)}`).join("");
}
