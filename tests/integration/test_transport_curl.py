"""What only libcurl could do behind our back: post again, use a proxy, share connections, swallow a Ctrl-C."""

from __future__ import annotations

import contextlib
import gzip
import os
import resource
import signal
import ssl
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pycurl
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError

sys.path.insert(0, str(Path(__file__).parent))  # the module beside this file is part of no package

from tests.integration import scripted
from tests.integration.scripted import (
    PATIENCE,
    SECRET,
    Peer,
    Serve,
    answer_all,
    collect,
    echo_all,
    post,
    request,
    tls_for,
)
from turbobatch.sendapi import Failure, Request, Response, VerdictKind, judge
from turbobatch.transport import ANSWER_LIMIT, Job
from turbobatch.transport import curl as module
from turbobatch.transport.curl import CurlTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import trustme

serve, ca = scripted.serve, scripted.ca  # the fixtures


class Open(Protocol):
    """Opens a transport that ends with the test."""

    def __call__(self, *, concurrency: int = 1, **options: Any) -> CurlTransport: ...


@pytest.fixture
def open_transport() -> Iterator[Open]:
    with contextlib.ExitStack() as stack:

        def make(*, concurrency: int = 1, **options: Any) -> CurlTransport:
            transport = CurlTransport(concurrency=concurrency, **{"timeout": PATIENCE, **options})
            return stack.enter_context(transport)

        yield make


# It never posts again


def answer_first(peer: Peer) -> None:
    """Answer the first request of a connection; read the second and leave."""
    peer.read_request()
    peer.answer()
    peer.read_request()


def bodies(requests: list[bytes]) -> list[bytes]:
    return [got.partition(b"\r\n\r\n")[2] for got in requests]


@pytest.mark.parametrize("body", [b"second", b"2" * 300_000, b""])
def test_a_connection_that_dies_with_a_post_takes_it_along(body: bytes, serve: Serve, open_transport: Open) -> None:
    server, transport = serve(answer_first), open_transport()
    assert judge(post(transport, server.url, b"first")).kind is VerdictKind.SENT
    result = post(transport, server.url, body)
    if body:  # an empty one has a connection of its own
        assert result == Failure("no readable answer came (closed)", started=True)
        assert server.connections == 1
    assert bodies(server.requests) == [b"first", body]


