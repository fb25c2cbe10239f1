// An address that no page has.

import { html } from "lit-html";

export const title = () => "Not found";

export function view(here) {
  return html`<h1>Not found</h1><p>There is no page <code>${here.path}</code>. <a href="#/">Home</a></p>`;
}
