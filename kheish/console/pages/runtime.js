// What agents run with: routes, drivers, MCP servers, hooks, skills, secrets by name; limits and settings; pause.

import { html } from "lit-html";
import { button } from "../acting.js";
import { anything, badge, fields, pre, shown } from "../parts.js";
import { to } from "../router.js";
import { read } from "../store.js";
import { short, visible, words, yaml } from "../text.js";

export const title = () => "Runtime";
const LINKS = ["routes", "personas", "skills", "hooks", "mcp", "connectors", "outputs", "workers", "trust", "secrets", "tokens"];

export function view() {
  const runtime = read("/v1/runtime", ["definition.", "secret.", "daemon."]);
  const status = read("/v1/status", ["daemon.", "definition."]);
  const config = read("/v1/config", ["definition."]);
  const permissions = read("/v1/permissions", ["definition."]);
  const paused = status.data?.paused.everything;
  return html`<div class="head"><h1>Runtime</h1><div class="buttons">${status.data ? (paused
      ? button({ label: "Resume everything", path: "/v1/resume", role: "admin", body: {}, isMain: true, done: "Work continues." })
      : button({ label: "Pause everything", path: "/v1/pause", role: "admin", body: {}, confirm: "No new step starts until you resume.", done: "Paused." })) : ""}</div></div>
    <nav class="tabs" aria-label="Kinds">${LINKS.map((name) => html`<a href=${to`${name}`}>${name === "mcp" ? "MCP" : words(name)}</a>`)}</nav>
    ${shown(runtime, (one) => html`
      <h2>Routes</h2>
      ${one.routes.length ? html`<div class="wide"><table class="rows" aria-label="Routes"><thead><tr><th scope="col">Route</th><th scope="col">Status</th><th scope="col">Driver</th><th scope="col">Model</th><th scope="col">Server</th><th scope="col">Key</th></tr></thead>
        <tbody>${one.routes.map((route) => html`<tr data-row tabindex="0"><td><a href=${to`routes/${route.id}`}><strong>${visible(route.id)}</strong></a></td><td data-name="Status">${badge(route.status)}${route.reason ? html` <span class="soft">${short(route.reason, 120)}</span>` : ""}</td><td data-name="Driver">${route.driver}</td><td data-name="Model">${visible(route.model || "–")}</td><td data-name="Server">${visible(route.server || "–")}</td><td data-name="Key">${visible(route.auth_ref || "none")}</td></tr>`)}</tbody></table></div>` : html`<p class="soft">None. <a href="#/first-steps">First steps</a></p>`}
      <div class="grid">
        <section><h2>MCP servers</h2>${items(one.mcp, (server) => html`${badge(server.state)} <a href=${to`mcp/${server.id}`}>${visible(server.id)}</a> <span class="soft">${server.tools} tools ${short(server.last_error || "", 80)}</span>`)}</section>
        <section><h2>Hooks</h2>${items(one.hooks, (name) => html`<a href=${to`hooks/${name}`}>${visible(name)}</a>`)}</section>
        <section><h2>Skills</h2>${items(one.skills, (skill) => html`<a href=${to`skills/${skill.name}`}>${visible(skill.name)}</a> <span class="soft">${skill.source}</span>`)}</section>
        <section><h2>Secrets in use</h2>${items(one.slots || [], (slot) => html`${badge(slot.status)} <code>${visible(slot.slot)}</code> <span class="soft">for ${visible(slot.audience)} ${short(slot.reason || "", 80)}</span>`)}</section>
        <section><h2>Drivers</h2>${items(one.drivers, (driver) => html`${visible(driver.name)} <span class="soft">${driver.loaded ? "loaded" : "not loaded yet"}</span>`)}</section>
      </div>`)}
    ${status.data ? html`<h2>Daemon</h2>${fields([
      ["Runs", `${status.data.runs.running} of at most ${status.data.runs.limit}`],
      ["Sandbox", anything(status.data.sandbox.mode === "off" ? "off" : status.data.sandbox.why)],
      ["Durability", status.data.durability],
      ["Sessions in memory", String(status.data.sessions_loaded)],
      ["State root", html`<code>${visible(status.data.state_root)}</code>`],
      ["Files are watched by", status.data.watching],
    ])}` : ""}
    <h2>Permissions</h2><p class="soft"><a href="#/edit/permissions">Edit permissions.yaml</a> · <a href="#/edit/instructions">Edit the base prompt</a></p>${shown(permissions, (rules) => pre(yaml(rules).trim(), "permissions.yaml in effect"))}
    <h2>Settings in effect</h2><p class="soft">From <code>kheish.yaml</code> and the environment; <a href="#/edit/config">edit it</a>.</p>
    ${shown(config, (settings) => pre(yaml(settings).trim(), "kheish.yaml in effect"))}`;
}

function items(all, view_) {
  return all.length ? html`<ul class="plainlist">${all.map((one) => html`<li>${view_(one)}</li>`)}</ul>` : html`<p class="soft">None.</p>`;
}
