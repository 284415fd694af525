"""The table joined with the journal: its own columns, then one verdict per row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from turbobatch.arrow import remember_types, table_types
from turbobatch.errors import CampaignError
from turbobatch.feed import look_up
from turbobatch.policy import Status
from turbobatch.spill import Spill
from turbobatch.units import Finder, changed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from turbobatch.journal import Entry, Journal
    from turbobatch.merge import Merger
    from turbobatch.recipients import Chunk, Table
    from turbobatch.units import Batch, Finding, Layout

CAMPAIGN = "turbobatch.campaign"
"""Where a frame of results tells its campaign's name, in DataFrame.attrs."""

_NUMBERED = "turbobatch.numbered"
"""In DataFrame.attrs: the index of these rows has their numbers in the table, also once some were picked out."""

_CHUNK = 5000  # rows


class RowVerdict(NamedTuple):
    """One row's result columns, in their order."""

    send_status: Status
    send_message: str = ""
    send_errors: tuple[str, ...] = ()
    send_mid: str | None = None
    send_http_status: int | None = None
    send_attempts: int = 0
    send_time: float | None = None  # seconds since the epoch
    send_seconds: float | None = None
    send_key: str | None = None


RESULT_COLUMNS = RowVerdict._fields

Columns = list[Sequence[Any]]
"""The verdicts of some rows, by the column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A table's verdicts, read from the journal chunk by chunk; iterate as often as you like.

    Columns of the table's own that are called like a result column (a report that is sent again) give way.
    """

    table: Table
    layout: Layout
    merger: Merger
    journal: Journal
    campaign: str = ""  # its name, which the frames carry
    in_use: bool = False  # by a run, it seems: then rows in doubt may just wait for their answers
    elsewhere: Mapping[int, tuple[int, bytes]] = field(default_factory=dict)  # a Finder's, of a part of a table

    def frames(self) -> Iterator[pd.DataFrame]:
        """The rows in the table's order, some thousand at a time, with the table's own types and index.

        A table without rows gives one frame without rows.
        """
        types = table_types(self.table)
        empty = True
        for chunk, columns in self._chunks():
            empty = False
            found = self._named(remember_types(_with_columns(chunk.frame(), columns), types))
            yield numbered(found, chunk.start)
        if empty:
            yield self._named(remember_types(joined(_without_rows(self.table), []), types))

    def frame(self) -> pd.DataFrame:
        """All rows at once."""
        import pandas as pd

        frames = list(self.frames())
        whole = pd.concat(frames)
        whole.attrs = frames[0].attrs
        return numbered(whole, 0)

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        frame.attrs[CAMPAIGN] = self.campaign
        return frame

    def in_doubt(self) -> list[str]:
        """The keys of all emails in doubt, also of those whose rows have left the table."""
        return [key for key, _ in self.doubted()]

    def doubted(self) -> Iterator[tuple[str, int]]:
        """The same, each with how many POSTs of it have begun."""
        return ((entry.key, entry.attempts) for entry in self.journal.entries(Status.IN_DOUBT))

    def verdicts(self) -> Iterator[RowVerdict]:
        """One verdict per row, in the table's order."""
        for _, columns in self._chunks():
            yield from map(RowVerdict, *columns)

    def _finder(self) -> Finder:
        return Finder(self.layout, self.merger, elsewhere=self.elsewhere)

    def _chunks(self) -> Iterator[tuple[Chunk, Columns]]:
        if self.layout.group_by:
            yield from self._chunks_of_groups()
            return
        finder = self._finder()
        for chunk in self.table.chunks(_CHUNK):
            batches = finder.batches_of_chunk(self.table, chunk)
            parts = [_columns(batch, entries) for batch, entries in look_up(batches, self.journal)]
            yield chunk, parts[0] if len(parts) == 1 else [list(chain(*cells)) for cells in zip(*parts, strict=True)]

    def _chunks_of_groups(self) -> Iterator[tuple[Chunk, Columns]]:
        # A group's verdict is known when its last row is, and every one of its rows gets it; so groups go first.
        by_first_row = Spill[str]()
        for batch, entries in look_up(self._finder().batches(self.table), self.journal):
            for finding, entry in zip(batch.findings, entries, strict=True):
                by_first_row[str(finding.unit.number)] = json.dumps(_verdict(finding, entry))
        first_rows = Spill[int]()
        for chunk in self.table.chunks(_CHUNK):
            verdicts = []
            for number, values in enumerate(chunk.rows(), chunk.start):
                group = self.layout.group_of(values)
                first = number if group is None else first_rows.setdefault(group, number)
                try:
                    verdicts.append(_unpacked(by_first_row[str(first)]))
                except KeyError:
                    raise changed(self.table) from None
            yield chunk, _transposed(verdicts)


