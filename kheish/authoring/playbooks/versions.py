"""Versions of Playbooks: publishing a draft as a tag, reading a version from its tag's tree, and moving its release."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from kheish import ids
from kheish.authoring.adopting import Adopting
from kheish.authoring.playbooks import evidence as release_evidence, files as playbook_files
from kheish.authoring.playbooks.files import KIND, MANIFEST
from kheish.authoring.playbooks.tags import PlaybookTags
from kheish.domain import events
from kheish.domain.definitions import Definition
from kheish.domain.events.playbooks import RELEASES, EvidenceRef, ReleaseState
from kheish.domain.playbooks import digest as playbook_digest, versions as playbooks
from kheish.domain.playbooks.versions import Released, Version
from kheish.errors import DraftNotCommitted, Unavailable, VersionExists
from kheish.state import pins, streams
from kheish.state.state import State
from kheish.store.edits import definitions as reading
from kheish.store.pipes import Child

DAEMON_ADDRESS = "daemon@kheish.invalid"
_TRIES = 5
_COMMIT_TIMEOUT = 20.0

Flush = Callable[[float], Awaitable[bool]]


class Playbooks:
    """The versions. `flush(timeout)` commits dirty files; it returns False if that failed (another git is at work)."""

    def __init__(self, state: State, adopting: Adopting, git: Child, tags: PlaybookTags, *, flush: Flush) -> None:
        self._state = state
        self._adopting = adopting
        self._git = git
        self._tags = tags
        self._flush = flush

    # --- publishing ---------------------------------------------------------------------------------------------------

    async def publish(self, playbook_id: str, version: str, *, notes: str | None, by: str) -> tuple[Version, bool]:
        """Publish the draft as a version, and return whether it is new. The same content under the same version changes
        nothing.

        Raises NotFound, Invalid, InvalidDefinition (every error of the draft), VersionExists, DraftNotCommitted,
        Unavailable, StoreFailed.
        """
        ids.check_slug(playbook_id)
        playbooks.check_version(version)
        async with self._tags.turn, pins.owner(self._state, RELEASES, playbook_id):
            draft = await self._draft(playbook_id)
            # a version that was tagged by hand a moment ago
            await self._tags.take_up(playbooks.tag_of(playbook_id, version))
            existing = playbooks.versions(self._state, playbook_id).get(version)
            if existing is not None:
                if existing.digest == draft.digest and existing.tampered is None:
                    return existing, False
                raise VersionExists(
                    f"{playbook_id}@{version} was published {existing.published_at} with other content (digest "
                    f"{existing.digest[:12]}, the draft's is {draft.digest[:12]}): choose the next version."
                )
            return await self._publish(draft, version, notes, by), True

    async def _draft(self, playbook_id: str) -> Definition:
        """Return the draft as it is in the work tree now. Raises NotFound, InvalidDefinition."""
        path = KIND.path(playbook_id)
        await self._adopting.take(await asyncio.to_thread(playbook_files.on_disk, self._state.root, playbook_id))
        async with self._adopting.lock:
            outcome = await self._adopting.check({path: self._adopting.sources.get(path)})
            if errors := outcome.errors(path):
                raise reading.refusal(path, errors)
            return self._state.definitions.get(KIND.name, playbook_id)

    async def _publish(self, draft: Definition, version: str, notes: str | None, by: str) -> Version:
        commit = await self._committed(draft)
        tag = playbooks.tag_of(draft.id, version)
        title = draft.value.title
        message = _message(draft.id, version, title, draft.digest, notes, by)
        tag_id = await self._git.request(
            "make_tag", name=tag, commit=commit, message=message, by=_name(by), email=DAEMON_ADDRESS
        )
        made = events.PlaybookPublished(
            playbook_id=draft.id, version=version, title=title, digest=draft.digest, tag=tag, tag_id=tag_id,
            commit=commit, notes=notes,
        )  # fmt: skip
        published = playbooks.publish(self._state, made, by=by)
        self._tags.know(tag, tag_id)
        await self._state.durable()
        return published

    async def _committed(self, draft: Definition) -> str:
        """Return the commit that holds the draft unchanged. Raises DraftNotCommitted, Unavailable."""
        for _ in range(_TRIES):
            if not await self._flush(_COMMIT_TIMEOUT):
                raise Unavailable(
                    "The draft cannot be committed now: another git process works in the state root. Retry."
                )
            head: str = (await self._git.request("head"))["commit"]
            answer = await self._git.request(
                "folder", rev=head, path=f"{KIND.name}/{draft.id}", file=MANIFEST, missing=True
            )
            if answer is not None and await asyncio.to_thread(_digest, answer, draft.path) == draft.digest:
                return head
            await asyncio.sleep(0.1)
        manual = self._state.definitions.config.edits.commit == "manual"
        what = "edits.commit is manual, so commit it: " if manual else "commit it by hand: "
        raise DraftNotCommitted(
            f"{draft.path} has uncommitted changes; {what}git add {KIND.name}/{draft.id} && git commit"
        )

    # --- reading ------------------------------------------------------------------------------------------------------

    async def version(self, playbook_id: str, version: str) -> Version:
        """Return one version. Raises NotFound."""
        async with pins.owner(self._state, RELEASES, ids.check_slug(playbook_id)):
            return playbooks.get(self._state, playbook_id, version)

    async def read(self, playbook_id: str, version: str) -> Released:
        """Return a version with its content, from its tag's tree; never from the work tree. Content that differs from
        the ledger is marked as tampered at once. Raises NotFound, VersionTampered.
        """
        return await self._tags.read(await self.version(playbook_id, version))

    async def at(self, playbook_id: str, n: int) -> list[Version]:
        """Return the versions that existed at event `n`, oldest first."""
        await self._state.caught_up()
        values = await asyncio.to_thread(
            streams.values_at, self._state.index, self._state.nouns, RELEASES, playbook_id, n
        )
        return sorted(values.get(Version, {}).values(), key=lambda one: one.made)

    async def draft(self, playbook_id: str) -> tuple[Definition, Mapping[str, bytes]]:
        """Return the draft in force, and the files beside it. Raises NotFound."""
        definition = self._state.definitions.get(KIND.name, playbook_id)
        sources = self._adopting.sources
        paths = playbook_files.beside(definition.path, sources)
        return definition, {path.removeprefix(f"{KIND.name}/{playbook_id}/"): sources[path].raw for path in paths}

    async def file(self, version: Version, path: str) -> bytes:
        """Return a file beside the manifest. Raises NotFound."""
        return await self._tags.file(version, path)

    async def blame(self, playbook_id: str, version: str | None) -> Sequence[Mapping[str, Any]]:
        """Return each line of the manifest with the commit that wrote it. Raises NotFound."""
        rev = "HEAD" if version is None else (await self.version(playbook_id, version)).commit
        lines: list[dict[str, Any]] = await self._git.request("blame", rev=rev, path=KIND.path(playbook_id))
        return lines

    # --- releases -----------------------------------------------------------------------------------------------------

    async def release(
        self,
        playbook_id: str,
        version: str,
        to: ReleaseState,
        *,
        by: str,
        percent: float | None = None,
        evidence: Sequence[EvidenceRef] = (),
        reason: str | None = None,
        cancel_flows: bool = False,
    ) -> Version:
        """Move a version to another state, once its evidence resolves.

        Raises NotFound, ReleaseStateConflict, VersionTampered, EvidenceRequired, EvidenceUnresolved, Invalid.
        """
        async with pins.owner(self._state, RELEASES, ids.check_slug(playbook_id)):
            one = playbooks.get(self._state, playbook_id, version)
            playbooks.check_release(one, to, percent=percent, evidence=evidence)
            if to != "revoked" and one.tampered is None:
                await self._tags.read(one)  # raises NotFound: a missing version cannot be verified
            checked = await release_evidence.resolve(self._state, evidence, by=by)
            released = playbooks.release(
                self._state, playbook_id, version, to, by=by, percent=percent, evidence=checked, reason=reason,
                cancel_flows=cancel_flows,
            )  # fmt: skip
            await self._state.durable()
        return released


def _digest(found: Mapping[str, Any], path: str) -> str | None:
    data = playbook_files.parse(playbook_files.text_of(found), path).data
    return playbook_digest.digest(data, found["files"]) if data is not None else None


def _message(id: str, version: str, title: str, digest: str, notes: str | None, by: str) -> str:
    """Return the message of a tag: a text for people, followed by machine-readable lines."""
    text = f"{notes.strip()}\n\n" if notes and notes.strip() else ""
    trailers = {"Kheish-Playbook": f"{id}@{version}", "Kheish-Digest": digest, "Kheish-Actor": _name(by)}
    lines = "\n".join(f"{name}: {value}" for name, value in trailers.items())
    return f"{' '.join(title.split())} {version}\n\n{text}{lines}\n"


def _name(by: str) -> str:
    """Return a principal in the form of git's tagger."""
    return " ".join(by.translate(dict.fromkeys(map(ord, "<>\n"), " ")).split()) or "kheish"
