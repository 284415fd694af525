"""The fast transport: libcurl's multi interface, in the caller's own thread.

Left alone, libcurl posts again by itself when a connection that it had used before ends without an answer. So a body
is handed out by a reader that can't be wound back: each of its bytes leaves once, and where libcurl would begin again
it fails with SEND_FAIL_REWIND instead.

The callbacks are methods written in C, in which no signal handler runs: a Ctrl-C strikes between two calls of libcurl,
not inside one, where pycurl would print it and forget it.

HTTP/2 is off unless asked for. It is as safe, but not as telling: there the end of one connection concerns every POST
on it, and libcurl tells a stream that was refused unread (REFUSED_STREAM, or above a GOAWAY's last stream; RFC 9113,
8.7) no differently from one that was read. nginx ends connections like that after 1,000 requests, so rows would end in
doubt in the best of health. On HTTP/1.1 it says "Connection: close" with an answer, and nothing is lost.
"""

from __future__ import annotations

import contextlib
import errno
import io
import select
import threading
import time
import zlib
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import certifi
import pycurl

from turbobatch._version import __version__
from turbobatch.errors import CampaignError
from turbobatch.sendapi import Response
from turbobatch.transport import ANSWER_LIMIT, CONNECT_TIMEOUT, IDLE_LIMIT, Completion, no_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from turbobatch.sendapi import Failure, Request
    from turbobatch.transport import Job

MOST_IN_FLIGHT = 256

_OLDEST = (8, 4, 0)  # libcurl's first version whose MAXFILESIZE also stops an answer of unknown length

_LONGEST_WAIT = 1.0  # seconds until a wait looks up again: how soon it notices `close` in another thread
_BLIND_WAIT = 0.02  # seconds; the same while not every POST has a descriptor to wait for

_NO_BODY = io.BytesIO().read
_KINDS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "the host's name is not known",
    pycurl.E_COULDNT_RESOLVE_PROXY: "the proxy's name is not known",
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_FILESIZE_EXCEEDED: "the answer is too long",
    pycurl.E_GOT_NOTHING: "closed",
    pycurl.E_SEND_FAIL_REWIND: "closed",
    pycurl.E_PARTIAL_FILE: "cut off",
    pycurl.E_URL_MALFORMAT: "the URL can't be read",
    pycurl.E_UNSUPPORTED_PROTOCOL: "not HTTP",
}
_ERRNO_KINDS = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.EPIPE: "reset"}


class _Slot:
    """An easy handle with what goes into it and comes out of it; it serves one POST after the other."""

    def __init__(self, curl: pycurl.Curl) -> None:
        self.curl = curl
        self.job: Job
        self.began = 0.0
        self.body = io.BytesIO()
        self.head: list[bytes] = []  # its lines
        self.answer: list[bytes] = []
        self._url = ""
        self._headers: Mapping[str, str] = {}
        curl.setopt(pycurl.HEADERFUNCTION, self.head.append)
        curl.setopt(pycurl.WRITEFUNCTION, self.answer.append)

    def load(self, job: Job) -> None:
        """Make ready to post this one; only what differs from the last one is set anew."""
        self.job, self.began = job, time.perf_counter()
        self.head.clear()
        self.answer.clear()
        request = job.request
        self.body = io.BytesIO(request.body)
        if request.headers != self._headers:
            self._headers = {}
            self.curl.setopt(pycurl.HTTPHEADER, _header_lines(request))
            self._headers = request.headers
        if request.url != self._url:
            self.curl.setopt(pycurl.URL, request.url)
            self._url = request.url
        self.curl.setopt(pycurl.READFUNCTION, self.body.read)
        self.curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(request.body))
        # Nothing would be read of an empty body, so nothing would have to be wound back: let it have no second try.
        self.curl.setopt(pycurl.FRESH_CONNECT, not request.body)

    def result(self, code: int, *, proxied: bool) -> Response | Failure:
        """What came of the POST, by libcurl's `code` (0: it is content)."""
        if code:
            started = self.has_started(proxied=proxied)
            kind = _ERRNO_KINDS.get(self.curl.getinfo(pycurl.OS_ERRNO)) if code not in _KINDS else _KINDS[code]
            certificate = code == pycurl.E_PEER_FAILED_VERIFICATION
            return no_answer(kind or f"libcurl's error {code}", started=started, certificate=certificate)
        if (headers := _headers(self.head)) is None:
            return no_answer("its headers are cut off", started=True)
        try:
            body = _decoded(b"".join(self.answer), headers.get("content-encoding", ""))
        except zlib.error:
            return no_answer("its compression is broken", started=True)
        if len(body) > ANSWER_LIMIT:
            return no_answer("the answer is too long", started=True)
        return Response(self.curl.getinfo(pycurl.RESPONSE_CODE), headers, body)

    def has_started(self, *, proxied: bool) -> bool:
        """Whether a byte of the request may have gone out; nothing of its body is read before it is connected."""
        # REQUEST_SIZE also counts what was said to a proxy.
        return self.body.tell() > 0 or (not proxied and self.curl.getinfo(pycurl.REQUEST_SIZE) > 0)

    def unload(self) -> None:
        """Let the email go: it may have 24 MB."""
        del self.job
        self.body = io.BytesIO()
        self.curl.setopt(pycurl.READFUNCTION, _NO_BODY)
        self.head.clear()
        self.answer.clear()


