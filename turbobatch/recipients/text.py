"""CSV, TSV and other delimited text (RFC 4180, with any line ends), streamed."""

from __future__ import annotations

import csv
import re
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TextIO

from turbobatch.errors import CampaignError
from turbobatch.recipients.encodings import find_encoding, octets_in
from turbobatch.recipients.table import checked_columns, file_errors, one_line, position

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from turbobatch.recipients.version import FileVersion

_SEPARATOR_LINE = re.compile(r"\ufeff?sep=(?P<delimiter>[^\"\r\n\0])(\r\n?|\n)?", re.IGNORECASE)  # Excel's own
_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 64 * 1024  # octets
_CELL_LIMIT = 16 * 2**20  # characters: beyond any email, and where a quote that is never closed stops being read


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Rows of a text file. `cells` are verbatim, `lines` says where each row begins."""

    start: int
    columns: tuple[str, ...]
    cells: Sequence[list[str]]
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.cells)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the text of all cells, None for empty ones."""
        return [tuple([cell or None for cell in row]) if "" in row else tuple(row) for row in self.cells]

    def column(self, name: str) -> list[Any]:
        """Return the text of one column."""
        index = position(self.columns, name)
        return [row[index] or None for row in self.cells]

    def line(self, index: int) -> int | None:
        """Return the line on which a row begins."""
        return self.lines[index]

    def frame(self) -> pd.DataFrame:
        """Return the rows as text columns, empty cells as "", numbered as in the table."""
        import pandas as pd

        index = pd.RangeIndex(self.start, self.start + len(self))
        return pd.DataFrame(list(self.cells), columns=list(self.columns), index=index, dtype=str)


class Place(NamedTuple):
    """Where a record of a text file begins, or blank lines before it.

    Attributes:
        line: from 1.
        offset: of that line, in octets; None where only reading past the lines before leads there.
    """

    line: int = 1
    offset: int | None = None


class Span(NamedTuple):
    """Some records of a text file: where the first one begins, and how many there are."""

    place: Place
    rows: int


class _Records(NamedTuple):
    """Some records: where reading them began, the lines on which they begin, and their cells."""

    place: Place
    lines: list[int]
    cells: list[list[str]]


_TOP = Place()
_NOTHING = _Records(_TOP, [0], [[]])


