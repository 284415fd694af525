"""The management calls over HTTPS: lists page by page, GETs tried again, POSTs never once a byte may have left.

Listings that end too early would be taken for the whole truth ("the vendor doesn't know this email"), so a page that
can't be read, or pages without an end, are errors and never an empty list.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import secrets
import threading
import time
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from turbobatch.addresses import holds_control
from turbobatch.errors import AuthenticationError, CampaignError, ManagementError, did_you_mean
from turbobatch.management import answers
from turbobatch.management.pages import EndlessError, listed
from turbobatch.sendapi import Request, Response, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from turbobatch.management.answers import (
        AnalyticsRow,
        SuppressedAddress,
        SuppressionImport,
        Validation,
        ValidationList,
    )
    from turbobatch.sendapi import Failure
    from turbobatch.transport.requests import Poster

T = TypeVar("T")

MANAGEMENT_URL = "https://pro.api.serversmtp.com/api/v2"

_TRIES = 4  # of a GET
_FIRST_WAIT = 0.5  # seconds before the second one; each further wait is twice as long
_LONGEST_WAIT = 60.0  # seconds; who is told to wait longer is told so, and may come back
_TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_ABSENT = "email_not_found"
_ANSWER_LIMIT = 64 * 1024 * 1024  # bytes; a row of analytics has some hundred

_LONGEST_PAGE = 10_000  # rows


class Call(NamedTuple):
    """One call: its path below the base URL, its query, and for a POST its body and the body's type."""

    what: str  # as messages name it
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    content_type: str = "application/json"


