"""What only the transport of threads can do, and get wrong."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the module beside this file is part of no package

from tests.integration import scripted
from tests.integration.scripted import PATIENCE, SECRET, Peer, Serve, answer_all, collect, post, request
from turbobatch.sendapi import Request, VerdictKind, judge
from turbobatch.transport import Job
from turbobatch.transport import requests as module
from turbobatch.transport.requests import RequestsTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

serve = scripted.serve  # the fixture


class Open(Protocol):
    """Opens a transport that ends with the test."""

    def __call__(self, *, concurrency: int = 1) -> RequestsTransport: ...


@pytest.fixture
def open_transport() -> Iterator[Open]:
    opened: list[RequestsTransport] = []

    def make(*, concurrency: int = 1) -> RequestsTransport:
        opened.append(RequestsTransport(concurrency=concurrency, timeout=PATIENCE))
        return opened[-1]

    yield make
    for transport in opened:
        threads = list(transport._threads)
        transport.close()
        for thread in threads:
            thread.join(PATIENCE)


def test_urllib3s_log_names_the_path_without_the_credentials(
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


def test_threads_that_cannot_be_had_leave_the_work_to_the_others(
    serve: Serve, open_transport: Open, monkeypatch: pytest.MonkeyPatch
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
    serve: Serve, open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A balancer may have forgotten it without a word, and a POST into it would end in doubt."""
    monkeypatch.setattr(module, "IDLE_LIMIT", -1.0)
    server, transport = serve(answer_all), open_transport()
    for _ in range(3):
        assert judge(post(transport, server.url)).kind is VerdictKind.SENT
    assert server.connections == 3


def test_close_ends_the_threads(serve: Serve) -> None:
    server = serve(answer_all)
    with RequestsTransport(concurrency=3, timeout=PATIENCE) as transport:
        transport.submit([Job(n, request(server.url)) for n in range(9)])
        collect(transport, 9)
        threads = list(transport._threads)
        assert len(threads) == 3
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)


def test_close_drops_what_has_not_begun(serve: Serve) -> None:
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
