"""Results → one row per failed address: where, why, and what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbobatch.arrow import remember_types, remembered_types
from turbobatch.delivery import DELIVERY_COLUMNS, has_deliveries
from turbobatch.failures import FailedAddress, failures_in
from turbobatch.recipients.audited import audited_name
from turbobatch.results import RESULT_COLUMNS, check_results, row_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd


def audit(results: pd.DataFrame | Iterable[pd.DataFrame], *, start: int = 0) -> pd.DataFrame:
    """One row per failed address, then the columns of its row.

    The audit's own columns: `address, field, status, reason, category, suggestion, send_key, row`.

    Args:
        results: what `Campaign.results` returned or `read_report` read, some of its rows, or its chunks in order.
        start: the number of the first row, where the results don't begin with row 0 and their index doesn't tell.

    `row` is the number that a row has in the table that was sent, also where you picked some rows of the results: their
    index tells it. Rows whose index is another (that of the DataFrame that was sent, say) are counted as they come.

    Rows that are sent or pending are left out; where the results were joined with deliveries, sent rows that didn't
    arrive are in. A column of the table's own that is called like one of the audit's is kept as `row.NAME`.

    An audit, or a file of it, can be corrected by hand in the table's own columns and given back as recipients: it
    counts as the table that was sent, as far as it failed, each row once and under the same key. What wasn't corrected
    is taken from the campaign's own table, in its types; where that isn't at hand, templates see a .csv file's texts.

    Raises:
        CampaignError: these are no results.
    """
    import pandas as pd

    from turbobatch.frames import AuditFrame, framed

    chunks = [results] if isinstance(results, pd.DataFrame) else results
    return framed(AuditFrame, pd.concat(audit_chunks(chunks, start=start), ignore_index=True))


def audit_chunks(results: Iterable[pd.DataFrame], *, start: int = 0) -> Iterator[pd.DataFrame]:
    """The audits of consecutive chunks, those with failures alone; one without, if there are none at all.

    Raises:
        CampaignError: these are no results.
    """
    import pandas as pd

    without = pd.DataFrame(columns=list(FailedAddress._fields))
    is_clean = True
    for chunk in results:
        found = _audit_chunk(chunk, start)
        start += len(chunk)
        if found.empty:
            without = found
            continue
        is_clean = False
        yield found
    if is_clean:
        yield without


def _audit_chunk(chunk: pd.DataFrame, start: int) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    check_results(chunk.columns)
    rows = list(failures_in(chunk, start))
    places = [item.row - start for item in rows]
    kinds = dict.fromkeys(FailedAddress._fields, "string") | {"row": "int64"}
    numbers = row_numbers(chunk, start)
    told = [item._replace(row=numbers[place]) for item, place in zip(rows, places, strict=True)]
    head = pd.DataFrame(told, columns=list(kinds)).astype(kinds)
    joined = {*RESULT_COLUMNS, *(DELIVERY_COLUMNS if has_deliveries(chunk.columns) else ())}
    own = [name for name in chunk.columns if name not in joined]
    tail = chunk.iloc[places][own].reset_index(drop=True).set_axis([audited_name(name) for name in own], axis=1)
    found = pd.concat([head, tail], axis=1)
    types = remembered_types(chunk)
    return remember_types(found, pa.schema([(audited_name(name), types[name]) for name in own if name in types]))
