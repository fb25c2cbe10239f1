"""Keeps the vault: reads slots at start, sets and removes them for callers, takes up `.age` files that people add."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from kheish import ids
from kheish.auth import audit
from kheish.auth.vault import Slot, Vault
from kheish.authoring import contents, preconditions
from kheish.authoring.problems import Problems
from kheish.domain.events import Draft
from kheish.domain.events.auth import SecretChanged
from kheish.errors import (
    FileRefused,
    IdentityMissing,
    Invalid,
    NotFound,
    SecretReferenced,
    SecretUnreadable,
    Unavailable,
)
from kheish.state.state import State
from kheish.store import files, secrets as store
from kheish.store.edits.watcher import Watcher
from kheish.store.log import records

Edited = Callable[[Sequence[str]], None]
LeftOut = Callable[[Iterable[str]], Awaitable[Mapping[str, bytes]]]


class Secrets:
    """The vault. `edited(paths)` receives files to commit; `changed()` runs before other entries if values change;
    `held()` returns the reason for a hold; `left_out(paths)` returns the files that git keeps out of the work tree."""

    def __init__(
        self,
        state: State,
        vault: Vault,
        problems: Problems,
        watcher: Watcher,
        *,
        edited: Edited,
        changed: Callable[[], None],
        held: Callable[[], str | None],
        left_out: LeftOut,
        environ: Mapping[str, str],
    ) -> None:
        self._state = state
        self._vault = vault
        self._problems = problems
        self._watcher = watcher
        self._edited = edited
        self._changed = changed
        self._held = held
        self._left_out = left_out
        self._identity_path = store.identity_path(environ)
        self._identity: store.Identity | str = "it has not been read yet"
        self._lock = asyncio.Lock()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read all slots. What was added, changed or removed while no daemon ran is taken up as a person's doing."""
        told = await asyncio.to_thread(self._told)
        found = await asyncio.to_thread(store.paths, self._state.root)
        await asyncio.to_thread(self._open)
        paths = {*found, *map(store.path_of, told)}
        for name in sorted(name for name in told if store.path_of(name) not in found):
            self._vault.slots[name] = told[name]
        await self._take(paths, told)
        await self._check_recipients()
        await self._take_reveals()

    async def take(self, paths: frozenset[str]) -> None:
        """Take up what a person saved or removed in `secrets/`."""
        async with self._lock:
            await asyncio.to_thread(self._open)
            if store.RECIPIENTS in paths and not await self._lacks_recipients():
                await self._check_recipients()
            await self._take({path for path in paths if path.endswith(".age")}, dict(self._vault.slots))

    def view(self) -> list[dict[str, Any]]:
        """Return all slots, by name, without values."""
        return [one.view(self._users(name)) for name, one in sorted(self._vault.slots.items())]

    def show(self, slot: str) -> dict[str, Any]:
        """Return one slot, without its value. Raises NotFound."""
        found = self._vault.slots.get(slot)
        if found is None:
            raise NotFound(f"There is no secret in the slot {slot!r}.")
        return found.view(self._users(slot))

    async def revealed(self, slot: str, *, by: str) -> None:
        """Note in the audit that a value was shown to a person. Raises NotFound."""
        self.show(slot)
        self._state.append(audit.revealed(slot, by))
        await self._state.durable()

    async def _take_reveals(self) -> None:
        """Take into the audit what was shown while no daemon ran."""
        noted = await asyncio.to_thread(store.noted_reveals, self._state.root)
        if noted:
            self._state.append(*(audit.revealed(slot, "person", at) for at, slot in noted))
            await self._state.durable()
            await asyncio.to_thread(store.forget_reveals, self._state.root)

    def _told(self) -> dict[str, Slot]:
        """Return each slot as the newest entry of `journals/auth` has it; values are not read."""
        told: dict[str, Slot] = {}
        for _, _, line in self._state.index.stream("journals/auth", (SecretChanged.kind,)):
            entry = orjson.loads(line)
            data = entry["data"]
            if data["change"] == "removed":
                told.pop(data["slot"], None)
                continue
            told[data["slot"]] = Slot(
                slot=data["slot"],
                version=data["version"],
                digest=data["digest"],
                created_at=data["created_at"],
                value_at=data["value_at"],
                updated_by=entry["actor"],
                description=data["description"],
                recipients=tuple(data["recipients"]),
            )
        return told

    def _open(self) -> None:
        """Read the identity, where it is there now. Blocks on disk."""
        if isinstance(self._identity, str):
            try:
                self._identity = store.read_identity(self._identity_path)
            except IdentityMissing as error:
                self._identity = error.detail

    def _read(self, raw: bytes) -> tuple[str | None, str | None]:
        """Return the value of a file, or the reason why it is missing. Blocks."""
        if isinstance(self._identity, str):
            return None, self._identity
        try:
            return store.decrypt(raw, self._identity), None
        except SecretUnreadable as error:
            return None, error.detail

    # --- what people do -----------------------------------------------------------------------------------------------

    async def _take(self, paths: Iterable[str], told: Mapping[str, Slot]) -> None:
        drafts, dirty = list[Draft](), list[str]()
        async for path, raw in contents.each(self._state.root, sorted(paths), most=store.MOST):
            name = path.removeprefix(f"{store.FOLDER}/").removesuffix(".age")
            if isinstance(raw, FileRefused | OSError):  # what was read before stays in force
                text = raw.detail if isinstance(raw, FileRefused) else f"{path} cannot be read: {raw.strerror}."
                self._problems.add("secret_unreadable", path, text)
                continue
            if raw is None and name in told:
                raw = (await self._left_out((path,))).get(path)
            if raw is None and name not in told and name not in self._vault.slots:
                for problem in ("secret_name", "secret_unreadable"):
                    self._problems.clear(problem, path)
            elif not ids.is_slug(name):
                text = f"{name!r} is not a legal name of a slot, so the file is not used."
                self._problems.add("secret_name", path, text)
            elif raw is None:
                drafts += self._gone(name, told.get(name))
                dirty += [path, store.card_of(name)] if name in told else []
            else:
                drafts += await self._came(path, name, raw, told.get(name), dirty)
        self._publish()
        if drafts:
            self._state.append(*drafts)
            await self._state.durable()
        if dirty:
            self._edited(dirty)

    def _gone(self, name: str, before: Slot | None) -> list[Draft]:
        self._problems.clear("secret_unreadable", store.path_of(name))
        if self._vault.slots.pop(name, None) is None and before is None:
            return []
        assert before is not None
        with contextlib.suppress(OSError):
            (self._state.root / store.card_of(name)).unlink(missing_ok=True)
        return [SecretChanged(slot=name, change="removed", version=before.version).on(by="person")]

    async def _came(self, path: str, name: str, raw: bytes, before: Slot | None, dirty: list[str]) -> list[Draft]:
        """Adopt a file that is there, known or new. An unreadable file replaces no readable one."""
        digest = sha256(raw).hexdigest()
        value, reason = await asyncio.to_thread(self._read, raw)
        if reason is not None:
            self._problems.add("secret_unreadable", path, f"{reason} Anything that needs this secret is not ready.")
        else:
            self._problems.clear("secret_unreadable", path)
        if before is not None and before.digest == digest:
            self._vault.slots[name] = replace(before, value=value, reason=reason)
            return []
        if value is None and before is not None and before.value is not None:
            return []  # the last good value stays in force
        now = ids.stamp(self._state.clock())
        slot = Slot(
            slot=name,
            version=before.version + 1 if before else 1,
            digest=digest,
            created_at=before.created_at if before else now,
            value_at=now,
            updated_by="person",
            description=before.description if before else None,
            value=value,
            reason=reason,
        )
        self._vault.slots[name] = slot
        if value is None:
            return []  # listed, with the reason; journaled when it can be read
        await asyncio.to_thread(_write_card, self._state.root, slot)
        dirty += [path, store.card_of(name)]
        return [_event(slot, "rotated" if before else "added").on(by="person")]

    async def _check_recipients(self) -> None:
        try:
            keys = await asyncio.to_thread(store.recipients, self._state.root)
        except (Invalid, OSError) as error:
            text = error.detail if isinstance(error, Invalid) else f"it cannot be read: {error.strerror}"
            return self._problems.add("secret_recipients", store.RECIPIENTS, text)
        old = sorted(name for name, one in self._vault.slots.items() if one.recipients and one.recipients != keys)
        if old:
            text = f"The recipients have changed since {', '.join(old[:5])} was written: kheish secrets rekey"
            self._problems.add("secret_recipients", store.RECIPIENTS, text, severity="warning")
        else:
            self._problems.clear("secret_recipients")
        return self._edited([store.RECIPIENTS])

    # --- what callers ask ---------------------------------------------------------------------------------------------

    async def put(
        self, slot: str, value: str, description: str | None, expected: str | None = None, *, by: str
    ) -> bool:
        """Set or rotate a slot; True where it is new. Raises Invalid, PreconditionFailed, IdentityMissing, Unavailable,
        StoreFailed."""
        ids.check_slug(slot, "slot")
        await self._refuse_held()
        async with self._lock:
            before = self._vault.slots.get(slot)
            preconditions.check(f"The slot {slot}", expected, None if before is None else preconditions.ANY)
            made, keys = await asyncio.to_thread(self._keys)
            raw = await asyncio.to_thread(self._sealed, value, keys)
            now = ids.stamp(self._state.clock())
            new = Slot(
                slot=slot,
                version=before.version + 1 if before else 1,
                digest=sha256(raw).hexdigest(),
                created_at=before.created_at if before else now,
                value_at=now,
                updated_by=by,
                description=description if description is not None or before is None else before.description,
                recipients=keys,
                value=value,
            )
            self._vault.slots[slot] = new
            self._publish()  # first of all: from now on no line may hold it
            await self._store({slot: (new, raw)})
            self._problems.clear("secret_unreadable", store.path_of(slot))
            self._state.append(_event(new, "rotated" if before else "added").on(by=by))
            self._edited([*([store.RECIPIENTS] if made else []), store.path_of(slot), store.card_of(slot)])
        await self._state.durable()
        return before is None

    async def remove(self, slot: str, *, by: str) -> None:
        """Remove a slot. Raises NotFound, SecretReferenced (with `referenced_by`), Unavailable."""
        await self._refuse_held()
        async with self._lock:
            before = self._vault.slots.get(slot)
            if before is None:
                raise NotFound(f"There is no secret in the slot {slot!r}.")
            if users := self._users(slot):
                raise SecretReferenced(
                    f"The secret {slot!r} is still referenced by {', '.join(users)}. Remove the reference first.",
                    referenced_by=users,
                )
            paths = [store.path_of(slot), store.card_of(slot)]
            self._watcher.expect(paths[0], None)
            await asyncio.to_thread(_unlink, self._state.root, paths)
            self._state.append(SecretChanged(slot=slot, change="removed", version=before.version).on(by=by))
            del self._vault.slots[slot]
            self._publish()
            self._edited(paths)
        await self._state.durable()

    async def rekey(self, *, by: str) -> list[dict[str, Any]]:
        """Encrypt every slot for the recipients as they are now, in one commit. Raises as `put`, SecretUnreadable."""
        await self._refuse_held()
        async with self._lock:
            _, keys = await asyncio.to_thread(self._keys)
            wanted = {name: self._vault.value(name) for name in sorted(self._vault.slots)}
            done: dict[str, tuple[Slot, bytes]] = {}
            for name, value in wanted.items():
                raw = await asyncio.to_thread(self._sealed, value, keys)
                new = replace(self._vault.slots[name], digest=sha256(raw).hexdigest(), recipients=keys, updated_by=by)
                done[name] = new, raw
            await self._store(done)
            self._vault.slots |= {name: new for name, (new, _) in done.items()}
            if done:
                self._state.append(*(_event(new, "rekeyed").on(by=by) for new, _ in done.values()))
            self._problems.clear("secret_recipients")
            paths = [path for name in done for path in (store.path_of(name), store.card_of(name))]
            self._edited([store.RECIPIENTS, *paths])
        await self._state.durable()
        return self.view()

    def _keys(self) -> tuple[bool, tuple[str, ...]]:
        """Return whether the recipients were made just now, and these. Raises IdentityMissing, Invalid."""
        before = store.recipients(self._state.root)
        keys = before or store.own_recipients(self._state.root, self._identity_path)
        self._open()
        if isinstance(self._identity, str):
            raise IdentityMissing(
                f"{self._identity} Put the identity that {store.RECIPIENTS} lists there, or set "
                "KHEISH_AGE_IDENTITY_FILE to its path."
            )
        return keys != before, keys

    def _sealed(self, value: str, keys: tuple[str, ...]) -> bytes:
        """Encrypt, and make sure that the daemon can read it itself. Raises Invalid."""
        raw = store.encrypt(value, keys)
        if self._read(raw)[0] != value:
            raise Invalid(f"{store.RECIPIENTS} does not name the daemon's own identity; add its public key there.")
        return raw

    async def _store(self, slots: Mapping[str, tuple[Slot, bytes]]) -> None:
        for name, (slot, raw) in slots.items():
            self._watcher.expect(store.path_of(name), slot.digest)
            await asyncio.to_thread(_write, self._state.root, slot, raw)

    async def _refuse_held(self) -> None:
        if (reason := self._held()) is not None:
            raise Unavailable(f"Secrets cannot be changed now. {reason}")
        if await self._lacks_recipients():
            text = f"{store.RECIPIENTS} is excluded from the work tree: git sparse-checkout add {store.FOLDER}"
            raise Unavailable(f"Secrets cannot be changed now. {text}")

    async def _lacks_recipients(self) -> bool:
        """Return whether git keeps the recipients out of the work tree: no user has removed them."""
        is_there = await asyncio.to_thread(os.path.lexists, self._state.root / store.RECIPIENTS)
        return not is_there and bool(await self._left_out((store.RECIPIENTS,)))

    def _users(self, slot: str) -> list[str]:
        used = ((one.path, one.slots) for one in self._state.definitions.all())
        return sorted(path for path, slots in used if slot in slots)

    def _publish(self) -> None:
        self._state.slots = self._vault.readiness()
        self._changed()


def _event(slot: Slot, change: Any) -> SecretChanged:
    return SecretChanged(
        slot=slot.slot,
        change=change,
        version=slot.version,
        digest=slot.digest,
        description=slot.description,
        recipients=slot.recipients,
        created_at=slot.created_at,
        value_at=slot.value_at,
    )


def _write(root: Path, slot: Slot, raw: bytes) -> None:
    """Write the value's file and its card. Raises Unavailable."""
    try:
        files.atomic_write(files.inside(root, store.path_of(slot.slot)), raw, fsync=True)
        _write_card(root, slot)
    except OSError as error:
        raise Unavailable(f"{store.path_of(slot.slot)} cannot be written: {error.strerror}.") from error


def _write_card(root: Path, slot: Slot) -> None:
    files.atomic_write(files.inside(root, store.card_of(slot.slot)), records.render(slot.card()), fsync=True)


def _unlink(root: Path, paths: Iterable[str]) -> None:
    for path in paths:
        files.inside(root, path).unlink(missing_ok=True)
    files.fsync_folder(root / store.FOLDER)
