// Pages by the address after `#`: each is a module that is loaded when it is first shown.

const ROUTES = [
  ["", "home"],
  ["first-steps", "first"],
  ["runtime", "runtime"],
  ["inbox", "inbox"],
  ["inbox/:id", "inbox"],
  ["sessions", "sessions"],
  ["sessions/:id", "session"],
  ["sessions/:id/:tab", "session"],
  ["runs", "runs"],
  ["runs/:id", "runs"],
  ["agents", "agents"],
  ["agents/:id", "agents"],
  ["flows", "flows"],
  ["flows/:id", "flows"],
  ["playbooks", "playbooks"],
  ["playbooks/:id", "playbooks"],
  ["schedules", "schedules"],
  ["schedules/:id", "schedules"],
  ["channels", "channels"],
  ["channels/:id", "channels"],
  ["projects", "projects"],
  ["projects/:id", "projects"],
  ["memory", "memory"],
  ["memory/proposals/:id", "memory"],
  ["memory/file/*", "memory"],
  ["edit/:kind", "edit"],
  ["edit/:kind/:id", "edit"],
  ["docs", "docs"],
  ["docs/*", "docs"],
  [":list", "lists"],
  [":list/:id", "lists"],
  [":list/:id/:tab", "lists"],
];
const modules = new Map();

/** Return {name, params, query} of the address. */
export function place(hash = location.hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?");
  const query = Object.fromEntries(new URLSearchParams(search));
  const parts = path.split("/").filter(Boolean).map(decode);
  for (const [pattern, name] of ROUTES) {
    const params = match(pattern.split("/").filter(Boolean), parts);
    if (params) return { name, params, query, path };
  }
  return { name: "missing", params: {}, query, path };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function match(pattern, parts) {
  const params = {};
  for (const [index, piece] of pattern.entries()) {
    if (piece === "*") return { ...params, rest: parts.slice(index).join("/") };
    if (parts[index] === undefined) return null;
    if (piece.startsWith(":")) params[piece.slice(1)] = parts[index];
    else if (piece !== parts[index]) return null;
  }
  return pattern.length === parts.length ? params : null;
}

/** Return the module of a page, loading it; null if it is not there. */
export async function page(name) {
  if (!modules.has(name)) modules.set(name, import(`./pages/${name}.js`));
  try {
    return await modules.get(name);
  } catch (error) {
    modules.delete(name);
    throw error;
  }
}

/** Return an address: to`sessions/${id}`. */
export function to(strings, ...parts) {
  return `#/${strings.reduce((path, piece, index) => path + encodeURIComponent(parts[index - 1]) + piece)}`;
}

/** Go to an address. */
export function go(hash) {
  location.hash = hash;
}

/** Change the query of the address, without a step back in the browser's history. */
export function setQuery(changes) {
  const here = place();
  const query = new URLSearchParams({ ...here.query, ...changes });
  for (const [name, value] of [...query]) if (value === "" || value === "null") query.delete(name);
  history.replaceState(null, "", `#/${here.path}${query.size ? `?${query}` : ""}`);
}