class CurlTransport:
    """A Transport in one thread, over connections that are kept, with names looked up once a minute at most.

    Args:
        concurrency: POSTs at a time, at most 256; others wait for their turn.
        timeout: seconds that a POST may take, from its beginning to the last byte of its answer.
        verify: a file or folder of certificates to trust in place of the usual ones.
        proxy: the URL of a proxy to go through; the environment's are never used.
        http2: use HTTP/2 with servers that have it.

    Raises:
        CampaignError: there is no such file or folder, or libcurl is too old.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        timeout: float,
        verify: Literal[True] | str = True,
        proxy: str = "",
        http2: bool = False,
    ) -> None:
        if not is_usable():
            raise CampaignError(
                'this pycurl\'s libcurl is too old: install a newer pycurl, or use transport="requests"'
            )
        if verify is not True and not Path(verify).exists():
            raise CampaignError(f"verify is {verify!r}: there is no such file or folder of certificates")
        self._concurrency = max(1, min(concurrency, MOST_IN_FLIGHT))
        self._timeout = timeout
        self._options = _options(timeout, certifi.where() if verify is True else verify, proxy, http2=http2)
        self._proxied = bool(proxy)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, self._concurrency)
        self._jobs: deque[Job] = deque()
        self._flying: dict[pycurl.Curl, _Slot] = {}
        self._free: list[_Slot] = []
        self._done: list[Completion] = []
        self._lock = threading.Lock()  # held while libcurl works, not while it waits
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Begin these POSTs; returns at once."""
        with self._lock:
            self._jobs.extend(jobs)
            if self._closed:
                self._give_back()
            elif self._begin():
                self._multi.perform()

    def poll(self, timeout: float) -> list[Completion]:
        """The POSTs that ended: waits up to `timeout` seconds for the first, takes all there are."""
        until = time.monotonic() + timeout
        while True:
            with self._lock:
                if not self._closed:
                    self._advance()
                left = until - time.monotonic()
                if self._done or left <= 0 or self._closed:
                    found, self._done = self._done, []
                    return found
                descriptors = self._multi.fdset()
                wait = self._longest_wait(descriptors, left)
            readable, writable, strange = descriptors
            with contextlib.suppress(OSError):  # `close` in another thread has just closed one of them
                select.select(readable, writable, strange, wait)

    def close(self) -> None:
        """End without waiting: POSTs in flight are cut off, which leaves them in doubt; the others never begin."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for slot in list(self._flying.values()):
                self._end(slot, no_answer("given up", started=slot.has_started(proxied=self._proxied)))
            self._give_back()
            for slot in self._free:
                slot.curl.close()
            self._free.clear()
            self._multi.close()

    def _advance(self) -> None:
        """Let libcurl do what can be done at once, conclude what has ended, begin what there is room for."""
        _, running = self._multi.perform()
        queued = 1
        while queued:
            queued, fine, failed = self._multi.info_read()
            for curl, code in [*((curl, 0) for curl in fine), *((curl, code) for curl, code, _ in failed)]:
                slot = self._flying[curl]
                self._end(slot, slot.result(code, proxied=self._proxied))
        if not running:
            for slot in list(self._flying.values()):  # a Ctrl-C came between libcurl's word about these and ours
                self._end(slot, no_answer("interrupted", started=True))
        if self._begin():
            self._multi.perform()

    def _begin(self) -> bool:
        """Hand jobs to libcurl; tells whether there were any."""
        begun = False
        while self._jobs and len(self._flying) < self._concurrency:
            slot = self._free.pop() if self._free else _Slot(self._new_handle())
            job = self._jobs.popleft()
            try:
                slot.load(job)
                self._flying[slot.curl] = slot
                self._multi.add_handle(slot.curl)
            except Exception as error:  # noqa: BLE001 - a request that can't be posted must end in a result too
                self._flying.pop(slot.curl, None)
                failure = no_answer(type(error).__name__, started=False)  # its text could quote a header
                self._done.append(Completion(job.number, failure, 0.0))
            begun = True
        return begun

    def _end(self, slot: _Slot, result: Response | Failure) -> None:
        del self._flying[slot.curl]
        self._done.append(Completion(slot.job.number, result, time.perf_counter() - slot.began))
        with contextlib.suppress(pycurl.error):  # one that a Ctrl-C kept from being added is left to the collector
            self._multi.remove_handle(slot.curl)
            slot.unload()
            self._free.append(slot)

    def _give_back(self) -> None:
        """Conclude the jobs that haven't begun."""
        while self._jobs:
            failure = no_answer("the transport is closed", started=False)
            self._done.append(Completion(self._jobs.popleft().number, failure, 0.0))

    def _new_handle(self) -> pycurl.Curl:
        curl = pycurl.Curl()
        curl.unsetopt(pycurl.CAINFO)  # else a folder's certificates would be trusted beside libcurl's own
        for option, value in self._options:
            curl.setopt(option, value)
        return curl

    def _longest_wait(self, descriptors: tuple[list[int], ...], seconds: float) -> float:
        """How long to wait for these descriptors: libcurl's clocks may ring earlier, and some can't be waited for."""
        # libcurl leaves out descriptors that select can't take (1024 and above), and has none where it is looking up
        # a name in a thread; streams of HTTP/2 share one.
        blind = len(set().union(*descriptors)) < len(self._flying)
        wait = min(seconds, _BLIND_WAIT if blind else _LONGEST_WAIT)
        rings = self._multi.timeout()  # milliseconds; -1: never
        return wait if rings < 0 else min(wait, rings / 1000)


