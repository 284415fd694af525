"""Results → a CSV, TSV, Parquet, Excel or HTML file, or a folder of Parquet files; and back.

A report is there whole or not at all: what has its name is never a half of one, and the one before stays until the new
one is complete.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turbobatch.delimited import write_delimited
from turbobatch.delivery import DELIVERY_COLUMNS, has_deliveries
from turbobatch.errors import CampaignError
from turbobatch.page import write_page
from turbobatch.plots import check_there as check_plots
from turbobatch.report.atomic import replacing, target
from turbobatch.report.parquet import parquet_frames, write_parquet
from turbobatch.report.parts import check_free, is_folder, write_parts
from turbobatch.results import RESULT_COLUMNS, numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd

FOLDER = "/"
"""How the name of a report in parts ends."""

_TYPED = (".parquet", FOLDER)  # formats that keep the columns' types
_CHUNK = 10_000  # rows of a report that is read back
_EXCEL_ROWS = 1_048_576  # a sheet's limit, header included
_EXCEL_LENGTH = 32_767  # characters that a cell holds
_EXCEL_WHOLE = 10**15  # a larger number would lose digits, and ids have them
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that Excel would run, also in full width; OWASP, "CSV Injection"."""
_NUMBER = re.compile(r"[-+]?\d[\d., \xa0\u202f]*%?")
_EXCEL_ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def report_format(path: str | Path) -> str:
    """The ending that picks the format; FOLDER for a report in parts, also where it is there and the slash left out.

    Raises:
        CampaignError: there is no format of that ending.
    """
    if is_folder(path):
        return FOLDER
    ending = Path(path).suffix.lower()
    if ending not in _WRITERS:
        what = f"there is no report format {ending!r}" if ending else "the name has no ending to tell the format by"
        raise CampaignError(f"{path}: {what}: use {_known()}, or NAME/ for a folder of Parquet files")
    if ending == ".xlsx":
        _openpyxl()
    if ending == ".html":
        check_plots()
    return ending


