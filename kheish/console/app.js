// The console begins here: who is logged in, which page is shown, and one render for each change.

import { html, render } from "lit-html";
import { get, keepCsrf } from "./api.js";
import { close, help } from "./dialogs.js";
import { KINDS } from "./kinds.js";
import { listen } from "./keys.js";
import { problem } from "./parts.js";
import { page, place } from "./router.js";
import { closeMenu, frame, login, waiting } from "./shell.js";
import { changed, follow, nextPage, store, subscribe } from "./store.js";
import { steady, watch } from "./windowed.js";

const root = document.getElementById("app");
let here = place();
let shown = null; // the module of the page
let stopped = null; // ends what the page has started
let failure = null;
let isPlanned = false;

function redraw() {
  if (isPlanned) return;
  isPlanned = true;
  // A hidden page has no animation frames, but its title shows what waits.
  (document.hidden ? setTimeout : requestAnimationFrame)(draw, 0);
}

function draw() {
  isPlanned = false;
  if (store.isOut) return render(login(), root);
  if (!store.me) return render(failure ? html`<main class="login">${problem(failure)}<button @click=${begin}>Try again</button></main>` : "", root);
  steady(() => render(frame({ here, body: body(), redraw }), root));
  const { count } = waiting();
  const title = shown?.title?.(here) || "Kheish";
  document.title = `${count ? `(${count}) ` : ""}${title}${title === "Kheish" ? "" : " · Kheish"}`;
  root.dataset.ready = here.path;
}

function body() {
  if (failure) return html`${problem(failure)}<p><button @click=${() => location.reload()}>Reload the page</button></p>`;
  return shown ? shown.view(here) : "";
}

async function show() {
  const before = here;
  here = place();
  const isSame = shown && before.name === here.name;
  closeMenu();
  close();
  nextPage();
  failure = null;
  try {
    const module = await page(here.name);
    if (place().name !== here.name) return;
    if (stopped) stopped();
    shown = module;
    stopped = module.start?.(here) || null;
  } catch (error) {
    // A module of another version is gone after an update of the daemon.
    failure = Object.assign(error, { message: `The page could not be loaded (${error.message}). The daemon may have been updated.` });
  }
  redraw();
  if (!isSame || before.path !== here.path) {
    scrollTo(0, 0);
    setTimeout(() => document.querySelector("dialog[open]") || document.getElementById("main")?.focus({ preventScroll: true }), 0);
  }
}

async function begin() {
  failure = null;
  try {
    store.me = await get("/v1/auth/login");
    keepCsrf(store.me.csrf);
  } catch (error) {
    if (error.status === 401) store.isOut = true;
    else failure = error;
    redraw();
    if (!store.isOut) setTimeout(begin, 2000);
    return;
  }
  follow(KINDS);
  show();
}

subscribe(redraw);
watch(redraw);
addEventListener("hashchange", show);
listen({
  pageKeys: () => shown?.keys?.(here) || {},
  help: () => help(shown?.keys?.(here) || {}),
  close: () => close() || (closeMenu() && (changed(), true)),
});
setInterval(() => store.me && !document.hidden && redraw(), 15_000); // "3 min ago"
begin();
