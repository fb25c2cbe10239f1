"""The console in a real browser: what people do with it, by mouse and by keyboard alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from kheish import resources
from tests.console import browser, scene
from tests.console.browser import check_accessible, open_page
from tests.support.daemon import Daemon, bash, until

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def approval(daemon: Daemon, session: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = daemon.http("GET", f"/v1/approvals?session={session}").json()["items"]
    return found[0]


def waits(
    daemon: Daemon, session: str, route: str = "deployer", status: str = "waiting_for_approval"
) -> dict[str, Any]:
    """Start a run that waits for a decision."""
    return scene.run(daemon, session, route, "Deploy", status)


def test_a_browser_that_is_not_logged_in_is_told_how(daemon: Daemon, chromium: Any) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(daemon.url)
    page.wait_for_selector("text=kheish login")
    link = daemon.http("POST", "/v1/auth/login-links").json()["path"]
    page.fill("input", daemon.url + link)
    page.click("text=Log in")
    page.click("text=Log in")  # the page of the link
    page.wait_for_selector("main h1 >> text=Home")
    context.close()


def test_an_approval_is_allowed_by_keyboard(daemon: Daemon, page: Page) -> None:
    waits(daemon, "keys-allow")
    id = approval(daemon, "keys-allow")["approval_id"]
    open_page(page, daemon, "")
    page.keyboard.press("g")
    page.keyboard.press("i")
    page.wait_for_selector(".queue a")
    for _ in range(20):
        page.keyboard.press("j")
        if page.evaluate("() => document.activeElement.getAttribute('href')") == f"#/inbox/{id}":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-key='a']:not([disabled])")
    page.keyboard.press("a")
    until(lambda: approval(daemon, "keys-allow")["status"] == "allowed", what="it is allowed")
    page.wait_for_selector(f".queue a[href='#/inbox/{id}']", state="detached")


def test_an_approval_is_denied_with_a_reason_by_keyboard(daemon: Daemon, page: Page) -> None:
    waits(daemon, "keys-deny")
    open_page(page, daemon, f"inbox/{approval(daemon, 'keys-deny')['approval_id']}")
    page.wait_for_selector("[data-key='d']:not([disabled])")
    page.keyboard.press("d")
    page.wait_for_selector("dialog[open] textarea:focus")
    page.keyboard.type("not on a Friday, a and d are only letters here")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    until(lambda: approval(daemon, "keys-deny")["status"] == "denied", what="it is denied")
    assert "only letters here" in approval(daemon, "keys-deny")["decisions"][0]["reason"]


def test_escape_closes_a_dialog_and_the_focus_returns(daemon: Daemon, page: Page) -> None:
    open_page(page, daemon, "sessions")
    page.focus("[data-key='n']")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] input:focus")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.wait_for_function("() => document.activeElement.dataset.key === 'n'")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open] >> text=next, previous row")


def test_a_question_is_answered_by_keyboard(daemon: Daemon, page: Page) -> None:
    waits(daemon, "keys-answer", "asker", "waiting_for_question")
    question = daemon.http("GET", "/v1/questions?session=keys-answer").json()["items"][0]
    open_page(page, daemon, f"inbox/{question['question_id']}")
    page.focus("input[type=radio]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")  # sends the form, as everywhere

    def answered() -> Any:
        return daemon.http("GET", f"/v1/questions/{question['question_id']}").json()["answers"]

    assert until(answered, what="it is answered")["q1"]["selected"] == ["b"]


def test_a_decision_that_came_too_late_shows_who_decided(daemon: Daemon, page: Page) -> None:
    waits(daemon, "stale")
    id = approval(daemon, "stale")["approval_id"]
    open_page(page, daemon, f"inbox/{id}")
    page.wait_for_selector("[data-key='a']")
    body = {"decision": "deny", "reason": "it is late"}
    assert daemon.http("POST", f"/v1/approvals/{id}/resolve", body).status_code == 200
    page.wait_for_selector("text=has decided it")
    assert "it is late" in page.inner_text("main") and not page.query_selector("[data-key='a']")


def test_the_chat_shows_answers_as_they_come(daemon: Daemon, page: Page) -> None:
    scene.post(daemon, "/v1/sessions", {"session_id": "chat", "route": "hello"})
    open_page(page, daemon, "sessions/chat")
    page.keyboard.press("c")
    page.keyboard.type("world & <b>all</b>")
    page.reload()
    page.wait_for_selector("#message")
    assert page.input_value("#message") == "world & <b>all</b>"  # the draft is kept
    page.focus("#message")
    page.keyboard.press("Enter")
    page.wait_for_selector(".said >> text=hello world & <b>all</b>")
    assert page.input_value("#message") == ""


def test_a_flow_is_started_a_session_forked_and_a_playbook_published(daemon: Daemon, page: Page) -> None:
    open_page(page, daemon, "playbooks/upgrade")
    page.wait_for_selector("[data-key='s']:not([disabled])")
    page.keyboard.press("s")
    page.wait_for_selector("dialog[open] input:focus")
    page.keyboard.type("left-pad")
    page.keyboard.press("Enter")
    page.wait_for_selector("img.diagram")
    assert page.wait_for_function("() => document.querySelector('img.diagram').naturalWidth > 100")
    open_page(page, daemon, "playbooks/upgrade")
    page.wait_for_selector("[data-key='p']:not([disabled])")
    page.keyboard.press("p")
    page.wait_for_selector("dialog[open] input:focus")
    page.keyboard.type("1.1.0")
    page.keyboard.press("Enter")
    page.wait_for_selector("td >> text=1.1.0")
    open_page(page, daemon, "sessions/review-17")
    page.wait_for_selector(".said >> text=The change is")
    page.keyboard.press("Shift+F")
    page.wait_for_selector("dialog[open] textarea:focus")
    page.keyboard.type("Another way")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("h1 >> text=Another way")


def test_texts_of_agents_stay_texts(daemon: Daemon, page: Page) -> None:
    more = (
        "channels/deploys",
        "projects/shop",
        "memory/file/memory/shared/hostile.md",
        "sessions/hostile-files/changes",
    )
    for path in ("", "inbox", "sessions", "runs", *more, "sessions/hostile"):
        open_page(page, daemon, path)
        text = "<script>" if path == "sessions" else "onerror=window.__xss=1"
        page.locator(f"main >> text={text}").locator("visible=true").first.wait_for()
        assert page.evaluate("() => window.__xss === undefined && !document.querySelector('main img:not(.diagram)')")
    assert page.evaluate("() => [...document.querySelectorAll('main a')].every(a => /^https?:/.test(a.href))")
    assert "(good.example)" in page.inner_text("main") and "\u202e" not in page.inner_text("main")


def test_the_editor_shows_the_daemons_problems_by_line(daemon: Daemon, page: Page) -> None:
    open_page(page, daemon, "edit/schedules/nightly")
    page.wait_for_selector(".cm-content")
    page.wait_for_selector("text=The daemon finds no problem.")
    page.focus(".cm-content")
    page.keyboard.press("Control+End")
    page.keyboard.type("titel: x\n")
    page.wait_for_selector("text=unknown key 'titel'")
    assert page.is_disabled("text=Save") and page.query_selector(".cm-lint-marker-error")
    for _ in range(9):
        page.keyboard.press("Backspace")
    page.keyboard.type("grace: 5m\n")
    page.wait_for_selector("[data-key='S']:not([disabled])")
    page.click("text=Save")
    page.wait_for_selector("text=Saved; the daemon uses it now.")
    assert daemon.http("GET", "/v1/schedules/nightly").json()["grace"] == "5m"
    assert not check_accessible(page)


def test_a_killed_daemon_is_announced_and_nothing_is_lost(daemon: Daemon, chromium: Any, seen: browser.Seen) -> None:
    waits(daemon, "before-the-kill")
    context = chromium.new_context()
    browser.log_in(context, daemon)
    page = context.new_page()
    open_page(page, daemon, f"inbox/{approval(daemon, 'before-the-kill')['approval_id']}")
    page.wait_for_selector("[data-key='a']:not([disabled])")
    port = daemon.url.rpartition(":")[2]
    daemon.kill9()
    page.wait_for_selector("text=Not connected since")
    page.wait_for_selector("[data-key='a'][disabled]")
    daemon.options = ("--bind", f"127.0.0.1:{port}")
    daemon.start()
    page.wait_for_selector("text=Not connected since", state="detached")
    page.wait_for_selector("[data-key='a']:not([disabled])")
    waits(daemon, "after-the-kill")
    page.wait_for_selector(".queue a >> text=after-the-kill")
    context.close()


def test_pages_are_accessible_on_a_phone_in_the_dark(daemon: Daemon, context: BrowserContext) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 320, "height": 700})
    page.emulate_media(color_scheme="dark")
    id = approval(daemon, "deploy-main")["approval_id"]
    for path in ("", f"inbox/{id}", "sessions/review-17"):
        open_page(page, daemon, path)
        assert not check_accessible(page), path
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 320, path
    open_page(page, daemon, f"inbox/{id}")
    box = page.locator("[data-key='a']").bounding_box()
    assert box is not None and 500 < box["y"] < 700  # fixed at the bottom, above the bar


def test_the_buttons_of_a_command_of_3900_lines_are_on_the_screen_of_a_phone(daemon: Daemon, page: Page) -> None:
    long = "\n".join(f"echo {number}" for number in range(3900))
    turns = [bash(long), {"text": "done"}]
    scene.put(daemon, "/v1/routes/long-command", {"driver": "scripted", "script": {"turns": turns}})
    waits(daemon, "long-command", "long-command")
    page.set_viewport_size({"width": 390, "height": 667})
    open_page(page, daemon, f"inbox/{approval(daemon, 'long-command')['approval_id']}")
    for key in ("a", "d"):
        box = page.locator(f"[data-key='{key}']:not([disabled])").bounding_box()
        assert box is not None and box["y"] > 0 and box["y"] + box["height"] <= 667, key
    assert "echo 3899" in page.locator("main").inner_text()


def test_a_journal_is_read_backwards(daemon: Daemon) -> None:
    path = "/v1/sessions/review-17/journal"
    every = [entry["n"] for entry in daemon.http("GET", f"{path}?limit=200").json()["items"]]
    last = daemon.http("GET", f"{path}?limit=3&before=999999999").json()
    assert [entry["n"] for entry in last["items"]] == every[-3:] and last["next_cursor"] is None
    before = daemon.http("GET", f"{path}?limit=200&before={every[-3]}").json()["items"]
    assert [entry["n"] for entry in before] == every[:-3]
    tools = daemon.http("GET", f"{path}?before={every[-1]}&kind=tool.finished&limit=1").json()["items"]
    assert [entry["data"]["tool"] for entry in tools] == ["bash"]


def test_the_times_of_a_schedule_are_known_before_it_is_saved(daemon: Daemon) -> None:
    text = 'title: x\ncron: "0 9 * * *"\ntimezone: Europe/Paris\nstart: {session: s, input: {content: x}}\n'
    headers = {"content-type": "application/yaml"}
    answer = daemon.http("POST", "/v1/schedules/validate", content=text.encode(), headers=headers).json()
    assert answer["valid"] and len(answer["next"]) == 5 and "09:00" in answer["next"][0]["local"]
    bad = daemon.http("POST", "/v1/schedules/validate", content=b"cron: x\n", headers=headers).json()
    assert not bad["valid"] and "next" not in bad


def test_the_phases_of_a_flow_are_a_picture_of_their_own(daemon: Daemon) -> None:
    flow = daemon.http("GET", "/v1/flows").json()["items"][0]["flow_id"]
    answer = daemon.http("GET", f"/v1/flows/{flow}/report?format=svg")
    assert answer.headers["content-type"] == "image/svg+xml" and "script" not in answer.text
    assert ElementTree.fromstring(answer.text).tag == "{http://www.w3.org/2000/svg}svg"


def test_without_a_route_the_first_steps_lead_to_a_decision(chromium: Any, tmp_path: Path) -> None:
    context = chromium.new_context()
    with Daemon.fresh(tmp_path) as daemon:
        browser.log_in(context, daemon)
        page = context.new_page()
        page.goto(daemon.url)
        page.wait_for_selector("h1 >> text=First steps")
        page.click("text=Start the demo")
        page.click("text=Decide")
        page.wait_for_selector("[data-key='a']:not([disabled])")
        page.keyboard.press("a")
        page.wait_for_selector("text=Nothing waits for you")
    context.close()


def test_each_page_of_the_docs_has_a_link(daemon: Daemon, page: Page) -> None:
    open_page(page, daemon, "docs")
    page.click("nav[aria-label=Docs] a[href='#/docs/connectors/http']")
    page.wait_for_selector("nav[aria-label=Docs] a[href='#/docs/connectors/http'][aria-current=page]")
    page.wait_for_selector("article >> text=GitHub")
    assert page.locator("nav[aria-label=Docs] a").count() == len(doc_pages())


def doc_pages() -> list[Path]:
    return list(resources.folder("docs").rglob("*.md"))


@pytest.mark.parametrize(
    ("file", "wrong"), [("config", "nope: 1"), ("permissions", "modes: plan"), ("instructions", "---")]
)
def test_the_daemons_own_files_are_checked_on_typing(daemon: Daemon, page: Page, file: str, wrong: str) -> None:
    if file == "instructions":
        scene.put_text(daemon, "/v1/instructions", "Be kind.\n")
    open_page(page, daemon, f"edit/{file}")
    page.wait_for_selector(".cm-content")
    page.wait_for_selector("text=The daemon finds no problem.")
    page.click(".cm-content")
    page.keyboard.press("Control+Home")
    page.keyboard.type(f"{wrong}\n")
    page.wait_for_selector(".cm-lint-marker-error")
    page.wait_for_selector("button.main[disabled]")
    page.keyboard.press("Control+Home")
    for _ in f"{wrong}\n":
        page.keyboard.press("Delete")
    page.wait_for_selector("text=The daemon finds no problem.")
    page.keyboard.press("Control+End")
    page.keyboard.type("\n# mended\n")
    page.wait_for_selector("button.main:not([disabled])")
    page.click("button:has-text('Save')")
    page.wait_for_selector("text=Saved")


def test_a_file_is_sent_with_a_message(daemon: Daemon, page: Page) -> None:
    scene.post(daemon, "/v1/sessions", {"session_id": "files", "route": "hello"})
    open_page(page, daemon, "sessions/files")
    page.set_input_files("input[type=file]", {"name": f"{scene.HOSTILE[0]}.md", "mimeType": "", "buffer": b"# Notes\n"})
    page.wait_for_selector(".attached >> text=8 B")
    page.fill("#message", "read this")
    page.click("text=Send")
    page.wait_for_selector("a.button >> text=Attached: <img")
    page.wait_for_selector(".said >> text=hello read this")
    items = daemon.http("GET", "/v1/runs?session=files").json()["items"][0]["request"]["items"]
    content = daemon.http("GET", f"/v1/assets/{items[1]['asset_id']}/text").text
    assert items[0]["text"] == "read this" and "# Notes" in content
    assert not page.query_selector(".attached") and page.evaluate("() => window.__xss === undefined")


def test_the_context_is_shown_by_part(daemon: Daemon, page: Page) -> None:
    open_page(page, daemon, "sessions/review-17/context")
    table = page.locator("table[aria-label='Parts of the prompt']")
    table.locator("tr:has-text('Instructions')").wait_for()
    rows = dict(one.split("\t")[:2] for one in table.inner_text().split("\n") if one.count("\t") >= 2)
    sizes = {name: int(size.replace(",", "")) for name, size in rows.items() if name != "Part"}
    assert {"Instructions", "Definitions of tools", "Messages", "Results of tools"} <= sizes.keys()
    assert min(sizes.values()) > 0 and sizes["Definitions of tools"] > sizes["Messages"]
