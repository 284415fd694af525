"""The portable transport on real sockets: each POST goes out once, and what came of it is told truly."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import sys
import threading
from typing import TYPE_CHECKING, Protocol, Self

import pytest
import trustme

from turbobatch.errors import CampaignError
from turbobatch.sendapi import Failure, Request, Response, VerdictKind, judge
from turbobatch.transport import Job
from turbobatch.transport import requests as module
from turbobatch.transport.requests import RequestsTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from turbobatch.transport import Completion

SECRET = "hunter2-the-password"
PATIENCE = 20.0  # seconds until a test gives up


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
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
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


class Open(Protocol):
    """Opens a transport that ends with the test."""

    def __call__(
        self, *, concurrency: int = 1, timeout: float = PATIENCE, verify: bool | str = True
    ) -> RequestsTransport: ...


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


@pytest.fixture
def open_transport() -> Iterator[Open]:
    opened: list[RequestsTransport] = []

    def make(*, concurrency: int = 1, timeout: float = PATIENCE, verify: bool | str = True) -> RequestsTransport:
        opened.append(RequestsTransport(concurrency=concurrency, timeout=timeout, verify=verify))
        return opened[-1]

    yield make
    for transport in opened:
        threads = list(transport._threads)
        transport.close()
        for thread in threads:
            thread.join(PATIENCE)


def tls_for(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def request(url: str, body: bytes = b"a=b") -> Request:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "authuser": "ana", "authpass": SECRET}
    return Request(url + "/mail/send", headers, body)


def collect(transport: RequestsTransport, count: int) -> dict[int, Completion]:
    found: dict[int, Completion] = {}
    while len(found) < count:
        completions = transport.poll(PATIENCE)
        assert completions, "a POST never ended"
        found |= {completion.number: completion for completion in completions}
    return found


def post(transport: RequestsTransport, url: str, body: bytes = b"a=b") -> Response | Failure:
    transport.submit([Job(1, request(url, body))])
    return collect(transport, 1)[1].result


def answer_all(peer: Peer) -> None:
    while peer.read_request() is not None:
        peer.answer()


def echo_all(peer: Peer) -> None:
    """Answer each request with its own body."""
    while (got := peer.read_request()) is not None:
        peer.answer(got.partition(b"\r\n\r\n")[2])


class TestAnswers:
    def test_an_answer_comes_back_whole_with_lower_case_header_names(self, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.answer(b'{"message":"error"}', "429 Too Many", "Retry-After: 7")

        result = post(open_transport(), serve(script).url)
        assert isinstance(result, Response)
        assert (result.status, result.headers["retry-after"], result.body) == (429, "7", b'{"message":"error"}')

    def test_the_request_travels_as_it_was_given(self, serve: Serve, open_transport: Open) -> None:
        server = serve(answer_all)
        url = f"{server.url}/mail/send?authuser=a%40b.example&authpass=x+y"
        transport = open_transport()
        transport.submit([Job(1, Request(url, {"Content-Type": "text/x", "consumerKey": "k"}, b"\x00body\xff"))])
        collect(transport, 1)
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == "POST /mail/send?authuser=a%40b.example&authpass=x+y HTTP/1.1"
        assert {"Content-Type: text/x", "consumerKey: k", "Content-Length: 6"} <= set(lines)
        assert body == b"\x00body\xff"

    def test_a_gzipped_and_a_chunked_answer_are_decoded(self, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.answer(gzip.compress(b'{"message":"OK"}'), "200 OK", "Content-Encoding: gzip")
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            peer.send(b'8\r\n{"messag\r\n8\r\ne":"OK"}\r\n0\r\n\r\n')

        server, transport = serve(script), open_transport()
        for _ in range(2):
            assert judge(post(transport, server.url)).kind is VerdictKind.SENT
        assert server.connections == 1

    def test_good_tls_with_a_given_authority(
        self, serve: Serve, ca: tuple[trustme.CA, str], open_transport: Open
    ) -> None:
        authority, path = ca
        server = serve(answer_all, tls_for(authority))
        transport = open_transport(verify=path)
        for body in (b"1", b"x" * 100_000):
            assert judge(post(transport, server.url, body)).kind is VerdictKind.SENT
        assert (server.connections, len(server.requests)) == (1, 2)


class TestBeforeTheFirstByte:
    """Nothing was sent, and the failure says so."""

    def test_refused(self, open_transport: Open) -> None:
        with socket.socket() as held:  # bound, so that nobody else listens there
            held.bind(("127.0.0.1", 0))
            result = post(open_transport(), f"http://127.0.0.1:{held.getsockname()[1]}")
        assert result == Failure("no connection (refused)", started=False)

    def test_a_name_that_is_not_known(self, open_transport: Open) -> None:
        result = post(open_transport(), "http://nonexistent.invalid")
        assert result == Failure("no connection (the host's name is not known)", started=False)

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse when the backlog is full")
    def test_a_host_that_does_not_take_connections(self, open_transport: Open) -> None:
        waiting = []
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            for _ in range(3):  # fill the queue: the next connection gets no answer
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(listener.getsockname())
            result = post(open_transport(timeout=0.3), f"http://127.0.0.1:{listener.getsockname()[1]}")
        for sock in waiting:
            sock.close()
        assert result == Failure("no connection (timeout)", started=False)

    def test_a_tls_handshake_that_hangs(self, serve: Serve, open_transport: Open) -> None:
        server = serve(lambda peer: peer.hang())
        result = post(open_transport(timeout=0.3), server.url.replace("http:", "https:"))
        assert result == Failure("no connection (timeout)", started=False)

    def test_a_tls_handshake_that_is_cut_off(self, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            peer.sock.recv(10)
            peer.reset()

        result = post(open_transport(), serve(script).url.replace("http:", "https:"))
        assert isinstance(result, Failure)
        assert (result.started, result.certificate) == (False, False)

    def test_a_server_that_speaks_no_tls(self, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            peer.sock.recv(65536)
            peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        result = post(open_transport(), serve(script).url.replace("http:", "https:"))
        assert isinstance(result, Failure)
        assert (result.started, result.certificate) == (False, False)

    def test_a_certificate_of_an_unknown_authority(
        self, serve: Serve, ca: tuple[trustme.CA, str], open_transport: Open
    ) -> None:
        server = serve(answer_all, tls_for(ca[0]))
        result = post(open_transport(), server.url)
        assert result == Failure("the host's certificate is not valid", started=False, certificate=True)
        assert server.requests == []

    def test_a_certificate_of_another_host(
        self, serve: Serve, ca: tuple[trustme.CA, str], open_transport: Open
    ) -> None:
        authority, path = ca
        server = serve(answer_all, tls_for(authority, "other.example"))
        result = post(open_transport(verify=path), server.url)
        assert result == Failure("the host's certificate is not valid", started=False, certificate=True)
        assert server.requests == []

    @pytest.mark.parametrize("url", ["http://exa mple.example", "http://[::1", "nonsense://127.0.0.1", "http://"])
    def test_a_url_that_is_none_ends_in_a_failure_and_the_thread_lives_on(
        self, url: str, serve: Serve, open_transport: Open
    ) -> None:
        transport = open_transport()
        result = post(transport, url)
        assert isinstance(result, Failure)
        assert not result.started
        assert judge(post(transport, serve(answer_all).url)).kind is VerdictKind.SENT

    def test_a_missing_file_of_authorities_is_told_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(CampaignError, match="no such file"):
            RequestsTransport(concurrency=1, timeout=1, verify=str(tmp_path / "ca.pem"))


OK_HEAD = b"HTTP/1.1 200 OK\r\n"


class TestInDoubt:
    """Once a byte went out, only a readable answer settles anything, and the POST is never made again."""

    @pytest.mark.parametrize(
        "sent",
        [
            pytest.param(b"", id="no answer"),
            pytest.param(b"HTTP/1.", id="half a version"),
            pytest.param(b"HTTP/1.1 20", id="half a status"),
            pytest.param(b"HTTP/1.1 200", id="a status without a line end"),
            pytest.param(OK_HEAD + b"Content-Type: applica", id="half a header"),
            pytest.param(OK_HEAD + b"Content-Length: 16\r\n", id="headers without an end"),
            pytest.param(OK_HEAD + b'Content-Length: 99\r\n\r\n{"message":"OK"}', id="half a body"),
            pytest.param(OK_HEAD + b'\r\n{"message":"O', id="half a body of unknown length"),
            pytest.param(OK_HEAD + b'Transfer-Encoding: chunked\r\n\r\n10\r\n{"message":"OK"}\r\n', id="no last chunk"),
            pytest.param(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", id="a chunk without a length"),
            pytest.param(OK_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip", id="bad gzip"),
            pytest.param(
                OK_HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b'{"message":"OK"}')[:20], id="half a gzip"
            ),
            pytest.param(OK_HEAD + b'Content-Length: 16, 17\r\n\r\n{"message":"OK"}', id="two lengths"),
            pytest.param(b"\x00\xff\xfe" * 100, id="no HTTP"),
            pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="only a continue"),
            pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, id="a header line without end"),
            pytest.param(OK_HEAD + b"X: 1\r\n" * 200 + b"\r\n", id="too many headers"),
        ],
    )
    def test_an_answer_that_is_none(self, sent: bytes, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(sent)

        server = serve(script)
        assert judge(post(open_transport(), server.url)).kind is VerdictKind.IN_DOUBT
        assert len(server.requests) == 1

    def test_reset_before_the_request_was_read(self, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            peer.sock.recv(1)
            peer.reset()

        server = serve(script)
        result = post(open_transport(), server.url, b"x" * 1_000_000)
        assert result == Failure("no readable answer came (reset)", started=True)
        assert server.connections == 1

    def test_reset_after_the_request_was_read(self, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.reset()

        server = serve(script)
        assert post(open_transport(), server.url) == Failure("no readable answer came (reset)", started=True)
        assert (server.connections, len(server.requests)) == (1, 1)

    def test_reset_within_tls(self, serve: Serve, ca: tuple[trustme.CA, str], open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.reset()

        server = serve(script, tls_for(ca[0]))
        result = post(open_transport(verify=ca[1]), server.url)
        assert isinstance(result, Failure)
        assert (result.started, len(server.requests)) == (True, 1)

    def test_a_server_that_never_answers(self, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.hang()

        server = serve(script)
        result = post(open_transport(timeout=0.3), server.url)
        assert result == Failure("no readable answer came (timeout)", started=True)
        assert len(server.requests) == 1

    def test_a_server_that_never_reads(self, serve: Serve, open_transport: Open) -> None:
        server = serve(lambda peer: peer.hang())
        result = post(open_transport(timeout=0.5), server.url, b"x" * 20_000_000)
        assert result == Failure("no readable answer came (timeout)", started=True)

    @pytest.mark.parametrize(
        ("head", "drop"),
        [
            pytest.param(b"", b"H", id="status line"),
            pytest.param(OK_HEAD, b"X: 1\r\n", id="headers"),
            pytest.param(OK_HEAD + b"Content-Length: 1000000\r\n\r\n", b" ", id="body"),
            pytest.param(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", id="chunks"),
        ],
    )
    def test_an_answer_that_drips_ends_at_the_deadline(
        self,
        head: bytes,
        drop: bytes,
        any_tls: tuple[ssl.SSLContext | None, str],
        serve: Serve,
        open_transport: Open,
    ) -> None:
        """Each drop comes well within the timeout; all of them together don't."""

        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(head)
            while not peer.server.stopping.wait(0.1):
                peer.send(drop)

        server = serve(script, any_tls[0])
        result = post(open_transport(timeout=1.0, verify=any_tls[1]), server.url)
        assert result == Failure("no readable answer came (timeout)", started=True)

    @pytest.mark.parametrize("encoding", ["identity", "gzip"])
    def test_an_answer_without_measure(self, encoding: str, serve: Serve, open_transport: Open) -> None:
        body = b" " * 50_000_000 if encoding == "gzip" else b" " * (module.ANSWER_LIMIT + 1)

        def script(peer: Peer) -> None:
            peer.read_request()
            peer.answer(
                gzip.compress(body, 1) if encoding == "gzip" else body, "200 OK", f"Content-Encoding: {encoding}"
            )

        result = post(open_transport(), serve(script).url)
        assert result == Failure("no readable answer came (the answer is too long)", started=True)


