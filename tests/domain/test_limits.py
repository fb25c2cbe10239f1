"""The limits that the pages of channels and projects name are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from kheish.api.http import paging
from kheish.api.projects import tasks
from kheish.domain.channels import addressing, arbitrate, definition, framing, posting, proposing, threads
from kheish.domain.projects import claims, following, verbs

PAGES = Path(__file__).parents[2] / "docs"
CHANNELS = (
    f"| members, and tags of each | {definition.MEMBERS}, {definition.TAGS} |",
    f"| name or tag; `role`; `title`; `purpose` (characters) | {definition.NAME_CHARACTERS}; 200; 500; 4,000 |",
    f"| `lease` | {definition.LEAST_LEASE:g} s at least |",
    f"| text of a message | {posting.TEXT_BYTES // 1024} KiB (413) |",
    f"| `addressed`; `attachments` of a message | {posting.ADDRESSED}; {posting.ATTACHMENTS} |",
    f"| mentions of a text that count | {addressing.MENTIONS} |",
    f"| emojis of a message; authors of each | {posting.EMOJIS}; {posting.REACTING} (409) |",
    f"| things that a thread is `about`; characters of a kind or id | {threads.ABOUT}; {threads.ABOUT_CHARACTERS} |",
    f"| threads with open turns | {arbitrate.FLOORS}; ",
    f"| messages of a thread that a turn shows | {framing.MESSAGES}, {framing.BYTES // 1024} KiB; ",
    f"| attachments that a turn gets | {framing.ATTACHED} |",
    f"| open proposals of an author; of the daemon | {proposing.OPEN}; {proposing.OPEN_OF_DAEMON} (429) |",
    f"| proposals of an author in an hour | {proposing.AN_HOUR} (429) |",
    f"| text; key of a proposal (characters) | {proposing.TEXT_CHARACTERS:,}; {proposing.KEY_CHARACTERS} |",
    f"each time | 500; {arbitrate.PASSED} |",
    f"| items of a page | {paging.MOST} |",
)
PROJECTS = (
    f"| open tasks of a project | {verbs.OPEN:,} (429); ",
    f"| title of a task | one line of {verbs.TITLE_CHARACTERS} characters |",
    f"| `description`; `output` of a task | {verbs.TEXT_BYTES // 1024} KiB; {verbs.OUTPUT_BYTES // 1024} KiB ",
    f"| `blocked_by` | {verbs.BLOCKERS} tasks |",
    f"| `ttl` of an outside claim | {claims.LEAST_TTL:g} s to {claims.MOST_TTL / 3600:g} h ({claims.TTL / 60:g} min) |",
    f"| attempts of runs that come to nothing | {claims.ATTEMPTS}, ",
    f"| time in which a session does not get a task back | {claims.BAR:g} s |",
    f"| {following.DELAY / 60:g} min, then four times the one before, {following.LONGEST / 3600:g} h at most |",
    f"on the board; items of a page | {tasks.MOST_CARDS} ({tasks.CARDS}); {paging.MOST} |",
)


@pytest.mark.parametrize(("name", "rows"), [("channels", CHANNELS), ("projects", PROJECTS)])
def test_the_page_names_the_limits_of_the_code(name: str, rows: tuple[str, ...]) -> None:
    page = (PAGES / f"{name}.md").read_text()
    assert not [row for row in rows if row not in page]
