"""Letters by SMTP. The `Message-ID` follows from the delivery, so that a repetition is the same letter; the letters of
a session to an address form a thread."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from kheish.auth import outgoing
from kheish.auth.broker import using
from kheish.domain.outputs import targets
from kheish.runtime.outputs import rendering
from kheish.runtime.outputs.base import Job, NotDelivered, Passing, Refused, Sent, Unclear, Way

_SUBJECT = 120
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: codes of SMTP for a mailbox or a server that is busy
_BUSY = range(400, 500)


async def send(job: Job, way: Way) -> Sent:
    """Send the letter. Raises NotDelivered, KheishError."""
    await outgoing.load()
    aiosmtplib = await asyncio.to_thread(_library)
    contents = [await way.content(one) for one in job.files]
    letter, to = await asyncio.to_thread(compose, job, contents)
    sink = job.sink
    security = sink.security or ("tls" if sink.port == 465 else "starttls")
    is_here = (sink.host or "").lower() in _LOOPBACK
    if security == "none" and sink.password and not is_here:
        raise Refused("security: none sends no password to another machine; write tls or starttls")
    port = sink.port or (465 if security == "tls" else 587)
    context = None if security == "none" else outgoing.tls()
    client = aiosmtplib.SMTP(
        hostname=sink.host, port=port, use_tls=security == "tls", start_tls=False, timeout=way.seconds,
        tls_context=context,
    )  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        lease = await stack.enter_async_context(way.lend(sink.password)) if sink.password else None
        work = _talk(aiosmtplib, client, letter, to, security, sink.user, lease.value if lease else None)
        await (using(lease, work) if lease is not None else work)
    return Sent(receipt=letter["Message-ID"])


async def _talk(
    aiosmtplib: Any, client: Any, letter: EmailMessage, to: list[str], security: str, user: str | None, key: str | None
) -> None:
    """Hand the letter to the server. Raises NotDelivered."""
    is_sent = False
    try:
        await client.connect()
        if security == "starttls":
            await client.starttls()
        if user is not None and key is not None:
            await client.login(user, key)
        is_sent = True
        await client.sendmail(letter["From"], to, letter.as_bytes(policy=SMTP))
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await client.quit()
    except aiosmtplib.SMTPRecipientsRefused as error:
        raise _refusal([one.code for one in error.recipients], str(error.recipients[0].message)) from error
    except aiosmtplib.SMTPResponseException as error:
        raise _refusal([error.code], str(error.message)) from error
    except aiosmtplib.SMTPNotSupported as error:
        raise Refused(f"the server does not offer {security}: {error}") from error
    except (aiosmtplib.SMTPException, OSError, ssl.SSLError) as error:
        said = f"the mail server: {error or type(error).__name__}"
        raise (Unclear(said) if is_sent else Passing(said)) from error
    finally:
        client.close()


def _refusal(codes: list[int], words: str) -> NotDelivered:
    said = f"the mail server answered {codes[0]}: {' '.join(words.split())[:300]}"
    return Passing(said) if any(code in _BUSY for code in codes) else Refused(said)


def compose(job: Job, contents: Sequence[bytes] = ()) -> tuple[EmailMessage, list[str]]:
    """Return the letter of a delivery, and its recipients."""
    given = targets.addressed(job.sink, job.target, "to")
    to = [given] if isinstance(given, str) else [str(one) for one in given or ()]
    sender = job.sink.sender or ""
    domain = sender.rpartition("@")[2]
    thread = job.target.get("in_reply_to") or _thread(job, domain)
    letter = EmailMessage(policy=SMTP)
    letter["From"], letter["To"] = sender, ", ".join(to)
    letter["Subject"] = job.target.get("subject") or rendering.headline(job.text, _SUBJECT) or str(job.output["kind"])
    letter["Message-ID"] = f"<{job.delivery_id}@{domain}>"
    letter["In-Reply-To"] = letter["References"] = thread
    letter["Date"] = format_datetime(datetime.fromisoformat(job.created_at))
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(job.text)
    for file, content in zip(job.files, contents, strict=True):
        main, _, sub = file.media_type.partition(";")[0].strip().partition("/")
        if main in ("message", "multipart") or not sub:  # the structure of a letter is not the file's to choose
            main, sub = "application", "octet-stream"
        charset = {"charset": "utf-8"} if main == "text" and _is_utf_8(content) else None
        letter.add_attachment(content, maintype=main, subtype=sub, filename=file.name, params=charset)
    return letter, to


def _is_utf_8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _thread(job: Job, domain: str) -> str:
    """Return the id of the thread of a session at an address; there is no letter with this id, which clients accept."""
    seed = f"{job.output['session_id']} {targets.key_of(job.target)}"
    return f"<thread-{hashlib.sha256(seed.encode()).hexdigest()[:26]}@{domain}>"


def _library() -> Any:
    import aiosmtplib

    return aiosmtplib
