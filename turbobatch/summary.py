"""Results → a Summary: what became of the rows, when, at what pace, and why some failed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from turbobatch.counting import summarise
from turbobatch.report import report_chunks

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from turbobatch.overview import Summary


def summary(results: pd.DataFrame | Iterable[pd.DataFrame] | str | Path) -> Summary:
    """The figures of some results, for reading on and, in a notebook, for looking at.

    Args:
        results: what `Campaign.results` or `send` returned, some of its rows, its chunks in order, or the path of a
            report (.csv .tsv .parquet .xlsx).

    Rows have the numbers that they have in the table that was sent, also where you picked some of the results: their
    index tells it. Rows whose index is another (that of the DataFrame that was sent, say) are counted as they come.

    Raises:
        CampaignError: these are no results, or the report can't be read.
    """
    import pandas as pd

    if isinstance(results, (str, Path)):
        return summarise(report_chunks(results))
    return summarise([results] if isinstance(results, pd.DataFrame) else results)
