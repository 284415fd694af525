"""The commands that tell what came of it, from the journal: status, report, audit."""

from __future__ import annotations

import json
import sys
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turbobatch.cli.common import (
    BaseUrl,
    CampaignPath,
    Cluster,
    JournalPlace,
    OptionalOutput,
    Output,
    Recipients,
    check_journal,
    check_not_own,
    check_output,
    command_text,
    load,
    make_client,
)
from turbobatch.errors import CampaignError
from turbobatch.sending import write
from turbobatch.terminal import ask, is_terminal, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd

    from turbobatch.campaign import Campaign
    from turbobatch.delivery import Deliveries
    from turbobatch.wording import Failures

WithDelivery = Annotated[bool, typer.Option("--delivery", help="Ask the vendor what became of each sent email (v2).")]


def status(
    campaign: CampaignPath,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    recipients: Recipients = None,
    journal: JournalPlace = None,
) -> None:
    """Count the rows by status and name those in doubt."""
    from turbobatch.progress import reading, ticking

    loaded = load(campaign, recipients, journal=journal)
    check_journal(loaded, journal)
    from turbobatch.reported import Counts

    counts = Counts()
    with loaded.look() as results:
        with reading(bar=is_terminal(sys.stderr), rows=results.table.about) as tick:
            for chunk in ticking(results.frames(), tick):
                counts.add(chunk)
        in_doubt, in_use = results.in_doubt(), results.in_use
    elsewhere = counts.elsewhere(in_doubt)
    if as_json:
        found = {"campaign": loaded.name, "journal": str(loaded.journal_place), "in_progress": in_use}
        doubts = {"in_doubt": in_doubt, "in_doubt_elsewhere": elsewhere}
        rows = {"rows": counts.rows.total(), "statuses": dict(counts.rows)}
        tell(json.dumps({**found, **rows, **doubts}, ensure_ascii=False))
        return
    from turbobatch.settings import shown
    from turbobatch.wording import IN_PROGRESS, counts_text, doubts_text

    tell(f"Campaign {loaded.name!r}, journal {shown(loaded.journal_place)}")
    tell(counts_text(counts.rows))
    if elsewhere:
        tell(doubts_text(elsewhere))
    if in_doubt:
        tell("In doubt, by key: " + ", ".join(in_doubt))
    if in_use:
        tell(IN_PROGRESS)
    elif in_doubt:
        asked = command_text("reconcile", campaign, recipients=recipients, journal=journal)
        by_hand = command_text("resolve", campaign, journal=journal)
        tell(f"Settle them with: {asked} (v2), or by hand: {by_hand} --as sent|pending")


def report(
    campaign: CampaignPath,
    output: Output,
    recipients: Recipients = None,
    journal: JournalPlace = None,
    for_excel: Annotated[bool, typer.Option("--for-excel", help="Make a CSV or TSV report safe for Excel.")] = False,
    delivery: WithDelivery = False,
    base_url: BaseUrl = None,
    on: Cluster = None,
) -> None:
    """Write the report from the journal, at any time."""
    from turbobatch.report.parts import is_folder

    loaded = load(campaign, recipients, journal=journal)
    check_output(loaded, output)
    check_journal(loaded, journal)
    if on is not None:
        if delivery or not is_folder(output):
            raise CampaignError("--on writes a report in parts, without deliveries: name a folder, such as -o report/")
        with loaded.cluster(on) as dask:
            plan = loaded.plan(progress=is_terminal(sys.stderr), on=dask)
            write(loaded, output, for_excel=for_excel, warned=False, by=(dask, plan))
        return
    found = _deliveries(loaded.result_chunks, base_url, loaded.name) if delivery else None
    write(loaded, output, for_excel=for_excel, deliveries=found, warned=False)


