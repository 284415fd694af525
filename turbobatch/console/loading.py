"""What the journal tells of a table, counted chunk by chunk, and its way into a file."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from turbobatch.audit import audit_chunks
from turbobatch.console.results_state import Failure, Outcome
from turbobatch.console.send_state import Facts
from turbobatch.errors import CampaignError
from turbobatch.failures import AS_MEANT
from turbobatch.report import check_report_path, write_report
from turbobatch.wording import Failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd
    from distributed import Client as DaskClient

    from turbobatch.campaign import Campaign, Recipients
    from turbobatch.client import TurboClient
    from turbobatch.plan import Plan
    from turbobatch.results import Results

MOST_FAILURES = 5000
"""Failed addresses that are held to be looked at; the others are counted."""

MOST_DOUBTS = 1000

_PAGE = ".html"


def facts_of(plan: Plan, client: TurboClient, dask: DaskClient | None) -> Facts:
    """What a plan says, where it would go, and by whom."""
    workers = None
    if dask is not None:
        from turbobatch.cluster.pool import workers_of

        workers = workers_of(dask)
    return Facts(
        rows=plan.rows,
        emails=plan.emails,
        known=plan.known,
        sender=plan.sender,
        host=client.host,
        api=client.api.name,
        warnings=plan.warnings,
        objection=plan.objection,
        refused=plan.refused,
        workers=workers,
    )


def load_results(campaign: Campaign, recipients: Recipients | None, tick: Callable[[int], object]) -> Outcome:
    """Read the whole table with its verdicts; `tick` gets the number of rows read so far.

    Raises:
        CampaignError: the table can't be read.
        JournalError: the journal can't be used.
    """
    counts: Counter[str] = Counter()
    failures: list[Failure] = []
    failed = 0
    with campaign.look(recipients) as results:
        for found in audit_chunks(_counted(results, counts, tick)):
            asking = found[~found["category"].isin(list(AS_MEANT))]
            failed += len(asking)
            failures += _failures(asking.head(MOST_FAILURES - len(failures)))
        doubts = results.in_doubt()
        in_use = results.in_use
    sent = campaign.sent_version
    return Outcome(
        warning=(sent.change() or "") if sent is not None else "",
        read=counts.total(),
        counts=dict(counts),
        failures=tuple(failures),
        failed=failed,
        doubts=tuple(doubts[:MOST_DOUBTS]),
        in_doubt=len(doubts),
        in_use=in_use,
    )


def export_target(campaign: Campaign, recipients: Recipients | None, path: str, *, to_correct: bool = False) -> Path:
    """The file that a typed path names, absolute.

    Raises:
        CampaignError: the file can't be written, or is one of the campaign's own or the table, or is to be corrected
            and given back, and its format can't be read.
    """
    if not path.strip():
        raise CampaignError("name a file to write")
    if "\0" in path:
        raise CampaignError("a file's name can't hold a NUL character")
    try:
        target = Path(os.fsdecode(os.fsencode(path.strip()))).expanduser().absolute()
    except (RuntimeError, ValueError) as error:  # no such user; half a character
        raise CampaignError(f"{path.strip()!r} names no file: {error}") from error
    check_report_path(target)
    if to_correct and target.suffix.lower() == _PAGE:
        raise CampaignError(
            f"{target} can't be given back: write the failed addresses as .csv, .tsv, .parquet or .xlsx"
        )
    if campaign.reads(target, recipients):
        raise CampaignError(f"{target} is a file of the campaign itself: give the output another name")
    return target


def export_results(
    campaign: Campaign,
    recipients: Recipients | None,
    target: Path,
    tick: Callable[[int], object],
    *,
    for_excel: bool = False,
) -> int:
    """Write the results to a file that `export_target` allows, and return how many rows.

    Raises:
        CampaignError: the table can't be read, or the file can't be written.
        JournalError: the journal can't be used.
    """
    counts: Counter[str] = Counter()
    with campaign.look(recipients) as results:
        write_report(_counted(results, counts, tick), target, for_excel=for_excel)
    return counts.total()


def export_failed(
    campaign: Campaign, recipients: Recipients | None, target: Path, tick: Callable[[int], object]
) -> Failures:
    """Write the failed addresses to a file that can be corrected and given back; tells what is in it.

    Raises:
        CampaignError: the table can't be read, or the file can't be written.
        JournalError: the journal can't be used.
    """
    failures = Failures()

    def noted(found: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for part in found:
            failures.add(part)
            yield part

    with campaign.look(recipients) as results:
        write_report(noted(audit_chunks(_counted(results, Counter(), tick))), target)
    return failures


def _counted(results: Results, counts: Counter[str], tick: Callable[[int], object]) -> Iterator[pd.DataFrame]:
    for frame in results.frames():
        counts.update(map(str, frame["send_status"]))
        tick(counts.total())
        yield frame


def _failures(found: pd.DataFrame) -> Iterator[Failure]:
    for item in found.itertuples(index=False):
        yield Failure(
            row=int(str(item.row)),
            key=_text(item.send_key),
            status=_text(item.status),
            address=_text(item.address),
            field=_text(item.field),
            reason=_text(item.reason),
            category=_text(item.category),
            suggestion=_text(item.suggestion),
        )


def _text(cell: object) -> str:
    return cell if isinstance(cell, str) else ""
