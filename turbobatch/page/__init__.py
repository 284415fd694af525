"""Results as one HTML page to look at and to pass on. It needs nothing from elsewhere, and each cell is but text.

A page shows figures of all rows, and of long lists the beginning, with what is missing and where it is.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from turbobatch._version import __version__
from turbobatch.charts import SHOWN, category_chart, domain_chart, domain_name, pace_chart
from turbobatch.counting import SAMPLE, Counting, are_results
from turbobatch.markup import Html, mask, shortened, visible
from turbobatch.page import words
from turbobatch.policy import MEANINGS, Status
from turbobatch.results import CAMPAIGN, row_numbers
from turbobatch.tally import with_sample
from turbobatch.telling import cell, many, moment, number, pace, share

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from jinja2 import Environment


_PLAIN_ROWS = 1000  # of a frame that is no results
_LINES = 50  # causes, and domains, that are listed
_CELL = 500  # characters
_PRINTED_DOUBTS = 50  # rows in doubt that paper shows before the counts
_PRINTED = 10  # columns of rows that paper has room for

_TONES = dict.fromkeys(map(str, Status), "bad") | {
    Status.SENT: "good",
    Status.IN_DOUBT: "doubt",
    Status.PENDING: "wait",
    Status.DUPLICATE: "left",
    Status.SUPPRESSED: "left",
}
_FAILED = tuple(status for status in Status if _TONES[status] == "bad")


class Rows(NamedTuple):
    """The first rows of a table, as texts."""

    names: list[str]
    numbers: frozenset[int]  # the places of columns of numbers
    cells: list[list[str]]
    whole: int  # rows that the table has
    places: Sequence[int]  # the numbers of these

    @property
    def is_wide(self) -> bool:
        """Whether there are too many columns for paper."""
        return len(self.names) > _PRINTED


def write_page(chunks: Iterable[pd.DataFrame], file: TextIO, *, mask_addresses: bool = False) -> None:
    """Write frames of the same columns, in order, as one page; those of results with their figures."""
    environment = _environment(mask_addresses=mask_addresses)
    sample, chunks = with_sample(chunks, _PLAIN_ROWS)
    if are_results(sample.columns):
        file.write(_rendered(environment, "report.html", **_results(sample, chunks)))
    else:
        title, count = sample.attrs.get(CAMPAIGN) or "Table", sum(map(len, chunks))
        file.write(_rendered(environment, "table.html", title=title, rows=_rows(sample, count)))


def _results(sample: pd.DataFrame, chunks: Iterable[pd.DataFrame]) -> dict[str, Any]:
    """What the template shows of results."""
    counting = Counting(sample.head(SAMPLE))
    for chunk in chunks:
        counting.add(chunk)
    it = counting.summary()
    return {
        "title": it.campaign or "Report",
        "it": it,
        "pace": pace_chart(it.pace).inline("pace", "Emails per second", words.pace_text(it)) if it.pace else "",
        "failing": category_chart(it.categories).inline("failing", "How addresses failed", words.categories_text(it)),
        "by_domain": domain_chart(it.domains).inline("by-domain", "Failed emails by domain", words.domains_text(it)),
        "rows": _rows(sample.head(SAMPLE), it.rows),
        "failed": it.count(*_FAILED),
    }


def _rows(sample: pd.DataFrame, whole: int) -> Rows:
    import pandas as pd

    kinds = [pd.api.types.infer_dtype(sample.iloc[:, place], skipna=True) for place in range(sample.shape[1])]
    numbers = frozenset(place for place, kind in enumerate(kinds) if kind in {"integer", "floating", "decimal"})
    cells = [[cell(value) for value in row] for row in sample.itertuples(index=False, name=None)]
    return Rows([str(name) for name in sample.columns], numbers, cells, whole, row_numbers(sample, 0))


def _rendered(environment: Environment, template: str, **values: Any) -> str:
    script = _own("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shared = {"style": Html(_own("page.css")), "script": Html(script), "script_digest": digest}
    return environment.get_template(template).render(**shared, **values)


@cache
def _environment(*, mask_addresses: bool) -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def shown(value: Any) -> Any:
        """What stands for a value in the page; markup stays as it is."""
        if hasattr(value, "__html__"):
            return value
        text = visible(str(value))
        return shortened(mask(text) if mask_addresses else text, _CELL)

    found = Environment(
        loader=FunctionLoader(_own),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
        keep_trailing_newline=True,
    )
    found.globals |= {"meanings": MEANINGS, "tones": _TONES, "lines": _LINES, "bars": SHOWN, "version": __version__}
    found.globals["printed_doubts"] = _PRINTED_DOUBTS
    found.globals |= {"domain_name": domain_name, "pace_of": pace}
    found.filters |= {"number": number, "share": share, "many": many, "moment": moment}
    return found


def _own(name: str) -> str:
    return files("turbobatch.page").joinpath(name).read_text(encoding="utf-8")
