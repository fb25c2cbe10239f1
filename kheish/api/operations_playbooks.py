"""The endpoints of versions of Playbooks, beside those that all Definitions have."""

from __future__ import annotations

from collections.abc import Iterator

from kheish.api import at_revision, models, playbook_answers, playbooks, trust
from kheish.api.http.operation import Operation, get, post


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
    yield get(version, "get_version", about, playbook_answers.Version, at_revision.AT, problems=(404, 409), text=True)
    yield post(
        f"{version}/release",
        "release_version",
        "Move a version to another state.",
        models.ReleasePlaybook,
        playbook_answers.Version,
        problems=(404, 409),
    )
    yield from _trust()
    about = "What changed, by field and as text; without versions, from the newest one to the draft."
    yield get(
        f"{one}/diff", "diff_playbook", about, playbook_answers.PlaybookDiff, *playbooks.DIFF, problems=(404, 409)
    )
    about = "Each line of the manifest with the commit that it is from."
    yield get(
        f"{one}/blame",
        "blame_playbook",
        about,
        playbook_answers.ManifestLine,
        *playbooks.BLAME,
        page=True,
        problems=(404,),
    )


def _trust() -> Iterator[Operation]:
    about = "Versions of playbooks that start commands by themselves, newest first, and whether they may."
    yield get("/v1/trust", "list_trust", about, trust.Trusted, *trust.LIST, page=True)
    about = "One version, and whether it may start its commands."
    yield get("/v1/trust/{name}", "get_trust", about, trust.Trusted, problems=(404,))
    about = "Let a version start its commands, once they were looked at: it becomes verified on the caller's word."
    yield post("/v1/trust", "trust", about, trust.Trust, trust.Trusted, problems=(404, 409))
