// The keyboard: `?` for help, `g` and a letter to go, j/k/Enter in lists, a and d to decide, Escape to close.

import { go } from "./router.js";

export const GO = {
  h: ["", "Home"],
  i: ["inbox", "Inbox"],
  s: ["sessions", "Sessions"],
  r: ["runs", "Runs"],
  a: ["agents", "Agents"],
  f: ["flows", "Flows"],
  p: ["playbooks", "Playbooks"],
  t: ["schedules", "Schedules"],
  c: ["channels", "Channels"],
  b: ["projects", "Projects"],
  m: ["memory", "Memory"],
  o: ["runtime", "Runtime"],
  u: ["usage", "Usage"],
  d: ["docs", "Docs"],
};
const WAIT = 1200;
let begun = 0;

/** Listen; `page()` is the module on show with its optional `keys`, `help()` opens the list of keys. */
export function listen({ pageKeys, help, close }) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape") {
      if (close()) event.preventDefault();
      return;
    }
    if (isTyping(event)) return;
    if (begun && Date.now() - begun < WAIT) {
      begun = 0;
      if (GO[event.key]) {
        event.preventDefault();
        go(`#/${GO[event.key][0]}`);
      }
      return;
    }
    begun = 0;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "?") help();
    else if (event.key === "g") begun = Date.now();
    else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    else if (pageKeys()[event.key]) pageKeys()[event.key][1](event);
    else return;
    event.preventDefault();
  });
}

function isTyping(event) {
  const target = event.composedPath()[0];
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) && !/^(checkbox|radio|button|range)$/.test(target.type || "");
}

/** Move the focus along the rows of the list on the page. */
function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row === document.activeElement || row.contains(document.activeElement));
  const seen = rows.findIndex((row) => row.getBoundingClientRect().bottom > 0);
  const row = rows[at < 0 ? (by > 0 ? Math.max(0, seen) : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
  row.focus();
  row.scrollIntoView({ block: "nearest" });
}
