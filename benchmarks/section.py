"""A part of the results: a table, what it means, and which targets were met; as text and as Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Target:
    """What was promised and what was measured."""

    what: str
    measured: str
    is_met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part. `head` and `rows` make its table; the first column is text, the others figures."""

    title: str
    method: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    targets: tuple[Target, ...] = ()

    def text(self) -> str:
        """Aligned, for a terminal."""
        return (
            f"{self.title}\n\n{aligned(self.head, self.rows)}\n\n{aligned(_TARGET_HEAD, _cells(self.targets))}".rstrip()
        )

    def markdown(self, machine: str) -> str:
        """As it stands in RESULTS.md."""
        parts = [f"## {self.title}", machine, self.method, _markdown_table(self.head, self.rows)]
        if self.targets:
            parts.append(_markdown_table(_TARGET_HEAD, _cells(self.targets)))
        return "\n\n".join(parts)


_TARGET_HEAD = ("Target", "Measured", "Verdict")


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay a table out in columns; nothing without rows."""
    if not rows:
        return ""
    table = [head, *rows]
    widths = [max(len(row[place]) for row in table) for place in range(len(head))]
    lines = [
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in cells).rstrip()
        for cells in (enumerate(zip(row, widths, strict=True)) for row in table)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def merged(earlier: str, heading: str, sections: Mapping[str, str], order: Sequence[str]) -> str:
    """Put new sections (Markdown by title) in place of those of the same title in an earlier results file."""
    found = {
        part.partition("\n")[0]: f"## {part.strip()}" for part in re.split(r"^## ", earlier, flags=re.MULTILINE)[1:]
    }
    found |= sections
    return "\n\n".join([heading.strip(), *(found[title].strip() for title in order if title in found)]) + "\n"


def _cells(targets: Sequence[Target]) -> list[tuple[str, str, str]]:
    return [(item.what, item.measured, "met" if item.is_met else "not met") for item in targets]


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    marks = ["---", *("---:" for _ in head[1:])] if head != _TARGET_HEAD else ["---"] * len(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))
