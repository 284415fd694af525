"""What a client of a faulty server sees: answers, and ends of connections that are no answer."""

from __future__ import annotations

import json
import socket
import struct
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from turbobatch.sandbox.faults import FaultKind

if TYPE_CHECKING:
    from asyncio import Transport
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from turbobatch.sandbox.faults import Fault

_BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_GARBAGE = b"\x00\xff\xfe{]}not json"


class _IdConvertor(IntegerConvertor):
    """A whole number that SQLite can hold; what is longer is nobody's id."""

    regex = "[0-9]{1,18}"


register_url_convertor("id", _IdConvertor())


class JsonResponse(Response):
    """JSON in ASCII, so that any text an email can hold travels."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write the JSON."""
        return json.dumps(content, separators=(",", ":")).encode("ascii")


class CutOff(Response):
    """No answer: `end` does something to the connection, then the request waits until the client is gone."""

    def __init__(self, end: Callable[[Transport], object]) -> None:
        super().__init__()
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002, D102 - ASGI's
        self._end(scope["state"]["transport"])
        while (await receive())["type"] != "http.disconnect":
            pass


def spoiled(fault: Fault, body: dict[str, Any], *, location: str, hang: Callable[[Transport], object]) -> Response:
    """Play a fault on the answer with this body.

    Args:
        fault: any but `reject`, which is an answer of the API's own.
        body: the answer's JSON.
        location: where a redirect points, if the fault doesn't say.
        hang: called with a connection that is left waiting.
    """
    ends: dict[FaultKind, Callable[[Transport], object]] = {
        FaultKind.RESET_BEFORE: _reset,
        FaultKind.RESET_AFTER: _reset,
        FaultKind.CLOSE_AFTER: close,
        FaultKind.TRUNCATED: lambda transport: _truncate(transport, JsonResponse(body)),
        FaultKind.HANG: hang,
    }
    if fault.kind in ends:
        return CutOff(ends[fault.kind])
    if fault.kind is FaultKind.REDIRECT:
        return Response(status_code=307, headers={"Location": fault.url or location})
    if fault.kind is FaultKind.GARBAGE:
        return Response(_GARBAGE, media_type="application/json")
    return _failure(fault.kind)


def close(transport: Transport) -> None:
    """End a connection in peace: the client sees FIN."""
    transport.close()


def _failure(kind: FaultKind) -> Response:
    match kind:
        case FaultKind.TOO_MANY:
            return _too_many("1")
        case FaultKind.TOO_MANY_DATE:
            return _too_many(formatdate(time.time() + 2, usegmt=True))  # whole seconds: one to two from now
        case FaultKind.UNAVAILABLE:
            return PlainTextResponse("Service Unavailable", 503, headers={"Retry-After": "1"})
        case FaultKind.BAD_GATEWAY:
            return HTMLResponse(_BAD_GATEWAY, 502)
        case _:
            return PlainTextResponse("Internal Server Error", 500)


def _too_many(retry_after: str) -> Response:
    body = {"message": "error", "errors": ["too many requests"]}
    return JsonResponse(body, 429, headers={"Retry-After": retry_after})


def _reset(transport: Transport) -> None:
    if transport.is_closing():
        return  # the client has left already, and its socket with it
    # Lingering for zero seconds makes the kernel send RST, not FIN.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _truncate(transport: Transport, response: Response) -> None:
    # Written past the HTTP library, which would not let a body fall short of its length.
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(response.body)}\r\n\r\n"
    transport.write(head.encode() + response.body[: len(response.body) // 2])
    transport.close()
