"""Excel workbooks, through openpyxl (the extra `excel`). Importing this without it is a CampaignError."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError
from turbobatch.recipients.loaded import LoadedTable
from turbobatch.recipients.table import MAX_WHOLE, checked_columns, file_errors, one_line

try:
    import openpyxl
    from openpyxl.cell.cell import ERROR_CODES
    from openpyxl.utils import get_column_letter
except ImportError:
    raise CampaignError('reading an Excel workbook needs openpyxl: pip install "turbobatch-mail[excel]"') from None

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from openpyxl.workbook import Workbook

    from turbobatch.recipients.version import FileVersion

    Row = tuple[int, Sequence[Any]]


def open_excel(version: FileVersion, sheet: str | None = None) -> LoadedTable:
    """Load a sheet (else the first): the first row that isn't empty names the columns.

    Empty rows and empty columns at the right don't count. Formulas give the values that Excel last computed; an
    error such as #N/A counts as missing, and a warning tells how many there are. Whole numbers are integers.

    Raises:
        CampaignError: no such sheet, no workbook, or a column without a name.
    """
    name = one_line(version.path.name)
    grid = _read_grid(version.path, sheet)
    if not grid:
        raise CampaignError(f"{name} has an empty sheet: its first row must name the columns")
    first, header = grid[0]
    columns = checked_columns(_column_names(header, grid, name), f"row {first} of the sheet in {name}")
    errors = 0
    values: dict[str, list[Any]] = {}
    for index, column in enumerate(columns):
        cells = [row[index] if index < len(row) else None for _, row in grid[1:]]
        values[column] = [_plain(cell) for cell in cells]
        errors += sum(cell is not None and plain is None for cell, plain in zip(cells, values[column], strict=True))
    notes = (f"{name}: {errors} of its cells hold an Excel error such as #N/A and count as missing",) if errors else ()
    return LoadedTable.of(version, values, [row for row, _ in grid[1:]], place=("row", "the sheet"), warnings=notes)


def _read_grid(path: Path, sheet: str | None) -> list[Row]:
    """Return the rows that aren't empty, each with its number in the sheet."""
    name = one_line(path.name)
    with file_errors(path), path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl tells of styles and validations that it doesn't keep
        try:
            book: Workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
            return _sheet_rows(book, sheet, name)
        except CampaignError:
            raise
        except Exception as error:
            # openpyxl lets through whatever its layers (zip, XML, numbers) raise on a broken file.
            raise CampaignError(f"{name} can't be read as an Excel workbook: {one_line(error)}") from error


def _sheet_rows(book: Workbook, sheet: str | None, name: str) -> list[Row]:
    sheets: dict[str, Any] = {worksheet.title: worksheet for worksheet in book.worksheets}
    if not sheets:
        raise CampaignError(f"{name} has no sheet with cells")
    if sheet is not None and sheet not in sheets:
        raise CampaignError(f"{name} has no sheet {sheet!r}; its sheets are {', '.join(map(repr, sheets))}")
    worksheet = sheets[sheet] if sheet is not None else next(iter(sheets.values()))
    worksheet.reset_dimensions()  # some writers state a wrong size, and cells beyond it would be lost
    rows = enumerate(worksheet.iter_rows(values_only=True), 1)
    return [(number, row) for number, row in rows if not all(map(_is_blank, row))]


def _column_names(header: Sequence[Any], grid: list[Row], name: str) -> list[str]:
    names = ["" if _is_blank(cell) else str(cell).strip() for cell in map(_plain, header)]
    width = max(_width(row) for _, row in grid)
    names = [*names, *[""] * (width - len(names))][:width]
    if "" in names:
        letter = get_column_letter(names.index("") + 1)
        raise CampaignError(
            f"{name}: column {letter} of the sheet has no name; name it in row {grid[0][0]} or delete it"
        )
    return names


def _width(row: Sequence[Any]) -> int:
    return max(index for index, cell in enumerate(row, 1) if not _is_blank(cell))


def _is_blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _plain(cell: Any) -> Any:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < MAX_WHOLE:
        return int(cell)
    return None if cell.__class__ is str and cell in ERROR_CODES else cell