def check_results(columns: Iterable[object]) -> None:
    """Find out whether a frame of these columns has the result columns, each once.

    Raises:
        CampaignError: it hasn't.
    """
    counts = Counter(columns)
    for name in RESULT_COLUMNS:
        if not counts[name]:
            raise CampaignError(f"these are no results, they have no column {name!r}: read reports with read_report")
        if counts[name] > 1:
            raise CampaignError(f"these are no results, they have more than one column {name!r}: keep one")


def numbered(frame: pd.DataFrame, start: int) -> pd.DataFrame:
    """Note whether the index of consecutive rows, whose first has the number `start`, are their numbers."""
    import pandas as pd

    is_so = frame.index.equals(pd.RangeIndex(start, start + len(frame)))
    frame.attrs = {**frame.attrs, _NUMBERED: is_so}
    return frame


def row_numbers(frame: pd.DataFrame, start: int) -> Sequence[int]:
    """The numbers that rows of results have in their table, by the index where it tells them.

    It does for rows that were picked from results or from a report, in whatever order. Where it doesn't (the table was
    a DataFrame with an index of its own, or the frame got another) they count on from `start`.
    """
    index = frame.index
    tells = frame.attrs.get(_NUMBERED) is True and index.name is None and index.dtype.kind == "i" and index.is_unique
    return index.tolist() if tells else range(start, start + len(frame))


def joined(own: pd.DataFrame, verdicts: Sequence[RowVerdict]) -> pd.DataFrame:
    """A table's rows with their result columns: strings, lists, Int16, UTC timestamps, floats."""
    return _with_columns(own, _transposed(verdicts))


def _with_columns(own: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    import pandas as pd

    own = own.drop(columns=[name for name in own.columns if name in RESULT_COLUMNS])
    status, message, errors, mid, http_status, attempts, time, seconds, key = columns
    moments = pd.to_datetime(pd.Series(time, dtype="float64"), unit="s", utc=True)
    added = {
        "send_status": pd.array([str(item) for item in status], dtype="string"),
        "send_message": pd.array(message, dtype="string"),
        "send_errors": pd.Series([list(item) for item in errors], dtype=object).to_numpy(),
        "send_mid": pd.array(mid, dtype="string"),
        "send_http_status": pd.array(http_status, dtype="Int16"),
        "send_attempts": pd.array(attempts, dtype="Int16"),
        "send_time": moments.dt.round("us").dt.as_unit("us").array,
        "send_seconds": pd.array(seconds, dtype="float64") if seconds else pd.Series(dtype="float64").array,
        "send_key": pd.array(key, dtype="string"),
    }
    return own.assign(**added)


def _columns(batch: Batch, entries: Sequence[Entry | None]) -> Columns:
    known = [entry for entry in entries if entry is not None]
    if known and len(known) == len(entries):
        key, *columns = zip(*known, strict=True)
        return [*columns[: len(RESULT_COLUMNS) - 1], key]  # a verdict has what an entry has, but for the key's place
    return _transposed([_verdict(*pair) for pair in zip(batch.findings, entries, strict=True)])


def _transposed(verdicts: Sequence[RowVerdict]) -> Columns:
    return list(zip(*verdicts, strict=True)) or [()] * len(RESULT_COLUMNS)


def _verdict(finding: Finding, entry: Entry | None) -> RowVerdict:
    if finding.status is not None:
        return RowVerdict(finding.status, finding.message, finding.errors, send_key=finding.key)
    if entry is None:
        return RowVerdict(Status.PENDING, send_key=finding.key)
    return RowVerdict(
        entry.status,
        entry.message,
        entry.errors,
        entry.mid,
        entry.http_status,
        entry.attempts,
        entry.time,
        entry.seconds,
        entry.key,
    )


def _unpacked(text: str) -> RowVerdict:
    status, message, errors, *rest = json.loads(text)
    return RowVerdict(Status(status), message, tuple(errors), *rest)


def _without_rows(table: Table) -> pd.DataFrame:
    import pandas as pd

    data: pd.DataFrame | None = getattr(table, "data", None)  # of a table in memory
    if data is not None:
        return data.iloc[:0]
    types = table_types(table)
    return types.empty_table().to_pandas() if types else pd.DataFrame(columns=list(table.columns), dtype=str)
