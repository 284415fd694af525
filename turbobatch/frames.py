"""DataFrames that tell first what they hold: results, checks, audits. In all else they are pandas' own.

This module needs pandas: import it where a frame is made.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from typing import Any, TypeVar

import pandas as pd

from turbobatch.check import CHANGED, VALIDATED
from turbobatch.markup import Html, badge, cause, counted, line, masked, options, table
from turbobatch.policy import Status

_COUNTED = 100_000  # rows whose causes are counted for a display
_PRECISION = 6  # digits after the point
_STATUSES = frozenset(map(str, Status))


class Frame(pd.DataFrame):
    """A DataFrame whose displays mask addresses if the options say so."""

    _needs: tuple[str, ...] = ()  # the columns without which it is shown as any DataFrame
    _shows_ends = False  # the first and last rows of a long one; else as many of the first as pandas shows at most

    @property
    def _constructor(self) -> type[Frame]:
        return type(self)

    def __repr__(self) -> str:
        if not options.mask_addresses:
            return super().__repr__()
        return _sized_as(self, repr(_masked_ends(self)))

    def _repr_html_(self) -> str | None:
        if not pd.get_option("display.notebook_repr_html"):
            return None
        names = list(self.columns) if self.columns.nlevels == 1 else []
        if self._needs and all(names.count(name) == 1 for name in self._needs):
            return f"<div>{self._lead()}{_table(self, self._shown_rows()) if len(self) else ''}</div>"
        plain = _by_pandas(_masked_ends(self) if options.mask_addresses else pd.DataFrame(self))
        return plain and _sized_as(self, plain)

    def _lead(self) -> Html:
        """What is told before the rows."""
        return Html()

    def _shown_rows(self) -> tuple[range, range]:
        limit = pd.get_option("display.max_rows") or len(self)
        if self._shows_ends:
            return _ends(len(self), limit, pd.get_option("display.min_rows") or limit)
        return range(min(len(self), limit)), range(0)


class ResultFrame(Frame):
    """A table with its result columns: the counts by status, then the rows."""

    _needs = ("send_status",)
    _shows_ends = True

    def _lead(self) -> Html:
        counts = Counter(map(_text, self["send_status"]))
        return line(f"{_many(len(self), 'row')}:", *_badges(counts))


class CheckFrame(Frame):
    """What a check found: what the rows would become, the causes, then one row per problem."""

    _needs = ("row", "status", "problem")

    def _lead(self) -> Html:
        changed = self.attrs.get(CHANGED)
        told = line(f"rows that were sent already and make another email now: {changed:,}") if changed else ""
        if judged := self.attrs.get(VALIDATED):
            told += line("addresses that the vendor has judged:", *_badges(Counter(judged)))
        if self.empty:
            return Html(line("No problems: every row can be sent.") + told)
        by_row = self.drop_duplicates("row")
        counts = Counter(map(_text, by_row["status"]))
        lead = line(f"{_many(len(self), 'problem')} in {_many(len(by_row), 'row')}:", *_badges(counts))
        return Html(lead + _causes(self["problem"]) + told)


class AuditFrame(Frame):
    """The failed addresses of results: how many of each kind, the causes, then one row for each."""

    _needs = ("status", "reason")

    def _lead(self) -> Html:
        if self.empty:
            return line("No address failed.")
        guesses = int(self["suggestion"].notna().sum()) if "suggestion" in self.columns else 0
        guessed = [f"{guesses:,} with a suggestion"] if guesses else []
        kinds = Counter(map(_text, self["category" if "category" in self.columns else "status"]))
        told = [badge(kind, count) for kind, count in kinds.most_common()]
        lead = line(f"{_many(len(self), 'failure')}:", *told, *guessed)
        return Html(lead + _causes(self["reason"]))


_Kind = TypeVar("_Kind", bound=Frame)


def framed(kind: type[_Kind], frame: pd.DataFrame) -> _Kind:
    """The same data as a frame of this kind, with its attributes."""
    made = kind(frame)
    made.attrs = frame.attrs
    return made


def as_results(frame: pd.DataFrame) -> pd.DataFrame:
    """Results as a ResultFrame; where the table is a DataFrame of somebody's own kind, they stay of that kind."""
    return framed(ResultFrame, frame) if type(frame) is pd.DataFrame or isinstance(frame, Frame) else frame


def _many(count: int, what: str) -> str:
    return f"{count:,} {what if count == 1 else what + 's'}"


def _badges(counts: Counter[str]) -> list[Html]:
    """A badge for each status, in their own order, which begins with what is still to come."""
    known = [status for status in map(str, Status) if counts[status]]
    return [badge(status, counts[status]) for status in [*known, *sorted(counts.keys() - _STATUSES)]]


