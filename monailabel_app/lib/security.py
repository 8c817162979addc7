"""Who may talk to the server: one token, shown at start-up; everything else is closed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote

from myotome.errors import InputError

__all__ = ["COOKIE", "Access", "Guard", "new_token"]

COOKIE = "myotome"
_OPEN_PATHS = {"/auth/", "/auth/token", "/login", "/favicon.ico"}
_PATH_TOKEN = re.compile(r"^/t/([^/]+)(/.*)$")
_READER = re.compile(r"[^\w .@-]")
_LONGEST_READER = 64
_SHORTEST_TOKEN = 12
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
]

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def new_token() -> str:
    """192 random bits, in letters that need no quoting."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Access:
    """Checks the token, and signs a reader's name with it, so that a session says who saves.

    Raises
    ------
    InputError
        When the token is so short that it could be guessed.
    """

    token: str

    def __post_init__(self) -> None:
        if len(self.token) < _SHORTEST_TOKEN:
            raise InputError(f"a token of {len(self.token)} letters can be guessed: give {_SHORTEST_TOKEN} or more.")

    def admits(self, token: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def session(self, reader: str) -> str:
        """A value that only the server can make, for a cookie or a bearer token."""
        name = base64.urlsafe_b64encode(clean_reader(reader).encode()).decode().rstrip("=")
        return f"{name}.{self._sign(name)}"

    def reader_of(self, session: str) -> str | None:
        """The reader whom a session or the token itself (then ``""``) admits; ``None`` for neither."""
        if self.admits(session):
            return ""
        name, dot, signature = session.partition(".")
        if not dot or not hmac.compare_digest(signature.encode(), self._sign(name).encode()):
            return None
        try:
            return base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None

    def _sign(self, name: str) -> str:
        return hmac.new(self.token.encode(), name.encode(), hashlib.sha256).hexdigest()


def clean_reader(name: str) -> str:
    """A reader's name without anything that a header, a path or a page could trip over."""
    return _READER.sub(" ", name).strip()[:_LONGEST_READER]


class Guard:
    """ASGI middleware: the token, the Host header, the size of what is sent, and the headers of every reply.

    The token comes as ``Authorization: Bearer``, as the cookie that ``/login`` sets, or as the start of the path,
    ``/t/<token>/``: 3D Slicer fetches images by a plain address, which can hold it nowhere else.

    Parameters
    ----------
    hosts : names under which the server may be called; any other Host header is refused (DNS rebinding)
    largest_mb : of a request's body
    """

    def __init__(self, app: Any, access: Access, hosts: frozenset[str], largest_mb: int = 1024) -> None:
        self.app, self.access, self.hosts = app, access, hosts
        self.largest_bytes = largest_mb * 2**20

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        if _host_name(headers.get(b"host", "")) not in self.hosts:
            await _refuse(send, 400, "this server does not go by that name: call it by the address it printed.")
            return
        if _as_number(headers.get(b"content-length")) > self.largest_bytes:
            await _refuse(send, 413, f"that is more than {self.largest_bytes >> 20} MB, the most that is taken.")
            return
        scope, reader = self._identify(scope, headers)
        if reader is None and scope["path"] not in _OPEN_PATHS:
            await self._turn_away(scope, headers, send)
            return
        scope.setdefault("state", {}).update(reader=reader or "", signed_in=reader is not None)
        await self.app(scope, self._limited(receive), _with_headers(send))

    def _identify(self, scope: Scope, headers: dict[bytes, str]) -> tuple[Scope, str | None]:
        """The scope without a token in its path, and the reader."""
        found = _PATH_TOKEN.match(scope["path"])
        if found:
            path = found[2]
            scope = {**scope, "path": path, "raw_path": quote(path).encode()}
            return scope, self.access.reader_of(found[1])
        scheme, _, bearer = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return scope, self.access.reader_of(bearer.strip())
        try:
            cookie = SimpleCookie(headers.get(b"cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        return scope, self.access.reader_of(cookie.value) if cookie else None

    async def _turn_away(self, scope: Scope, headers: dict[bytes, str], send: Send) -> None:
        wants_page = scope["method"] == "GET" and "text/html" in headers.get(b"accept", "")
        if wants_page:
            place = quote(scope["path"], safe="/")
            query = scope.get("query_string", b"").decode("latin-1")
            target = f"/login?{query}&next={place}" if query else f"/login?next={place}"
            await send({"type": "http.response.start", "status": 303, "headers": [(b"location", target.encode())]})
            await send({"type": "http.response.body", "body": b""})
            return
        await _refuse(send, 401, "give the server's token (it was printed at start-up) as 'Authorization: Bearer'.")

    def _limited(self, receive: Receive) -> Receive:
        """Stops reading a body that grows beyond the limit, whatever its header said."""
        seen = 0

        async def limited() -> dict[str, Any]:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            return {"type": "http.disconnect"} if seen > self.largest_bytes else message

        return limited


def _host_name(host: str) -> str:
    """``[::1]:8000`` and ``name:8000`` without the port."""
    return host.rsplit("]", 1)[0].lstrip("[") if host.startswith("[") else host.rsplit(":", 1)[0]


def _as_number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), *_HEADERS]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        await send(message)

    return sending
