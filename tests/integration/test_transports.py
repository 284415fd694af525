"""Both transports on real sockets: each POST goes out once, and what came of it is told truly, in the same words."""

from __future__ import annotations

import gzip
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the module beside this file is part of no package

from tests.integration import scripted
from tests.integration.scripted import (
    OK_HEAD,
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
from turbobatch import transport as common
from turbobatch.errors import CampaignError
from turbobatch.sendapi import Failure, Request, Response, VerdictKind, judge
from turbobatch.transport import Job
from turbobatch.transport import curl as curl_module
from turbobatch.transport import requests as requests_module
from turbobatch.transport.curl import CurlTransport
from turbobatch.transport.requests import RequestsTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    import trustme

    from turbobatch.transport import Transport

serve, ca, any_tls = scripted.serve, scripted.ca, scripted.any_tls  # the fixtures

MAKERS: dict[str, Callable[..., Transport]] = {"requests": RequestsTransport, "curl": CurlTransport}
MODULES: dict[str, Any] = {"requests": requests_module, "curl": curl_module}


class Open(Protocol):
    """Opens a transport that ends with the test."""

    def __call__(self, *, concurrency: int = 1, timeout: float = PATIENCE, verify: str | None = None) -> Transport: ...


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    """The transport's name: every test here is played on both."""
    return str(request.param)


@pytest.fixture
def open_transport(kind: str) -> Iterator[Open]:
    opened: list[Transport] = []

    def make(*, concurrency: int = 1, timeout: float = PATIENCE, verify: str | None = None) -> Transport:
        opened.append(MAKERS[kind](concurrency=concurrency, timeout=timeout, verify=verify or True))
        return opened[-1]

    yield make
    for transport in opened:
        threads = list(getattr(transport, "_threads", []))
        transport.close()
        for thread in threads:
            thread.join(PATIENCE)


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

    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            (("429 Too Many", "Retry-After: 7", b"{}"), VerdictKind.THROTTLED),
            (("429 Too Many", "Retry-After: Fri, 31 Dec 2999 23:59:59 GMT", b"{}"), VerdictKind.THROTTLED),
            (("503 Busy", "Retry-After: 7", b"{}"), VerdictKind.IN_DOUBT),
            (("502 Bad Gateway", "Content-Type: text/html", b"<html>nginx</html>"), VerdictKind.IN_DOUBT),
            (("401 Unauthorized", "WWW-Authenticate: Basic", b'{"errorCode":3}'), VerdictKind.CREDENTIALS),
        ],
    )
    def test_an_answer_that_is_no_yes(
        self, answer: tuple[str, str, bytes], verdict: VerdictKind, serve: Serve, open_transport: Open
    ) -> None:
        status, header, body = answer

        def script(peer: Peer) -> None:
            while peer.read_request() is not None:
                peer.answer(body, status, header)

        server = serve(script)
        result = post(open_transport(), server.url)
        assert isinstance(result, Response)
        found = judge(result)
        assert (found.kind, found.http_status, result.body) == (verdict, int(status[:3]), body)
        assert bool(found.retry_after) == ("Retry-After" in header)
        assert len(server.requests) == 1


class TestBeforeTheFirstByte:
    """Nothing was sent, and the failure says so."""

    def test_refused(self, open_transport: Open) -> None:
        with socket.socket() as held:  # bound, so that nobody else listens there
            held.bind(("127.0.0.1", 0))
            result = post(open_transport(), f"http://127.0.0.1:{held.getsockname()[1]}")
        assert result == Failure("no connection (refused)", started=False)

    def test_refused_after_others_were_taken(self, serve: Serve, open_transport: Open) -> None:
        """What an earlier POST wrote doesn't count for this one."""
        transport = open_transport()
        assert judge(post(transport, serve(answer_all).url)).kind is VerdictKind.SENT
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            result = post(transport, f"http://127.0.0.1:{held.getsockname()[1]}")
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

    def test_a_missing_file_of_authorities_is_told_at_once(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(CampaignError, match="no such file"):
            MAKERS[kind](concurrency=1, timeout=1, verify=str(tmp_path / "ca.pem"))


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
            pytest.param(b"HTTP/1.1 200 O", b"K", id="status line"),
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

    @pytest.mark.parametrize("kind_of_length", ["known", "unknown", "compressed"])
    def test_an_answer_without_measure(self, kind_of_length: str, serve: Serve, open_transport: Open) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            match kind_of_length:
                case "known":
                    peer.answer(b" " * (common.ANSWER_LIMIT + 1))
                case "compressed":
                    peer.answer(gzip.compress(b" " * 50_000_000, 1), "200 OK", "Content-Encoding: gzip")
            peer.send(OK_HEAD + b"\r\n")
            while True:
                peer.send(b" " * 65536)  # until the client leaves

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
        self, kind: str, serve: Serve, open_transport: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def script(peer: Peer) -> None:
            peer.server.stopping.wait(0.6)  # longer than the time to connect, far shorter than that of the POST
            answer_all(peer)

        monkeypatch.setattr(MODULES[kind], "CONNECT_TIMEOUT", 0.2)
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
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\n bad: header\r\nno colon\r\nContent-Length: 2\r\n\r\n{}")

        caplog.set_level("DEBUG")
        server, transport = serve(script), open_transport()
        url = f"{server.url}/mail/send?authuser=ana&authpass={SECRET}"
        transport.submit([Job(1, Request(url, {}, b"x"))])
        collect(transport, 1)
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

    def test_a_server_that_takes_fewer_at_a_time(self, serve: Serve, open_transport: Open) -> None:
        """It turns the fifth away; each POST gets its own verdict and none is made again."""
        places = threading.Semaphore(4)

        def script(peer: Peer) -> None:
            has_place = places.acquire(blocking=False)
            while peer.read_request() is not None:
                peer.answer(b'{"message":"OK"}' if has_place else b"{}", "200 OK" if has_place else "429 Full")

        server, transport = serve(script), open_transport(concurrency=16)
        transport.submit([Job(n, request(server.url, b"%d" % n)) for n in range(64)])
        kinds = [judge(completion.result).kind for completion in collect(transport, 64).values()]
        assert set(kinds) <= {VerdictKind.SENT, VerdictKind.THROTTLED}
        assert VerdictKind.SENT in kinds
        assert sorted(int(got.partition(b"\r\n\r\n")[2]) for got in server.requests) == list(range(64))

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


class TestLife:
    def test_poll_does_not_wait_when_told_not_to(self, open_transport: Open) -> None:
        transport = open_transport()
        assert transport.poll(0) == []
        assert transport.poll(-1) == []
