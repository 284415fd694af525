"""The send command, step by step: what it asks, how it runs, what it reports, and its exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from turbobatch.errors import CampaignError, JournalError
from turbobatch.policy import SETTLED_WELL, Status
from turbobatch.terminal import SOME_ROWS_NOT_SENT, STOPPED_EARLY, ask, fail, is_terminal, tell, warn

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable

    from distributed import Client as DaskClient

    from turbobatch.campaign import Campaign
    from turbobatch.client import TurboClient
    from turbobatch.cluster.campaign import On
    from turbobatch.delivery import Deliveries
    from turbobatch.plan import Plan
    from turbobatch.progress import Tick
    from turbobatch.reported import Reported
    from turbobatch.results import Results
    from turbobatch.run import Run


def confirm(plan: Plan, client: TurboClient, limit: int | None, *, resend: bool, changes: bool, yes: bool) -> bool:
    """Say what is about to happen, and ask; tells whether changes are accepted that may send emails again.

    Raises:
        CampaignError: it isn't to happen.
    """
    from turbobatch.wording import refused_text

    for warning in plan.warnings:
        warn(f"warning: {warning}")
    emails = min(plan.emails, limit) if limit is not None else plan.emails
    known = ", ".join(f"{count} {status} already" for status, count in plan.known.items())
    tell(f"{plan.rows} rows{f' ({known})' if known else ''}: up to {emails} emails to send{refused_text(plan.refused)}")
    tell(f"from {plan.sender} through {client.host} ({client.api.name})")
    if plan.objection:
        warn(f"warning: {plan.objection}")
    if resend:
        tell("Rows in doubt are posted again: some may have been accepted and would arrive twice.")
    if plan.objection and yes and not changes:
        raise CampaignError("nothing was sent: undo the change, or send them all the same with --accept-changes")
    if emails and not yes:
        ask("Send, though they may arrive a second time?" if plan.objection and not changes else "Send?")
    return changes or (bool(plan.objection) and not yes)


def run_to_end(
    campaign: Campaign,
    plan: Plan,
    client: TurboClient,
    limit: int | None,
    *,
    resend: bool,
    accept_changes: bool,
    report: Callable[[], object],
    unwritten: Callable[[], str],
    on: On | None = None,
) -> Run:
    """Send and show how far it is; what breaks the run ends the command, after a `report` of what was sent.

    `unwritten` says what that means where the report fails too.
    """
    begun: list[Run] = []
    try:
        return campaign.run_to_end(
            plan,
            client,
            limit=limit,
            resend=resend,
            accept_changes=accept_changes,
            bar=is_terminal(sys.stderr),
            say=warn,
            on_start=begun.append,
            on=on,
        )
    except Exception as error:
        if not begun:
            raise
        said = [str(error)]
        if not isinstance(error, JournalError):
            said.append("what was sent before is in the journal: run the same command again")
        try:
            report()  # where the journal is lost, this process may be the last to know what was sent
        except Exception:  # noqa: BLE001 - most likely it fails of what broke the run, and that is to be told
            said.append(unwritten())
        fail("; ".join(said), STOPPED_EARLY)


def write(
    campaign: Campaign,
    output: str,
    *,
    for_excel: bool,
    deliveries: Deliveries | None = None,
    warned: bool = True,
    by: tuple[DaskClient, Plan] | None = None,
) -> tuple[Counter[str], list[str]]:
    """Write the report chunk by chunk and print what it says; rows by status, and doubts that no row tells of.

    With `deliveries` each sent row has its delivery. What the table warns of is told unless it was (`warned`). A report
    in parts is written `by` the workers of a cluster, if given, who know the parts from a plan.
    """
    from turbobatch.progress import reading, ticking
    from turbobatch.report import write_report
    from turbobatch.reported import Reported
    from turbobatch.wording import IN_PROGRESS, counts_text, deliveries_text, doubts_text

    told = Reported(with_sent=deliveries is not None)
    with campaign.look() as results:
        for warning in () if warned else results.table.warnings:
            warn(f"warning: {warning}")
        with reading("report", bar=is_terminal(sys.stderr), rows=results.table.about) as tick:
            written = _by_workers(campaign, by, output, tick)
            if written is not None:
                told = written
            else:
                frames = results.frames() if deliveries is None else map(deliveries.joined, results.frames())
                write_report(told.counted(ticking(frames, tick)), output, for_excel=for_excel)
        doubts, in_use = _doubts(campaign, results, by_parts=written is not None)
        elsewhere = told.counts.elsewhere(doubts)
    tell(counts_text(told.counts.rows))
    tell(told.failures.text())
    if deliveries is not None:
        tell(deliveries_text(deliveries))
    if elsewhere:
        tell(doubts_text(elsewhere))
    if in_use:
        tell(IN_PROGRESS)
    tell(f"Report: {output}")
    return told.counts.rows, elsewhere


def _doubts(campaign: Campaign, results: Results, *, by_parts: bool) -> tuple[list[str], bool]:
    """The keys that were in doubt all the while a report was written, and whether a run was in progress meanwhile.

    `by_parts`: its parts were read later than `results`, each at a moment of its own.
    """
    if not by_parts:
        return results.in_doubt(), results.in_use
    with campaign.look() as later:
        before, after = (dict(each.doubted()) for each in (results, later))
        # A POST more in between: it was something else meanwhile.
        return [key for key, posts in after.items() if before.get(key) == posts], results.in_use or later.in_use


def _by_workers(campaign: Campaign, by: tuple[DaskClient, Plan] | None, output: str, tick: Tick) -> Reported | None:
    """Have workers write the report in parts, and tell what it says; None where this process has to write it."""
    from turbobatch.report.parts import is_folder

    if by is None or not is_folder(output) or by[0].status != "running":
        return None
    from turbobatch.cluster.pool import NoWorkersError

    try:
        return campaign.report_by(*by, output, tick)
    except NoWorkersError:
        warn("the workers are gone, or don't answer: the report is written here")
        return None


def unwritten(output: str, command: str) -> str:
    """What the report's file is where it couldn't be written, and the command that writes it."""
    state = "is still the old one" if Path(output).exists() else "wasn't written"
    return f"the report {output} {state}: write it with {command}"


def exit_code(run: Run, statuses: Iterable[str], *, limited: bool) -> int:
    """What the command ends with, and why if it was early."""
    from turbobatch.run import describe_stop

    if run.stop_reason is not None:
        warn(f"error: {describe_stop(run.stop_reason, run.stop_message)}")
        return STOPPED_EARLY
    good = SETTLED_WELL | ({Status.PENDING} if limited else set())
    return 0 if all(status in good for status in statuses) else SOME_ROWS_NOT_SENT


def send_test(campaign: Campaign, client: TurboClient, address: str, rows: int, *, yes: bool) -> NoReturn:
    """Send the first rows to one address, outside the journal, and end."""
    tell(f"{rows} test emails to {address} through {client.host}, outside the journal")
    if not yes:
        ask("Send?")
    failed = 0
    for row, result in campaign.send_test(address, client=client, rows=rows):
        said = result if isinstance(result, str) else f"{result.status} {'; '.join(result.errors)}".strip()
        failed += isinstance(result, str) or result.status != "sent"
        tell(f"row {row}: {said}")
    raise typer.Exit(SOME_ROWS_NOT_SENT if failed else 0)
