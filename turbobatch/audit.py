"""Results → one row per failed address: where, why, and what to try."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from turbobatch.addresses import suggest
from turbobatch.errors import CampaignError
from turbobatch.policy import SETTLED_WELL, Status
from turbobatch.results import RESULT_COLUMNS

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


class FailedAddress(NamedTuple):
    """One row of an audit; the source row's own columns follow it."""

    address: str | None  # None where the trouble isn't one address's
    field: str | None  # to, cc, bcc, from, reply-to
    status: str
    reason: str
    suggestion: str | None
    send_key: str | None
    row: int


def audit(results: pd.DataFrame | Iterable[pd.DataFrame], *, start: int = 0) -> pd.DataFrame:
    """One row per failed address: `address, field, status, reason, suggestion, send_key, row`, then the row's columns.

    Args:
        results: what `Campaign.results` returned or `read_report` read, or its chunks in order.
        start: the number of the first row, where the results don't begin with row 0.

    Rows that are sent, duplicate, suppressed or pending are left out. Own columns called like one of the audit's give
    way.

    Raises:
        CampaignError: these are no results.
    """
    import pandas as pd

    from turbobatch.frames import AuditFrame, framed

    chunks = [results] if isinstance(results, pd.DataFrame) else results
    return framed(AuditFrame, pd.concat(audit_chunks(chunks, start=start), ignore_index=True))


def audit_chunks(results: Iterable[pd.DataFrame], *, start: int = 0) -> Iterator[pd.DataFrame]:
    """The audits of consecutive chunks, those with failures alone; one without, if there are none at all.

    Raises:
        CampaignError: these are no results.
    """
    import pandas as pd

    without = pd.DataFrame(columns=list(FailedAddress._fields))
    is_clean = True
    for chunk in results:
        found = _audit_chunk(chunk, start)
        start += len(chunk)
        if found.empty:
            without = found
            continue
        is_clean = False
        yield found
    if is_clean:
        yield without


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


def _audit_chunk(chunk: pd.DataFrame, start: int) -> pd.DataFrame:
    import pandas as pd

    if missing := [name for name in RESULT_COLUMNS if name not in chunk.columns]:
        raise CampaignError(f"these are no results, they have no column {missing[0]!r}: read reports with read_report")
    places, rows = [], []
    bad = [place for place, status in enumerate(chunk["send_status"].tolist()) if status not in LEFT_OUT]
    failed = chunk.iloc[bad]
    columns = (failed[name].tolist() for name in ("send_status", "send_message", "send_errors", "send_key"))
    for place, status, message, errors, key in zip(bad, *columns, strict=True):
        for address, field, reason in failed_addresses(status, _text(message), errors):
            guess = suggest(address) if address else None
            places.append(place)
            rows.append(FailedAddress(address, field, status, reason, guess, _text(key) or None, start + place))
    kinds = dict.fromkeys(FailedAddress._fields, "string") | {"row": "int64"}
    head = pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
    own = [name for name in chunk.columns if name not in RESULT_COLUMNS and name not in FailedAddress._fields]
    tail = chunk.iloc[places][own].reset_index(drop=True)
    found = pd.concat([head, tail], axis=1)
    found.attrs = chunk.attrs  # the types of the source's columns
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
