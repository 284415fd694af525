"""JSON lines (https://jsonlines.org): one object per line, in UTF-8."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError
from turbobatch.recipients.loaded import LoadedTable
from turbobatch.recipients.table import DEEPEST, MAX_WHOLE, checked_columns, file_errors, is_deep, one_line, too_deep

if TYPE_CHECKING:
    from turbobatch.recipients.version import FileVersion


def open_json_lines(version: FileVersion) -> LoadedTable:
    """Load the objects; the columns are their keys, in the order of their first appearance.

    A key that an object doesn't have is a missing cell. Empty lines don't count.

    Raises:
        CampaignError: a line is no JSON object, nested too deeply or not UTF-8.
    """
    path = version.path
    name = one_line(path.name)
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    with file_errors(path), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if text.strip():
                rows.append(_parse(text, f"{name}, line {number}"))
                lines.append(number)
    if not rows:
        raise CampaignError(f"{name} is empty: write one JSON object per line")
    columns = checked_columns(list(dict.fromkeys(key for row in rows for key in row)), name)
    values = {column: _whole([row.get(column) for row in rows]) for column in columns}
    return LoadedTable.of(version, values, lines, place=("line", name))


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode())
        if rb"\ud" in line.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise CampaignError(f"{where} holds half of a surrogate pair, which is no character") from None
    except UnicodeDecodeError:
        raise CampaignError(f"{where} is not valid UTF-8, the encoding of JSON") from None
    except RecursionError:
        raise too_deep(where) from None
    except ValueError as error:
        raise CampaignError(f"{where} is no valid JSON: {one_line(error)}") from None
    if not isinstance(value, dict):
        raise CampaignError(f'{where} is no JSON object: write {{"column": value, …}} on every line')
    if line.count(b"[") + line.count(b"{") > DEEPEST and is_deep(value):
        raise too_deep(where)
    return value


def _whole(values: list[Any]) -> list[Any]:
    """Write floats as integers where all are whole and there are gaps: pandas' to_json made them of integers."""
    present = [value for value in values if value is not None]
    gaps = len(present) < len(values)
    if gaps and all(isinstance(value, float) and abs(value) < MAX_WHOLE and value.is_integer() for value in present):
        return [None if value is None else int(value) for value in values]
    return values