def check_report_path(path: str | Path) -> None:
    """Find out before a run what would keep its report from being written.

    Raises:
        CampaignError: the format isn't known, or the file can't be written.
    """
    in_parts = report_format(path) == FOLDER
    path = Path(path)
    try:
        if path.is_dir() and not in_parts:
            raise CampaignError(f"{path} is a folder: name a file in it")
        path = target(path, folder=in_parts)
        if in_parts:
            check_free(path)
        if not path.parent.is_dir():
            raise CampaignError(f"{path} can't be written: there is no folder {path.parent}")
    except OSError as error:
        raise CampaignError(f"{path} can't be written: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK):
        raise CampaignError(f"{path} can't be written: its folder is read-only")


def write_report(
    results: pd.DataFrame | Iterable[pd.DataFrame],
    path: str | Path,
    *,
    for_excel: bool = False,
    mask_addresses: bool = False,
) -> Path:
    """Write results; the ending picks the format (.csv .tsv .parquet .xlsx .html, or / for a folder).

    The .html file is a page for people: what is in doubt, figures of all rows, the failed addresses, the first rows.
    The others hold every row. A folder, such as "report/", gets Parquet files of about a million rows each, which
    others read as one dataset.

    Args:
        results: what `Campaign.results` or `send` returned, or its chunks in order.
        path: the file; one of that name is replaced when the new one is complete. So is a folder, unless it holds
            something else. A Path has no slash at its end: give the name of a new folder as a text.
        for_excel: make a CSV or TSV file safe and readable for Excel: cells that begin a formula get a `'` before
            them, and the file a byte order mark. An .xlsx file is always safe.
        mask_addresses: show `ana.rossi@example.org` as `a…@example.org` in a page, to pass it on. Without it a page
            names everybody, as the other formats do, whatever `turbobatch.options` says of notebooks.

    Raises:
        CampaignError: the format isn't known or can't mask addresses, or the file can't be written.
    """
    import pandas as pd

    ending = report_format(path)
    if mask_addresses and ending != ".html":
        raise CampaignError(f"{path}: only a page (.html) can have its addresses masked, the other formats are data")
    chunks = iter([results]) if isinstance(results, pd.DataFrame) else iter(results)
    if ending == FOLDER:
        write_parts(chunks, path)
        return Path(path)
    path = Path(path)
    write = partial(_write_html, mask_addresses=True) if mask_addresses else _WRITERS[ending]
    with replacing(path) as temporary:
        write(chunks, temporary, for_excel)
    return path


def read_report(path: str | Path) -> pd.DataFrame:
    """Read a report back, with the result columns in their types.

    Args:
        path: what `write_report` wrote, if that isn't a page; or a folder of Parquet files, which is one report.

    Raises:
        CampaignError: the file can't be read or is no report.
    """
    import pandas as pd

    from turbobatch.frames import as_results

    frames = list(report_chunks(path))
    whole = pd.concat(frames)
    whole.attrs = frames[0].attrs
    return as_results(numbered(whole, 0))


def report_chunks(path: str | Path) -> Iterator[pd.DataFrame]:
    """The same in chunks of some thousand rows, at least one, for reports that don't fit into memory.

    An Excel file is read whole.

    Raises:
        CampaignError: the file can't be read or is no report.
    """
    path = Path(path)
    ending = FOLDER if os.path.isdir(path) else report_format(path)  # noqa: PTH112 - raises for no name
    if ending == ".html":
        raise CampaignError(f"report {path} is a page for people: read the .csv or .parquet one")
    with _reading(path):
        rows = 0
        for frame in _frames(path, ending):
            if missing := [name for name in RESULT_COLUMNS if name not in frame.columns]:
                raise CampaignError(f"{path} is no report: it has no column {missing[0]!r}")
            yield numbered(typed(frame, f"report {path}", from_text=ending not in _TYPED), rows)
            rows += len(frame)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except CampaignError:
        raise
    except Exception as error:
        # Whatever pandas, openpyxl and its layers (zip, XML) raise on a file that isn't what its name says.
        said = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise CampaignError(f"report {path} can't be read: {said}") from error


def _frames(path: Path, ending: str) -> Iterator[pd.DataFrame]:
    import pandas as pd

    path.stat()
    if ending in _TYPED:
        yield from parquet_frames(path, _CHUNK)
    elif ending == ".xlsx":
        yield pd.read_excel(path, dtype=str, keep_default_na=False, na_values=[])
    else:
        separator = "\t" if ending == ".tsv" else ","
        frame = None
        with pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", sep=separator, chunksize=_CHUNK
        ) as chunks:
            for frame in chunks:
                yield frame
        if frame is None:  # pandas has no chunk of a file that is a header alone
            yield pd.read_csv(path, dtype=str, encoding="utf-8-sig", sep=separator)


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Results as a text format has them: lists as JSON, times as ISO 8601 in UTC, to the microsecond."""
    changed: dict[str, Any] = {}
    if "send_errors" in frame:
        changed["send_errors"] = [_json(item) for item in frame["send_errors"]]
    if "send_time" in frame:
        changed["send_time"] = _iso_times(frame["send_time"])
    return frame.assign(**changed)


def _json(texts: Any) -> str:
    return json.dumps(list(texts), ensure_ascii=False) if len(texts) else "[]"


def _iso_times(moments: pd.Series[Any]) -> list[str | None]:
    import numpy as np

    # By numpy, in a third of the time that pandas takes.
    texts = np.datetime_as_string(moments.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]"))
    return [None if text == "NaT" else f"{text}Z" for text in texts.tolist()]


def neutralised(value: Any) -> Any:
    """A text that Excel would take for a formula, made harmless; numbers stay as they are."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return "'" + value
    return value


def _write_text(separator: str) -> Callable[[Iterator[pd.DataFrame], Path, bool], None]:
    def write(chunks: Iterator[pd.DataFrame], path: Path, for_excel: bool) -> None:
        encoding = "utf-8-sig" if for_excel else "utf-8"
        with path.open("w", encoding=encoding, errors="backslashreplace", newline="") as file:
            for number, chunk in enumerate(chunks):
                frame = as_text(chunk)
                if for_excel:
                    frame = _neutralised_frame(frame)
                write_delimited(frame, file, separator, header=number == 0)

    return write


