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

# What differs from row to row in the same problem: an address, what is quoted, a number.
_OWN = re.compile(r"('[^']*'|\S+@\S+|\d+|…)")


class Row(NamedTuple):
    """A row with a problem: its number, and how its own problem is worded."""

    number: int
    where: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Problems that differ in nothing but the row's own values.

    Attributes:
        text: the problem; what differs between its rows is left out.
        count: problems; `rows` are the first of them.
    """

    status: str
    field: str
    columns: str
    text: str
    cure: str
    count: int
    rows: tuple[Row, ...]

    def with_(self, text: str, row: Row) -> Cause:
        """The same with one problem more."""
        rows = (*self.rows, row) if len(self.rows) < MOST_ROWS else self.rows
        return replace(self, count=self.count + 1, rows=rows, text=_common(self.text, text))


def grouped(problems: Iterable[CheckedProblem], causes: Iterable[Cause] = ()) -> tuple[Cause, ...]:
    """Add problems to the causes that are known, in the order in which each was met first."""
    known = {_kind(item.status, item.field, item.columns, item.text): item for item in causes}
    rest = ("", "", "", OTHER)
    for problem in problems:
        field = problem.field or ""
        kind = _kind(problem.status, field, problem.columns, problem.problem)
        row = Row(problem.row, problem.where, problem.problem)
        if kind not in known and len(known) >= MOST_CAUSES:
            kind = rest
        if (cause := known.get(kind)) is not None:
            known[kind] = cause.with_(problem.problem, row)
        elif kind == rest:
            known[kind] = Cause(status="", field="", columns="", text=OTHER, cure="", count=1, rows=(row,))
        else:
            known[kind] = Cause(
                status=problem.status,
                field=field,
                columns=problem.columns,
                text=problem.problem,
                cure=problem.cure,
                count=1,
                rows=(row,),
            )
    return tuple(known.values())


def _kind(status: str, field: str, columns: str, text: str) -> tuple[str, str, str, str]:
    return str(status), field, columns, _masked(text)


def _common(one: str, other: str) -> str:
    """What two texts of a kind have in common; the rest is left out."""
    if one in {other, OTHER}:
        return one
    pairs = zip(_OWN.split(one), _OWN.split(other), strict=True)
    return "".join(mine if mine == theirs else "…" for mine, theirs in pairs)


def _masked(text: str) -> str:
    return _OWN.sub("…", text)
