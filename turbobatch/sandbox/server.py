"""The sandbox over HTTP: the routes, and uvicorn in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl
from weakref import WeakSet

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from turbobatch.sandbox import rules
from turbobatch.sandbox.inbox.guard import Guard
from turbobatch.sandbox.inbox.routes import Inbox
from turbobatch.sandbox.management import Desk
from turbobatch.sandbox.vendor import Answer, SendRequest, Vendor
from turbobatch.sandbox.wire import CutOff, JsonResponse, close, spoiled

if TYPE_CHECKING:
    import socket

_T = TypeVar("_T")

_TURNS = 8  # of the event loop, in which a connection that was taken before the end becomes one that is known
_SOON = 0.002  # seconds between two looks at whether all connections have ended
_GRACE = 1.0  # seconds that a request in flight has to end when the sandbox stops
_PERCENT_ENCODED = 4  # a form's bytes take up to three each; one more for names and frames


class Routes:
    """The HTTP endpoints over one Vendor."""

    def __init__(self, vendor: Vendor, *, latency: float = 0.0) -> None:
        self.hanging: WeakSet[asyncio.Transport] = WeakSet()
        self.leaving = asyncio.Event()
        self._vendor = vendor
        self._latency = latency

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/api/mail/send", self._send_v1, methods=["POST"]),
            Route("/api/v2/mail/send", self._send_v2, methods=["POST"]),
            Route("/count", self._count),
            Route("/messages", self._list),
            Route("/messages", self._clear, methods=["DELETE"]),
            Route("/messages/{number:id}", self._message),
            Route("/messages/{number:id}/raw", self._raw),
            *Desk(self._vendor, self._pause).routes(),
            *Inbox(self._vendor, self.leaving).routes(),
        ]
        # A page in the user's browser may reach a loopback port under a name of its own (DNS rebinding).
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False)
        return Starlette(
            routes=routes, middleware=[hosts, Middleware(Guard)], exception_handlers={HTTPException: _http_error}
        )

    async def _send_v1(self, request: Request) -> Response:
        return await self._send("v1", request)

    async def _send_v2(self, request: Request) -> Response:
        return await self._send("v2", request)

    async def _send(self, api: str, request: Request) -> Response:
        self._vendor.requests += 1
        try:
            answer = await self._answer(api, request)
        except ClientDisconnect:
            return CutOff(close)
        if answer.fault is None:
            return JsonResponse(answer.body, answer.status)
        # Another host for a client, but one that keeps its credentials on this machine if it follows.
        location = str(request.url.replace(hostname="localhost", query=""))
        return spoiled(answer.fault, answer.body, location=location, hang=self.hanging.add)

    async def _answer(self, api: str, request: Request) -> Answer:
        is_whole = await _read_body(request, rules.SIZE_LIMITS[api] * _PERCENT_ENCODED)
        await self._pause()
        try:
            if not is_whole:
                rules.check_size(api, rules.SIZE_LIMITS[api] + 1)
            fields, size = await (_form(request) if api == "v1" else _json(request))
        except rules.Refused as refusal:
            return self._vendor.unreadable(api, *refusal.errors)
        return self._vendor.answer(SendRequest(api, request.headers, request.query_params, fields, size))

    async def _pause(self) -> None:
        if self._latency:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.leaving.wait(), self._latency)

    async def _count(self, _: Request) -> Response:
        return JsonResponse({"accepted": self._vendor.store.count(), "requests": self._vendor.requests})

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        search = {name: query.get(name, "") for name in ("to", "subject")}
        limit, offset = (_whole_number(query.get(name), name) for name in ("limit", "offset"))
        rows = self._vendor.store.summaries(**search, limit=limit, offset=offset or 0)
        return JsonResponse({"count": self._vendor.store.count(**search), "results": rows})

    async def _clear(self, _: Request) -> Response:
        self._vendor.clear()
        return JsonResponse({"message": "OK"})

    async def _message(self, request: Request) -> Response:
        return JsonResponse(_found(self._vendor.message(request.path_params["number"])))

    async def _raw(self, request: Request) -> Response:
        # As text and never sniffed: a message may hold HTML that must not run under this address.
        source = _found(self._vendor.raw(request.path_params["number"]))
        return PlainTextResponse(source, headers={"X-Content-Type-Options": "nosniff"})


class ServerThread:
    """uvicorn in a daemon thread, on a socket that is bound already. No signal handlers, no log configuration."""

    def __init__(self, routes: Routes, listener: socket.socket) -> None:
        self._server = _Server(routes)
        self._listener = listener
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="turbobatch-sandbox", daemon=True)

    def start(self) -> None:
        """Return once connections are taken."""
        self._thread.start()
        self._server.ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End every connection and return once the thread is gone. Requests in flight get a second to end."""
        self._server.leave()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._listener]))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits for the start
            self._failure = error
        finally:
            self._listener.close()
            self._server.ready.set()


