// CodeMirror 6 in a shadow root, so that its styles are constructed sheets, which the page's policy permits.

import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, HighlightStyle, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const LOOK = EditorView.theme({
  "&": { fontSize: "13.5px", backgroundColor: "var(--back)", color: "var(--text)" },
  ".cm-scroller": { fontFamily: "ui-monospace, monospace", minHeight: "18rem", maxHeight: "60vh" },
  ".cm-gutters": { backgroundColor: "var(--side)", color: "var(--soft)", borderRight: "1px solid var(--line)" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--mark)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--line)" },
  ".cm-tooltip": { backgroundColor: "var(--card)", border: "1px solid var(--line)", color: "var(--text)" },
});
const COLOURS = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--link)" },
  { tag: tags.comment, color: "var(--soft)", fontStyle: "italic" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--wait)" },
  { tag: tags.string, color: "var(--good)" },
]);

/** Open an editor in `host`; `changed(text)` is told of edits. Return {mark, reveal, set, destroy}. */
export function open(host, text, changed) {
  const root = host.shadowRoot || host.attachShadow({ mode: "open" });
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: text,
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        highlightActiveLine(),
        bracketMatching(),
        lintGutter(),
        indentUnit.of("  "),
        // No Tab here: it leaves the editor, as everywhere on the page.
        keymap.of([...defaultKeymap, ...historyKeymap]),
        yaml(),
        syntaxHighlighting(COLOURS),
        LOOK,
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": "Definition" }),
        EditorView.updateListener.of((update) => update.docChanged && changed(update.state.doc.toString())),
      ],
    }),
  });
  const line = (number) => view.state.doc.line(Math.min(view.state.doc.lines, Math.max(1, number || 1)));
  return {
    mark(problems) {
      const found = problems.map((one) => {
        const { from, to } = line(one.line);
        const begin = Math.min(to, from + Math.max(0, (one.column || 1) - 1));
        return { from: begin, to: Math.max(to, begin), severity: one.severity === "error" ? "error" : "warning", message: one.message };
      });
      view.dispatch(setDiagnostics(view.state, found));
    },
    reveal(number) {
      const { from } = line(number);
      view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: "center" }) });
      view.focus();
    },
    set(value) {
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: value } });
    },
    destroy() {
      view.destroy();
    },
  };
}
