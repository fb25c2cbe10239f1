"""An MCP server over streamable HTTP with an authorization server beside it, in plain HTTP on loopback.

It speaks the handshake era with sessions, which `forget` drops; `old` answers as the transport of 2024 does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit


@dataclass
class Standin:
    """What the server does, and what it has seen."""

    url: str = ""
    needs: str | None = None  # a bearer token
    has_oauth: bool = False
    old: bool = False
    elsewhere: str | None = None  # the authorization server that it names, instead of its own
    big: int = 0
    cuts: bool = False  # the stream of a call, before its answer
    refusal: str | None = None  # what calls are answered with, as an error
    sessions: set[str] = field(default_factory=set)
    calls: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    registered: list[Any] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    grants: list[dict[str, str]] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    expires_in: int = 3600
    refuses: bool = False  # the renewal of tokens
    is_lazy: bool = False  # it greets everyone, and asks for a login later
    scope: str | None = None  # what calls need
    granted: str = ""  # the scope of the newest login
    opened: list[str] = field(default_factory=list)  # the pages of logins

    def forget(self) -> None:
        """Forget all sessions, as a restart does."""
        self.sessions.clear()

    def authorize(self, url: str) -> str:
        """Do what a user's browser does with the page of a login, and return where it is sent back."""
        self.opened.append(url)
        given = {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
        code = f"code-{len(self.codes)}"
        self.codes[code] = given
        back = {"code": code, "state": given["state"], "iss": self.url}
        return f"{given['redirect_uri']}?{urlencode(back)}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    standin: Standin

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, status: int, body: Any = None, **headers: str) -> None:
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Type" not in headers:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def do_GET(self) -> None:
        one, path = self.standin, urlsplit(self.path).path
        if path == "/mcp" and one.old:
            self._send(200, b"event: endpoint\ndata: /messages\n\n", Content_Type="text/event-stream")
        elif path == "/.well-known/oauth-protected-resource/mcp" and one.has_oauth:
            issuer = one.elsewhere or one.url
            self._send(200, {"resource": f"{one.url}/mcp", "authorization_servers": [issuer]})
        elif path == "/.well-known/oauth-authorization-server" and one.has_oauth:
            self._send(200, {
                "issuer": one.url, "authorization_endpoint": f"{one.url}/authorize",
                "token_endpoint": f"{one.url}/token", "registration_endpoint": f"{one.url}/register",
                "revocation_endpoint": f"{one.url}/revoke", "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
            })  # fmt: skip
        else:
            self._send(405 if path == "/mcp" else 404)

    def do_DELETE(self) -> None:
        self._send(204)

    def do_POST(self) -> None:
        one, path, body = self.standin, urlsplit(self.path).path, self._body()
        if path == "/register":
            one.registered.append(json.loads(body))
            client = {**json.loads(body), "client_id": f"client-{len(one.registered)}"}
            self._send(201, {**client, "token_endpoint_auth_method": "none"})
        elif path == "/token":
            self._token({key: values[0] for key, values in parse_qs(body.decode()).items()})
        elif path == "/revoke":
            one.revoked.append(parse_qs(body.decode())["token"][0])
            self._send(200)
        elif path == "/mcp" and not one.old:
            self._mcp(json.loads(body))
        else:
            self._send(404)

    def _token(self, given: dict[str, str]) -> None:
        one = self.standin
        one.grants.append(given)
        if given["grant_type"] == "authorization_code":
            asked = one.codes.pop(given["code"])
            one.granted = asked.get("scope", "")
            digest = hashlib.sha256(given["code_verifier"].encode()).digest()
            assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
        elif one.refuses:
            self._send(400, {"error": "invalid_grant"})
            return
        token = f"access-token-{len(one.grants)}-of-the-standin"
        one.tokens = {token}
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": one.expires_in, "scope": one.granted}
        self._send(200, {**answer, "refresh_token": f"refresh-token-{len(one.grants)}-of-the-standin"})

    def _mcp(self, message: dict[str, Any]) -> None:
        one = self.standin
        one.headers.append(dict(self.headers))
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        is_greeting = message["method"] in ("server/discover", "initialize", "notifications/initialized")
        is_open = one.is_lazy and is_greeting
        if (one.needs is not None and token != one.needs) or (
            one.has_oauth and token not in one.tokens and not is_open
        ):
            more = {
                "WWW_Authenticate": f'Bearer resource_metadata="{one.url}/.well-known/oauth-protected-resource/mcp"'
            }
            self._send(401, {"error": "unauthorized"}, **(more if one.has_oauth else {}))
            return
        method, session = message["method"], self.headers.get("mcp-session-id")
        if one.scope is not None and method == "tools/call" and one.scope not in one.granted.split():
            self._send(403, {}, WWW_Authenticate=f'Bearer error="insufficient_scope", scope="{one.scope}"')
            return
        if method == "server/discover":
            error = {"code": -32000, "message": "Bad Request: Server not initialized"}
            self._send(400, {"jsonrpc": "2.0", "id": None, "error": error})  # as the TypeScript SDK does
        elif method == "initialize":
            new = f"session-{len(one.headers)}"
            one.sessions.add(new)
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                      "serverInfo": {"name": "web", "version": "2"}}  # fmt: skip
            self._send(200, {"jsonrpc": "2.0", "id": message["id"], "result": result}, Mcp_Session_Id=new)
        elif session not in one.sessions:
            error = {"code": -32001, "message": "Session not found"}
            self._send(404, {"jsonrpc": "2.0", "id": message.get("id"), "error": error})
        elif "id" not in message:
            self._send(202)
        else:
            self._answer(message)

    def _answer(self, message: dict[str, Any]) -> None:
        one, params = self.standin, message.get("params") or {}
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        if message["method"] == "tools/list":
            answer: Any = {"result": {"tools": [{"name": "echo", "description": "Echo.", "inputSchema": schema}]}}
        else:
            one.calls.append(params["arguments"])
            content = "x" * one.big if one.big else f"web: {params['arguments'].get('text')}"
            answer = {"result": {"content": [{"type": "text", "text": content}]}}
            if one.refusal is not None:
                answer = {"error": {"code": -32000, "message": one.refusal}}
        data = json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer})
        events = ": at it\n\n" if one.cuts and "result" in answer and one.calls else f"event: message\ndata: {data}\n\n"
        self._send(200, events.encode(), Content_Type="text/event-stream")


@contextmanager
def serving(**given: Any) -> Iterator[Standin]:
    """Serve a stand-in on a free port of loopback."""
    standin = Standin(**given)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"standin": standin}))
    standin.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield standin
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