@dataclass(frozen=True, slots=True)
class TextTable:
    """A text file, or a part of a table.

    Attributes:
        header: its first record as it stands: a blank last name in it is no column.
        first: the number of its first row.
        span: the records that are read; None: all.
    """

    version: FileVersion
    encoding: str
    delimiter: str
    header: tuple[str, ...]
    columns: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    first: int = 0
    span: Span | None = None

    @classmethod
    def open(cls, version: FileVersion, encoding: str | None = None, delimiter: str | None = None) -> Self:
        """Read the header and find out what isn't given. Only the header's faults show here.

        Raises:
            CampaignError: the encoding, the delimiter or the header can't be used.
        """
        path = version.path
        with file_errors(path):
            encoding, warnings = find_encoding(path, encoding)
        if delimiter is not None:
            _check_delimiter(delimiter)
        else:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else _find_delimiter(path, encoding)
        with closing(_records(path, encoding, delimiter, repeat(1))) as records:
            _, (line,), (header,) = next(records, _NOTHING)
        if not header:
            raise CampaignError(f"{one_line(path.name)} is empty: its first line must name the columns")
        columns = _column_names(header, f"line {line} of {one_line(path.name)}")
        return cls(version, encoding, delimiter, tuple(header), columns, warnings)

    @property
    def name(self) -> str:
        """The file's name."""
        return one_line(self.version.path.name)

    @property
    def about(self) -> int:
        """How many rows there are, by the length of the first ones."""
        if self.span is not None:
            return self.span.rows
        with file_errors(self.version.path), self.version.path.open("rb") as file:
            sample = file.read(_SAMPLE)
        lines = max(sample.count(b"\n"), 1)
        return lines - 1 if len(sample) < _SAMPLE else round(lines * self.version.size / len(sample))

    def where(self, row: int, line: int | None = None) -> str:
        """Say where a row stands."""
        return f"row {row}" if line is None else f"row {row} (line {line} of {self.name})"

    def chunks(self, size: int = 5000) -> Iterator[TextChunk]:
        """Stream the rows.

        Raises:
            CampaignError: a row has more or fewer cells than the header, a quote isn't closed, or the file was changed
                since it was opened.
        """
        with closing(self._read(size)) as records:
            start = self.first
            while batch := self._batch(records):
                _, lines, cells = batch
                self._check_widths(start, lines, cells)
                self._drop_nameless_columns(start, lines, cells)
                yield TextChunk(start, self.columns, cells, lines)
                start += len(cells)

    def spans(self, size: int) -> list[Span]:
        """Divide the table into spans of at most `size` rows each, in one reading; one without rows if it has none.

        Raises:
            CampaignError: a quote isn't closed, or the file was changed since it was opened.
        """
        with closing(self._read(size, octets_in(self.encoding))) as records:
            found = []
            while batch := self._batch(records):
                found.append(Span(batch.place, len(batch.cells)))
        return found or [Span(_TOP, 0)]

    def _read(self, size: int, octets: Callable[[str], int] | None = None) -> Generator[_Records, None, None]:
        """The records of rows, so many at a time."""
        given = self.version.path, self.encoding, self.delimiter
        if self.span is not None:
            whole, rest = divmod(self.span.rows, size)
            sizes = chain(repeat(size, whole), (rest,) if rest else ())
            yield from _records(*given, sizes, version=self.version, start=self.span.place, octets=octets)
            return
        with closing(_records(*given, chain((1,), repeat(size)), version=self.version, octets=octets)) as records:
            next(records, None)  # the header
            yield from records

    def _batch(self, records: Iterator[_Records]) -> _Records | None:
        # The end counts as read too: a file that is being written anew may be short for a moment.
        with self.version.reading():
            return next(records, None)

    def _check_widths(self, start: int, lines: Sequence[int], cells: Sequence[list[str]]) -> None:
        width = len(self.header)
        if set(map(len, cells)) == {width}:
            return
        index, row = next((index, row) for index, row in enumerate(cells) if len(row) != width)
        cure = (
            f"put a cell that holds {self.delimiter!r} in quotes, or name the right delimiter"
            if len(row) > width
            else "a cell is missing, write empty ones too"
        )
        where = self.where(start + index, lines[index])
        raise CampaignError(f"{where} has {_count(len(row))}, but the header has {width}: {cure}")

    def _drop_nameless_columns(self, start: int, lines: Sequence[int], cells: Iterable[list[str]]) -> None:
        named = len(self.columns)
        if len(self.header) == named:
            return
        for index, row in enumerate(cells):
            if "".join(row[named:]).strip():
                where = self.where(start + index, lines[index])
                raise CampaignError(f"{where} has a value in a last column without a name: name it in the header")
            del row[named:]


