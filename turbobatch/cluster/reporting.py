"""Results part by part: a report whose parts workers write, or a Dask DataFrame of them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turbobatch.cluster.orders import opened, sent_along
from turbobatch.cluster.pool import NoWorkersError, in_one_line, silent_ones, until_done
from turbobatch.errors import CampaignError
from turbobatch.report.parts import report_folder, write_part
from turbobatch.reported import Reported
from turbobatch.results import Results, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd
    from distributed import Client

    from turbobatch.cluster.orders import Orders, SurveyedPart
    from turbobatch.cluster.survey import ClusterPlan
    from turbobatch.recipients import Table


def report_by(
    dask: Client, orders: Orders, parts: Sequence[SurveyedPart], path: str | Path, tick: Callable[[int], object]
) -> Reported:
    """Have the workers write a Parquet dataset into the folder `path`, which every machine has at the same place.

    Raises:
        CampaignError: it can't be written, or a worker's files aren't found here.
        NoWorkersError: no worker is left, or one doesn't answer: what is given to that one would wait for it.
        JournalError: a worker can't read the journal.
    """
    with in_one_line("its workers wrote the report"), report_folder(Path(path).absolute()) as folder:
        for worker in silent_ones(dask):
            raise NoWorkersError(f"worker {worker} doesn't answer: end it, and run the same command again")
        futures = []
        for part in parts:
            portion, frame = sent_along(dask, part.portion)
            given = orders, replace(part, portion=portion), frame, str(folder)
            key = f"write_report_part-{orders.run}-{part.number}"
            futures.append(dask.submit(write_report_part, *given, key=key, pure=False))
        found = until_done(dask, futures, lambda found: tick(found[1].counts.rows.total()))
        whole = Reported()
        for written, reported in found:
            if not Path(written).is_file():
                raise CampaignError(f"{path}: what a worker wrote isn't here: name a folder that all machines share")
            whole.merge(reported)
    return whole


def write_report_part(
    orders: Orders, part: SurveyedPart, frame: pd.DataFrame | None, folder: str
) -> tuple[str, Reported]:
    """Write a part of the report: what Dask runs, also again; tells its file."""
    reported = Reported(part.first)
    with _results(orders, part, opened(part.portion, frame, part.first, part.rows)) as results:
        written = write_part(reported.counted(results.frames()), Path(folder), part.number)
    return str(written), reported


def lazy_results(orders: Orders, plan: ClusterPlan) -> Any:
    """A Dask DataFrame's rows with their result columns, as another one; None of another table."""
    from turbobatch.recipients.portions import DaskPortion

    if not all(isinstance(part.portion, DaskPortion) for part in plan.parts):
        return None
    from dask.dataframe import from_delayed
    from dask.delayed import delayed

    table: Any = plan.table
    frames = []
    for part in plan.parts:
        portion: Any = part.portion
        frames.append(delayed(results_of)(orders, replace(part, portion=portion.emptied()), portion.delayed))
    return from_delayed(frames, meta=joined(table.data, []), verify_meta=False)


def results_of(orders: Orders, part: SurveyedPart, frame: pd.DataFrame) -> pd.DataFrame:
    """A partition's rows, which were computed, with their result columns."""
    with _results(orders, part, opened(part.portion, frame, part.first, part.rows)) as results:
        found = results.frame()
    found.attrs = {}  # Dask compares those of partitions
    return found


@contextmanager
def _results(orders: Orders, part: SurveyedPart, table: Table) -> Iterator[Results]:
    source = orders.source(table)
    with orders.read_journal() as journal:
        yield Results(
            table=source.table,
            layout=source.layout,
            merger=source.merger,
            journal=journal,
            campaign=orders.campaign,
            elsewhere=part.elsewhere,
        )
