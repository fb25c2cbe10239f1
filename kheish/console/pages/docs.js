// The pages of the documentation, as this daemon has them.

import { html } from "lit-html";
import { markdown } from "../markdown.js";
import { shown } from "../parts.js";
import { changed, read } from "../store.js";

const BASE = new URL("../docs/", import.meta.url).pathname;
const LONG = 24_000; // characters; of a longer page, the sections that the reader opens are rendered
const FOLDER = /^(.*)\//; // of a page

export const title = ({ params }) => (params.rest ? `Docs: ${params.rest}` : "Docs");

export function view({ params }) {
  const name = (params.rest || "console").replace(/\.md$/, "");
  const folder = name.includes("/") ? `${name.split("/").slice(0, -1).join("/")}/` : "";
  const base = (href, isImage) => {
    const [file, hash] = href.split("#");
    if (/^[a-z][a-z0-9+.-]*:|^\/\//i.test(href) || href.startsWith("/")) return null;
    const path = new URL(folder + file, "http://x/").pathname.slice(1);
    if (isImage) return BASE + path;
    return path.endsWith(".md") || (!file && hash) ? `#/docs/${(file ? path : `${name}.md`).replace(/\.md$/, "")}` : null;
  };
  return html`<h1 class="hidden">Docs</h1><div class="docs"><aside><nav aria-label="Docs">${shown(read(`${BASE}pages.json`), (pages) => html`<ul>${pages.map((page) => html`<li><a href="#/docs/${page}" aria-current=${page === name ? "page" : "false"}>${page.replace(FOLDER, "").replace(/-/g, " ")}${FOLDER.test(page) ? html` <span class="soft">${FOLDER.exec(page)[1]}</span>` : ""}</a></li>`)}</ul>`)}</nav></aside>
    <article>${shown(read(`${BASE}${name}.md`), (source) => {
      const text = source.replace(/^<!--[^]*?-->\n/, "");
      return text.length > LONG ? sections(name, text, base) : markdown(text, base);
    })}</article></div>`;
}

const opened = new Set();

function sections(name, text, base) {
  const [head, ...parts] = text.split(/^(?=## )/m);
  return html`${markdown(head, base)}${parts.map((part) => {
    const [first] = part.split("\n", 1);
    const key = `${name}/${first}`;
    const toggled = (event) => {
      if (event.target !== event.currentTarget || event.target.open === opened.has(key)) return;
      event.target.open ? opened.add(key) : opened.delete(key);
      changed();
    };
    return html`<details class="section" .open=${opened.has(key)} @toggle=${toggled}><summary>${first.slice(3)}</summary>${opened.has(key) ? markdown(part.slice(first.length), base) : ""}</details>`;
  })}`;
}