class _Server(uvicorn.Server):
    """uvicorn that tells when it is ready, leaves at once when told to, and cuts off who stays."""

    def __init__(self, routes: Routes) -> None:
        # log_config=None: uvicorn would configure the whole process's logging else.
        options: dict[str, Any] = {"http": _Protocol, "ws": "none", "lifespan": "off", "log_config": None}
        super().__init__(uvicorn.Config(routes.app(), **options, server_header=False, timeout_keep_alive=60))
        self.ready = threading.Event()
        self._routes = routes
        self._loop: asyncio.AbstractEventLoop | None = None

    def leave(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has left already
                self._loop.call_soon_threadsafe(self._routes.leaving.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        while not self._routes.leaving.is_set():
            await self.on_tick(0)  # keeps the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._routes.leaving.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # In uvicorn's order, but without its pauses: whoever starts hundreds of sandboxes stops them as often.
        for listening in [*self.servers, *(sockets or ())]:
            listening.close()
        for transport in list(self._routes.hanging):
            transport.abort()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle(), _GRACE)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self._idle()
        for server in self.servers:
            await server.wait_closed()

    async def _idle(self) -> None:
        while self.server_state.connections or self.server_state.tasks:
            for connection in list(self.server_state.connections):
                connection.shutdown()  # once it has answered
            await asyncio.sleep(_SOON)


class _Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, which shows each request its transport, so that a fault can cut it off."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = logging.getLogger("turbobatch.sandbox")
        self.access_log = False
        # The app itself: at level TRACE uvicorn wraps it in one that logs each request's query, where v1's credentials
        # may travel.
        self.app = self.config.app

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP alone is listened on
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


async def _read_body(request: Request, limit: int) -> bool:
    """Read the body to its end, or only past the limit: then the rest is dropped, so that the answer gets through."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
    request._body = b"".join(chunks)  # noqa: SLF001 - where Starlette itself keeps what was read
    return size <= limit


async def _json(request: Request) -> tuple[dict[str, Any], int]:
    body = await request.body()
    try:
        fields = rules.load_json(body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise rules.Refused("the body is not a valid JSON object")
    return fields, len(body)


async def _form(request: Request) -> tuple[dict[str, Any], int]:
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        fields = await _multipart(request)
    else:
        fields = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
    size = sum(len(value.encode()) for name, value in fields.items() if name not in rules.CREDENTIAL_NAMES)
    return fields, size


async def _multipart(request: Request) -> dict[str, str]:
    async with request.form(max_part_size=rules.SIZE_LIMITS["v1"] * 2) as form:
        return {
            name: value if isinstance(value, str) else (await value.read()).decode("utf-8", "replace")
            for name, value in form.multi_items()
        }


def _whole_number(text: str | None, name: str) -> int | None:
    if text is None or (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 - SQLite's 64 bits
        return None if text is None else int(text)
    raise HTTPException(400, f"{name} is not a whole number")


def _found(value: _T | None) -> _T:
    if value is None:
        raise HTTPException(404, "no message of that id")
    return value


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    return JsonResponse({"message": "error", "errors": [error.detail]}, error.status_code, dict(error.headers or {}))
