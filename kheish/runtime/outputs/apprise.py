"""Notices to many services by the library apprise (`pip install kheish[apprise]`), in a process of its own: the URL is
a secret, and the library's plugins do what they like."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import orjson

from kheish.jobs import served
from kheish.jobs.served import ServedSpec
from kheish.runtime.outputs import rendering
from kheish.runtime.outputs.base import Job, Passing, Refused, Sent, Unclear, Way

_MOST_BYTES = 64 * 1024
_TITLE = 120
#: exit statuses of the child below
_FAILED, _BAD_URL, _NOT_INSTALLED = 10, 11, 12
#: the library's messages may show the URL, so none of them is read
_CHILD = f"""
import json, logging, sys
given = json.load(sys.stdin)
logging.disable(logging.CRITICAL)
try:
    import apprise
except ImportError:
    sys.exit({_NOT_INSTALLED})
notices = apprise.Apprise()
if not notices.add(given["url"]):
    sys.exit({_BAD_URL})
sent = notices.notify(body=given["body"], title=given["title"], body_format=apprise.NotifyFormat.MARKDOWN)
sys.exit(0 if sent else {_FAILED})
"""


async def send(job: Job, way: Way) -> Sent:
    """Send the notice. Raises NotDelivered, KheishError."""
    environment = {"PATH": way.environ.get("PATH", ""), "HOME": str(Path.home()), "LANG": "C.UTF-8"}
    argv = (sys.executable, "-I", "-c", _CHILD)
    spec = ServedSpec(argv=argv, env=environment, cwd="/", limits=way.limits)
    async with way.lend(job.sink.url or "") as lease:
        given = {"url": lease.value, "body": job.noted, "title": rendering.headline(job.text, _TITLE)}
        code = await _run(spec, orjson.dumps(given), way.seconds)
    match code:
        case 0:
            return Sent()
        case c if c == _NOT_INSTALLED:
            raise Passing("apprise is not installed: pip install 'kheish[apprise]', then restart the daemon")
        case c if c == _BAD_URL:
            raise Refused(f"apprise cannot read the URL in {job.sink.url}")
        case c if c == _FAILED:
            raise Passing("apprise reports that the notice was not sent")
    raise Unclear(f"the process of apprise ended with exit status {code}")


async def _run(spec: ServedSpec, data: bytes, seconds: float) -> int:
    """Return the exit status. Raises NotDelivered."""
    try:
        process = await served.start(spec)
    except OSError as error:
        raise Passing(f"it could not be started: {error}") from error
    try:
        async with asyncio.timeout(seconds):
            _, code = await served.talk(process, data, _MOST_BYTES)
        return code
    except TimeoutError as error:
        raise Unclear(f"it took longer than {seconds:g} s, and was ended") from error
    except OverflowError as error:
        raise Unclear(str(error)) from error
    finally:
        await process.close()
