// Requests to the daemon: JSON in and out, problem documents as errors, the CSRF header on each change.

let csrf = null;

/** The answer that says what is wrong and what to do: RFC 9457, or the lack of any answer. */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `The daemon answered ${status}.`);
    this.status = status;
    this.code = document.code || "";
    this.errors = document.errors || [];
    this.problems = document.problems || [];
    this.document = document;
  }
}

/** Keep the token that each change needs. */
export function keepCsrf(value) {
  csrf = value;
}

/** Return {data, n, etag}. Throws Problem. `body` is sent as JSON, `text` as it is, `form` with its files. */
export async function ask(method, path, { body, text, type, form, headers = {}, signal } = {}) {
  const sent = { accept: "application/json, application/problem+json", ...headers };
  if (method !== "GET" && csrf) sent["x-kheish-csrf"] = csrf;
  let content;
  if (text !== undefined) {
    sent["content-type"] = type || "application/yaml";
    content = text;
  } else if (form) {
    content = form;
  } else if (body !== undefined) {
    sent["content-type"] = "application/json";
    content = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, { method, headers: sent, body: content, credentials: "same-origin", signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { code: "offline", detail: "The daemon does not answer; nothing was changed by this page." });
  }
  const raw = answer.status === 204 ? "" : await answer.text();
  const isJson = (answer.headers.get("content-type") || "").includes("json");
  if (!answer.ok) {
    let document = { detail: raw.slice(0, 500) };
    if (isJson) document = JSON.parse(raw);
    throw new Problem(answer.status, document);
  }
  return {
    data: isJson && raw ? JSON.parse(raw) : raw,
    n: Number(answer.headers.get("x-kheish-event") || 0),
    etag: (answer.headers.get("etag") || "").replace(/^W\//, "").replace(/"/g, ""),
  };
}

/** Return the data of a GET. */
export async function get(path, options) {
  return (await ask("GET", path, options)).data;
}

/** Return a path with its parts escaped: at`/v1/runs/${id}`. */
export function at(strings, ...parts) {
  return strings.reduce((path, piece, index) => path + encodeURIComponent(parts[index - 1]) + piece);
}

/** Return a new idempotency key, for a request that starts something. */
export function key() {
  return `console-${crypto.randomUUID ? crypto.randomUUID() : Array.from(crypto.getRandomValues(new Uint32Array(4))).join("-")}`;
}
