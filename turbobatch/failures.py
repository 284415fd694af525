"""Why a row wasn't sent, or didn't arrive: whom it concerns, of what kind it is, and what to try."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from turbobatch.addresses import Address, AddressError, split_list
from turbobatch.delivery import DELIVERY_COLUMNS, UNDELIVERED, failures_of, has_deliveries
from turbobatch.policy import Status
from turbobatch.typos import has_mistyped_domain, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

# How the two versions name a bad address: v1 'x' recipient email not valid, v2 'x' 'to' email not valid. Several may
# stand in one text.
_NOT_VALID = re.compile(r"' '?(?P<field>recipient|to|cc|bcc|from|reply-to)'? email not valid")
_BAD_SENDER = re.compile(r"missing or not valid sender email \(from\)(?:: '(?P<address>.*)')?", re.DOTALL)
_MISSING = re.compile(r"missing recipients \((?P<field>to)\)")
_SUPPRESSED = re.compile(r"(?P<address>\S+@\S+) is suppressed ")
_IN_FIELD = re.compile(r"(?:name in )?'(?P<field>to|cc|bcc|from|reply-to)' holds ")
_BLANK = re.compile(r"column '.*' is blank", re.DOTALL)
_PLACE = re.compile(r"row \d+(?: \(.*?\))?: ")

_ADDRESS_FIELDS = {"to": "to", "cc": "cc", "bcc": "bcc", "from": "from", "reply_to": "reply-to"}

LEFT_OUT = frozenset({Status.SENT, Status.PENDING})
"""Rows of these statuses have no failed address, unless the vendor tells of one that didn't arrive."""


class Category(StrEnum):
    """The kinds of failure, in the words of the `category` column."""

    SYNTAX = "syntax"  # no address at all
    DOMAIN_TYPO = "domain typo"  # the domain looks like a slip of one that many people have
    BLANK = "blank"  # there is no address
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    REFUSED = "refused by the API"
    NOT_ACCEPTED = "not accepted"  # no connection, or told to come back later, until retries were used up
    UNMERGED = "row can't be merged"  # a missing attachment, another blank cell, a template's error
    BOUNCED = "bounced"
    DROPPED = "dropped"
    COMPLAINT = "complaint"
    UNSUBSCRIBED = "unsubscribed"
    IN_DOUBT = "in doubt"


AS_MEANT = frozenset({Category.DUPLICATE, Category.SUPPRESSED})
"""What is listed though nobody has to do anything about it: terminals count it and name none of its rows."""

_BY_STATUS: dict[str, Category] = {
    Status.IN_DOUBT: Category.IN_DOUBT,
    Status.FAILED: Category.NOT_ACCEPTED,
    Status.DUPLICATE: Category.DUPLICATE,
    Status.SUPPRESSED: Category.SUPPRESSED,
}


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
    """The failures of consecutive rows of results, in their order; `start` is the number of the first row.

    Where the results were joined with deliveries, sent rows that didn't arrive, or weren't welcome, are among them.
    """
    statuses = chunk["send_status"].tolist()
    delivery = _deliveries(chunk)
    bad = [place for place, status in enumerate(statuses) if status not in LEFT_OUT or place in delivery]
    failed = chunk.iloc[bad]
    columns = (failed[name].tolist() for name in ("send_status", "send_message", "send_errors", "send_key"))
    for place, status, message, errors, key in zip(bad, *columns, strict=True):
        found = delivery.get(place) or _of_row(status, _text(message), errors)
        for address, field, reason, kind in found:
            guess = suggest(address) if address and kind is not Category.SUPPRESSED else None
            yield FailedAddress(address, field, status, reason, kind, guess, _text(key) or None, start + place)


def failed_addresses(status: str, message: str, errors: Iterable[str]) -> Iterator[tuple[str | None, str | None, str]]:
    """Read (address, field, reason) from a row's errors; an unknown text stays whole, as the reason.

    `message` is the row's own: for rows that couldn't be merged it tells the field that an error is in.
    """
    for text in list(errors) or [_PLACE.sub("", message, count=1) or status]:
        if found := _bad_addresses(text):
            yield from found
        elif match := _BAD_SENDER.search(text):
            yield match["address"], "from", text
        elif match := _MISSING.search(text) or _IN_FIELD.match(text):
            yield None, match["field"], text
        elif match := _SUPPRESSED.match(text):
            yield match["address"], _field_of(text, message), text
        else:
            yield None, _field_of(text, message), text