def audit(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="REPORT|CAMPAIGN", help="A report (a file, or a folder of Parquet files), or a campaign."
        ),
    ],
    output: OptionalOutput = None,
    recipients: Recipients = None,
    journal: JournalPlace = None,
    delivery: WithDelivery = False,
    base_url: BaseUrl = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask before an audit is replaced.")] = False,
) -> None:
    """List the failed addresses: one row each, with field, reason, kind and suggestion.

    Correct them in the file that -o writes, in the table's own columns, and give it back:
    turbobatch send CAMPAIGN --recipients FILE -o REPORT sends what was corrected, and nothing twice.
    """
    from turbobatch.report import report_chunks, write_report
    from turbobatch.wording import CORRECTED, MENDED, Failures, correcting_text, deliveries_text

    loaded = _campaign_at(source, recipients, journal)
    if output is not None:
        _check_audits_path(output, loaded, yes=yes)
    if loaded is not None:
        check_journal(loaded, journal)
    failures = Failures()
    read = loaded.result_chunks if loaded is not None else partial(report_chunks, source)
    deliveries = _deliveries(read, base_url, loaded.name if loaded is not None else None) if delivery else None
    results = map(deliveries.joined, read()) if deliveries is not None else read()
    found = _audited(results, _about(loaded, source), failures)
    if output is None:
        deque(found, maxlen=0)
        tell(failures.text())
    else:
        write_report(found, output)
        tell(failures.written_text(Path(output)))
    if deliveries is not None:
        tell(deliveries_text(deliveries))
    campaign, corrected = source if loaded is not None else "CAMPAIGN", output or CORRECTED
    send = command_text("send", campaign, recipients=corrected, output=MENDED, journal=journal)
    if advice := correcting_text(failures, Path(output) if output is not None else None, send):
        tell(advice)


def _campaign_at(source: Path, recipients: Path | None, journal: str | None) -> Campaign | None:
    """The campaign, if it is one and no report."""
    from turbobatch.recipients.table import file_errors
    from turbobatch.report.parts import is_report_folder

    with file_errors(source):
        if (source.is_dir() and not is_report_folder(source)) or source.suffix == ".toml":
            return load(source, recipients, journal=journal)
    if recipients is not None or journal is not None:
        raise CampaignError(
            f"{source} is taken for a report, which has its rows: --recipients and --journal go with a campaign"
        )
    return None


def _check_audits_path(output: str, campaign: Campaign | None, *, yes: bool) -> None:
    """Find out before the work what would keep an audit from being written, and ask before one is replaced."""
    from turbobatch.recipients import open_table
    from turbobatch.recipients.audited import is_audit
    from turbobatch.report import check_report_path

    check_report_path(output)
    if campaign is not None:
        check_not_own(campaign, output)
    if yes or not Path(output).exists():
        return
    try:
        table = open_table(output)
    except CampaignError:  # whatever it is, nobody has corrected an audit there
        return
    try:
        is_one = is_audit(table)
    except CampaignError:  # it has lost a column, by hand
        is_one = True
    if is_one:
        told = f"{output} is an audit already, and may have been corrected by hand"
        if not is_terminal(sys.stdin):
            raise CampaignError(f"{told}: give the output another name, or say --yes to replace it")
        tell(told)
        ask("Replace it?", "nothing was written")


def _audited(results: Iterable[pd.DataFrame], rows: int | None, failures: Failures) -> Iterator[pd.DataFrame]:
    """The audit chunk by chunk, counted, with a bar."""
    from turbobatch.audit import audit_chunks
    from turbobatch.progress import reading, ticking

    with reading(bar=is_terminal(sys.stderr), rows=rows) as tick:
        for found in audit_chunks(ticking(results, tick)):
            failures.add(found)
            yield found


def _deliveries(read: Callable[[], Iterable[pd.DataFrame]], base_url: str | None, campaign: str | None) -> Deliveries:
    """What became of the emails of some results, asked of the vendor."""
    from turbobatch.delivery import Deliveries
    from turbobatch.progress import reading

    client = make_client("v2", base_url, None)
    with reading("asking", bar=is_terminal(sys.stderr)) as tick:
        return Deliveries.fetch(read(), client, campaign=campaign, tick=tick)


def _about(campaign: Campaign | None, source: Path) -> int | None:
    """How many rows a campaign's table or a report has, where that is quickly told."""
    from turbobatch.recipients import open_table

    if campaign is not None:
        return campaign.source().table.about
    if source.suffix.lower() not in {".csv", ".tsv", ".parquet"} and not source.is_dir():
        return None
    try:
        return open_table(source).about
    except CampaignError:  # reading it says better what is wrong
        return None
