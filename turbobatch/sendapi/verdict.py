"""What an answer, or the lack of one, proves about an email.

One question decides everything: may the email have been accepted? Only a readable answer settles it with "yes" or
"no"; no answer means "no" just as long as no byte of the request was started. Everything else is in doubt.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from dataclasses import dataclass, field, replace
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from turbobatch.addresses import CONTROL
from turbobatch.sendapi.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRY_AFTER_CAP = 3600.0
"""Seconds: a longer Retry-After is not believed."""

# RFC 9110, 15.5, and RFC 6585, 5: what a server says of a request that it hasn't begun to act upon. A proxy may say one
# of the others, 408 or 499 for instance, of a request that the API has accepted.
_REFUSED_UNREAD = frozenset({400, 404, 405, 407, 411, 414, 415, 417, 421, 426, 431})
_MESSAGE_LIMIT = 500  # characters of a foreign text that are worth a cell


class VerdictKind(StrEnum):
    """What is known of one POST."""

    SENT = "sent"  # the API answered OK
    REJECTED = "rejected"  # the API refused this email
    NOT_SENT = "not_sent"  # surely not accepted: may be tried again
    THROTTLED = "throttled"  # surely not accepted: the API wants a pause
    IN_DOUBT = "in_doubt"  # may have been accepted
    CREDENTIALS = "credentials"  # not accepted: nothing will be with these credentials
    NO_CREDIT = "no_credit"  # not accepted: the account has no credit left
    MISDIRECTED = "misdirected"  # not accepted: this host is not the API (a redirect, a bad certificate)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer. Header names are lower-case; `body` is decoded from its transfer and content encodings."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. `started` tells whether a byte of the request may have gone out."""

    message: str
    started: bool
    certificate: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one POST, with the answer's own words."""

    kind: VerdictKind
    message: str
    errors: tuple[str, ...] = ()
    mid: str | None = None
    http_status: int | None = None
    retry_after: float | None = None


def judge(result: Response | Failure, secrets: tuple[str, ...] = ()) -> Verdict:
    """Read the verdict from an answer or failure, by the API page's table of what a failed POST proves.

    Here is where foreign text comes in: each becomes one line of bounded length, and has `***` for the secrets that
    travelled with the request.
    """
    if isinstance(result, Response) and (location := result.headers.get("location")):
        # Before its query is cut off, which could leave a part of a secret.
        result = replace(result, headers={**result.headers, "location": redacted(location, secrets)})
    verdict = _judge(result)

    def cleaned(text: str) -> str:
        return redacted(text, secrets)[:_MESSAGE_LIMIT]  # in this order, for the same reason

    message, errors = cleaned(verdict.message), tuple(map(cleaned, verdict.errors))
    mid = None if verdict.mid is None else cleaned(verdict.mid)
    if (message, errors, mid) == (verdict.message, verdict.errors, verdict.mid):
        return verdict
    return replace(verdict, message=message, errors=errors, mid=mid)


def _judge(result: Response | Failure) -> Verdict:
    if isinstance(result, Failure):
        return _judge_failure(result)
    answer = _json_object(result.body)
    match result.status:
        case 401 | 403:
            kind = VerdictKind.CREDENTIALS
        case 429:
            kind = VerdictKind.THROTTLED
        case 303:
            # RFC 9110, 15.4.4: See Other answers a request that *was* acted upon.
            kind = VerdictKind.IN_DOUBT
        case status if 300 <= status < 400:  # noqa: PLR2004 - HTTP's classes of status
            kind = VerdictKind.MISDIRECTED
        case status if 200 <= status < 300:  # noqa: PLR2004 - HTTP's classes of status
            return _judge_success(result, answer)
        case status if 400 <= status < 500:  # noqa: PLR2004 - HTTP's classes of status
            return _judge_client_error(result, answer)
        case _:
            kind = VerdictKind.IN_DOUBT
    return _verdict(kind, result, answer)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, 10.2.3), capped; None if it is unreadable."""
    if not value:
        return None
    try:
        seconds = float(value) if value.strip().isdigit() else _http_date(value) - now
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_CAP)


def _judge_failure(failure: Failure) -> Verdict:
    if failure.certificate:
        kind = VerdictKind.MISDIRECTED
    else:
        kind = VerdictKind.IN_DOUBT if failure.started else VerdictKind.NOT_SENT
    return Verdict(kind, _line(failure.message))


def _judge_success(response: Response, answer: dict[str, Any] | None) -> Verdict:
    if answer is not None and answer.get("message") == "OK":
        return Verdict(VerdictKind.SENT, "OK", mid=_text(answer.get("mid")) or None, http_status=response.status)
    if answer is not None and answer.get("message") == "error" and response.status == 200:  # noqa: PLR2004 - the API's
        return _refusal(response, answer)
    return _verdict(VerdictKind.IN_DOUBT, response, answer)


def _judge_client_error(response: Response, answer: dict[str, Any] | None) -> Verdict:
    if answer is not None and answer.get("message") == "error":
        return _refusal(response, answer)
    if answer is not None and answer.get("message") == "OK":
        return _verdict(VerdictKind.IN_DOUBT, response, answer)  # it says yes and no at once
    if response.status == 413:  # noqa: PLR2004 - a proxy before the API finds this email too large
        return _verdict(VerdictKind.REJECTED, response, answer)
    kind = VerdictKind.NOT_SENT if response.status in _REFUSED_UNREAD else VerdictKind.IN_DOUBT
    return _verdict(kind, response, answer)


def _refusal(response: Response, answer: dict[str, Any]) -> Verdict:
    found = answer.get("errors")
    errors = tuple(_text(item) for item in (found if isinstance(found, list) else [found] if found else []))
    kind = VerdictKind.NO_CREDIT if any(map(_tells_no_credit, errors)) else VerdictKind.REJECTED
    return Verdict(kind, "error", errors, http_status=response.status)


def _tells_no_credit(error: str) -> bool:
    return "nocredit" in error.lower() and not error.startswith("'")  # a quote begins with somebody's address


def _verdict(kind: VerdictKind, response: Response, answer: dict[str, Any] | None) -> Verdict:
    said, details = (_text((answer or {}).get(name)) for name in ("message", "details"))
    message = f"HTTP {response.status}" + (f": {said}" if said else "" if answer else ", no readable answer")
    if location := response.headers.get("location"):
        message += f", a redirect to {re.split('[?#]', location)[0]}"  # the rest could repeat credentials
    return Verdict(
        kind,
        _line(message),
        (details,) if details else (),
        http_status=response.status,
        retry_after=retry_after(response.headers.get("retry-after"), time.time()),
    )


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _http_date(value: str) -> float:
    date = email.utils.parsedate_to_datetime(value)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()  # asctime's form names no zone


def _text(value: Any) -> str:
    """A JSON value of a foreign answer as one line, whatever it is; empty for null."""
    try:
        return "" if value is None else _line(str(value))
    except RecursionError:
        return "nested too deeply"


def _line(text: str) -> str:
    return CONTROL.sub(" ", text).strip()
