// The frame around each page: navigation, the offline bar, messages, the number of waiting decisions.

import { html } from "lit-html";
import { ask } from "./api.js";
import { dialog } from "./dialogs.js";
import { logOut, read, say, store } from "./store.js";
import { clock, visible } from "./text.js";

const NAV = [
  [["", "Home"], ["inbox", "Inbox"], ["sessions", "Sessions"], ["runs", "Runs"], ["agents", "Agents"]],
  [["flows", "Flows"], ["playbooks", "Playbooks"], ["schedules", "Schedules"], ["channels", "Channels"], ["projects", "Projects"]],
  [["memory", "Memory"], ["assets", "Assets"], ["deliveries", "Deliveries"], ["sources", "Observations"]],
  [["runtime", "Runtime"], ["problems", "Problems"], ["usage", "Usage"], ["audit", "Audit"], ["logs", "Logs"], ["docs", "Docs"]],
];
const BAR = [["", "Home"], ["inbox", "Inbox"], ["sessions", "Sessions"], ["runs", "Runs"]];
let isOpen = false;

export const APPROVALS = "/v1/approvals?status=pending&limit=100";
export const QUESTIONS = "/v1/questions?status=pending&limit=100";

/** Return the approvals and the questions that wait, and their number: "100+" where there are more than one page. */
export function waiting() {
  const kinds = ["approval.", "question."];
  const approvals = read(APPROVALS, kinds);
  const questions = read(QUESTIONS, kinds);
  const pages = [approvals.data, questions.data].filter(Boolean);
  const number = pages.reduce((sum, page) => sum + page.items.length, 0);
  return { approvals, questions, count: number && `${number}${pages.some((page) => page.next_cursor) ? "+" : ""}` };
}

/** Return the whole page: `body` in its frame. */
export function frame({ here, body, redraw }) {
  const { count } = waiting();
  const link = ([path, name], isBar) => html`<a href="#/${path}" aria-current=${here.path.split("/")[0] === path ? "page" : "false"} @click=${() => {
    isOpen = false;
  }}>${name}${path === "inbox" && count ? html` <span class="count">${count}<span class="hidden"> waiting</span></span>` : ""}</a>`;
  const toggle = () => {
    isOpen = !isOpen;
    redraw();
    if (isOpen) setTimeout(() => document.querySelector("nav a")?.focus(), 0);
  };
  return html`
    <a class="skip" href="#main" @click=${(event) => {
      event.preventDefault();
      document.querySelector("main").focus();
    }}>To the content</a>
    ${bar()}
    <div class="frame ${isOpen ? "open" : ""}">
      <nav aria-label="Pages">
        <p class="brand">Kheish</p>
        ${NAV.map((group) => html`<ul>${group.map((one) => html`<li>${link(one)}</li>`)}</ul>`)}
        <p class="me">${visible(store.me.name)} <span class="soft">(${store.me.role})</span> <button class="plain" @click=${leave}>Log out</button></p>
      </nav>
      <main id="main" tabindex="-1">${body}</main>
    </div>
    <nav class="bottom" aria-label="Main pages">${BAR.map((one) => link(one, true))}<button class="plain" aria-expanded=${isOpen} @click=${toggle}>More</button></nav>
    ${store.notice ? html`<p class="notice ${store.notice.isBad ? "bad" : ""}" role="status">${visible(store.notice.text)}</p>` : ""}
    <p class="hidden" role="status" aria-live="polite">${count ? `${count} waiting` : ""}</p>
    ${dialog()}`;
}

function bar() {
  const { state, since } = store.connection;
  if (state !== "lost") return "";
  return html`<p class="offline" role="status">Not connected since ${clock(since)}; nothing is lost. This page continues when the daemon answers.</p>`;
}

/** Return whether the daemon answers, as far as the page knows; buttons that need it are disabled otherwise. */
export function isOnline() {
  return store.connection.state !== "lost";
}

/** Return the attributes of a button that needs the daemon: `?disabled=${off()}` and `title=${why()}`. */
export const off = () => !isOnline();
export const why = () => (isOnline() ? "" : "The daemon does not answer.");

async function leave() {
  try {
    await ask("DELETE", "/v1/auth/login");
  } catch (error) {
    return say(error.message, true);
  }
  return logOut();
}

/** Close the menu of a small screen; return whether it was open. */
export function closeMenu() {
  const was = isOpen;
  isOpen = false;
  return was;
}

/** Return the page for a browser that is not logged in. */
export function login() {
  return html`<main class="login" id="main" tabindex="-1">
    <h1>Kheish</h1>
    <p>To log this browser in, run this on the daemon's machine, and open the link that it prints:</p>
    <pre tabindex="0" aria-label="Command">kheish login</pre>
    <form @submit=${(event) => {
      event.preventDefault();
      const code = event.target.elements.link.value.trim().replace(/^.*[?&]code=/, "");
      if (code) location.href = `/login?code=${encodeURIComponent(code)}`;
    }}>
      <label>Or paste the link here <input name="link" autocomplete="off" spellcheck="false" required></label>
      <button class="main">Log in</button>
    </form>
    <p class="soft">The link works once, within a minute. The page at <a href="/docs">/docs</a> describes the API.</p>
  </main>`;
}
