// The files that the editor opens, by the kind in its address.

import { to } from "./router.js";

export const KINDS = ["routes", "personas", "skills", "hooks", "mcp", "connectors", "schedules", "sources", "channels", "projects", "playbooks", "outputs", "workers"];
/** The daemon's own files: one of each, with no address of their own. */
export const FILES = { config: "kheish.yaml", permissions: "permissions.yaml", instructions: "instructions.md" };

/** Return the address of the editor for a file of the state root at a line; null for a file that is no Definition. */
export function editing(path, line) {
  const own = Object.keys(FILES).find((name) => FILES[name] === path);
  if (own) return `${to`edit/${own}`}?line=${line || 1}`;
  const [, kind, id] = /^([^/]+)\/([^/]+?)(?:\.yaml|\.md|\/[^/]+)?$/.exec(path) || [];
  return KINDS.includes(kind) ? `${to`edit/${kind}/${id}`}?line=${line || 1}` : null;
}