def test_libcurl_left_alone_would_post_again(
    serve: Serve, open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above sees the difference: the body as a text that libcurl keeps arrives twice."""
    load = module._Slot.load

    def load_to_keep(slot: module._Slot, job: Job) -> None:
        load(slot, job)
        slot.curl.setopt(pycurl.POSTFIELDS, job.request.body)

    monkeypatch.setattr(module._Slot, "load", load_to_keep)
    server, transport = serve(answer_first), open_transport()
    post(transport, server.url, b"first")
    post(transport, server.url, b"second")
    assert bodies(server.requests) == [b"first", b"second", b"second"]


def test_it_asks_nobody_whether_a_large_body_may_come(serve: Serve, open_transport: Open) -> None:
    """With `Expect: 100-continue` libcurl would wait a second, and post again after a 417."""
    server = serve(answer_all)
    post(open_transport(), server.url, b"x" * 3_000_000)
    head = server.requests[0].partition(b"\r\n\r\n")[0].lower()
    assert b"expect" not in head
    assert head.count(b"content-length: 3000000") == 1


@pytest.mark.parametrize(
    "status", ["401 Unauthorized", "407 Proxy", "408 Timeout", "417 Expectation", "421 Misdirected"]
)
def test_no_status_makes_it_post_again(status: str, serve: Serve, open_transport: Open) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer(b"{}", status, 'WWW-Authenticate: Basic realm="x"', 'Proxy-Authenticate: Basic realm="x"')

    server = serve(script)
    result = post(open_transport(), server.url)
    assert isinstance(result, Response)
    assert (result.status, len(server.requests)) == (int(status[:3]), 1)


# HTTP/2


class Streams:
    """A script that speaks HTTP/2 (or 1.1, if that was agreed) and lets `act` answer each stream.

    Args:
        act: gets the connection, the stream's number and its body.
    """

    def __init__(self, act: Callable[[H2Connection, int, bytes], None]) -> None:
        self.begun = 0
        self.ended: list[bytes] = []
        self._act = act

    def __call__(self, peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        if peer.sock.selected_alpn_protocol() != "h2":
            answer_all(peer)
            return
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        peer.send(connection.data_to_send())
        received: dict[int, bytes] = {}
        with contextlib.suppress(ProtocolError):  # what comes after a GOAWAY
            while data := peer.sock.recv(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, RequestReceived):
                        self.begun += 1
                    elif isinstance(event, DataReceived) and event.stream_id:
                        received[event.stream_id] = received.get(event.stream_id, b"") + (event.data or b"")
                    elif isinstance(event, StreamEnded) and event.stream_id:
                        self.ended.append(received[event.stream_id])
                        try:
                            self._act(connection, event.stream_id, received[event.stream_id])
                        finally:
                            peer.send(connection.data_to_send())


def accept(connection: H2Connection, stream: int, body: bytes) -> None:
    connection.send_headers(stream, [(":status", "200"), ("content-length", str(len(body)))])
    connection.send_data(stream, body, end_stream=True)


def leave(connection: H2Connection, stream: int) -> None:
    connection.close_connection(last_stream_id=stream)
    raise OSError("gone")


def gone(*_: object) -> None:
    raise OSError("gone")


ENDS: dict[str, Callable[[H2Connection, int], None]] = {
    "refused": lambda connection, stream: connection.reset_stream(stream, ErrorCodes.REFUSED_STREAM),
    "reset": lambda connection, stream: connection.reset_stream(stream, ErrorCodes.INTERNAL_ERROR),
    "wants HTTP/1.1": lambda connection, stream: connection.reset_stream(stream, ErrorCodes.HTTP_1_1_REQUIRED),
    "goaway, unread": lambda connection, stream: connection.close_connection(last_stream_id=stream - 2),
    "goaway, unread, and away": lambda connection, stream: leave(connection, stream - 2),
    "goaway, read, and away": leave,
    "away": gone,
}


def tls_with_h2(ca: tuple[trustme.CA, str]) -> ssl.SSLContext:
    context = tls_for(ca[0])
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.mark.parametrize("end", ENDS)
def test_no_end_of_a_stream_makes_it_post_again(
    end: str, serve: Serve, ca: tuple[trustme.CA, str], open_transport: Open
) -> None:
    """Not even a refused one, which would be safe, but which can't be told from one that was read."""

    def act(connection: H2Connection, stream: int, body: bytes) -> None:
        if body == b"second":
            ENDS[end](connection, stream)
        else:
            accept(connection, stream, body)

    streams = Streams(act)
    server, transport = serve(streams, tls_with_h2(ca)), open_transport(verify=ca[1], http2=True)
    assert isinstance(post(transport, server.url, b"first"), Response)
    second = post(transport, server.url, b"second")
    assert isinstance(second, Failure)
    assert second.started
    assert streams.ended[:2] == [b"first", b"second"]
    post(transport, server.url, b"third")  # it may still go into the connection that ends
    assert streams.ended.count(b"second") == 1
    assert streams.ended.count(b"third") <= 1
    assert streams.begun <= 3


def test_streams_share_a_connection_and_each_gets_its_own_answer(
    serve: Serve, ca: tuple[trustme.CA, str], open_transport: Open
) -> None:
    server = serve(Streams(accept), tls_with_h2(ca))
    transport = open_transport(concurrency=40, verify=ca[1], http2=True)
    transport.submit([Job(n, request(server.url, b"%d" % n)) for n in range(80)])
    found = collect(transport, 80)
    assert {n: c.result.body for n, c in found.items() if isinstance(c.result, Response)} == {
        n: b"%d" % n for n in range(80)
    }
    assert server.connections == 1


def test_http_2_is_used_only_when_asked_for(serve: Serve, ca: tuple[trustme.CA, str], open_transport: Open) -> None:
    server = serve(Streams(accept), tls_with_h2(ca))
    assert judge(post(open_transport(verify=ca[1]), server.url)).kind is VerdictKind.SENT
    assert server.requests[0].startswith(b"POST /mail/send HTTP/1.1\r\n")


# Proxies, certificates, connections


def test_a_proxy_is_used_when_asked_for(serve: Serve, open_transport: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    proxy, server = serve(answer_all), serve(answer_all)
    assert judge(post(open_transport(proxy=proxy.url), server.url)).kind is VerdictKind.SENT
    assert server.connections == 0
    assert proxy.requests[0].startswith(f"POST {server.url}/mail/send HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("then", ["refuses", "leaves"])
def test_a_proxy_that_makes_no_tunnel_gets_no_request(then: str, serve: Serve, open_transport: Open) -> None:
    """What was said to the proxy doesn't count as a byte of the POST."""
    said = []

    def script(peer: Peer) -> None:
        said.append(peer.sock.recv(65536))
        if then == "refuses":
            peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    result = post(open_transport(proxy=serve(script).url), "https://api.example")
    assert isinstance(result, Failure)
    assert not result.started
    assert said[0].startswith(b"CONNECT api.example:443 ")
    assert SECRET.encode() not in said[0]


def test_a_folder_of_certificates_is_trusted_in_place_of_the_usual_ones(
    serve: Serve, ca: tuple[trustme.CA, str], open_transport: Open, tmp_path: Path
) -> None:
    server = serve(answer_all, tls_for(ca[0]))
    (empty := tmp_path / "empty").mkdir()
    result = post(open_transport(verify=str(empty)), server.url)
    assert result == Failure("the host's certificate is not valid", started=False, certificate=True)
    assert server.requests == []


def test_an_idle_connection_is_not_used_again(
    serve: Serve, open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A balancer may have forgotten it without a word, and a POST into it would end in doubt."""
    monkeypatch.setattr(module, "IDLE_LIMIT", 1.0)
    server, transport = serve(answer_all), open_transport()
    for _ in range(2):
        post(transport, server.url)
    assert server.connections == 1
    threading.Event().wait(2.1)  # libcurl counts whole seconds
    assert judge(post(transport, server.url)).kind is VerdictKind.SENT
    assert server.connections == 2


def test_256_are_in_flight_and_no_more(serve: Serve, open_transport: Open) -> None:
    """The server answers none before it has 256."""
    arrived, all_there = [], threading.Event()

    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            arrived.append(1)
            if len(arrived) == 256:
                all_there.set()
            assert all_there.wait(PATIENCE)
            peer.answer()

    server, transport = serve(script), open_transport(concurrency=1000)
    transport.submit([Job(n, request(server.url, b"%d" % n)) for n in range(300)])
    found = collect(transport, 300)
    assert {judge(completion.result).kind for completion in found.values()} == {VerdictKind.SENT}
    assert server.connections <= 256
    assert sorted(map(int, bodies(server.requests))) == list(range(300))


def test_descriptors_that_select_cannot_take(serve: Serve, open_transport: Open) -> None:
    """A process that has more than 1,024 files open still gets its answers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard > 0 else 4096, hard))
    server, transport = serve(echo_all), open_transport(concurrency=4)
    with Path(os.devnull).open() as null:
        held = [os.dup(null.fileno()) for _ in range(1100)]
    try:
        assert held[-1] > 1024
        transport.submit([Job(n, request(server.url, b"%d" % n)) for n in range(12)])
        found = collect(transport, 12)
    finally:
        for descriptor in held:
            os.close(descriptor)
        transport.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(isinstance(completion.result, Response) for completion in found.values())


# Answers


def test_headers_are_the_final_answers_own(serve: Serve, open_transport: Open) -> None:
    """Not those of an informational answer before it, nor a trailer after it; one that comes twice is a list."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
        peer.send(b"Trailer: X-Last\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\n2\r\n{}\r\n0\r\nX-Last: 1\r\n\r\n")

    result = post(open_transport(), serve(script).url)
    assert isinstance(result, Response)
    assert (result.status, result.body) == (200, b"{}")
    assert result.headers == {"transfer-encoding": "chunked", "trailer": "X-Last", "x-twice": "1, 2"}


def test_an_answer_that_ends_within_its_headers_is_none(serve: Serve, open_transport: Open) -> None:
    """libcurl takes it for a whole one, and its status for a verdict."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\n")

    result = post(open_transport(), serve(script).url)
    assert isinstance(result, Failure)
    assert result.started


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "é", "\0"])
def test_a_header_that_could_hold_another_is_not_sent(value: str, serve: Serve, open_transport: Open) -> None:
    server, transport = serve(answer_all), open_transport()
    transport.submit([Job(1, Request(f"{server.url}/mail/send", {"authuser": "ana", "authpass": value}, b"x"))])
    result = collect(transport, 1)[1].result
    assert isinstance(result, Failure)
    assert not result.started
    assert judge(post(transport, server.url)).kind is VerdictKind.SENT
    assert len(server.requests) == 1


