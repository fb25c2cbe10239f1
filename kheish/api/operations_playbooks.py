"""The endpoints of versions of Playbooks, beside those that all Definitions have."""

from __future__ import annotations

from collections.abc import Iterator

from kheish.api import models, past, playbook_answers, playbooks
from kheish.api.operation import Operation, get, post


def operations() -> Iterator[Operation]:
    """All of them."""
    one = "/v1/playbooks/{id}"
    version = f"{one}/versions/{{version}}"
    yield get(
        f"{one}/versions",
        "list_versions",
        "Versions of a playbook, newest first.",
        playbook_answers.Version,
        *playbooks.LIST,
        page=True,
        problems=(404,),
    )
    yield post(
        f"{one}/versions",
        "publish_playbook",
        "Publish the draft as an annotated tag (201); the same content under the same version changes nothing (200).",
        models.PublishPlaybook,
        playbook_answers.Version,
        good=(201, 200),
        problems=(404, 409),
    )
    about = "A version with its manifest, read from its tag's tree."
    yield get(version, "get_version", about, playbook_answers.Version, past.AT, problems=(404, 409), text=True)
    yield post(
        f"{version}/release",
        "release_version",
        "Move a version to another state.",
        models.ReleasePlaybook,
        playbook_answers.Version,
        problems=(404, 409),
    )
    about = "What changed, by field and as text; without versions, from the newest one to the draft."
    yield get(
        f"{one}/diff", "diff_playbook", about, playbook_answers.PlaybookDiff, *playbooks.DIFF, problems=(404, 409)
    )
    about = "Each line of the manifest with the commit that it is from."
    yield get(
        f"{one}/blame",
        "blame_playbook",
        about,
        playbook_answers.BlamedLine,
        *playbooks.BLAME,
        page=True,
        problems=(404,),
    )
