"""Why a row wasn't sent, or didn't arrive: whom it concerns, of what kind it is, and what to try."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from turbobatch.addresses import suggest
from turbobatch.policy import SETTLED_WELL, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

# How the two versions name a bad address: v1 'x' recipient email not valid, v2 'x' 'to' email not valid.
_BAD_ADDRESS = re.compile(
    r"'(?P<address>.*)' '?(?P<field>recipient|to|cc|bcc|from|reply-to)'? email not valid", re.DOTALL
)
_BAD_SENDER = re.compile(r"missing or not valid sender email \(from\)(: '(?P<address>.*)')?", re.DOTALL)
_MISSING = re.compile(r"missing recipients \((?P<field>to)\)")

LEFT_OUT = SETTLED_WELL | {Status.PENDING}
"""Rows of these statuses have no failed address."""


class Category(StrEnum):
    """The kinds of failure, in the words of the `category` column."""

    SYNTAX = "syntax"  # no address at all
    DOMAIN_TYPO = "domain typo"  # an address, but its domain looks mistyped
    BLANK = "blank"  # there is no address, or nothing where something belongs
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    REFUSED = "refused by the API"
    NOT_ACCEPTED = "not accepted"  # no connection, or told to come back later, until retries were used up
    UNMERGED = "row can't be merged"
    BOUNCED = "bounced"
    DROPPED = "dropped"
    COMPLAINT = "complaint"
    UNSUBSCRIBED = "unsubscribed"
    IN_DOUBT = "in doubt"


class FailedAddress(NamedTuple):
    """One failure; as columns of an audit the source row's own follow."""

    address: str | None  # None where the trouble isn't one address's
    field: str | None  # to, cc, bcc, from, reply-to
    status: str
    reason: str
    category: str
    suggestion: str | None
    send_key: str | None
    row: int


def failures_in(chunk: pd.DataFrame, start: int) -> Iterator[FailedAddress]:
    """The failures of consecutive rows of results, in their order; `start` is the number of the first row."""
    bad = [place for place, status in enumerate(chunk["send_status"].tolist()) if status not in LEFT_OUT]
    failed = chunk.iloc[bad]
    columns = (failed[name].tolist() for name in ("send_status", "send_message", "send_errors", "send_key"))
    for place, status, message, errors, key in zip(bad, *columns, strict=True):
        for address, field, reason in failed_addresses(status, _text(message), errors):
            guess = suggest(address) if address else None
            kind = categorise(status, address, reason)
            yield FailedAddress(address, field, status, reason, kind, guess, _text(key) or None, start + place)


def failed_addresses(status: str, message: str, errors: Iterable[str]) -> Iterator[tuple[str | None, str | None, str]]:
    """Read (address, field, reason) from a row's errors; an unknown text stays whole, as the reason."""
    texts = list(errors) or [message or status]
    for text in texts:
        if match := _BAD_ADDRESS.search(text):
            field = "to" if match["field"] == "recipient" else match["field"]
            yield match["address"], field, text
        elif match := _BAD_SENDER.search(text):
            yield match["address"], "from", text
        elif match := _MISSING.search(text):
            yield None, match["field"], text
        else:
            yield None, None, text


def categorise(status: str, address: str | None, reason: str) -> Category:
    """The kind of a failure."""
    if status == Status.IN_DOUBT:
        return Category.IN_DOUBT
    if status == Status.FAILED:
        return Category.NOT_ACCEPTED
    if address:
        return Category.SYNTAX
    if _MISSING.search(reason) or reason.endswith("is blank"):
        return Category.BLANK
    return Category.REFUSED if status == Status.REJECTED else Category.UNMERGED


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