def is_usable() -> bool:
    """Whether this libcurl can do all that is relied on."""
    return tuple(int(part) for part in pycurl.version_info()[1].split("-")[0].split(".")) >= _OLDEST


def _options(timeout: float, authorities: str, proxy: str, *, http2: bool) -> list[tuple[int, Any]]:
    """What is the same for every POST. Where libcurl's own choice would do, it is still made here: it's a promise."""
    milliseconds = max(1, int(timeout * 1000))
    version = pycurl.CURL_HTTP_VERSION_2TLS if http2 else pycurl.CURL_HTTP_VERSION_1_1
    folder = Path(authorities).is_dir()
    return [
        (pycurl.POST, True),
        (pycurl.HTTP_VERSION, version),
        (pycurl.PIPEWAIT, http2),
        (pycurl.TIMEOUT_MS, milliseconds),
        (pycurl.CONNECTTIMEOUT_MS, min(milliseconds, int(CONNECT_TIMEOUT * 1000))),
        (pycurl.MAXAGE_CONN, int(IDLE_LIMIT)),
        (pycurl.MAXFILESIZE, ANSWER_LIMIT),
        (pycurl.NOSIGNAL, True),
        (pycurl.USERAGENT, f"turbobatch/{__version__}"),
        (pycurl.SSL_VERIFYPEER, True),
        (pycurl.SSL_VERIFYHOST, 2),
        (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
        *([(pycurl.CAPATH, authorities)] if folder else [(pycurl.CAINFO, authorities)]),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
        (pycurl.FOLLOWLOCATION, False),
        (pycurl.NETRC, pycurl.NETRC_IGNORED),
        (pycurl.PROXY, proxy),  # empty: not even the environment's
        (pycurl.NOPROXY, ""),
    ]


def _header_lines(request: Request) -> list[str]:
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    if not all(line.isprintable() for line in lines):
        raise ValueError("a header holds a control character")
    # An answer is short, so it needs no compression; and nobody is asked whether a large body may come (100-continue).
    return [*lines, "Accept-Encoding: identity", "Expect:"]


def _headers(lines: list[bytes]) -> dict[str, str] | None:
    """The final answer's headers, with lower-case names; None if they were cut off.

    `lines`: all there were, with those of informational answers before and trailers after.
    """
    first = max((number for number, line in enumerate(lines) if line.startswith(b"HTTP/")), default=len(lines))
    headers: dict[str, str] = {}
    for line in lines[first + 1 :]:
        if line in {b"\r\n", b"\n"}:
            return headers
        name, _, value = line.decode("latin-1").partition(":")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return None


def _decoded(body: bytes, encoding: str) -> bytes:
    """Undo the compression that a server applies without being asked; unknown ones are left for the verdict.

    Raises:
        zlib.error: it isn't whole.
    """
    if encoding.lower() not in {"gzip", "x-gzip", "deflate"}:
        return body
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)  # finds out by itself which of them it is
    plain = unpacking.decompress(body, ANSWER_LIMIT + 1)
    if not unpacking.eof and len(plain) <= ANSWER_LIMIT:
        raise zlib.error("cut off")
    return plain