class TestReusedConnections:
    def test_many_posts_share_one_connection(self, serve: Serve, open_transport: Open) -> None:
        server, transport = serve(echo_all), open_transport()
        transport.submit([Job(n, request(server.url, b"%d" % n)) for n in range(20)])
        found = collect(transport, 20)
        assert {n: bytes(c.result.body) for n, c in found.items() if isinstance(c.result, Response)} == {
            n: b"%d" % n for n in range(20)
        }
        assert (server.connections, len(server.requests)) == (1, 20)

    def test_one_that_the_server_closed_while_idle_is_no_loss(self, serve: Serve, open_transport: Open) -> None:
        """The second POST arrives at most once: over a new connection, or it is in doubt."""

        def script(peer: Peer) -> None:
            peer.read_request()
            peer.answer()

        server, transport = serve(script), open_transport()
        assert judge(post(transport, server.url, b"first")).kind is VerdictKind.SENT
        second = judge(post(transport, server.url, b"second")).kind
        arrived = sum(got.endswith(b"second") for got in server.requests)
        assert (second, arrived) in {(VerdictKind.SENT, 1), (VerdictKind.IN_DOUBT, 0)}

    @pytest.mark.parametrize("end", ["close", "reset"])
    def test_one_that_dies_before_the_answer_leaves_a_doubt_and_no_second_post(
        self, end: str, serve: Serve, open_transport: Open
    ) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.answer()
            peer.read_request()
            if end == "reset":
                peer.reset()

        server, transport = serve(script), open_transport()
        assert judge(post(transport, server.url, b"first")).kind is VerdictKind.SENT
        assert judge(post(transport, server.url, b"second")).kind is VerdictKind.IN_DOUBT
        assert (server.connections, len(server.requests)) == (1, 2)

    @pytest.mark.parametrize("size", [16, 100_000])
    def test_bytes_after_an_answer_are_never_taken_for_the_next_one(
        self, size: int, serve: Serve, open_transport: Open
    ) -> None:
        stray = b"stray".ljust(size)

        def script(peer: Peer) -> None:
            while (got := peer.read_request()) is not None:
                body = got.partition(b"\r\n\r\n")[2]
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
                peer.send(head % len(body) + body + head % len(stray) + stray)

        server, transport = serve(script), open_transport()
        for body in (b"first", b"second", b"third"):
            result = post(transport, server.url, body)
            assert isinstance(result, Failure) or result.body == body
        assert len(server.requests) <= 3

    def test_an_upload_may_take_longer_than_a_connection(
        self, serve: Serve, open_transport: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def script(peer: Peer) -> None:
            peer.server.stopping.wait(0.6)  # longer than the time to connect, far shorter than that of the POST
            answer_all(peer)

        monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.2)
        server = serve(script)
        assert judge(post(open_transport(), server.url, b"x" * 20_000_000)).kind is VerdictKind.SENT


