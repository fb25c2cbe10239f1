// The plain lists: each noun's path, columns, and what an empty list says. `pages/lists.js` shows them.

import { html } from "lit-html";
import { button } from "./acting.js";
import { at } from "./api.js";
import { editing } from "./definitions.js";
import { anything, badge, place, time } from "./parts.js";
import { to } from "./router.js";
import { clock, cost, count, short, size, visible, when, words } from "./text.js";

const definition = (kind, name, more = {}) => ({
  title: name,
  path: `/v1/${kind}?limit=100`,
  kinds: ["definition.", ...(more.kinds || [])],
  none: `There is none yet: ${name.toLowerCase()} are files in ${kind}/.`,
  command: `kheish ${kind} edit NAME`,
  open: (one) => to`${kind}/${one.id ?? one.name}`,
  columns: [
    ["Name", (one) => html`<strong>${visible(one.id ?? one.name)}</strong>`],
    ["State", (one) => html`${badge(one.state || one.status?.state || "ready")}${one.last_error || one.status?.last_error ? html` <span class="soft">${short(one.last_error || one.status.last_error, 100)}</span>` : ""}`],
    ...(more.columns || []),
  ],
  one: { path: (id) => `/v1/${kind}/${encodeURIComponent(id)}`, edit: kind },
  actions: more.actions,
  head: html`<a class="button" href=${`#/edit/${kind}`}>New</a>`,
});