def categorise(status: str, address: str | None, field: str | None, reason: str) -> Category:
    """The kind of a failure."""
    if (settled := _BY_STATUS.get(status)) is not None:
        return settled
    if address and has_mistyped_domain(address):
        return Category.DOMAIN_TYPO
    if address:
        return Category.REFUSED if status == Status.REJECTED and _is_address(address) else Category.SYNTAX
    if address == "" or _MISSING.search(reason) or (field is not None and _BLANK.fullmatch(reason)):
        return Category.BLANK
    if status == Status.REJECTED:
        return Category.REFUSED
    return Category.BLANK if _BAD_SENDER.search(reason) else Category.UNMERGED


_Found = tuple[str | None, str | None, str, Category]


def _of_row(status: str, message: str, errors: Iterable[str]) -> Iterator[_Found]:
    for address, field, reason in failed_addresses(status, message, errors):
        yield address, field, reason, categorise(status, address, field, reason)


def _deliveries(chunk: pd.DataFrame) -> dict[int, list[_Found]]:
    """What the vendor tells of sent rows that didn't arrive, by place."""
    if not has_deliveries(chunk.columns):
        return {}
    *worst, whole = DELIVERY_COLUMNS
    columns = [chunk[name].tolist() for name in ("send_status", *worst)]
    columns.append(chunk[whole].tolist() if whole in chunk.columns else [None] * len(chunk))
    return {
        place: list(_undelivered(_text(told), _text(addresses), _text(reason), _text(all_)))
        for place, (status, told, addresses, reason, all_) in enumerate(zip(*columns, strict=True))
        if status == Status.SENT and _text(told) in UNDELIVERED
    }


def _undelivered(worst: str, addresses: str, reason: str, failures: str) -> Iterator[_Found]:
    """Each failed recipient; those of the worst status alone where the others aren't told, or not readably."""
    named: list[str | None] = [*split_list(addresses)]
    found: Iterable[tuple[str | None, str, str]] = failures_of(failures) or [
        (address, worst, reason) for address in named or [None]
    ]
    for address, status, why in found:
        kind = Category(status)
        is_typo = kind is Category.BOUNCED and address is not None and has_mistyped_domain(address)
        yield address or None, None, why or kind, Category.DOMAIN_TYPO if is_typo else kind


def _bad_addresses(text: str) -> list[tuple[str, str, str]]:
    """The malformed addresses that a text names, each with field and reason: the whole text where it names one."""
    found: list[tuple[str, str, str]] = []
    begin = 0
    for match in _NOT_VALID.finditer(text):
        quote = text.find("'", begin, match.start())
        if quote < 0:
            continue
        field = "to" if match["field"] == "recipient" else match["field"]
        found += [(item, field, text[quote : match.end()]) for item in _items(text[quote + 1 : match.start()])]
        begin = match.end()
    return [(address, field, text) for address, field, _ in found] if len(found) == 1 else found


def _items(quoted: str) -> list[str]:
    """The addresses of what is quoted as one: a list's items, without names."""
    items = list(split_list(quoted))
    items = items if len(items) > 1 and all("@" in item for item in items) else [quoted]
    return [item.rpartition("<")[2][:-1] if "<" in item and item.endswith(">") else item for item in items]


def _field_of(error: str, message: str) -> str | None:
    """The address field that an error of a row is in, by the row's message: `row 1: to: column 'email' is blank; …`."""
    said = f"; {_PLACE.sub('', message, count=1)}; "
    for name, field in _ADDRESS_FIELDS.items():
        if error.startswith(f"{name}, line ") or f"; {name}: {error}; " in said:
            return field
    return None


def _is_address(text: str) -> bool:
    try:
        Address.parse(text)
    except AddressError:
        return False
    return True


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
