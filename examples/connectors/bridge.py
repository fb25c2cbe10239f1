"""A program outside of Kheish as a connector: lines of a conversation go in, the agent's answers come back.

It needs nothing but Python. Put your own chat, ticket system or mailbox in the place of standard input and output:

    python bridge.py http://127.0.0.1:4000/v1/ingress/bridge whsec_… --listen 8099

`connectors/bridge.yaml` and `outputs/bridge-back.yaml` of the examples are the two files of the state root. Both
directions are signed by Standard Webhooks with the same secret.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def signature(secret: str, id: str, at: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}"


def send(url: str, secret: str, conversation: str, text: str) -> dict[str, object]:
    """Send a message until it is acknowledged. The id stays the same, so that no message becomes two runs."""
    id = f"msg_{uuid.uuid4().hex}"
    body = json.dumps({"conversation": conversation, "text": text, "from": "console"}).encode()
    while True:
        at = str(int(time.time()))
        headers = {
            "content-type": "application/json", "webhook-id": id, "webhook-timestamp": at,
            "webhook-signature": signature(secret, id, at, body),
        }  # fmt: skip
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                raise SystemExit(f"refused: {error.read().decode(errors='replace')}") from error
        except urllib.error.URLError:
            pass  # the daemon restarts
        time.sleep(1)


class Answers(BaseHTTPRequestHandler):
    """Receives the agent's outputs. One may come twice, with the same webhook-id."""

    secret = ""
    seen: set[str] = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        id, at = self.headers.get("webhook-id", ""), self.headers.get("webhook-timestamp", "")
        expected = signature(self.secret, id, at, body)
        if not hmac.compare_digest(self.headers.get("webhook-signature", ""), expected):
            self.send_error(401)
            return
        if id not in self.seen:
            self.seen.add(id)
            print(json.loads(body)["data"]["content"], flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="Connect standard input and output with an agent.")
    parser.add_argument("url", help="the address of the connector")
    parser.add_argument("secret", help="the secret of both slots, whsec_…")
    parser.add_argument("--listen", type=int, default=8099, help="the port that the output is sent to")
    parser.add_argument("--conversation", default="main", help="the name of the conversation")
    given = parser.parse_args()
    Answers.secret = given.secret
    server = ThreadingHTTPServer(("127.0.0.1", given.listen), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for line in sys.stdin:
        if line.strip():
            send(given.url, given.secret, given.conversation, line.strip())
    threading.Event().wait()  # answers may come as long as it runs


if __name__ == "__main__":
    main()
