"""A mail server on loopback, in a process of its own: it asks for a login, and refuses mailboxes named nobody."""

from __future__ import annotations

import contextlib
import email
import email.policy
import subprocess
import sys
import warnings
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

PASSWORD = "mail-password"


@contextlib.contextmanager
def mail_server(folder: Path) -> Iterator[int]:
    """Serve for a while, and yield the port; each letter becomes a file of the folder."""
    words = (sys.executable, "-m", "tests.support.mails", str(folder))
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(30)


def letters(folder: Path) -> list[EmailMessage]:
    """The letters that arrived, in order."""
    found = [
        email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in sorted(folder.iterdir())
    ]
    return [one for one in found if isinstance(one, EmailMessage)]


def main(folder: Path) -> None:
    import socket

    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult, LoginPassword

    class Box:
        async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
            if address.startswith("nobody@"):
                return "550 no such mailbox"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            (folder / f"{len(list(folder.iterdir())):04}.eml").write_bytes(envelope.content)
            return "250 OK"

    def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=isinstance(data, LoginPassword) and data.password == PASSWORD.encode())

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    warnings.simplefilter("ignore")  # a login without TLS, on loopback
    server = Controller(
        Box(), hostname="127.0.0.1", port=port, authenticator=login, auth_require_tls=False, auth_required=True
    )
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
