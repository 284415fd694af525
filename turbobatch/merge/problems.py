"""What can be wrong with one row, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of one row.

    Attributes:
        field: the message's field: "from", "to", "subject", "text", "attachments", …
        columns: the table's columns concerned, maybe none.
        error: worded like the API's own errors.
        cure: what to do about it, an imperative clause.
    """

    field: str
    columns: tuple[str, ...]
    error: str
    cure: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self._place()}: {self.error}; {self.cure}"

    def _place(self) -> str:
        # An error that names its column itself is placed by its field.
        if not self.columns or self.error.startswith(("column ", "there is no column ")):
            return self.field
        names = ", ".join(repr(name) for name in self.columns)
        return f"column{'s' if len(self.columns) > 1 else ''} {names}"


def distinct(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Leave out what was said before: a blank cell that three fields print is one fault."""
    first = {(problem.error, problem.cure): problem for problem in reversed(list(problems))}
    return tuple(reversed(first.values()))
