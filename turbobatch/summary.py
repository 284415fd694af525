"""Results → a Summary: what became of the rows, when, at what pace, and why some failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from turbobatch.counting import summarise
from turbobatch.errors import CampaignError
from turbobatch.report import report_chunks, typed
from turbobatch.results import check_results

if TYPE_CHECKING:
    import pandas as pd

    from turbobatch.overview import Summary


def summary(results: pd.DataFrame | Iterable[pd.DataFrame] | str | Path) -> Summary:
    """The figures of some results, for reading on and, in a notebook, for looking at.

    Args:
        results: what `Campaign.results` or `send` returned, some of its rows, its chunks in order, or the path of a
            report (.csv .tsv .parquet .xlsx). What pandas has read of a report itself will do.

    Rows have the numbers that they have in the table that was sent, also where you picked some of the results: their
    index tells it. Rows whose index is another (that of the DataFrame that was sent, say) are counted as they come.

    Raises:
        CampaignError: these are no results, or the report can't be read.
    """
    import pandas as pd

    if isinstance(results, (str, Path)):
        return summarise(report_chunks(results))
    if isinstance(results, pd.DataFrame):
        return summarise([_typed(results)])
    given: object = results
    if isinstance(given, Iterable) and not isinstance(given, (Mapping, pd.Series, bytes)):
        return summarise(map(_typed, given))
    raise _no_results(given)


def _typed(chunk: object) -> pd.DataFrame:
    """Results in their types: a report that somebody has read with pandas has texts for them."""
    import pandas as pd

    if not isinstance(chunk, pd.DataFrame):
        raise _no_results(chunk)
    check_results(chunk.columns)
    is_read = isinstance(chunk["send_time"].dtype, pd.DatetimeTZDtype)
    if is_read and not any(isinstance(item, str) for item in chunk["send_errors"].head(1)):
        return chunk
    found = typed(chunk, "the report", from_text=True)
    found.attrs = chunk.attrs
    return found


def _no_results(given: object) -> CampaignError:
    kind = type(given).__name__
    return CampaignError(f"these are no results but {kind}: give a DataFrame, an iterable of them, or a report's path")
