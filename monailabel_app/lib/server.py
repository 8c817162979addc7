"""The web application: MONAI Label's routes as its clients know them, over one `MyotomeApp`."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import MONAILabelException

from lib.datastores import UnknownImage
from lib.dicomweb import PacsUnreachable
from lib.ohif import BundledOhif
from lib.proxy import Forbidden, new_client
from lib.routes import annotating, drafting, training, viewing
from lib.security import Access, Guard
from lib.worker import WorkerBusy
from myotome import __version__
from myotome.errors import BundleError, InputError, MyotomeError, OutputError

__all__ = ["Serving", "create_server"]

_LOG = logging.getLogger("myotome.server")
# The first that fits decides.
_STATUS = (
    (UnknownImage, 404),
    (Forbidden, 403),
    (InputError, 400),
    (WorkerBusy, 503),
    (PacsUnreachable, 502),
    (OutputError, 507),
    (BundleError, 500),
    (MyotomeError, 500),
)


@dataclass(frozen=True)
class Serving:
    """How the server may be reached: token, host names, and the size of the largest request."""

    token: str
    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "::1"})
    largest_mb: int = 1024


def create_server(label_app: Any, serving: Serving) -> Any:
    """The ASGI application of one `MyotomeApp`; its background work begins and ends with it."""

    @asynccontextmanager
    async def lifespan(server: FastAPI) -> AsyncIterator[None]:
        server.state.pacs_client = new_client(getattr(label_app.datastore(), "credentials", None))
        label_app.server_mode(True)
        label_app.on_init_complete()
        yield
        await server.state.pacs_client.aclose()
        label_app.close()

    server = FastAPI(
        title="Myotome",
        version=__version__,
        description="MONAI Label's interface to Myotome's bundles.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    server.state.label_app = label_app
    server.state.access = Access(serving.token)
    server.state.ohif = BundledOhif()
    for part in (viewing, drafting, annotating, training):
        server.include_router(part.router)
    for kind, status in _STATUS:
        server.add_exception_handler(kind, _answer(status))
    server.add_exception_handler(MONAILabelException, _answer_exception)
    server.add_exception_handler(Exception, _answer_unexpected)
    server.middleware("http")(_log_request)
    return Guard(server, server.state.access, serving.hosts, serving.largest_mb)


def _answer(status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, status_code=status)

    return answer


def _answer_exception(request: Request, error: MONAILabelException) -> Response:
    return JSONResponse({"detail": error.msg}, status_code=400)


def _answer_unexpected(request: Request, error: Exception) -> Response:
    _LOG.error("%s failed (%s)", _route(request), type(error).__name__, exc_info=error)
    return JSONResponse({"detail": "the server failed at this; its log says how."}, status_code=500)


async def _log_request(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """One line per request, with the route and never the ids in it, which may name a patient."""
    begun = time.perf_counter()
    response = await call_next(request)
    _LOG.info(
        "%s %s %d %.0f ms", request.method, _route(request), response.status_code, 1e3 * (time.perf_counter() - begun)
    )
    return response


def _route(request: Request) -> str:
    route = request.scope.get("route")
    return getattr(route, "path", "no such route")