class TestStrangers:
    """Nobody but the host that was named gets to see a request."""

    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
    def test_a_redirect_is_never_followed(self, status: str, serve: Serve, open_transport: Open) -> None:
        other = serve(answer_all)

        def script(peer: Peer) -> None:
            while peer.read_request() is not None:
                peer.answer(b"", status, f"Location: {other.url}/mail/send?authpass={SECRET}")

        server = serve(script)
        result = post(open_transport(), server.url)
        assert isinstance(result, Response)
        assert result.status == int(status[:3])
        assert SECRET not in judge(result).message
        assert (other.connections, len(server.requests)) == (0, 1)

    def test_retry_after_makes_no_second_post(self, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            while peer.read_request() is not None:
                peer.answer(b"", "503 Busy", "Retry-After: 0")

        server = serve(script)
        assert judge(post(open_transport(), server.url)).kind is VerdictKind.IN_DOUBT
        assert len(server.requests) == 1

    def test_proxies_and_netrc_of_the_environment_are_ignored(
        self,
        any_tls: tuple[ssl.SSLContext | None, str],
        serve: Serve,
        open_transport: Open,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        proxy = serve(answer_all)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login ana password from-netrc\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))

        server = serve(answer_all, any_tls[0])
        assert judge(post(open_transport(verify=any_tls[1]), server.url)).kind is VerdictKind.SENT
        assert proxy.connections == 0
        assert b"authorization" not in server.requests[0].lower()

    def test_cookies_are_not_kept(self, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            while peer.read_request() is not None:
                peer.answer(b"{}", "200 OK", "Set-Cookie: id=1; Path=/")

        server, transport = serve(script), open_transport()
        post(transport, server.url)
        post(transport, server.url)
        assert b"cookie" not in b"".join(server.requests).lower()

    def test_no_log_has_the_credentials(
        self,
        serve: Serve,
        open_transport: Open,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """urllib3 logs each URL, and warns with it of headers that it can't read."""

        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\n bad: header\r\nno colon\r\nContent-Length: 2\r\n\r\n{}")

        caplog.set_level("DEBUG")
        server, transport = serve(script), open_transport()
        url = f"{server.url}/mail/send?authuser=ana&authpass={SECRET}"
        transport.submit([Job(1, Request(url, {}, b"x"))])
        collect(transport, 1)
        assert "/mail/send" in caplog.text
        assert SECRET not in caplog.text
        assert SECRET.encode() in server.requests[0]


class TestManyAtATime:
    def test_as_many_are_in_flight_as_was_asked_for(self, serve: Serve, open_transport: Open) -> None:
        """The server answers none of the sixteen before it has all of them."""
        meeting = threading.Barrier(16, timeout=PATIENCE)

        def script(peer: Peer) -> None:
            while peer.read_request() is not None:
                meeting.wait()
                peer.answer()

        server, transport = serve(script), open_transport(concurrency=16)
        transport.submit([Job(n, request(server.url)) for n in range(16)])
        found = collect(transport, 16)
        assert {judge(completion.result).kind for completion in found.values()} == {VerdictKind.SENT}

    def test_no_more_are_in_flight_than_was_asked_for_and_each_arrives_once(
        self, serve: Serve, open_transport: Open
    ) -> None:
        server, transport = serve(echo_all), open_transport(concurrency=4)
        for first in range(0, 60, 20):
            transport.submit([Job(n, request(server.url, b"%d" % n)) for n in range(first, first + 20)])
        found = collect(transport, 60)
        bodies = sorted(int(got.partition(b"\r\n\r\n")[2]) for got in server.requests)
        assert bodies == list(range(60))
        assert server.connections <= 4
        assert all(completion.seconds >= 0 for completion in found.values())

    def test_one_failure_does_not_touch_the_others(self, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            while (got := peer.read_request()) is not None:
                if int(got.partition(b"\r\n\r\n")[2]) % 3 == 0:
                    peer.reset()
                peer.answer()

        server, transport = serve(script), open_transport(concurrency=5)
        transport.submit([Job(n, request(server.url, b"%d" % n)) for n in range(30)])
        found = collect(transport, 30)
        kinds = {n: judge(completion.result).kind for n, completion in found.items()}
        assert kinds == {n: VerdictKind.SENT if n % 3 else VerdictKind.IN_DOUBT for n in range(30)}
        assert len(server.requests) == 30

    def test_threads_that_cannot_be_had_leave_the_work_to_the_others(
        self, serve: Serve, open_transport: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A system at its limit of threads slows a run down; without any, nothing is sent and that is said."""
        server, started, allowed = serve(answer_all), [], [1]
        start = threading.Thread.start

        def refuse_second(thread: threading.Thread) -> None:
            if thread.name.startswith("turbobatch-post"):
                started.append(thread)
                if len(started) not in allowed:
                    raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse_second)
        for kind in (VerdictKind.SENT, VerdictKind.NOT_SENT):
            transport = open_transport(concurrency=4)
            transport.submit([Job(n, request(server.url, b"%d" % n)) for n in range(4)])
            found = collect(transport, 4)
            assert {judge(completion.result).kind for completion in found.values()} == {kind}
            assert len(server.requests) == 4
            allowed.clear()

    def test_an_idle_connection_is_not_used_again(
        self, serve: Serve, open_transport: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A balancer may have forgotten it without a word, and a POST into it would end in doubt."""
        monkeypatch.setattr(module, "IDLE_LIMIT", -1.0)
        server, transport = serve(answer_all), open_transport()
        for _ in range(3):
            assert judge(post(transport, server.url)).kind is VerdictKind.SENT
        assert server.connections == 3


class TestLife:
    def test_poll_does_not_wait_when_told_not_to(self, open_transport: Open) -> None:
        transport = open_transport()
        assert transport.poll(0) == []
        assert transport.poll(-1) == []

    def test_close_ends_the_threads(self, serve: Serve) -> None:
        server = serve(answer_all)
        with RequestsTransport(concurrency=3, timeout=PATIENCE) as transport:
            transport.submit([Job(n, request(server.url)) for n in range(9)])
            collect(transport, 9)
            threads = list(transport._threads)
            assert len(threads) == 3
        for thread in threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads)

    def test_close_drops_what_has_not_begun(self, serve: Serve) -> None:
        arrived, go_on = threading.Event(), threading.Event()

        def script(peer: Peer) -> None:
            while peer.read_request() is not None:
                arrived.set()
                go_on.wait(PATIENCE)
                peer.answer()

        server = serve(script)
        transport = RequestsTransport(concurrency=1, timeout=PATIENCE)
        transport.submit([Job(n, request(server.url)) for n in range(5)])
        assert arrived.wait(PATIENCE)
        (thread,) = transport._threads
        transport.close()
        go_on.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert len(server.requests) == 1
