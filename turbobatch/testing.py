"""Fakes for your own tests: a transport that answers from memory, and a clock that moves only when told.

fake = FakeTransport([ok(mid=1), refused("'ana@' 'to' email not valid")])
client = tb.TurboClient(consumer_key="k", consumer_secret="s", transport=lambda concurrency: fake)
campaign.send(recipients, client)
assert fake.requests[0]["to"] == "ana@example.org"
"""

from __future__ import annotations

import heapq
import itertools
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from turbobatch.sendapi import Failure, Request, Response
from turbobatch.transport import Completion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from turbobatch.transport import Job

Answer = Response | Failure
"""What a POST comes to: the helpers `ok`, `refused`, `throttled`, `no_answer` and `no_connection` make them."""

_CREDENTIALS = ("authuser", "authpass")


class FakeClock:
    """A clock that stands still until it is advanced.

    Args:
        now: where it begins; seconds since the epoch.
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._began = now
        self._passed = 0.0

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._began + self._passed

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return self._passed

    def advance(self, seconds: float) -> None:
        """Let `seconds` go by; a ValueError if they are negative."""
        if seconds < 0:
            raise ValueError(f"time doesn't go back by {-seconds} seconds")
        self._passed += seconds

    def advance_to(self, moment: float) -> None:
        """Let time go by until `monotonic()` is `moment`, not at all if that is past."""
        self._passed = max(self._passed, moment)


class FakeTransport:
    """A Transport that posts nothing and answers from memory.

    Args:
        answer: a function of the request, or answers to give out in turn, after which everything is `ok()`.
        latency: seconds from a request to its answer, or a function of the request.
        clock: advanced by `poll` to the next answer, or by its timeout if there is none; without one `poll` takes
            real time.

    Attributes:
        requests: the fields of each request as the API reads them, without credentials.
        times: when each of them was submitted, seconds on the clock's `monotonic()`.
        closed: whether it was closed and not used since; one fake may serve several runs in turn.
    """

    def __init__(
        self,
        answer: Callable[[Request], Answer] | Iterable[Answer] = (),
        *,
        latency: float | Callable[[Request], float] = 0.0,
        clock: FakeClock | None = None,
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.closed = False
        self._answer = answer if callable(answer) else _in_turn(answer)
        self._latency = latency if callable(latency) else lambda _request: latency
        self._clock = clock
        self._numbers = itertools.count()
        self._booked: list[tuple[float, int, Completion]] = []

    @property
    def in_flight(self) -> int:
        """How many requests have no answer yet."""
        return len(self._booked)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Note the requests and book their answers."""
        self.closed = False
        for job in jobs:
            now = self._now()
            seconds = self._latency(job.request)
            self.requests.append(fields_of(job.request))
            self.times.append(now)
            completion = Completion(job.number, self._answer(job.request), seconds)
            heapq.heappush(self._booked, (now + seconds, next(self._numbers), completion))

    def poll(self, timeout: float) -> list[Completion]:
        """The answers that are due; waits up to `timeout` seconds for the first."""
        until = self._now() + max(timeout, 0.0)
        self._wait_until(min(until, self._booked[0][0]) if self._booked else until)
        now = self._now()
        found = []
        while self._booked and self._booked[0][0] <= now:
            found.append(heapq.heappop(self._booked)[2])
        return found

    def close(self) -> None:
        """Drop the answers that haven't come."""
        self.closed = True
        self._booked.clear()

    def _now(self) -> float:
        return self._clock.monotonic() if self._clock is not None else time.monotonic()

    def _wait_until(self, moment: float) -> None:
        if self._clock is not None:
            self._clock.advance_to(moment)
            return
        while (left := moment - time.monotonic()) > 0:
            time.sleep(left)


def fields_of(request: Request) -> dict[str, Any]:
    """The fields in a request's body as the API reads them (v1: a form, v2: JSON), without credentials."""
    if request.headers.get("Content-Type") == "application/json":
        return dict(json.loads(request.body))
    form = dict(parse_qsl(request.body.decode("ascii"), keep_blank_values=True))
    return {name: value for name, value in form.items() if name not in _CREDENTIALS}


def ok(*, mid: int | None = None) -> Response:
    """The API took the email; v2 gives it a message id."""
    return _json(200, {"message": "OK"} | ({} if mid is None else {"mid": mid}))


def refused(*errors: str, status: int = 400) -> Response:
    """The API refused the email for these reasons; `refused("nocredit")` when the account has no credit left."""
    return _json(status, {"message": "error", "errors": list(errors)})


def bad_credentials() -> Response:
    """The API refused the credentials."""
    return _json(401, {"errorCode": 3, "message": "Wrong credentials specified", "details": ""})


def throttled(seconds: float | None = None) -> Response:
    """The API wants a pause of so many seconds, or one whose length it doesn't name. The email was not taken."""
    headers = {} if seconds is None else {"retry-after": f"{seconds:.0f}"}
    return Response(429, headers, b"")


def no_answer(message: str = "no readable answer came (timeout)") -> Failure:
    """The POST began and its answer never came: the email may or may not have been taken."""
    return Failure(message, started=True)


def no_connection(message: str = "no connection (refused)") -> Failure:
    """The POST never began: the email was surely not taken."""
    return Failure(message, started=False)


def _json(status: int, members: dict[str, Any]) -> Response:
    return Response(status, {"content-type": "application/json"}, json.dumps(members).encode())


def _in_turn(answers: Iterable[Answer]) -> Callable[[Request], Answer]:
    left = itertools.chain(answers, itertools.repeat(ok()))
    return lambda _request: next(left)