def test_each_post_has_its_own_headers_and_url(serve: Serve, open_transport: Open) -> None:
    """Handles are used again, and set what differs."""
    server, transport = serve(answer_all), open_transport()
    for number in (1, 1, 2, 3, 1):
        url = f"{server.url}/mail/send?authpass={number % 2}"
        transport.submit([Job(number, Request(url, {"authuser": str(number)}, b"%d" % number))])
        collect(transport, 1)
    seen = [(got.split(b" ")[1][-1:], got.partition(b"authuser: ")[2][:1], got[-1:]) for got in server.requests]
    assert seen == [(b"1", b"1", b"1"), (b"1", b"1", b"1"), (b"0", b"2", b"2"), (b"1", b"3", b"3"), (b"1", b"1", b"1")]
    assert server.connections == 1


# Life


def hold(arrived: threading.Semaphore, go_on: threading.Event) -> Callable[[Peer], None]:
    """A script that answers no request before it may."""

    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            arrived.release()
            assert go_on.wait(PATIENCE)
            peer.answer()

    return script


def test_close_cuts_off_what_is_in_flight_and_tells_of_each(serve: Serve, open_transport: Open) -> None:
    arrived, go_on = threading.Semaphore(0), threading.Event()
    server, transport = serve(hold(arrived, go_on)), open_transport(concurrency=2)
    transport.submit([Job(n, request(server.url, b"%d" % n)) for n in range(3)])
    while len(server.requests) < 2:
        assert transport.poll(0.05) == []
    transport.close()
    transport.close()
    found = {completion.number: completion.result for completion in transport.poll(PATIENCE)}
    go_on.set()
    assert [isinstance(found[n], Failure) and judge(found[n]).kind for n in range(3)] == [
        VerdictKind.IN_DOUBT,
        VerdictKind.IN_DOUBT,
        VerdictKind.NOT_SENT,
    ]
    transport.submit([Job(9, request(server.url))])
    assert [judge(completion.result).kind for completion in transport.poll(0)] == [VerdictKind.NOT_SENT]


