"""A report's writers: whatever the text is, it stays text; and the picture has a box for each phase."""

from __future__ import annotations

import html
import re

from hypothesis import given, strategies as st

from kheish.api.report import diagram, phrases, to_html, to_markdown
from kheish.api.report.blocks import Code, Commit, Commits, Diagram, Heading, Items, Node, Paragraph, Table

EVIL = st.text(alphabet=st.sampled_from("<>&\"'`*_[]()|\\!#-+ \n\tax/:.1{}~$"), max_size=40)
NODES = (Node("look", "look: satisfied", "satisfied", ()), Node("mend", 'mend"]: x', "failed", ("look", "gone")))


@given(EVIL)
def test_markdown_means_nothing_but_the_text(text: str) -> None:
    blocks = [Heading(2, text), Paragraph(text), Items([text]), Table(("A",), [(text,)])]
    page = to_markdown.render(blocks)
    assert not re.search(r"<(?!br>)", page), page  # no tag
    assert not re.search(r"(?<!\\)(\\\\)*[\]`*]", page), page  # no link, no code, no emphasis
    assert "://" not in page
    row = page.rstrip("\n").split("\n")[-1]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 2  # one cell


@given(EVIL)
def test_html_means_nothing_but_the_text(text: str) -> None:
    page = to_html.render(text, [Heading(2, text), Paragraph(text), Code(text), Table((text,), [(text,)])])
    body = page.split("<main>")[1]
    assert not re.findall(r"<(?!/?(h2|p|br|pre|div|table|thead|tr|th|tbody|td|main|body|html)\b)", body), body
    assert html.unescape(re.search(r"<pre>(.*?)</pre>", body, re.DOTALL)[1]) == text  # type: ignore[index]


@given(st.text(alphabet="`a\n", max_size=30))
def test_code_cannot_leave_its_fence(text: str) -> None:
    lines = to_markdown.render([Code(text)]).split("\n")
    fence = lines[0].removesuffix("text")
    assert set(fence) == {"`"} and lines.index(fence) == len(lines) - 2


def test_the_picture_has_a_box_for_each_phase_and_an_arrow_for_each_need() -> None:
    picture = diagram.svg(NODES)
    assert (picture.count("<rect"), picture.count("marker-end")) == (2, 1)
    assert "Phases: look satisfied, mend failed" in picture
    assert "mend&quot;]: x" in picture and 'mend"]' not in picture


def test_the_picture_in_markdown_takes_no_markup() -> None:
    lines = to_markdown.render([Diagram(NODES)]).split("\n")
    assert '  p1["mend#34;#93;: x"]' in lines and "  p0 --> p1" in lines


def test_commits_are_linked_to_their_list() -> None:
    id = "0123456789abcdef0123456789abcdef01234567"
    blocks = [Table(("C",), [(Commit(id),)]), Commits([(id, "2026", "flow <started>")])]
    assert "](#c-0123456789ab)" in to_markdown.render(blocks)
    page = to_html.render("t", blocks)
    assert 'href="#c-0123456789ab"' in page and 'id="c-0123456789ab"' in page and "flow &lt;started&gt;" in page


def test_a_decision_names_the_person_else_the_way_it_came() -> None:
    word = {"decision": "allow", "by": "token:ann", "person": "ann", "via": "api"}
    assert phrases.said(word) == "allow: ann (api)"
    assert phrases.said(word | {"person": None}) == "allow: token:ann (api)"
    unnamed = phrases.said({"decision": "deny", "by": "file", "person": None, "via": "file"})
    assert unnamed == "deny: a person, in a file in pending/approvals"


def test_facts_are_a_line_each_and_a_table_without_heads_has_no_empty_row() -> None:
    facts = {"path": "a.md", "bytes": 15, "sha256": None}
    assert phrases.facts_of(facts) == ["path: a.md", "bytes: 15"]
    page = to_html.render("t", [Table(("", ""), [("a", "b")])])
    assert "<th" not in page and "<td>a</td><td>b</td>" in page


def test_only_long_words_of_a_cell_may_be_broken() -> None:
    page = to_html.render("t", [Table(("A", "B", "C"), [("attach_evidence", "sha256: " + "f" * 64, "failed")])])
    assert "<td>attach_evidence</td>" in page and '<td class="long">sha256: f' in page
    assert '<td class="failed">failed</td>' in page
