"""Reception of requests: verified on their raw bytes, counted, read off the event loop, and taken in. The answer
follows when the receipt is durable."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kheish.auth.tokens import Tokens
from kheish.authoring.problems import Problems
from kheish.daemon.ingress import own_faults
from kheish.daemon.ingress.attachments import Attachments
from kheish.daemon.ingress.credentials import Credentials
from kheish.daemon.ingress.intake import Intake, check_allowed
from kheish.daemon.ingress.rejections import Rejections
from kheish.domain.connectors import definition
from kheish.domain.connectors.arrival import Arrival, Click, Moved, Parsed
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.connectors.rates import Buckets
from kheish.errors import (
    ConnectorNotReady,
    KheishError,
    NotFound,
    SenderNotAllowed,
    SessionDeleted,
    SessionEnded,
    SignatureInvalid,
    TooLarge,
)
from kheish.runtime.connectors import http, installed, reading, verifying
from kheish.runtime.connectors.base import Request
from kheish.state.state import State

#: the code of the problem of a connector that fails
FAILING = "connector_failing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to a request."""

    status: int
    body: Mapping[str, Any]
    n: int | None = None


class Receiving:
    """The reception of all connectors. `answer_click` decides about a press of a button."""

    def __init__(
        self,
        state: State,
        intake: Intake,
        credentials: Credentials,
        attachments: Attachments,
        tokens: Tokens,
        *,
        answer_click: Any,
        rejections: Rejections,
        problems: Problems,
        allow_unauthenticated: bool,
    ) -> None:
        self.state = state
        self.intake = intake
        self.credentials = credentials
        self._attachments = attachments
        self._tokens = tokens
        self._answer_click = answer_click
        self.rejections = rejections
        self._allows_unauthenticated = allow_unauthenticated
        self._problems = problems
        self.failures: dict[str, str] = {}  # by connector: the mistake in its file that the newest request met
        self._buckets = Buckets(state.clock)

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        return self.state.clock()

    async def durable(self) -> None:
        """Wait until everything that was taken in is on disk."""
        await self.state.durable()

    def file(self, connector_id: str) -> ConnectorFile:
        """Return the file of a connector that is switched on. Raises NotFound, ConnectorNotReady."""
        known = self.state.definitions
        path = f"connectors/{connector_id}.yaml"
        if connector_id not in known.by_kind["connectors"] and path in known.observed:
            raise ConnectorNotReady(f"The file {path} has errors, and no valid version of it is in effect.")
        file: ConnectorFile = known.get("connectors", connector_id).value
        if file.disabled:
            raise ConnectorNotReady(f"The connector {connector_id!r} is switched off (disabled in its file).")
        return file

    async def receive(
        self, connector_id: str, headers: Mapping[str, str], body: bytes, *, is_loopback: bool, address: str = ""
    ) -> Answer:
        """Answer a request to a connector's address; `headers` have lower-case names. A refused proof is counted, and
        audited. Raises SignatureInvalid, TooMany,
        TooLarge, NotFound, ConnectorNotReady, and what `accept` raises."""
        file = self.file(connector_id)
        if len(body) > file.max_bytes:
            raise TooLarge.of_body(len(body), file.max_bytes)
        if file.way in ("socket", "poll"):
            mode = "http" if file.kind == "slack" else "webhook"
            raise NotFound(f"The connector {connector_id!r} takes no requests; write mode: {mode} to have it do so.")
        try:
            parsed = await self._verified(connector_id, file, headers, body, is_loopback=is_loopback)
        except SignatureInvalid as error:
            self.rejections.count(connector_id, address, error.detail)
            raise
        return await self.accept(connector_id, file, parsed)

    async def _verified(
        self, connector_id: str, file: ConnectorFile, headers: Mapping[str, str], body: bytes, *, is_loopback: bool
    ) -> Parsed:
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        now = self.state.clock()
        if file.kind == "http":
            keys = await self._check_http(connector_id, file, headers, body, is_loopback=is_loopback)
            self._buckets.count(connector_id, file.rate)
            return await http.parse(file, body, headers, keys)
        if file.kind == "slack":
            secret = await self.credentials.secret(connector_id, self.credentials.slot(file, "verify"))
            verifying.check_slack(secret, headers, body, now)
            self._buckets.count(connector_id, file.rate)
            return await reading.read_slack(body, media)
        if file.kind == "telegram":
            secret = await self.credentials.secret(connector_id, self.credentials.slot(file, "verify"))
            verifying.check_telegram(secret, headers)
            self._buckets.count(connector_id, file.rate)
            return await reading.read_telegram(body)
        kind = installed.get(file.kind)
        if kind is None or kind.receive is None:
            raise ConnectorNotReady(f"No installed package receives requests of the kind {file.kind!r}.")

        async def secret_of(name: str) -> str:
            return await self.credentials.secret(connector_id, self.credentials.slot(file, name))

        given = Request(
            connector=connector_id, headers=headers, body=body, options=file.options, now=now, secret=secret_of
        )
        parsed = await installed.guarded(kind, given)
        self._buckets.count(connector_id, file.rate)
        return parsed

    async def _check_http(
        self, connector_id: str, file: ConnectorFile, headers: Mapping[str, str], body: bytes, *, is_loopback: bool
    ) -> tuple[str, ...]:
        verify = file.verify
        if verify is None:
            if self._allows_unauthenticated and is_loopback:
                return ()
            raise SignatureInvalid(
                f"The connector {connector_id!r} has no verify in its file; requests without a proof are accepted on "
                "loopback alone, and only with serve --allow-unauthenticated."
            )
        if verify.scheme == "bearer" and self._is_own_token(connector_id, headers):
            return ()
        if verify.secret is None:
            raise SignatureInvalid(f"This needs a token with the role ingress:{connector_id}.")
        secret = await self.credentials.secret(connector_id, verify.secret)
        return verifying.check(verify, secret, headers, body, self.state.clock())

    def _is_own_token(self, connector_id: str, headers: Mapping[str, str]) -> bool:
        """Return whether the bearer token is one of Kheish's, with this connector's role."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        caller = self._tokens.principal(token.strip()) if scheme.lower() == "bearer" else None
        return caller is not None and hmac.compare_digest(caller.role.encode(), f"ingress:{connector_id}".encode())

    # --- what was read ------------------------------------------------------------------------------------------------

    async def accept(self, connector_id: str, file: ConnectorFile, parsed: Parsed) -> Answer:
        """Take in what a request means, and return when it is durable. Raises SenderNotAllowed for http, and what
        `Intake.take` raises."""
        match parsed:
            case Arrival():
                return await self._take(connector_id, file, parsed)
            case Click():
                await self._answer_click(connector_id, file, parsed)
                if parsed.offset is not None:
                    await self.intake.move_offset(connector_id, parsed.offset)
                return Answer(status=200, body={})
            case Moved(old=old, new=new, offset=offset):
                try:
                    check_allowed(file, parsed)
                except SenderNotAllowed as error:
                    return Answer(status=200, body={"ignored": error.detail})
                await self.intake.move_chat(connector_id, old, new, offset)
                await self.state.durable()
                return Answer(status=200, body={"ignored": "the chat has another id"})
            case _:
                return Answer(status=200, body=parsed.answer or {"ignored": parsed.reason})

    async def _take(self, connector_id: str, file: ConnectorFile, arrival: Arrival) -> Answer:
        if (why := definition.readiness(connector_id, file, os.environ, self.state.slots)) is not None:
            raise ConnectorNotReady(why)  # later, since the answer could not go back
        try:
            check_allowed(file, arrival)
            items = await self._attachments.items(connector_id, file, arrival)
            led = await self.intake.take(connector_id, file, arrival, items)
        except SenderNotAllowed as error:
            if file.kind == "http":
                raise
            return Answer(status=200, body={"ignored": error.detail})
        except SessionDeleted as error:  # 404 is for an unknown connector alone
            raise SessionEnded(error.detail) from error
        except KheishError as error:
            if not own_faults.is_own(file, error):
                raise
            self._fail(connector_id, error)
            raise ConnectorNotReady(f"The connector {connector_id!r} is not ready: {error.detail}") from error
        self.forget(connector_id)
        n = self.state.n
        await self.state.durable()
        return Answer(status=202, body=led.view(), n=n)

    def _fail(self, connector_id: str, error: KheishError) -> None:
        """Report a mistake in a connector's file, or in what it names: the sender repeats the request."""
        self.failures[connector_id] = error.detail
        self._problems.add(FAILING, f"connectors/{connector_id}.yaml", f"requests cannot be taken in: {error.detail}")

    def forget(self, connector_id: str) -> None:
        """Drop what was reported: a request was taken in, or the file was changed."""
        if self.failures.pop(connector_id, None) is not None:
            self._problems.clear(FAILING, f"connectors/{connector_id}.yaml")