export const LISTS = {
  assets: {
    title: "Assets",
    path: "/v1/assets?limit=50",
    kinds: ["asset."],
    none: "There is no asset yet.",
    command: "kheish assets add FILE",
    open: (one) => to`assets/${one.asset_id}`,
    columns: [
      ["Name", (one) => html`<strong>${short(one.name, 70)}</strong>`],
      ["Type", (one) => visible(one.media_type)],
      ["Size", (one) => size(one.bytes), "num"],
      ["Origin", (one) => html`${one.origin.kind}${one.origin.session_id ? html` <a href=${to`sessions/${one.origin.session_id}`}>${visible(one.origin.session_id)}</a>` : ""}`],
      ["Text", (one) => html`${one.derived ? `${count(one.derived.chars)} characters` : html`<span class="soft">${short(one.why || "none", 80)}</span>`}`],
      ["Used by", (one) => String(one.references.length), "num"],
      ["Stored", (one) => time(one.created_at)],
    ],
    one: { path: (id) => at`/v1/assets/${id}` },
    actions: (one) => html`<a class="button" href=${at`/v1/assets/${one.asset_id}/raw`} download=${one.name}>Save the file</a>
      ${button({ label: "Remove", method: "DELETE", path: at`/v1/assets/${one.asset_id}`, confirm: "The asset leaves the tree; git's history keeps it.", isBad: true, done: "Removed." })}`,
  },
  deliveries: {
    title: "Deliveries",
    path: "/v1/deliveries?limit=50",
    kinds: ["delivery.", "output."],
    none: "Nothing was delivered yet: a reply target makes the first one.",
    command: "kheish outputs list",
    open: (one) => to`deliveries/${one.delivery_id}`,
    filter: ["state", ["pending", "delivering", "retrying", "delivered", "held", "dead_letter", "resolved"]],
    columns: [
      ["Delivery", (one) => html`<strong>${visible(one.target?.output || one.output || one.delivery_id)}</strong>`],
      ["State", (one) => html`${badge(one.state)}${one.unknown_end ? " unknown end" : ""}`],
      ["Why", (one) => html`<span class="soft">${short(one.last_error || "", 100)}</span>`],
      ["Attempts", (one) => `${one.attempts}${one.parts ? `, ${one.parts_done} of ${one.parts} parts` : ""}`],
      ["Session", (one) => html`<a href=${to`sessions/${one.session_id}`}>${visible(one.session_id)}</a>`],
      ["Next try", (one) => time(one.next_try_at)],
      ["Created", (one) => time(one.created_at)],
    ],
    one: { path: (id) => at`/v1/deliveries/${id}` },
    actions: (one) => (["dead_letter", "held"].includes(one.state)
      ? html`${button({ label: "Replay", path: at`/v1/deliveries/${one.delivery_id}/replay`, body: {}, confirm: one.unknown_end || one.is_unclear ? "The target may have it already; it is sent again." : "It is sent again.", done: "Queued." })}
        ${button({ label: "Resolve", path: at`/v1/deliveries/${one.delivery_id}/resolve`, field: "Reason", isRequired: true, body: (reason) => ({ reason }), done: "It is not sent again." })}`
      : ""),
  },
  sources: {
    ...definition("sources", "Observations", { kinds: ["observation."], columns: [["Title", (one) => short(one.title || "", 80)], ["Kept", (one) => `${count(one.retained)} of ${count(one.received)}, ${size(one.bytes)}`], ["Last", (one) => time(one.last_received_at)]] }),
    below: (id) => ({
      title: "Observations",
      path: `${at`/v1/sources/${id}/observations`}?limit=50`,
      kinds: ["observation."],
      none: "Nothing was observed yet.",
      command: `kheish observe ${id} --text "…"`,
      columns: [
        ["Kind", (one) => html`<strong>${visible(one.kind)}</strong>`],
        ["Text", (one) => html`${short(one.text || one.media_type || "", 120)}${one.why ? html` <span class="soft">${short(one.why, 80)}</span>` : ""}`],
        ["State", (one) => badge(one.state)],
        ["Captured", (one) => time(one.captured_at)],
        ["Size", (one) => size(one.bytes), "num"],
        ["Used", (one) => String(one.materializations?.length ?? 0), "num"],
      ],
    }),
  },
  problems: {
    title: "Problems",
    path: "/v1/problems?limit=100",
    kinds: ["definition.", "playbook.", "memory."],
    none: "No file has a problem.",
    filter: ["severity", ["error", "warning"]],
    open: (one) => editing(one.path, one.line),
    columns: [
      ["Place", (one) => html`<code>${visible(place(one))}</code>`],
      ["Severity", (one) => badge(one.severity)],
      ["Problem", (one) => html`${visible(one.message)}${one.suggestion ? html`<br><span class="soft">Try: ${visible(one.suggestion)}</span>` : ""}`],
      ["Since", (one) => time(one.since)],
    ],
  },
  audit: {
    title: "Audit",
    path: "/v1/audit?limit=100",
    kinds: ["secret.", "token.", "approval.resolved"],
    none: "The audit is empty.",
    command: "kheish audit verify",
    filter: ["action", ["model", "http", "shell", "mcp", "delivery", "secret", "token", "access", "approval", "auth", "hook", "asset"]],
    columns: [
      ["Entry", (one) => html`<code>${one.seq}</code>`],
      ["When", (one) => when(one.at), "line"],
      ["Action", (one) => html`<strong>${one.data.action}</strong> ${badge(one.data.outcome)}`],
      ["By", (one) => visible(one.data.subject)],
      ["Target", (one) => short(one.data.target || "", 140), "long"],
      ["Run", (one) => (one.data.run ? html`<a href=${to`runs/${one.data.run}`}>run</a>` : "–")],
    ],
  },
  logs: {
    title: "Logs",
    path: "/v1/logs?limit=100",
    every: 5000,
    none: "The daemon has logged nothing since it started.",
    filter: ["level", ["DEBUG", "INFO", "WARNING", "ERROR"]],
    columns: [
      ["When", (one) => clock(one.at), "line"],
      ["Level", (one) => badge(one.level)],
      ["From", (one) => html`<code>${visible(one.name)}</code>`],
      ["Text", (one) => visible(one.text).slice(0, 2000)],
    ],
  },
  usage: {
    title: "Usage",
    path: "/v1/usage?limit=100",
    kinds: ["run.completed", "run.failed"],
    none: "No model was called yet.",
    filter: ["by", ["session", "route", "project", "agent", "day"], "session"],
    columns: [
      ["What", (one) => html`<strong>${visible(one.session_id || one.route || one.project || one.day || one.agent_id || "none")}</strong>`],
      ["Calls", (one) => count(one.model_calls), "num"],
      ["Input", (one) => count(one.input_tokens), "num"],
      ["Cached", (one) => count(one.cached_tokens), "num far"],
      ["Output", (one) => count(one.output_tokens), "num"],
      ["Cost", (one) => html`${cost(one.cost_usd)}${one.estimated ? html` <span class="soft">estimated</span>` : ""}`, "num"],
    ],
  },
  routes: definition("routes", "Routes", { columns: [["Driver", (one) => visible(one.driver)], ["Model", (one) => visible(one.model || "–")]] }),
  personas: definition("personas", "Personas", { columns: [["Description", (one) => short(one.description || one.display_name || "", 100)]] }),
  skills: definition("skills", "Skills", { columns: [["Description", (one) => short(one.description || "", 100)], ["Source", (one) => visible(one.source)]] }),
  hooks: definition("hooks", "Hooks", {
    kinds: ["hook."],
    columns: [["Events", (one) => (one.events || []).join(", ")], ["Trusted", (one) => (one.trusted ? badge("trusted") : html`${badge("untrusted")} <span class="soft">kheish trust hooks/${one.id}</span>`)], ["Runs", (one) => count(one.runs), "num"], ["Failures", (one) => count(one.failures), "num"]],
  }),
  mcp: definition("mcp", "MCP servers", {
    columns: [["Version", (one) => visible(one.negotiated?.version || "–")], ["Tools", (one) => count(one.tools.length), "num"]],
    actions: (one) => button({ label: "Connect", path: at`/v1/mcp/${one.id}/connect`, body: {}, role: "admin", done: "Asked." }),
  }),
  connectors: {
    ...definition("connectors", "Connectors", { columns: [["Kind", (one) => visible(one.kind)], ["Received", (one) => `${count(one.received)}, ${count(one.refused)} refused`], ["Last", (one) => time(one.last_at)]] }),
    below: (id) => ({
      title: "Receipts",
      path: `${at`/v1/connectors/${id}/receipts`}?limit=50`,
      none: "Nothing was received yet.",
      columns: [
        ["Receipt", (one) => html`<code>${visible(one.receipt_id)}</code>`],
        ["State", (one) => html`${badge(one.state)}${one.reason ? html` <span class="soft">${short(one.reason, 100)}</span>` : ""}`],
        ["Run", (one) => (one.run_id ? html`<a href=${to`runs/${one.run_id}`}>run</a>` : one.flow_id ? html`<a href=${to`flows/${one.flow_id}`}>Flow</a>` : "–")],
        ["When", (one) => time(one.at || one.received_at)],
      ],
    }),
  },
  outputs: definition("outputs", "Outputs", {
    kinds: ["delivery.", "output."],
    columns: [["Kind", (one) => visible(one.kind)], ["Off because", (one) => html`<span class="soft">${short(one.off_because || "", 90)}</span>`], ["Open", (one) => count(one.open_deliveries), "num"], ["Stuck", (one) => count(one.stuck_deliveries), "num"]],
    actions: (one) => html`${one.off_because ? button({ label: "Enable", path: at`/v1/outputs/${one.id}/enable`, body: {}, done: "Deliveries continue." }) : ""}`,
  }),
  workers: definition("workers", "Workers", { columns: [["Version", (one) => visible(one.version || "–")], ["Last seen", (one) => time(one.last_seen)]] }),
  trust: {
    title: "Trust",
    path: "/v1/trust?limit=100",
    kinds: ["definition.", "playbook."],
    none: "Nothing that starts commands waits for trust.",
    command: "kheish trust NAME",
    columns: [
      ["What", (one) => html`<strong>${visible(one.id)}</strong>`],
      ["Kind", (one) => one.kind],
      ["State", (one) => badge(one.state)],
      ["Commands", (one) => short((one.commands || []).join("; "), 140)],
      ["Changed by", (one) => visible(one.changed_by)],
    ],
  },
  secrets: {
    title: "Secrets",
    path: "/v1/secrets?limit=100",
    kinds: ["secret."],
    none: "There is no slot yet. Values are never shown.",
    command: "kheish secrets set NAME",
    columns: [
      ["Slot", (one) => html`<strong>${visible(one.slot)}</strong>`],
      ["Status", (one) => html`${badge(one.status)}${one.reason ? html` <span class="soft">${short(one.reason, 90)}</span>` : ""}`],
      ["Used by", (one) => one.referenced_by.map(visible).join(", ") || "nothing"],
      ["Version", (one) => String(one.version), "num"],
      ["Set", (one) => html`${time(one.value_at)} <span class="soft">by ${visible(one.updated_by)}</span>`],
    ],
  },
  tokens: {
    title: "Tokens",
    path: "/v1/tokens?limit=100",
    kinds: ["token."],
    none: "There is no token beside the local one.",
    command: "kheish tokens create NAME --role operator",
    columns: [
      ["Name", (one) => html`<strong>${visible(one.name)}</strong>`],
      ["Role", (one) => visible(one.role)],
      ["Person", (one) => visible(one.person || "–")],
      ["Sessions", (one) => one.sessions.map(visible).join(", ") || "all"],
      ["Expires", (one) => time(one.expires_at)],
      ["", (one) => button({ label: "Revoke", method: "DELETE", path: at`/v1/tokens/${one.name}`, role: "admin", confirm: `Requests with the token ${one.name} are refused at once.`, isBad: true, done: "Revoked." })],
    ],
  },
};

/** Return the name of a list in words. */
export function named(list) {
  return LISTS[list]?.title || words(list);
}