def _records(
    path: Path,
    encoding: str,
    delimiter: str,
    sizes: Iterable[int],
    *,
    version: FileVersion | None = None,
    start: Place = _TOP,
    octets: Callable[[str], int] | None = None,
) -> Generator[_Records, None, None]:
    """Yield the records that aren't blank, so many at a time; of that version of the file, if given.

    `start` is where a record begins: what is before it is passed over. With `octets`, which tells how many octets a
    text takes, the places have offsets; counting these takes time.

    Spreadsheets leave rows of delimiters alone behind, and begin with `sep=;` where they want to be told the delimiter.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _CELL_LIMIT))
    name, line = one_line(path.name), 1
    try:
        with file_errors(path), path.open(encoding=encoding, newline="") as file:
            if version is not None:
                version.check(file.fileno())
            start = _skip_preamble(file, start, octets)
            line = top = start.line
            counted = None if octets is None or start.offset is None else _Counted(file, octets, start.offset)
            reader = csv.reader(file if counted is None else counted, delimiter=delimiter, strict=True)
            for size in sizes:
                begin = Place(line, None if counted is None else counted.offset)
                lines: list[int] = []
                cells: list[list[str]] = []
                for record in reader:
                    if len(record) == 1 or any(record):
                        lines.append(line)
                        cells.append(record)
                    line = top + reader.line_num
                    if len(cells) == size:
                        break
                if not cells:
                    return
                yield _Records(begin, lines, cells)
    except csv.Error as error:
        last = top - 1 + reader.line_num
        place = f"line {line}" if last <= line else f"lines {line} to {last}"
        trouble, cure = "a quoted cell isn't closed properly", "close it, and write a quote inside a quoted cell twice"
        if "larger than field limit" in str(error):
            trouble, cure = "a cell is too long", "shorten it, or close the quote that it begins with"
        raise CampaignError(f"{name}, {place}: {trouble} ({one_line(error)}); {cure}") from error
    except UnicodeError as error:
        raise CampaignError(f"{name} can't be read as {encoding} from line {line} on: {one_line(error)}") from error


class _Counted:
    """The lines of a file, and the offset of the one that comes next: csv.reader takes none before it needs it."""

    def __init__(self, file: TextIO, octets: Callable[[str], int], offset: int) -> None:
        self._file, self._octets, self.offset = file, octets, offset

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.offset += self._octets(line)
            yield line


def _skip_preamble(file: TextIO, start: Place, octets: Callable[[str], int] | None) -> Place:
    """Read past a byte order mark and a `sep=` line, or go on to `start`; tells where that is."""
    if start.offset is not None:
        file.buffer.seek(start.offset)  # of which nothing was read yet
        return start
    mark = file.read(1)
    if mark != "\ufeff":
        mark = ""
        file.seek(0)
    if start.line > 1:
        deque(islice(file, start.line - 1), maxlen=0)
        return start
    begin = file.tell()
    line = file.readline()
    if not _SEPARATOR_LINE.fullmatch(line):
        file.seek(begin)
        return Place(1, octets and octets(mark))
    return Place(2, octets and octets(mark + line))


def _find_delimiter(path: Path, encoding: str) -> str:
    """Take what parts the header into most cells; among equals, what parts the next record into as many."""
    with file_errors(path), path.open(encoding=encoding, newline="") as file:
        if told := _SEPARATOR_LINE.fullmatch(file.readline()):
            return told["delimiter"]
    fits = {delimiter: _fit(path, encoding, delimiter) for delimiter in _DELIMITERS}
    best = max(fits, key=lambda delimiter: fits[delimiter])
    return best if fits[best][0] > 1 else _DELIMITERS[0]


def _fit(path: Path, encoding: str, delimiter: str) -> tuple[int, bool]:
    cells = 0
    with closing(_records(path, encoding, delimiter, repeat(1))) as records:
        try:
            cells = len(next(records, _NOTHING).cells[0])
            return cells, len(next(records, _NOTHING).cells[0]) == cells
        except CampaignError:
            return cells, False  # what is wrong is told once the delimiter is chosen


def _check_delimiter(delimiter: str) -> None:
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise CampaignError(f"the delimiter must be one character, such as ';', not {delimiter!r}")


def _column_names(header: list[str], where: str) -> tuple[str, ...]:
    names = [name.strip() for name in header]
    while len(names) > 1 and not names[-1]:
        names.pop()  # many exports end every line with a delimiter, or with those of columns that were emptied
    if "" in names:
        raise CampaignError(f"{where}: column {names.index('') + 1} has no name; every column needs one in the header")
    return checked_columns(names, where)


def _count(cells: int) -> str:
    return "1 cell" if cells == 1 else f"{cells} cells"
