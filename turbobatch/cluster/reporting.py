"""A report in parts, each written by a worker; the folder takes its place when all of them are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from turbobatch.errors import CampaignError
from turbobatch.journal import read_journal
from turbobatch.report.parts import report_folder, write_part
from turbobatch.reported import Reported
from turbobatch.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed import Client

    from turbobatch.cluster.orders import Orders, Part


def report_by(
    dask: Client, orders: Orders, parts: Sequence[Part], path: str | Path, tick: Callable[[int], object]
) -> Reported:
    """Have the workers write a Parquet dataset into the folder `path`, which every machine has at the same place.

    Raises:
        CampaignError: it can't be written, or a worker's files aren't found here.
        JournalError: a worker can't read the journal.
    """
    from distributed import as_completed

    with report_folder(Path(path).absolute()) as folder:
        futures = [
            dask.submit(write_report_part, orders, part, str(folder), key=f"report_part-{orders.run}-{part.number}")
            for part in parts
        ]
        for future in as_completed(futures, loop=dask.loop):
            tick(future.result()[1].counts.rows.total())
        whole = Reported()
        for written, reported in dask.gather(futures):
            if not Path(written).is_file():
                raise CampaignError(f"{path}: what a worker wrote isn't here: name a folder that all machines share")
            whole.merge(reported)
    return whole


def write_report_part(orders: Orders, part: Part, folder: str) -> tuple[str, Reported]:
    """Write a part of the report: what Dask runs, also again; tells its file."""
    source = orders.source(part.portion.open(part.first))
    reported = Reported(part.first)
    with read_journal(orders.journal, orders.campaign) as journal:
        results = Results(
            table=source.table,
            layout=source.layout,
            merger=source.merger,
            journal=journal,
            campaign=orders.campaign,
            elsewhere=part.elsewhere,
        )
        written = write_part(reported.counted(results.frames()), Path(folder), part.number)
    return str(written), reported
