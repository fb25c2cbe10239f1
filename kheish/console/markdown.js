// Markdown as templates, by an allow-list: headings, lists, quotes, code, tables, emphasis, links. Everything else is text.

import { html } from "lit-html";
import { visible } from "./text.js";

const MOST = 200_000;
const INLINE = /(`+)([^`]|[^`][\s\S]{0,2000}?[^`])\1(?!`)|\*\*([^*\n]+(?:\*(?!\*)[^*\n]+)*)\*\*|(?<![\w*])\*([^*\s][^*\n]*?)\*(?![\w*])|(?<!\w)_([^_\s][^_\n]*?)_(?!\w)|(!?)\[([^\]\n]{0,500})\]\(([^\s)]{1,2000})\)|(https?:\/\/[^\s<>()\]"'`]{1,1000})/g;

/** Return the template of a text of others. `base(href)` maps relative links, and null makes them text. */
export function markdown(text, base = () => null) {
  const source = visible(text);
  const cut = source.length > MOST;
  const lines = source.slice(0, MOST).split("\n");
  return html`<div class="prose">${blocks(lines, base)}${cut ? html`<p class="soft">(only the beginning is shown)</p>` : ""}</div>`;
}

function blocks(lines, base) {
  const made = [];
  let index = 0;
  while (index < lines.length) {
    const line = lines[index];
    const fence = /^ {0,3}(```+|~~~+)\s*([\w+-]*)/.exec(line);
    if (fence) {
      let end = index + 1;
      while (end < lines.length && !lines[end].trimStart().startsWith(fence[1])) end += 1;
      made.push(html`<pre tabindex="0"><code>${lines.slice(index + 1, end).join("\n")}</code></pre>`);
      index = end + 1;
    } else if (!line.trim()) {
      index += 1;
    } else if (/^#{1,6}\s/.test(line)) {
      made.push(heading(line, base));
      index += 1;
    } else if (/^ {0,3}([-*_])( *\1){2,} *$/.test(line)) {
      made.push(html`<hr>`);
      index += 1;
    } else if (/^ {0,3}>/.test(line)) {
      const [end, inner] = taken(lines, index, (one) => /^ {0,3}>/.test(one));
      made.push(html`<blockquote>${blocks(inner.map((one) => one.replace(/^ {0,3}> ?/, "")), base)}</blockquote>`);
      index = end;
    } else if (isTable(lines, index)) {
      const [end, inner] = taken(lines, index, (one) => one.includes("|"));
      made.push(table(inner, base));
      index = end;
    } else if (ITEM.test(line)) {
      const [end, inner] = taken(lines, index, (one, before) => ITEM.test(one) || /^\s{2,}\S/.test(one) || (!one.trim() && before < 1));
      made.push(list(inner, base));
      index = end;
    } else {
      const [end, inner] = taken(lines, index, (one) => one.trim() && !/^ {0,3}(#{1,6}\s|>|```|~~~)/.test(one) && !ITEM.test(one));
      made.push(html`<p>${inline(inner.join("\n"), base)}</p>`);
      index = Math.max(end, index + 1);
    }
  }
  return made;
}

const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(\S.*)?$/;

function taken(lines, from, fits) {
  let end = from;
  let blank = 0;
  while (end < lines.length && (end === from || fits(lines[end], blank))) {
    blank = lines[end].trim() ? 0 : blank + 1;
    end += 1;
  }
  return [end, lines.slice(from, end)];
}

function heading(line, base) {
  const [, marks, text] = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line) || [null, "#", line];
  // A page has its own h1: others begin below it.
  const inner = inline(text, base);
  if (marks.length === 1) return html`<h2>${inner}</h2>`;
  if (marks.length === 2) return html`<h3>${inner}</h3>`;
  return html`<h4>${inner}</h4>`;
}

function list(lines, base) {
  const first = ITEM.exec(lines[0]);
  const depth = first[1].length;
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length <= depth + 1) items.push([item[3] || ""]);
    else items.at(-1).push(line.replace(/^\s{2,4}/, ""));
  }
  const rows = items.map(([text, ...rest]) => {
    const at = rest.findIndex((one) => ITEM.test(one) || !one.trim() || /^```/.test(one));
    const [more, below] = at < 0 ? [rest, []] : [rest.slice(0, at), rest.slice(at)];
    return html`<li>${inline([text, ...more].join("\n"), base)}${below.some((one) => one.trim()) ? blocks(below, base) : ""}</li>`;
  });
  return /\d/.test(first[2]) ? html`<ol>${rows}</ol>` : html`<ul>${rows}</ul>`;
}

function isTable(lines, index) {
  return lines[index].includes("|") && /^\s*\|?[\s:|-]*-[\s:|-]*$/.test(lines[index + 1] || "") && lines[index + 1].includes("|");
}

function table(lines, base) {
  const cells = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "").split(/(?<!\\)\|/).map((one) => one.trim().replace(/\\\|/g, "|"));
  const [head, , ...rows] = lines.map(cells);
  return html`<div class="wide" tabindex="0"><table><thead><tr>${head.map((one) => html`<th scope="col">${inline(one, base)}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr>${row.map((one) => html`<td>${inline(one, base)}</td>`)}</tr>`)}</tbody></table></div>`;
}

function inline(text, base) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    parts.push(text.slice(from, found.index));
    const [all, , code, strong, em, em2, image, label, href, bare] = found;
    if (code !== undefined) parts.push(html`<code>${code.trim()}</code>`);
    else if (strong !== undefined) parts.push(html`<strong>${inline(strong, base)}</strong>`);
    else if (em !== undefined || em2 !== undefined) parts.push(html`<em>${em ?? em2}</em>`);
    else if (bare !== undefined) parts.push(link(bare, bare, base));
    else parts.push(image ? picture(label, href, base) : link(label, href, base));
    from = found.index + all.length;
  }
  parts.push(text.slice(from));
  return parts;
}

/** Return a link that shows its host; other schemes than http(s) are text. */
export function link(label, href, base = () => null) {
  const own = base(href);
  if (own) return html`<a href=${own}>${label}</a>`;
  let url;
  try {
    url = new URL(href);
  } catch {
    return `${label} (${href})`;
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return `${label} (${href})`;
  const isPlain = label.includes(`//${url.host}`) && !url.username;
  const host = isPlain ? "" : html` <span class="host">(${url.host})</span>`;
  return html`<a href=${url.href} rel="noopener noreferrer nofollow" target="_blank">${label}</a>${host}`;
}

function picture(label, href, base) {
  const own = base(href, true);
  return own ? html`<img src=${own} alt=${label} loading="lazy">` : link(label || href, href);
}
