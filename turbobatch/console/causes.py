"""A check's problems, grouped by cause: as many groups as there are things to mend, however many rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from turbobatch.check import CheckedProblem

MOST_CAUSES = 50
"""Causes that are told apart; what comes after them is counted as one."""

MOST_ROWS = 500
"""Rows of one cause that are held to be looked at; the others are counted."""

OTHER = "other problems"

# What differs from row to row in the same problem: an address, what is quoted, a number. One group, so that a split
# gives by turns what stands between such pieces and such a piece.
_OWN = re.compile(r"((?:'[^']*'|\S+@\S+|\d+)+)")


class Row(NamedTuple):
    """A row with a problem: its number, and how its own problem is worded."""

    number: int
    where: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Problems that differ in nothing but the row's own values.

    Attributes:
        pieces: the first problem's text, split; None stands for a piece that differs between the problems.
        count: problems.
        affected: rows that have any of them; `rows` are the first of those, each with its first problem.
        last: the last row that was counted.
    """

    status: str
    field: str
    columns: str
    pieces: tuple[str | None, ...]
    cure: str
    count: int
    affected: int
    last: int
    rows: tuple[Row, ...]

    @property
    def text(self) -> str:
        """The problem; what differs between its rows is left out."""
        return "".join("…" if piece is None else piece for piece in self.pieces)

    def with_(self, row: Row) -> Cause:
        """The same with one problem more. A row's problems come one after the other."""
        pieces = self.pieces
        if pieces != (OTHER,):
            pairs = zip(pieces, _OWN.split(row.text), strict=True)
            pieces = tuple(mine if mine == theirs else None for mine, theirs in pairs)
        if row.number == self.last:
            return replace(self, count=self.count + 1, pieces=pieces)
        rows = (*self.rows, row) if len(self.rows) < MOST_ROWS else self.rows
        return replace(
            self, count=self.count + 1, affected=self.affected + 1, last=row.number, rows=rows, pieces=pieces
        )


def grouped(problems: Iterable[CheckedProblem], causes: Iterable[Cause] = ()) -> tuple[Cause, ...]:
    """Add problems to the causes that are known, in the order in which each was met first."""
    known = {_kind(item.status, item.field, item.columns, item.pieces): item for item in causes}
    for problem in problems:
        row = Row(problem.row, problem.where, problem.problem)
        told = problem.status, problem.field or "", problem.columns
        pieces, cure = tuple(_OWN.split(row.text)), problem.cure
        kind = _kind(*told, pieces)
        if kind not in known and len(known) >= MOST_CAUSES:
            told, pieces, cure = ("", "", ""), (OTHER,), ""
            kind = _kind(*told, pieces)
        if (cause := known.get(kind)) is not None:
            known[kind] = cause.with_(row)
            continue
        status, field, columns = told
        known[kind] = Cause(
            status=status,
            field=field,
            columns=columns,
            pieces=pieces,
            cure=cure,
            count=1,
            affected=1,
            last=row.number,
            rows=(row,),
        )
    return tuple(known.values())


def _kind(status: str, field: str, columns: str, pieces: tuple[str | None, ...]) -> tuple[str, ...]:
    return str(status), field, columns, *(piece or "" for piece in pieces[::2])