class Management:
    """One account's management calls at one host. Safe to be used by several threads.

    Args:
        base_url: the URL that the calls' paths follow.
        consumer_key: v2 key.
        consumer_secret: v2 secret.
        timeout: seconds an answer may take.
        verify: a file or folder of certificates to trust in place of the usual ones.
        sleep: waits for that many seconds before a call is tried again.
        clock: seconds that never run backwards.
    """

    def __init__(
        self,
        base_url: str,
        consumer_key: str,
        consumer_secret: str,
        *,
        timeout: float = 60.0,
        verify: bool | str = True,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base_url = base_url
        self._secrets = (consumer_key, consumer_secret)
        self._timeout = timeout
        self._verify = verify
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[Poster] = []
        self._closings = 0

    @property
    def host(self) -> str:
        """The host that is asked, with its port where it isn't the usual one."""
        return urlsplit(self.base_url).netloc

    def __repr__(self) -> str:
        return f"<Management at {self.host}>"

    def close(self) -> None:
        """Close the connections that are kept; the next call opens a new one."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._closings += 1
        for poster in idle:
            poster.close()

    def analytics(
        self,
        since: date,
        until: date,
        *,
        statuses: Iterable[str] = (),
        text: str | None = None,
        text_in: str | None = None,
        page_size: int = 100,
    ) -> Iterator[AnalyticsRow]:
        """List the rows of these days, both included; `text` is looked for in the field `text_in`."""
        statuses = tuple(statuses)
        for status in statuses:
            _check_word("status", status, answers.ANALYTICS_STATUSES)
        query = [*_days(since, until), *(("status[]", status) for status in statuses)]
        if text is not None:
            query.append(("filter", text))
        if text_in is not None:
            _check_word("filter_by", text_in, answers.ANALYTICS_FILTERS)
            query.append(("filter_by", text_in))
        call = Call("the analytics", "/analytics", (*query, ("tz", "+00:00")))
        return self._listed(call, page_size, answers.analytics_row, lambda row: (row.id, row.recipient.lower()))

    def analytics_of(self, mid: str) -> AnalyticsRow | None:
        """Look one message up; None where the vendor says that it has none of this id."""
        call = Call("the analytics", f"/analytics/{_path_part('mid', mid)}", (("tz", "+00:00"),))
        try:
            return self._get(call, lambda answer: answers.analytics_row(answers.read_object(answer), mid))
        except _AbsentError:
            return None

    def suppressions(
        self, since: date, until: date, *, source: str | None, page_size: int
    ) -> Iterator[SuppressedAddress]:
        """List the addresses suppressed on these days, both included."""
        query = _days(since, until)
        if source is not None:
            _check_word("filter_by", source, answers.SUPPRESSION_SOURCES)
            query.append(("filter_by", source))
        call = Call("the suppressions", "/suppressions", tuple(query))
        return self._listed(call, page_size, answers.suppressed_address, _digest)

    def import_suppressions(self, addresses: Iterable[str], reason: str) -> SuppressionImport:
        """Suppress these addresses."""
        content = {"type": "manual", "reason": reason, "content": _checked(addresses)}
        call = Call("the suppressions", "/suppressions/import", body=_json(content))
        return self._post(call, answers.suppression_import)

    def validate_address(self, address: str) -> Validation:
        """Judge one address; it costs a credit."""
        (address,) = _checked([address])
        call = Call("the validation", "/emailvalidation/validateEmail", body=_json({"email": address}))
        return self._post(call, lambda answer: answers.one_validation(answer, address))

    def upload_validation_list(self, addresses: Iterable[str]) -> ValidationList:
        """Give a list; nothing is judged yet."""
        body, content_type = _form_with_file("emails.csv", _checked(addresses))
        call = Call("the validation list", "/emailvalidation/upload", body=body, content_type=content_type)
        return self._post(call, answers.validation_list)

    def start_validation(self, list_id: str) -> None:
        """Have a list judged; it costs a credit for each address."""
        path = f"/emailvalidation/lists/{_path_part('list_id', list_id)}/validate"
        self._post(Call("the validation", path, body=b"{}"), lambda _: None)  # what it says isn't documented

    def validation_list(self, list_id: str) -> ValidationList:
        """Ask how far a list is."""
        path = f"/emailvalidation/lists/{_path_part('list_id', list_id)}"
        return self._get(Call("the validation list", path), lambda answer: answers.validation_list(answer, list_id))

    def validated(self, list_id: str, *, page_size: int) -> Iterator[Validation]:
        """List what a list's addresses were judged to be."""
        path = f"/emailvalidation/lists/{_path_part('list_id', list_id)}/emails"
        return self._listed(Call("the validation list", path), page_size, answers.validation, lambda row: row)

    def validating(self, list_id: str, *, interval: float, timeout: float) -> Iterator[ValidationList]:
        """Ask how far a list is until it is done."""
        until = self._clock() + timeout
        while True:
            state = self.validation_list(list_id)
            yield state
            if state.is_processed:
                return
            if self._clock() + interval > until:
                told = f"list {list_id} is at {state.percentage:g} % after {timeout:g} seconds"
                raise ManagementError(f"{self.host}: {told}; it goes on there, so ask again later")
            self._sleep(interval)

    def _listed(
        self, call: Call, page_size: int, read: Callable[[dict[str, Any]], T], key: Callable[[T], object]
    ) -> Iterator[T]:
        if not 1 <= page_size <= _LONGEST_PAGE:
            raise CampaignError(f"page_size is {page_size}: give 1 to {_LONGEST_PAGE} rows")

        def fetch(number: int) -> answers.Page:
            page = (("page", str(number)), ("limit", str(page_size)))
            return self._get(call._replace(query=(*call.query, *page)), answers.read_page)

        def rows() -> Iterator[T]:  # apart, so that what is wrong with the arguments is told at once
            try:
                yield from listed(fetch, page_size, read, key)
            except EndlessError:
                raise ManagementError(f"{self.host}: {call.what}: the same rows come again and again") from None

        return rows()

    def _get(self, call: Call, read: Callable[[Any], T]) -> T:
        """Call until it is answered, a few times."""
        wait = _FIRST_WAIT
        for left in reversed(range(_TRIES)):
            try:
                return self._read(call, self._once("GET", call), read)
            except _TryAgainError as trouble:
                pause = max(wait, trouble.retry_after)
                if not left or pause > _LONGEST_WAIT:
                    raise trouble.error from None
            self._sleep(pause)
            wait *= 2
        raise AssertionError("the last try returns or raises")

    def _post(self, call: Call, read: Callable[[Any], T]) -> T:
        """Call once; again only where surely no byte of it left."""
        wait = _FIRST_WAIT
        for left in reversed(range(_TRIES)):
            result = self._once("POST", call)
            if not left or isinstance(result, Response) or result.started or result.certificate:
                break
            self._sleep(wait)
            wait *= 2
        try:
            return self._read(call, result, read)
        except _TryAgainError as trouble:
            raise trouble.error from None

    def _read(self, call: Call, result: Response | Failure, read: Callable[[Any], T]) -> T:
        """Read an answer.

        Raises:
            AuthenticationError: 401 or 403.
            ManagementError: it is a refusal or a redirect, or comes from another host.
            _TryAgainError: the next try may be answered.
        """
        verdict = judge(result, self._secrets)
        reason = "; ".join(item for item in (verdict.message, *verdict.errors) if item != "error")
        if isinstance(result, Response) and 200 <= result.status < 300:  # noqa: PLR2004 - HTTP's classes of status
            try:
                return read(answers.load(result.body))
            except answers.UnreadableAnswer as trouble:
                reason = f"HTTP {result.status}, {trouble}"
        elif isinstance(result, Response) and result.status in (401, 403):
            raise AuthenticationError(f"{self.host} refused the credentials: {reason}")
        elif verdict.http_status == 404 and (verdict.message.endswith(f": {_ABSENT}") or _ABSENT in verdict.errors):  # noqa: PLR2004 - HTTP's Not Found
            raise _AbsentError(f"{self.host} gave no word on {call.what}: {reason}", http_status=404)
        if (seconds := verdict.retry_after or 0.0) > _LONGEST_WAIT:
            reason += f"; it asks for {seconds:.0f} seconds of patience"
        if in_doubt := call.body is not None and _may_be_done(result):
            reason += "; it may have been done all the same, so look before you ask again"
        error = ManagementError(
            f"{self.host} gave no word on {call.what}: {reason}",
            http_status=result.status if isinstance(result, Response) else None,
            in_doubt=in_doubt,
        )
        if _is_worth_another_try(result):
            raise _TryAgainError(error, seconds)
        raise error

    def _once(self, method: str, call: Call) -> Response | Failure:
        key, secret = self._secrets
        headers = {"Accept": "application/json", "consumerKey": key, "consumerSecret": secret}
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        query = f"?{urlencode(call.query)}" if call.query else ""
        with self._borrowed() as poster:
            return poster.call(
                method, Request(f"{self.base_url}{call.path}{query}", headers, call.body or b"", self._secrets)
            )

    @contextmanager
    def _borrowed(self) -> Iterator[Poster]:
        """A connection that nobody else uses meanwhile; it is kept for the next call, unless `close` came between."""
        from turbobatch.transport.requests import Poster

        with self._lock:
            closings = self._closings
            poster = self._idle.pop() if self._idle else None
        if poster is None:
            poster = Poster(timeout=self._timeout, verify=self._verify, answer_limit=_ANSWER_LIMIT)
        try:
            yield poster
        finally:
            with self._lock:
                is_wanted = closings == self._closings
                if is_wanted:
                    self._idle.append(poster)
            if not is_wanted:
                poster.close()


class _TryAgainError(Exception):
    """The call brought nothing, but the next try may; after the last it is the `error`."""

    def __init__(self, error: ManagementError, retry_after: float) -> None:
        self.error = error
        self.retry_after = retry_after
        super().__init__(str(error))


class _AbsentError(ManagementError):
    """The API says that it has no such email."""


def _may_be_done(result: Response | Failure) -> bool:
    """Whether a POST that brought nothing may have been acted upon; a clear refusal says that it wasn't."""
    if isinstance(result, Response):
        return not 300 <= result.status < 500 or result.status in (303, 408)  # noqa: PLR2004 - 303: See Other, RFC 9110
    return result.started


def _is_worth_another_try(result: Response | Failure) -> bool:
    if isinstance(result, Response):
        return 200 <= result.status < 300 or result.status in _TRY_AGAIN  # noqa: PLR2004 - a 2xx that can't be read
    return not result.certificate


def _digest(row: object) -> bytes:
    """What tells a row from others, in a tenth of its memory."""
    return hashlib.sha256(repr(row).encode()).digest()[:16]


def _days(since: date, until: date) -> list[tuple[str, str]]:
    first, last = (date(day.year, day.month, day.day) for day in (since, until))  # a datetime would be written whole
    if first > last:
        raise CampaignError(f"there are no days from {first} to {last}")
    return [("from", first.isoformat()), ("to", last.isoformat())]


def _check_word(name: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise CampaignError(f"there is no {name} {word!r}: {did_you_mean(word, known)}")


def _checked(addresses: Iterable[str]) -> list[str]:
    """The addresses as they are: malformed ones are what a validation finds, but each must be one line.

    Raises:
        CampaignError: there are none, or one isn't.
    """
    found = [addresses] if isinstance(addresses, str) else list(addresses)
    for address in found:
        if not address.strip() or holds_control(address):
            raise CampaignError(f"the address {address!r} is empty, or holds a line break or control character")
    if not found:
        raise CampaignError("there are no addresses")
    return found


def _path_part(name: str, text: str) -> str:
    if text.strip(".") != text or not text or holds_control(text):
        raise CampaignError(f"{name} {text!r} names nothing")
    return quote(text, safe="")


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def _form_with_file(name: str, lines: list[str]) -> tuple[bytes, str]:
    """A form whose field `file` is a table of one column without a heading, and its type (RFC 7578)."""
    table = io.StringIO()
    csv.writer(table).writerows([line] for line in lines)
    boundary = secrets.token_hex(16)
    disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
    head = f"--{boundary}\r\n{disposition}\r\nContent-Type: text/csv\r\n\r\n"
    return f"{head}{table.getvalue()}\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
