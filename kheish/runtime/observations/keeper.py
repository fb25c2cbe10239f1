"""The keeper of observations: stores what sources send, reads it, and purges it.

The contents of a batch are one file, on disk before the entries that name it. Entries of a batch are one group, so that
a kill leaves all of its observations or none.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import orjson

from kheish import ids
from kheish.domain import events, keys
from kheish.domain.assets import asset as assets
from kheish.domain.events import AssetOrigin, Draft, Idempotency, ObservationFile
from kheish.domain.observations import observation as observations, source as sources
from kheish.domain.observations.definition import SourceFile
from kheish.domain.observations.observation import Batch, Observation
from kheish.domain.observations.source import OBSERVATIONS, Source
from kheish.errors import AssetTypeMismatch, Damaged, Fault, InsufficientStorage, Invalid, NotFound
from kheish.runtime.assets import types
from kheish.runtime.assets.service import Assets
from kheish.runtime.observations import contents
from kheish.runtime.observations.contents import Content, Given
from kheish.runtime.observations.rates import Rates
from kheish.state import pins
from kheish.state.state import State
from kheish.store import observations as store

MOST = 1000  # observations in a request
METADATA_BYTES = 16 * 1024
_REMEMBERED = 8 * 1024 * 1024  # bytes of files that stay in memory
_AT_ONCE = 4  # batches that are judged and written at the same time

Received = tuple[Observation, Content]


class Keeper:
    """The observations of a daemon."""

    def __init__(self, state: State, assets: Assets) -> None:
        self.state = state
        self.assets = assets
        self._rates = Rates()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._files: OrderedDict[str, tuple[int, tuple[bytes, ...]]] = OrderedDict()

    def file(self, source_id: str) -> SourceFile:
        """Return the file in force of a source. Raises NotFound."""
        file: SourceFile = self.state.definitions.get("sources", source_id).value
        return file

    async def fingerprint(self, source_id: str, content: bytes) -> str:
        """Return what an idempotency key keeps of a request to a source. Raises NotFound."""
        is_secret = self.file(source_id).is_encrypted
        return await asyncio.to_thread(store.fingerprint, self.state.root, content, is_secret=is_secret)

    # --- receiving ----------------------------------------------------------------------------------------------------

    async def receive(
        self, source_id: str, given: Sequence[Given], *, by: str, request: Idempotency | None = None
    ) -> tuple[list[Observation], bool]:
        """Store observations, and return them, and whether the same key stored them before.

        Raises NotFound, Invalid with every fault, RateExceeded, AssetTypeMismatch, InsufficientStorage,
        IdempotencyConflict.
        """
        file = self.file(source_id)
        key = await keys.known(self.state, request)
        if key is not None and key.result is not None:
            return await self.of_batch(key.result), True
        if self.state.low_space:
            raise InsufficientStorage(self.state.low_space)
        _check(file, given)
        self._rates.take(source_id, file.limit, len(given))
        async with self._room:
            received = await asyncio.to_thread(_judged, self.state, given)
            kept = await self._assets(file, received, by)
            batch_id = ids.new("obsb")
            path = self._place(source_id, batch_id, is_encrypted=file.is_encrypted)
            written = await asyncio.to_thread(self._write, path, file, given, received, kept)
        async with pins.owner(self.state, OBSERVATIONS, source_id):
            key = await keys.known(self.state, request)
            if key is not None and key.result is not None:
                return await self.of_batch(key.result), True
            first = sources.find(self.state, source_id).received + 1
            stored = events.ObservationsStored(
                source=source_id,
                file=ObservationFile(
                    batch_id=batch_id, path=path, sha256=written[0], bytes=written[1], first=first, count=len(given)
                ),
                idempotency=keys.sent(key),
            )
            rows = zip(given, received, kept, strict=True)
            drafts = [
                _draft(source_id, batch_id, first + at, *row, is_encrypted=file.is_encrypted, by=by)
                for at, row in enumerate(rows)
            ]
            entries = self.state.append(stored.on(by=by), *drafts)
        await self.state.durable()
        table: dict[str, Observation] = {}
        for entry in entries:
            if isinstance(entry.event, events.ObservationReceived):
                observations.fold(table, entry)
        return list(table.values()), False

    async def of_batch(self, batch_id: str) -> list[Observation]:
        """Return the observations of a batch, in order."""
        await self.state.caught_up()
        page = await asyncio.to_thread(
            self.state.index.things, "observation", limit=MOST, fields={"batch_id": batch_id}
        )
        return [observations.read(doc) for doc in reversed(page.items)]

    async def _assets(self, file: SourceFile, received: Sequence[Content], by: str) -> list[str | None]:
        """Store the images, the audio and the HTML of a source that need not forget as assets; return their ids."""
        kept: list[str | None] = []
        origin = AssetOrigin(kind="observation")
        for one in received:
            is_private = file.raw_to_model is False and one.raw is not None  # no route may hear a recording
            if one.media_type is None or file.is_encrypted or is_private:
                kept.append(None)
                continue
            raw = one.raw if one.raw is not None else (one.text or "").encode()
            name = f"observation.{one.media_type.rpartition('/')[2].removeprefix('x-')}"
            async with self.assets.keeper.receive() as incoming:
                await asyncio.to_thread(incoming.write, raw)
                asset, _ = await self.assets.keeper.store(incoming, name, one.media_type, origin, by=by)
            kept.append(asset.asset_id)
        return kept

    def _place(self, source_id: str, name: str, *, is_encrypted: bool) -> str:
        folder = self.state.folder(f"{store.FOLDER}/{source_id}")
        return f"{folder}/{name}{store.ENCRYPTED if is_encrypted else store.PLAIN}"

    def _write(
        self,
        path: str,
        file: SourceFile,
        given: Sequence[Given],
        received: Sequence[Content],
        kept: Sequence[str | None],
    ) -> tuple[str, int]:
        """Write the file of a batch; return its digest and its size. Blocks on disk."""
        lines = []
        for one, content, asset_id in zip(given, received, kept, strict=True):
            own = Content(
                text=content.text,
                raw=content.raw,
                media_type=content.media_type,
                metadata=one.metadata if file.is_encrypted else None,
            )
            lines.append(contents.line_of(None if asset_id is not None else own))
        return store.place(self.state.root, path, b"".join(lines))

    # --- reading ------------------------------------------------------------------------------------------------------

    async def get(self, observation_id: str) -> Observation:
        """Return an observation. Raises NotFound."""
        found = await self.find([observation_id])
        if not found:
            raise observations.missing(observation_id)
        return found[0]

    async def find(self, observation_ids: Sequence[str]) -> list[Observation]:
        """Return those of the observations that exist, in this order."""
        state = self.state
        new = {id: state.unjournaled.get((Observation, id)) for id in observation_ids}
        rest = [id for id, change in new.items() if change is None]
        docs = await asyncio.to_thread(lambda: {id: state.index.thing("observation", id) for id in rest})
        found = []
        for id, change in new.items():
            doc = docs.get(id)
            if change is not None:
                found.append(change.value)
            elif doc is not None:
                found.append(observations.read(doc))
        return found

    async def source(self, source_id: str) -> Source:
        """Return the state of a source."""
        async with pins.owner(self.state, OBSERVATIONS, source_id):
            return sources.find(self.state, source_id)

    async def content(self, observation: Observation) -> Content | None:
        """Return the content of an observation; None if it is purged. Raises Damaged, ObservationUnreadable."""
        source = await self.source(observation.source)
        if not observations.is_retained(observation, source):
            return None
        if observation.asset_id is not None:
            return Content(media_type=observation.media_type)
        file = await self._file_of(observation, source)
        lines = await self.lines(file)
        try:
            return contents.read_line(lines[observation.number - file.first])
        except (ValueError, IndexError, KeyError) as error:
            raise Damaged(f"{file.path} has no line for {observation.observation_id}.", path=file.path) from error

    async def raw(self, observation: Observation) -> tuple[bytes, str] | None:
        """Return the content of an observation as it came, and its type; None if it is purged. Raises Damaged,
        ObservationUnreadable, NotFound."""
        content = await self.content(observation)
        if content is None:
            return None
        if observation.asset_id is not None:
            asset = await assets.get(self.state, observation.asset_id)
            return await self.assets.keeper.content(asset), asset.media_type
        if content.raw is not None:
            return content.raw, content.media_type or types.BINARY
        kind = "application/json" if observation.kind == "json" else content.media_type or types.PLAIN
        return (content.text or "").encode(), kind

    async def derived_text(self, asset_id: str) -> tuple[str | None, str | None]:
        """Return the text that was derived from an observation's asset, or the reason why there is none now. Raises
        NotFound, Damaged."""
        asset = await assets.get(self.state, asset_id)
        if asset.status == "pending":
            return None, "it is still being converted"
        return await self.assets.deriver.text(asset), asset.why

    async def _file_of(self, observation: Observation, source: Source) -> ObservationFile:
        """Return the file with the content of an observation."""
        if source.rest is not None and source.rest.batch_id == observation.batch_id:
            return source.rest
        doc = await self.state.recall(Batch, observation.batch_id)
        if doc is None:
            raise NotFound(f"There is no batch {observation.batch_id!r} of observations.")
        return observations.read_batch(doc).file

    async def lines(self, file: ObservationFile) -> tuple[bytes, ...]:
        """Return the lines of a file, of which the newest stay in memory."""
        known = self._files.get(file.path)
        if known is None:
            raw = await asyncio.to_thread(
                store.read, self.state.root, file.path, digest=file.sha256, size=file.bytes
            )  # fmt: skip
            known = self._files[file.path] = len(raw), tuple(raw.splitlines())
            while sum(size for size, _ in self._files.values()) > _REMEMBERED and len(self._files) > 1:
                self._files.popitem(last=False)
        else:
            self._files.move_to_end(file.path)
        return known[1]

    def forget(self, paths: Sequence[str]) -> None:
        """Drop the lines of files from memory."""
        for path in paths:
            self._files.pop(path, None)


def _draft(
    source_id: str,
    batch_id: str,
    number: int,
    given: Given,
    content: Content,
    asset_id: str | None,
    *,
    is_encrypted: bool,
    by: str,
) -> Draft:
    return events.ObservationReceived(
        source=source_id,
        observation_id=ids.new(observations.PREFIX),
        batch_id=batch_id,
        number=number,
        observation_kind=given.kind,
        bytes=content.bytes,
        captured_at=given.captured_at,
        source_stream=given.stream,
        sequence=given.sequence,
        group=given.group,
        asset_id=asset_id,
        media_type=content.media_type,
        metadata={} if is_encrypted else given.metadata,
    ).on(by=by)


def _judged(state: State, given: Sequence[Given]) -> list[Content]:
    """Return the contents of observations. Raises Invalid with every fault; AssetTypeMismatch if only types are
    wrong."""
    received, errors = list[Content](), list[Invalid | AssetTypeMismatch]()
    for number, one in enumerate(given):
        try:
            received.append(contents.judged(state, one, number))
        except (Invalid, AssetTypeMismatch) as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        faults = [fault for error in errors for fault in error.errors]
        raise Invalid(" ".join(error.detail for error in errors[:5]), errors=faults)
    return received


def _check(file: SourceFile, given: Sequence[Given]) -> None:
    """Check what is cheap to check before anything is written. Raises Invalid with every fault."""
    faults = []
    if not given:
        faults.append(Fault("/items", "is empty; send at least one"))
    if len(given) > MOST:
        faults.append(Fault("/items", f"has {len(given)} observations; at most {MOST} in a request"))
    for number, one in enumerate(given[:MOST]):
        if one.kind not in file.kinds:
            faults.append(Fault(f"/items/{number}/kind", f"is {one.kind}; the source has {', '.join(file.kinds)}"))
        size = len(orjson.dumps(one.metadata))
        if size > METADATA_BYTES:
            faults.append(Fault(f"/items/{number}/metadata", f"has {size} bytes; at most {METADATA_BYTES}"))
    if faults:
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in faults[:5]) + ".", errors=faults[:20])