def _neutralised_frame(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    # Objects, here and below: pandas' own texts can't hold half of a surrogate pair.
    frame = frame.set_axis(pd.Index([neutralised(name) for name in frame.columns], dtype=object), axis=1)
    for place, kind in enumerate(frame.dtypes):
        if kind.kind not in "biufcmM":  # numbers and times, which begin no formula
            cells = [neutralised(cell) for cell in frame.iloc[:, place]]
            column: Any = pd.Series(cells, index=frame.index, dtype=object)  # the stubs know of arrays alone
            frame.isetitem(place, column)
    return frame


def _write_parquet(chunks: Iterator[pd.DataFrame], path: Path, _for_excel: bool) -> None:
    write_parquet(chunks, path)


def _write_excel(chunks: Iterator[pd.DataFrame], path: Path, _for_excel: bool) -> None:
    openpyxl = _openpyxl()
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("report")
    try:
        rows = 1
        for number, chunk in enumerate(chunks):
            if number == 0:
                sheet.append([_excel_cell(str(name)) for name in chunk.columns])
            rows += len(chunk)
            if rows > _EXCEL_ROWS:
                raise CampaignError(f"a sheet holds {_EXCEL_ROWS} rows and no more: write a .csv or .parquet report")
            cells = as_text(chunk).astype(object)
            for row in cells.where(cells.notna(), None).itertuples(index=False, name=None):
                sheet.append([_excel_cell(value) for value in row])
        book.save(path)
    finally:
        if not sheet.closed:  # a sheet that was begun and never ended would complain on stderr
            sheet.close()


def _excel_cell(value: Any) -> Any:
    if value is None or (isinstance(value, (bool, int, float)) and abs(value) < _EXCEL_WHOLE):
        return value
    text = _EXCEL_ILLEGAL.sub("", neutralised(str(value)))
    return text if len(text) <= _EXCEL_LENGTH else text[: _EXCEL_LENGTH - 1] + "…"


def _write_html(chunks: Iterator[pd.DataFrame], path: Path, _for_excel: bool, *, mask_addresses: bool = False) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        write_page(chunks, file, mask_addresses=mask_addresses)


def typed(frame: pd.DataFrame, what: str, *, from_text: bool) -> pd.DataFrame:
    """A report's rows with the result columns in their types, also where all columns are texts.

    Raises:
        CampaignError: the columns hold what nobody wrote into a report; the message begins with `what`.
    """
    import pandas as pd

    changed: dict[str, Any] = {}
    deliveries = [name for name in DELIVERY_COLUMNS if has_deliveries(frame.columns) and name in frame.columns]
    blank_as_missing = frame[[*RESULT_COLUMNS, *deliveries]].replace("", None) if from_text else frame
    for name in ("send_status", "send_mid", "send_key", *deliveries):
        changed[name] = blank_as_missing[name].astype("string")
    changed["send_message"] = frame["send_message"].astype("string")
    try:
        for name in ("send_http_status", "send_attempts"):
            changed[name] = pd.to_numeric(blank_as_missing[name]).astype("Int16")
        changed["send_seconds"] = pd.to_numeric(blank_as_missing["send_seconds"]).astype("float64")
        changed["send_time"] = pd.to_datetime(blank_as_missing["send_time"], utc=True, format="ISO8601").dt.as_unit(
            "us"
        )
        read = json.loads if from_text else list
        errors = [list(read(item)) if len(item) else [] for item in frame["send_errors"]]
        changed["send_errors"] = pd.Series(errors, index=frame.index, dtype=object)
    except (ValueError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise CampaignError(f"{what}: its result columns were changed by hand: {said}") from error
    return frame.assign(**changed)


def _openpyxl() -> Any:
    try:
        import openpyxl
    except ImportError as error:
        raise CampaignError('Excel files need openpyxl: pip install "turbobatch-mail[excel]"') from error
    return openpyxl


def _known() -> str:
    return " ".join(_WRITERS)


_WRITERS: dict[str, Callable[[Iterator[pd.DataFrame], Path, bool], None]] = {
    ".csv": _write_text(","),
    ".tsv": _write_text("\t"),
    ".parquet": _write_parquet,
    ".xlsx": _write_excel,
    ".html": _write_html,
}
