// Dialogs: one at a time; the focus returns to where it was.

import { html } from "lit-html";
import { changed } from "./store.js";
import { GO } from "./keys.js";

let current = null;

/** Ask for a text (`field`), or a confirmation; resolves to the text or true, and to null when it is closed. */
export function prompt({ title, text = "", field = null, value = "", action = "OK", isBad = false, isRequired = false }) {
  return open((done) => html`<form method="dialog" @submit=${(event) => {
      event.preventDefault();
      done(field ? event.target.elements.field.value : true);
    }}>
      <h2 id="dialog-title">${title}</h2>
      ${text ? html`<p>${text}</p>` : ""}
      ${field ? html`<label>${field}<textarea name="field" rows="3" ?required=${isRequired} .value=${value} @keydown=${(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
      }}></textarea></label>` : ""}
      <div class="buttons">
        <button type="submit" class=${isBad ? "bad" : "main"} ?autofocus=${!field}>${action}</button>
        <button type="button" @click=${() => done(null)}>Cancel</button>
      </div>
    </form>`);
}

/** Open a dialog; `view(done)` is its content. */
export function open(view) {
  close();
  return new Promise((resolve) => {
    const back = document.activeElement;
    const done = (value) => {
      if (current?.resolve !== resolve) return;
      current = null;
      document.querySelector("dialog[open]")?.close();
      changed();
      resolve(value);
      setTimeout(() => (back?.isConnected ? back : document.querySelector("main"))?.focus(), 0);
    };
    current = { view, done, resolve };
    changed();
    setTimeout(() => {
      const dialog = document.querySelector("dialog");
      if (!dialog || dialog.open) return;
      dialog.showModal();
      (dialog.querySelector("textarea, input, select") || dialog.querySelector("button"))?.focus();
    }, 40);
  });
}

/** Close the open dialog; return whether there was one. */
export function close() {
  if (!current) return false;
  current.done(null);
  return true;
}

/** Show the keys of this page. */
export function help(keys) {
  const row = ([key, text]) => html`<tr><td><kbd>${key}</kbd></td><td>${text}</td></tr>`;
  const own = Object.entries(keys).map(([key, [text]]) => [key, text]);
  open((done) => html`<h2 id="dialog-title">Keys</h2>
    <div class="columns"><table><tbody>${[["?", "these keys"], ["j k", "next, previous row"], ["Enter", "open the row"], ["Esc", "close"], ...own].map(row)}</tbody></table>
    <table><tbody>${Object.entries(GO).map(([key, [, name]]) => row([`g ${key}`, name]))}</tbody></table></div>
    <div class="buttons"><button @click=${() => done(null)}>Close</button></div>`);
}

/** Return the dialog's template. */
export function dialog() {
  if (!current) return "";
  const { view, done } = current;
  return html`<dialog aria-labelledby="dialog-title" @cancel=${(event) => {
    event.preventDefault();
    done(null);
  }}>${view(done)}</dialog>`;
}
