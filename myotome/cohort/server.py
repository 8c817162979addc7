"""The review server: the page of quality control, the pictures of the cases, and decisions into the store."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import re
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from myotome.cohort.quality_decisions import read_latest_review
from myotome.cohort.quality_page import PAGE_NAME, describe_cohort, describe_reviews, render_quality_page
from myotome.errors import InputError, MyotomeError, OutputError
from myotome.store import Store

__all__ = ["Serving", "create_review_server", "serve_reviews"]

_SERVED_FILES = {"thumbnail.webp": "image/webp", "overview.png": "image/png", "report.html": "text/html; charset=utf-8"}
_CASE_ID = re.compile(r"[0-9a-f]{16}")
_LARGEST_BODY = 16 * 1024
_SHORTEST_TOKEN = 12
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_REPORT_POLICY = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; frame-ancestors 'none'"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Serving:
    """Where the server listens, and who may come in.

    Parameters
    ----------
    token : what the address holds at the first visit; a new one of 192 random bits unless given
    hosts : names besides this machine's own under which it may be called

    Raises
    ------
    InputError
        When the token is so short that it could be guessed.
    """

    host: str = "127.0.0.1"
    port: int = 8010
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    hosts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.token) < _SHORTEST_TOKEN:
            raise InputError(f"a token of {len(self.token)} letters can be guessed: give {_SHORTEST_TOKEN} or more.")

    @property
    def address(self) -> str:
        """With the token, for the reader's browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/?token={self.token}"


def serve_reviews(store: Store, serving: Serving, welcome: Callable[[str], None] = print) -> None:
    """Serve a cohort's page until interrupted; ``welcome`` is given the address to open once the port is taken.

    Raises
    ------
    InputError
        When the address or the port cannot be had.
    """
    # Ctrl-C ends the server in order, which then raises it once more.
    with contextlib.suppress(KeyboardInterrupt), _listen(serving) as listener:
        app = create_review_server(store, serving)
        welcome(serving.address)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
        )
        uvicorn.Server(config).run(sockets=[listener])


