"""What the management calls answer, as data; read from JSON of any shape (pure).

Numbers are read as the text that they were written as, so that an id of 64 bits or more stays exact. What is missing
or odd becomes an empty text, not an error; only an answer that can't be of this call at all is refused.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ANALYTICS_STATUSES = ("NEW", "DEFER", "SUCCESS", "OPEN", "CLICK", "UNSUB", "REPORT", "FAIL", "SYSFAIL")
ANALYTICS_FILTERS = ("subject", "sender", "recipient", "domain")
SUPPRESSION_SOURCES = ("manual", "bounce", "spam", "unsubscribe", "validation_failed")

_SURROGATES = re.compile("[\ud800-\udfff]")


class UnreadableAnswer(ValueError):  # noqa: N818 - it is caught where the call is known, and told there
    """The answer is none of the call's: no JSON, or not of its shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsRow:
    """What became of one email to one recipient.

    Attributes:
        id: the message id that `/mail/send` answered.
        subject: as it was sent.
        sender: the address it came from.
        recipient: the address it went to.
        send_time: in UTC; None where the answer's can't be read.
        status: the vendor's word: NEW, DEFER (queued), SUCCESS, OPEN, CLICK, UNSUB, REPORT (delivered), FAIL (bounced),
            SYSFAIL (dropped), or one that isn't documented.
        domain: as the vendor tells it.
        error: what the recipient's server said; empty where all is well.
        recipient_domain: the recipient's domain.
        x_campaign_id: the campaign's label.
        reference_id: not documented, so None is likely.
    """

    id: str
    subject: str
    sender: str
    recipient: str
    send_time: datetime | None
    status: str
    domain: str
    error: str
    recipient_domain: str
    x_campaign_id: str
    reference_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressedAddress:
    """An address that the vendor sends nothing to any more.

    Attributes:
        date: since when, in the vendor's own writing: its zone isn't documented.
        sender: whose email it was about.
        source: manual, bounce, spam, unsubscribe, validation_failed, or a word that isn't documented.
        subject: of that email.
        recipient: the address.
        reason: why.
    """

    date: str
    sender: str
    source: str
    subject: str
    recipient: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionImport:
    """What became of addresses that were given to be suppressed: how many were taken, how many were none."""

    status: str
    valid: int
    invalid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The vendor's judgement of an address.

    Attributes:
        email: the address.
        status: valid, invalid, catch_all, unknown, spamtrap, abuse, do_not_mail, or a word that isn't documented.
        sub_status: more exactly; may be empty.
        did_you_mean: the address that may have been meant.
    """

    email: str
    status: str
    sub_status: str
    did_you_mean: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationList:
    """A list of addresses under validation: `percentage`, 0 to 100, of its `total_emails`, None where not told."""

    list_id: str
    total_emails: int | None
    is_processed: bool
    percentage: float


class Page(NamedTuple):
    """One page of a list: its rows, and how many there are on all pages together, None where not told."""

    rows: list[dict[str, Any]]
    total: int | None


def load(body: bytes) -> Any:
    """Read JSON, each number as the text that it was written as; nothing at all is read as null.

    Raises:
        UnreadableAnswer: it is none.
    """
    try:
        return json.loads(body.strip() or b"null", parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise UnreadableAnswer("no readable answer") from None


def read_page(answer: Any) -> Page:
    """Read `{count, results}`; a bare list is taken for its results. What is no object in it has nothing to tell.

    Raises:
        UnreadableAnswer: there is no list of results: an empty page would say that there is nothing.
    """
    rows, total = answer, None
    if isinstance(answer, dict):
        names = _named(answer)
        rows, total = names.get("results"), _whole(names.get("count"))
        if rows is None and total == 0:
            rows = []
    found = [_named(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not found and rows != []:
        raise UnreadableAnswer("the answer has no list of results")
    return Page(found, total)


def read_object(answer: Any) -> dict[str, Any]:
    """Read one object, also where it is the first of a list of results.

    Raises:
        UnreadableAnswer: it is none.
    """
    if isinstance(answer, list) or (isinstance(answer, dict) and isinstance(answer.get("results"), list)):
        rows = read_page(answer).rows
        answer = rows[0] if rows else None
    if not isinstance(answer, dict):
        raise UnreadableAnswer("the answer is no object")
    return _named(answer)


def analytics_row(row: Mapping[str, Any], mid: str = "") -> AnalyticsRow:
    """Read a row of analytics; `mid` is the id asked for, if one was."""
    return AnalyticsRow(
        id=_text(row.get("id")) or mid,
        **_texts(row, "subject", "sender", "recipient", "status", "domain", "error", "recipient_domain"),
        x_campaign_id=_text(row.get("x_campaign_id")),
        send_time=_time(_text(row.get("send_time"))),
        reference_id=_text(row.get("reference_id")) or None,
    )


def suppressed_address(row: Mapping[str, Any]) -> SuppressedAddress:
    """Read a row of the suppressions."""
    return SuppressedAddress(**_texts(row, "date", "sender", "source", "subject", "recipient", "reason"))


def suppression_import(answer: Any) -> SuppressionImport:
    """Read what became of an import; counts that aren't told are 0.

    Raises:
        UnreadableAnswer: it is no object.
    """
    row = read_object(answer)
    return SuppressionImport(
        status=_text(row.get("status")), valid=_whole(row.get("valid")) or 0, invalid=_whole(row.get("invalid")) or 0
    )


def validation(row: Mapping[str, Any], email: str = "") -> Validation:
    """Read a judgement; `email` is the address asked about, if one was. Without a word it is "unknown"."""
    return Validation(
        email=_text(row.get("email")) or email,
        status=_text(row.get("status")) or "unknown",
        sub_status=_text(row.get("sub_status")),
        did_you_mean=_text(row.get("did_you_mean")) or None,
    )


def one_validation(answer: Any, email: str) -> Validation:
    """Read the judgement of one address.

    Raises:
        UnreadableAnswer: there is none in it.
    """
    row = read_object(answer)
    if not _text(row.get("status")):
        raise UnreadableAnswer("the answer has no status")
    return validation(row, email)


def validation_list(answer: Any, list_id: str = "") -> ValidationList:
    """Read the state of a list; `list_id` is the one asked about, if one was.

    Raises:
        UnreadableAnswer: it is no object, or names no list.
    """
    row = read_object(answer)
    list_id = list_id or _text(row.get("list_id"))
    if not list_id:
        raise UnreadableAnswer("the answer has no list_id")
    return ValidationList(
        list_id=list_id,
        total_emails=_whole(row.get("total_emails")),
        is_processed=_text(row.get("is_processed")).lower() in ("true", "1", "yes"),
        percentage=_percentage(row.get("percentage")),
    )


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """The members under one spelling of their names: a wire that says both X-campaign-ID and x_campaign_id has more."""
    return {str(name).lower().replace("-", "_"): value for name, value in row.items()}


def _texts(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: _text(row.get(name)) for name in names}


def _text(value: Any) -> str:
    """A JSON value as text that can be written to a file; empty for null."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        try:
            value = json.dumps(value, ensure_ascii=False)
        except RecursionError:
            return "nested too deeply"
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", str(value))


def _whole(value: Any) -> int | None:
    text = _text(value).strip()
    # 18 digits fit 64 bits; there are no counts beyond.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None  # noqa: PLR2004 - 64 bits


def _percentage(value: Any) -> float:
    try:
        number = float(_text(value).strip().removesuffix("%"))
    except ValueError:
        return 0.0
    return 0.0 if math.isnan(number) else min(max(number, 0.0), 100.0)


def _time(text: str) -> datetime | None:
    """Read `YYYY-MM-DD HH:MM:SS`, which is in UTC because that was asked for, or any other ISO 8601."""
    try:
        time = datetime.fromisoformat(text.strip())
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
