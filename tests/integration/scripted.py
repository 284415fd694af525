"""A server that plays a script on each connection, and what a transport's tests have to say to it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from typing import TYPE_CHECKING, Protocol, Self

import pytest
import trustme

from turbobatch.sendapi import Failure, Request, Response
from turbobatch.transport import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from turbobatch.transport import Completion, Transport

SECRET = "hunter2-the-password"
PATIENCE = 20.0  # seconds until a test gives up
OK_HEAD = b"HTTP/1.1 200 OK\r\n"


class Peer:
    """The server's end of one connection."""

    def __init__(self, server: ScriptedServer, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock

    def read_request(self) -> bytes | None:
        """Read one whole request and record it; None when the client has left."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (piece := self.sock.recv(65536)):
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        named = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        length = int(named[0].partition(b":")[2]) if named else 0  # a GET has none
        while len(body) < length:
            if not (piece := self.sock.recv(65536)):
                return None
            body += piece
        request = head + b"\r\n\r\n" + body
        self.server.requests.append(request)
        return request

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, body: bytes = b'{"message":"OK"}', status: str = "200 OK", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def reset(self) -> None:
        """End the connection with RST."""
        # Lingering for zero seconds makes the kernel send RST, not FIN.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def hang(self) -> None:
        """Do nothing until the server stops."""
        self.server.stopping.wait()


class ScriptedServer:
    """Listens on 127.0.0.1 and runs the script for each connection, in a thread of its own.

    Args:
        script: plays one connection, which is closed after it.
        tls: with it, the handshake is made before the script begins.
    """

    def __init__(self, script: Callable[[Peer], None], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._threads = [threading.Thread(target=self._accept)]
        self._socks: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for sock in (self._listener, *self._socks):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was shut down
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._socks.append(sock)
                thread = threading.Thread(target=self._play, args=[sock])
                self._threads.append(thread)
                thread.start()

    def _play(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):  # the client left, or the handshake failed: that is its business
            if self._tls is None:
                self._script(Peer(self, sock))
                return
            with self._tls.wrap_socket(sock, server_side=True) as wrapped:
                self._socks.append(wrapped)
                self._script(Peer(self, wrapped))


class Serve(Protocol):
    """Starts a server that lives as long as the test."""

    def __call__(self, script: Callable[[Peer], None], tls: ssl.SSLContext | None = None) -> ScriptedServer: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def start(script: Callable[[Peer], None], tls: ssl.SSLContext | None = None) -> ScriptedServer:
            return stack.enter_context(ScriptedServer(script, tls))

        yield start


@pytest.fixture
def ca(tmp_path: Path) -> tuple[trustme.CA, str]:
    """A certificate authority and the file that makes a client trust it."""
    authority = trustme.CA()
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return authority, str(path)


@pytest.fixture(params=[False, True], ids=["http", "https"])
def any_tls(request: pytest.FixtureRequest, ca: tuple[trustme.CA, str]) -> tuple[ssl.SSLContext | None, str]:
    """What a server needs and whom its client must trust, for a test that runs both without TLS and with it."""
    return tls_for(ca[0]) if request.param else None, ca[1]


def tls_for(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def request(url: str, body: bytes = b"a=b") -> Request:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "authuser": "ana", "authpass": SECRET}
    return Request(url + "/mail/send", headers, body)


def collect(transport: Transport, count: int) -> dict[int, Completion]:
    found: dict[int, Completion] = {}
    while len(found) < count:
        completions = transport.poll(PATIENCE)
        assert completions, "a POST never ended"
        found |= {completion.number: completion for completion in completions}
    return found


def post(transport: Transport, url: str, body: bytes = b"a=b") -> Response | Failure:
    transport.submit([Job(1, request(url, body))])
    return collect(transport, 1)[1].result


def answer_all(peer: Peer) -> None:
    while peer.read_request() is not None:
        peer.answer()


def echo_all(peer: Peer) -> None:
    """Answer each request with its own body."""
    while (got := peer.read_request()) is not None:
        peer.answer(got.partition(b"\r\n\r\n")[2])