def _listen(serving: Serving) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in serving.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((serving.host, serving.port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot listen at {serving.host}:{serving.port} ({reason[0].lower() + reason[1:]}): choose another --port."
        ) from error
    return listener


def create_review_server(store: Store, serving: Serving) -> Any:
    """The ASGI application: ``/`` the page, ``/cases/<case_id>/<file>`` its pictures, ``/api/reviews`` decisions."""
    desk = _Desk(store)
    app = FastAPI(title="Myotome quality control", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    @app.get(f"/{PAGE_NAME}")
    def page() -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src 'nonce-{nonce}'; "
            f"style-src 'nonce-{nonce}'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        )
        return HTMLResponse(desk.page(nonce), headers={"content-security-policy": policy, "cache-control": "no-store"})

    @app.get("/cases/{case_id}/{name}")
    def case_file(case_id: str, name: str) -> Response:
        content = desk.case_file(case_id, name)
        if content is None:
            return JSONResponse({"detail": "there is no such file."}, status_code=404)
        headers = {"cache-control": "private, no-cache", "content-security-policy": _REPORT_POLICY}
        return Response(content, media_type=_SERVED_FILES[name], headers=headers)

    @app.post("/api/reviews")
    async def review(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return JSONResponse({"detail": "a decision is sent as application/json."}, status_code=415)
        try:
            entry = json.loads(await request.body())
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            return JSONResponse({"detail": "a decision is one JSON object."}, status_code=400)
        status, answer = await run_in_threadpool(desk.review, entry)
        return JSONResponse(answer, status_code=status)

    app.add_exception_handler(InputError, _answer(400))
    app.add_exception_handler(OutputError, _answer(507))
    app.add_exception_handler(MyotomeError, _answer(500))
    return _Guard(app, serving)


def _answer(status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, status_code=status)

    return answer


class _Desk:
    """What the server does for a reader."""

    def __init__(self, store: Store) -> None:
        self._folder = store.folder
        self._store = store
        self._lock = threading.Lock()
        self._stamps: dict[str, int] | None = None
        self._cohort: dict[str, Any] = {}

    def page(self, nonce: str) -> str:
        """The page as the cohort is now; scores are computed anew only when a case was written since."""
        with self._lock:
            store = Store(self._folder)
            stamps = store.cohort.case_stamps()
            if stamps != self._stamps:
                self._cohort, self._stamps = describe_cohort(store), stamps
            data = {**self._cohort, **describe_reviews(store)}
        return render_quality_page(data, served=True, nonce=nonce)

    def case_file(self, case_id: str, name: str) -> bytes | None:
        """The content of one of the files that may be shown; ``None`` when there is none, or it is a link."""
        if name not in _SERVED_FILES or not _CASE_ID.fullmatch(case_id):
            return None
        folder = self._store.cases_folder / case_id
        try:
            if folder.is_symlink():
                return None
            descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                return file.read()
        except OSError:
            return None

    def review(self, entry: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Write one decision: status and answer. The same sent twice is written once; ``seen``, the time of the
        decision that the reader saw, must be that of the latest one."""
        words = {key: entry.get(key) or "" for key in ("case_id", "decision", "reviewer", "note")}
        if not all(isinstance(word, str) for word in words.values()):
            raise InputError("case_id, decision, reviewer and note are texts.")
        case_id, decision, reviewer, note = words.values()
        with self._lock:
            latest = read_latest_review(self._store, case_id) if _CASE_ID.fullmatch(case_id) else None
            same = latest and (latest["decision"], latest["note"]) == (decision, note)
            if latest and same and latest["reviewer"] == " ".join(reviewer.split()):
                return 200, latest
            if "seen" in entry and entry["seen"] != (latest or {}).get("reviewed_at"):
                who = latest["reviewer"] if latest else "nobody"
                return 409, {"detail": f"{who} decided meanwhile: look again.", "latest": latest}
            self._store.write_review(case_id, decision, reviewer, note)
            return 200, read_latest_review(self._store, case_id) or {}


class _Guard:
    """ASGI middleware: host names, the token, where a decision was sent from, its size, and headers on every reply."""

    def __init__(self, app: Any, serving: Serving) -> None:
        self._app, self._serving = app, serving
        self._hosts = {*_LOOPBACK, serving.host, *serving.hosts}
        # Cookies do not tell ports apart.
        self._cookie = f"myotome_cohort_{serving.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        refusal = self._refuse(scope, headers)
        send = _with_headers(send)
        if isinstance(refusal, Response):
            await refusal(scope, receive, send)
            return
        body = await _read_body(receive)
        if body is None:
            await _sentence(413, "that is more than a decision needs.")(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _refuse(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        host = headers.get("host", "")
        if _host_name(host) not in self._hosts:
            return _sentence(400, "this server does not go by that name: call it by the address it printed.")
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if scope["method"] == "GET" and given and self._admits(given):
            reply = RedirectResponse("/", status_code=303)
            reply.set_cookie(self._cookie, self._serving.token, httponly=True, samesite="strict")
            return reply
        if not self._admits(self._presented(headers)):
            return _sentence(401, "open the address that 'myotome cohort serve' printed: it holds the token.")
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD") and origin is not None and origin.partition("://")[2] != host:
            return _sentence(403, "a decision is taken from this server's own page only.")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > _LARGEST_BODY:
            return _sentence(413, "that is more than a decision needs.")
        return None

    def _admits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._serving.token.encode())

    def _presented(self, headers: dict[str, str]) -> str:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return bearer.strip()
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            cookie = None
        return cookie.value if cookie else ""


def _sentence(status: int, sentence: str) -> Response:
    return JSONResponse({"detail": sentence}, status_code=status)


def _host_name(host: str) -> str:
    """``[::1]:8000`` and ``name:8000`` without the port."""
    return host.rsplit("]", 1)[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body of a request; ``None`` when it is larger than allowed, whatever its header said."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += message.get("body", b"")
        if len(body) > _LARGEST_BODY:
            return None
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> dict[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send) -> Send:
    extra = [(key.encode(), value.encode()) for key, value in _HEADERS.items()]

    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return sending
