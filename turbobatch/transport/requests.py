"""The portable transport: requests, with a thread for each POST in flight.

requests' own session is left aside and its adapter used directly: that one follows no redirect, reads no .netrc and
no proxy settings, and keeps no cookies.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from turbobatch.sendapi import Failure, Response
from turbobatch.transport import Completion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turbobatch.sendapi import Request
    from turbobatch.transport import Job

CONNECT_TIMEOUT = 10.0  # seconds
ANSWER_LIMIT = 1024 * 1024  # bytes; the API's answers have some hundred

_wire = threading.local()
"""`_wire.started`: whether this thread's present POST has begun to write. Each POST stays in one thread."""


class _AnswerTooLongError(Exception):
    """More bytes came than any answer of the API has."""


class _NotingConnection(HTTPConnection):
    """Notes when the first byte of a request is about to be written: the exception's type alone can't tell."""

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _wire.started = True
        super().send(data)


class _NotingTlsConnection(HTTPSConnection):
    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _wire.started = True
        super().send(data)


class _NotingPool(HTTPConnectionPool):
    ConnectionCls = _NotingConnection


class _NotingTlsPool(HTTPSConnectionPool):
    ConnectionCls = _NotingTlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _NotingPool, "https": _NotingTlsPool}


class Poster:
    """Posts one request after the other over a connection that it keeps. For one thread at a time."""

    def __init__(self, *, timeout: float, verify: bool | str = True) -> None:
        self._timeout = timeout
        self._verify = verify
        self._adapter = _Adapter(pool_connections=1, pool_maxsize=1, max_retries=Retry(0, read=False))

    def post(self, request: Request) -> Response | Failure:
        """Post once. Every failure comes back as data, with a message that holds no secret."""
        _wire.started = False
        deadline = time.monotonic() + self._timeout
        prepared = requests.Request("POST", request.url, headers=dict(request.headers), data=request.body).prepare()
        answer = None
        try:
            answer = self._adapter.send(
                prepared, stream=True, timeout=(min(CONNECT_TIMEOUT, self._timeout), self._timeout), verify=self._verify
            )
            body = self._read(answer, deadline)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Response(answer.status_code, headers, body)
        except (requests.RequestException, HTTPError, OSError, ValueError, _AnswerTooLongError) as error:
            return _failure(error, started=_wire.started)
        finally:
            if answer is not None:
                answer.close()

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()

    @staticmethod
    def _read(answer: requests.Response, deadline: float) -> bytes:
        body = b""
        for piece in answer.iter_content(16 * 1024):
            body += piece
            if len(body) > ANSWER_LIMIT:
                raise _AnswerTooLongError
            if time.monotonic() > deadline:
                raise TimeoutError
        return body


class RequestsTransport:
    """A Transport with `concurrency` threads, each with a connection of its own, started as they are needed."""

    def __init__(self, *, concurrency: int, timeout: float, verify: bool | str = True) -> None:
        self._concurrency = concurrency
        self._timeout = timeout
        self._verify = verify
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Completion] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._in_flight = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Begin these POSTs; returns at once."""
        self._in_flight += len(jobs)
        while len(self._threads) < min(self._in_flight, self._concurrency):
            thread = threading.Thread(target=self._work, name=f"turbobatch-post-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        for job in jobs:
            self._jobs.put(job)

    def poll(self, timeout: float) -> list[Completion]:
        """The POSTs that ended: waits up to `timeout` seconds for the first, takes all there are."""
        found = []
        try:
            found.append(self._done.get(timeout=max(timeout, 0.0)))
            while True:
                found.append(self._done.get_nowait())
        except queue.Empty:
            pass
        self._in_flight -= len(found)
        return found

    def close(self) -> None:
        """End without waiting for POSTs in flight."""
        for _ in self._threads:
            self._jobs.put(None)
        self._threads.clear()

    def _work(self) -> None:
        poster = Poster(timeout=self._timeout, verify=self._verify)
        while (job := self._jobs.get()) is not None:
            began = time.perf_counter()
            result = poster.post(job.request)
            self._done.put(Completion(job.number, result, time.perf_counter() - began))
        poster.close()


def _failure(error: Exception, *, started: bool) -> Failure:
    # The library's own texts quote URLs, and those can hold credentials; so only the kind of trouble is told.
    certificate = isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)
    if certificate and not started:
        return Failure("the host's certificate is not valid", started=False, certificate=True)
    if started:
        return Failure(f"no readable answer came ({_kind(error)})", started=True)
    return Failure(f"no connection ({_kind(error)})", started=False)


def _kind(error: BaseException) -> str:
    match _root(error):
        case socket.gaierror():
            return "the host's name is not known"
        case ConnectionRefusedError():
            return "refused"
        case ConnectionResetError() | BrokenPipeError():
            return "reset"
        case _AnswerTooLongError():
            return "the answer is too long"
        case root:
            return (
                "timeout"
                if "timed out" in str(error).lower() or isinstance(root, TimeoutError)
                else type(root).__name__
            )


def _root(error: BaseException) -> BaseException:
    """The cause at the bottom: requests wraps urllib3's errors, which wrap the socket's."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        wrapped = (getattr(error, "reason", None), *error.args, error.__cause__, error.__context__)
        error = next((item for item in wrapped if isinstance(item, BaseException) and id(item) not in seen), error)
    return error