def _causes(problems: pd.Series[Any]) -> Html:
    if len(problems) > _COUNTED:
        return Html()
    counts: Counter[str] = Counter()
    for problem, count in Counter(map(_text, problems)).items():
        counts[cause(problem)] += count
    return counted(counts)


def _table(frame: pd.DataFrame, rows: tuple[range, range]) -> Html:
    """A frame's index and cells, with marks where rows or columns are left out."""
    (top, bottom), limit = rows, pd.get_option("display.max_columns") or frame.shape[1]
    left, right = _ends(frame.shape[1], limit, limit)
    cut = frame.iloc[[*top, *bottom], [*left, *right]]
    names: list[object] = [_label([name for name in cut.index.names if name is not None]), *cut.columns]
    statuses = {place for place, name in enumerate(cut.columns) if name in ("send_status", "status")}
    body: list[list[object]] = [
        [_label(label), *(_shown(cell, is_status=place in statuses) for place, cell in enumerate(cells))]
        for label, cells in zip(cut.index, cut.itertuples(index=False, name=None), strict=True)
    ]
    numbers = [place for place, kind in enumerate(cut.dtypes, 1) if pd.api.types.is_numeric_dtype(kind)]
    size = []
    if len(right):
        gap = len(left) + 1
        numbers = [place + (place >= gap) for place in numbers]
        for line_cells in (names, *body):
            line_cells.insert(gap, "…")
    if len(cut) < len(frame):
        body.insert(len(top), ["…"] * len(names))
    if len(right) or len(cut) < len(frame):
        size = [line(f"{len(frame):,} rows, {frame.shape[1]} columns")]
    return Html(table(names, body, numbers=numbers) + "".join(size))


def _ends(count: int, limit: int, shown: int) -> tuple[range, range]:
    """The places at both ends that are shown of so many; all are at the first where they are within the limit."""
    if count <= limit:
        return range(count), range(0)
    last = min(shown, limit) // 2
    return range(min(shown, limit) - last), range(count - last, count)


def _label(label: object) -> str:
    return ", ".join(map(_text, label)) if isinstance(label, (tuple, list)) else _text(label)


def _shown(cell: Any, *, is_status: bool) -> object:
    text = _text(cell)
    return badge(text) if is_status and text in _STATUSES else text


def _text(cell: Any) -> str:
    """A cell as people read it; nothing where it is missing."""
    if isinstance(cell, str):
        return str(cell)
    if isinstance(cell, (list, tuple)):
        return "; ".join(map(str, cell))
    if pd.api.types.is_scalar(cell) and pd.isna(cell):
        return ""
    if isinstance(cell, float):
        shown = round(cell, _PRECISION)
        return str(shown) if shown or not cell else f"{cell:.3g}"
    if isinstance(cell, datetime):
        return cell.isoformat(" ", "seconds")
    return str(cell)


def _by_pandas(frame: Any) -> str | None:
    shown: str | None = frame._repr_html_()
    return shown


def _masked_ends(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that pandas would show, and as many again at most, as a plain DataFrame with its addresses masked."""
    limit = pd.get_option("display.max_rows") or len(frame)
    top, bottom = _ends(len(frame), 2 * limit, 2 * limit)
    cut = pd.DataFrame(frame.iloc[[*top, *bottom]])
    columns = [_masked_cells(cut.iloc[:, place]) for place in range(cut.shape[1])]
    masked_frame = pd.concat(columns, axis=1) if columns else cut
    masked_frame.columns = cut.columns
    masked_frame.index = cut.index.map(_masked_cell)
    masked_frame.index.names = cut.index.names
    return masked_frame


def _masked_cells(cells: pd.Series[Any]) -> pd.Series[Any]:
    if pd.api.types.is_numeric_dtype(cells) or pd.api.types.is_datetime64_any_dtype(cells):
        return cells
    return pd.Series([_masked_cell(cell) for cell in cells], index=cells.index, dtype=object)


def _masked_cell(cell: Any) -> Any:
    if isinstance(cell, str):
        return masked(cell)
    if isinstance(cell, tuple):
        return tuple(map(_masked_cell, cell))
    if isinstance(cell, list):
        return [*map(_masked_cell, cell)]
    return cell if pd.api.types.is_scalar(cell) else masked(str(cell))


def _sized_as(frame: pd.DataFrame, text: str) -> str:
    """A display's size put right, where it is that of the rows that were looked at."""
    return re.sub(r"(?m)^(\[|<p>)\d+( rows . \d+ columns)", rf"\g<1>{len(frame)}\g<2>", text)
