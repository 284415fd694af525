"""The portable transport: requests, with a thread for each POST in flight.

requests' own session is left aside and its adapter used directly: that one follows no redirect, reads no .netrc and
no proxy settings, and keeps no cookies.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import io
import queue
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.retry import Retry

from turbobatch.errors import CampaignError
from turbobatch.sendapi import Failure, Response
from turbobatch.transport import ANSWER_LIMIT, CONNECT_TIMEOUT, IDLE_LIMIT, Completion, no_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from turbobatch.sendapi import Request
    from turbobatch.transport import Job

_PIECE = 16 * 1024  # bytes written or read between two looks at the clock


class _Post(threading.local):
    """The present POST of this thread: each stays in one."""

    started = False  # whether it has begun to write
    deadline = 0.0  # on the monotonic clock
    query = ""  # of its URL, with the question mark

    def left(self) -> float:
        """Seconds to the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


_post = _Post()


class _AnswerTooLongError(Exception):
    """More bytes came than any answer of the API has."""


class _PunctualReader(io.RawIOBase):
    """Reads a socket up to the deadline: the socket's own timeout starts anew with every byte that drips in."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_post.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PunctualAnswer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_PunctualReader(self.fp.detach(), sock))

    def begin(self) -> None:
        super().begin()
        # urllib3 would write malformed headers to its log, whatever the host repeats there of what it was sent.
        self.msg.defects.clear()
        self.msg.set_payload("")


class _NotingConnection(HTTPConnection):
    """Notes when the first byte of a request is about to be written: the exception's type alone can't tell."""

    response_class = _PunctualAnswer

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        # The query can hold v1's credentials, and urllib3 writes the URLs that it knows of to its log.
        super().putrequest(method, url + _post.query, *args, **kwargs)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        for start in range(0, len(data), _PIECE):
            self.sock.settimeout(_post.left())
            _post.started = True
            super().send(data[start : start + _PIECE])


class _NotingTlsConnection(_NotingConnection, HTTPSConnection):
    pass


class _NotingPool(HTTPConnectionPool):
    ConnectionCls = _NotingConnection


class _NotingTlsPool(HTTPSConnectionPool):
    ConnectionCls = _NotingTlsConnection


class _Adapter(HTTPAdapter):
    pool: Any = None  # of the URL that is posted to; None: look it up

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if self.pool is None:
            self.pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self.pool

    def close(self) -> None:
        self.pool = None
        super().close()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _NotingPool, "https": _NotingTlsPool}


class Poster:
    """Posts one request after the other over a connection that it keeps. For one thread at a time.

    Args:
        timeout: seconds that a request may take, from its beginning to the last byte of its answer.
        verify: a file or folder of certificates to trust in place of the usual ones; False trusts everyone.
        answer_limit: bytes that an answer may have.
    """

    def __init__(self, *, timeout: float, verify: bool | str = True, answer_limit: int = ANSWER_LIMIT) -> None:
        self._timeout = timeout
        self._verify = verify
        self._answer_limit = answer_limit
        self._used = time.monotonic()
        self._adapter = _Adapter(pool_connections=1, pool_maxsize=1, max_retries=Retry(0, read=False))
        self._prepared = requests.PreparedRequest()
        self._prepared_for: tuple[str, str, Mapping[str, str]] = ("", "", {})

    def post(self, request: Request) -> Response | Failure:
        """Post once. Every failure comes back as data, with a message that holds no secret."""
        return self.call("POST", request)

    def call(self, method: str, request: Request) -> Response | Failure:
        """Do the same with another method; a GET has no body."""
        if time.monotonic() - self._used > IDLE_LIMIT:
            self._adapter.close()  # it opens a new connection by itself
        url, mark, query = request.url.partition("?")
        _post.started, _post.query, _post.deadline = False, mark + query, time.monotonic() + self._timeout
        timeout = (min(CONNECT_TIMEOUT, self._timeout), self._timeout)
        answer = None
        try:
            prepared = self._prepare(method, url, request)
            answer = self._adapter.send(prepared, stream=True, timeout=timeout, verify=self._verify)
            body = _read(answer, self._answer_limit)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Response(answer.status_code, headers, body)
        except Exception as error:  # noqa: BLE001 - whatever the libraries raise, a POST must end in a result
            return _failure(error, started=_post.started)
        finally:
            self._used = time.monotonic()
            if answer is not None:
                answer.close()

    def _prepare(self, method: str, url: str, request: Request) -> requests.PreparedRequest:
        """Check and write out URL and headers, which are the same all along; only the body is always another."""
        if self._prepared_for != (method, url, request.headers):
            self._adapter.pool = None
            self._prepared = requests.Request(method, url, headers=dict(request.headers)).prepare()
            self._prepared_for = method, url, request.headers
        if method != "GET":
            self._prepared.body = request.body
            self._prepared.headers["Content-Length"] = str(len(request.body))
        return self._prepared

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()


class RequestsTransport:
    """A Transport with `concurrency` threads, each with a connection of its own, started as they are needed.

    Args:
        concurrency: POSTs at a time.
        timeout: seconds that a POST may take, from its beginning to the last byte of its answer.
        verify: a file or folder of certificates to trust in place of the usual ones; False trusts everyone.

    Raises:
        CampaignError: there is no such file or folder.
    """

    def __init__(self, *, concurrency: int, timeout: float, verify: bool | str = True) -> None:
        if isinstance(verify, str) and not Path(verify).exists():
            raise CampaignError(f"verify is {verify!r}: there is no such file or folder of certificates")
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
        for job in jobs:
            self._jobs.put(job)
        self._in_flight += len(jobs)
        self._start_threads()
        if not self._threads:
            self._give_back()

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
        """End without waiting for POSTs in flight; those that haven't begun are dropped."""
        self._give_back()
        for _ in self._threads:
            self._jobs.put(None)
        self._threads.clear()

    def _start_threads(self) -> None:
        while len(self._threads) < min(self._in_flight, self._concurrency):
            thread = threading.Thread(target=self._work, name=f"turbobatch-post-{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # the system has no more threads: those that run do the work
            self._threads.append(thread)

    def _give_back(self) -> None:
        """Conclude the jobs that no thread has begun."""
        with contextlib.suppress(queue.Empty):
            while True:
                if (job := self._jobs.get_nowait()) is not None:
                    failure = Failure("the POST wasn't begun: no thread could be started", started=False)
                    self._done.put(Completion(job.number, failure, 0.0))

    def _work(self) -> None:
        poster = Poster(timeout=self._timeout, verify=self._verify)
        while (job := self._jobs.get()) is not None:
            began = time.perf_counter()
            result: Response | Failure
            try:
                result = poster.post(job.request)
            except Exception as error:  # noqa: BLE001 - a thread that died would leave the run waiting for ever
                result = _failure(error, started=True)
            self._done.put(Completion(job.number, result, time.perf_counter() - began))
        poster.close()


def _read(answer: requests.Response, limit: int) -> bytes:
    body = b""
    for piece in answer.raw.stream(_PIECE, decode_content=True):
        body += piece
        if len(body) > limit:
            raise _AnswerTooLongError
    return body


def _failure(error: Exception, *, started: bool) -> Failure:
    # The library's own texts quote URLs, and those can hold credentials; so only the kind of trouble is told.
    certificate = isinstance(_root(error), ssl.SSLCertVerificationError)
    return no_answer(_kind(error), started=started, certificate=certificate)


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
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return "too many open files: raise ulimit -n, or lower the concurrency"
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
