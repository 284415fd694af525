"""A server that says OK to every POST, as bare as asyncio allows, so that what is measured is the sender.

    python -m benchmarks.responder [--port 0] [--latency MS]

It prints its port. `GET /count` tells how many POSTs came, `GET /arrivals` when each did (seconds on a clock that
doesn't go back), `POST /reset?latency=MS` forgets them and sets the latency. Every other POST is answered as the API
answers: with a message id where the path has `/v2/`. Requests come with a Content-Length, one at a time on each
connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_FIRST_MID = 1_688_566_310_828_572_700  # ids have 64 bits
_BACKLOG = 2048  # connections that wait to be accepted


@dataclass(slots=True)
class Server:
    """What all connections share: the latency in seconds, and when each POST was complete."""

    latency: float
    arrivals: list[float] = field(default_factory=list)

    def answer(self, line: bytes) -> tuple[bytes, float]:
        """Answer the request with this first line: the bytes, and seconds to wait before them."""
        method, _, rest = line.partition(b" ")
        path = rest.partition(b" ")[0]
        if method == b"GET":
            told = len(self.arrivals) if path == b"/count" else self.arrivals
            return _response(json.dumps(told).encode()), 0.0
        if path.startswith(b"/reset"):
            self.arrivals.clear()
            self.latency = float(path.partition(b"=")[2]) / 1000
            return _response(b"{}"), 0.0
        self.arrivals.append(time.monotonic())
        if b"/v2/" in path:
            return _response(b'{"message":"OK","mid":%d}' % (_FIRST_MID + len(self.arrivals))), self.latency
        return _response(b'{"message":"OK"}'), self.latency


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own signature
        """Answer no more."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Read on; answer once the request is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < whole:
                return
            line, self._buffer = self._buffer[: self._buffer.index(b"\r\n")], self._buffer[whole:]
            response, seconds = self._server.answer(line)
            if seconds:
                asyncio.get_running_loop().call_later(seconds, self._write, response)
            else:
                self._write(response)

    def _write(self, response: bytes) -> None:
        if self._transport is not None:
            self._transport.write(response)


def _response(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body


async def serve(port: int, latency: float) -> None:
    """Listen on the loopback until the process is ended; `latency` in seconds."""
    server = Server(latency)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", port, backlog=_BACKLOG)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


def main() -> None:
    """Parse and serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds")
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.latency / 1000))


if __name__ == "__main__":
    main()