def test_close_in_another_thread_ends_a_wait(serve: Serve, open_transport: Open) -> None:
    go_on = threading.Event()
    arrived = threading.Semaphore(0)
    server, transport = serve(hold(arrived, go_on)), open_transport()
    transport.submit([Job(1, request(server.url))])
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.extend(transport.poll(PATIENCE * 10)))
    waiting.start()
    assert arrived.acquire(timeout=PATIENCE)
    transport.close()
    waiting.join(PATIENCE)
    go_on.set()
    assert not waiting.is_alive()
    assert len(found) == 1


def test_a_ctrl_c_ends_a_wait_and_loses_nothing(serve: Serve, open_transport: Open) -> None:
    arrived, go_on = threading.Semaphore(0), threading.Event()
    server, transport = serve(hold(arrived, go_on)), open_transport()
    main = threading.main_thread().ident
    assert main == threading.get_ident()

    def interrupt() -> None:
        assert arrived.acquire(timeout=PATIENCE)
        signal.pthread_kill(main, signal.SIGINT)

    transport.submit([Job(1, request(server.url))])
    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        transport.poll(PATIENCE)
    other.join()
    go_on.set()
    assert judge(collect(transport, 1)[1].result).kind is VerdictKind.SENT


def test_a_ctrl_c_just_when_libcurl_tells_of_an_end(serve: Serve, open_transport: Open) -> None:
    """That one word is lost; the POST is in doubt then, and the next one goes its way."""

    class Interrupted:
        def __init__(self, multi: pycurl.CurlMulti) -> None:
            self._multi = multi
            self.struck = False

        def __getattr__(self, name: str) -> Any:
            return getattr(self._multi, name)

        def info_read(self) -> Any:
            told = self._multi.info_read()
            if not self.struck and (told[1] or told[2]):
                self.struck = True
                raise KeyboardInterrupt
            return told

    server, transport = serve(answer_all), open_transport()
    transport._multi = Interrupted(transport._multi)
    transport.submit([Job(1, request(server.url))])
    with pytest.raises(KeyboardInterrupt):
        transport.poll(PATIENCE)
    transport.submit([Job(2, request(server.url))])
    kinds = {number: judge(completion.result).kind for number, completion in collect(transport, 2).items()}
    assert kinds == {1: VerdictKind.IN_DOUBT, 2: VerdictKind.SENT}
    assert len(server.requests) == 2


def test_an_email_is_let_go_once_it_was_posted(serve: Serve, open_transport: Open) -> None:
    """It may have 24 MB, and there may be 256 handles."""
    server, transport = serve(answer_all), open_transport()
    body = b"x" * 1000
    held = sys.getrefcount(body)
    post(transport, server.url, body)
    assert sys.getrefcount(body) == held


def test_a_bomb_is_unpacked_no_further_than_needed() -> None:
    """A megabyte on the wire could be a gigabyte here."""
    plain = module._decoded(gzip.compress(b" " * 50_000_000, 1), "gzip")
    assert len(plain) == ANSWER_LIMIT + 1
