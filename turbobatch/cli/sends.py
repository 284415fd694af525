"""The commands that merge a table: check, preview, send."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from turbobatch.cli.common import (
    ApiName,
    BaseUrl,
    CampaignPath,
    Cluster,
    JournalPlace,
    OptionalOutput,
    Recipients,
    api_name,
    check_not_own,
    check_output,
    command_text,
    load,
    make_client,
)
from turbobatch.errors import CampaignError, TurboBatchError
from turbobatch.policy import Status
from turbobatch.sending import confirm, exit_code, run_to_end, send_test, unwritten, write
from turbobatch.terminal import SOME_ROWS_NOT_SENT, Interrupted, ask, fail, interruptible, is_terminal, tell, warn

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from turbobatch.campaign import Campaign
    from turbobatch.client import TurboClient
    from turbobatch.run import Run
    from turbobatch.validation import Need
    from turbobatch.wording import Problems


def check(
    campaign: CampaignPath,
    output: OptionalOutput = None,
    recipients: Recipients = None,
    api: ApiName = None,
    validate: Annotated[
        bool, typer.Option("--validate", help="Have the vendor judge the addresses (v2), for a credit each.")
    ] = False,
    base_url: BaseUrl = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask before credits are paid.")] = False,
) -> None:
    """Merge every row, send nothing, and list every problem."""
    from turbobatch.validation import ListGoesOn

    loaded = load(campaign, recipients)
    client = make_client("v2", base_url, None) if base_url is not None else None
    try:
        problems = _checked(loaded, client, output, api, partial(_consent, yes=yes) if validate else False)
    except ListGoesOn as stop:
        raise Interrupted(f"stopped by the user: {stop}") from None
    tell(problems.text())
    raise typer.Exit(SOME_ROWS_NOT_SENT if problems.invalid else 0)


def _checked(
    loaded: Campaign,
    client: TurboClient | None,
    output: str | None,
    api: str | None,
    validate: Callable[[Need], object] | Literal[False],
) -> Problems:
    """Check, and write or print the problems."""
    from turbobatch.progress import aside
    from turbobatch.report import write_report
    from turbobatch.wording import Problems, problems_text

    if output is not None:
        check_output(loaded, output)
    problems = Problems()
    shown = is_terminal(sys.stderr)
    found = loaded.checking(
        client=client,
        api=api_name(api, loaded),
        progress=shown,
        say=lambda text: warn(f"warning: {text}"),
        validate=validate,
    )
    parts = problems.counted(found)
    if output is not None:
        write_report((part.frame() for part in parts), output)
        tell(f"{problems.count} problems, written to {output}")
    else:
        for part in parts:
            if part.problems:
                with aside():
                    tell(problems_text(part.problems))
    return problems


def _consent(need: Need, *, yes: bool) -> None:
    """Say what a validation costs, and ask."""
    from turbobatch.progress import aside
    from turbobatch.wording import need_text

    with aside():
        tell(need_text(need))
        if not yes:
            ask("Validate?", "nothing was paid")


def preview(
    campaign: CampaignPath,
    row: Annotated[int, typer.Option(min=0, help="Counted from 0.")] = 0,
    form: Annotated[str, typer.Option("--format", help="text, html, eml or wire")] = "text",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file to write.")] = None,
    recipients: Recipients = None,
    api: ApiName = None,
) -> None:
    """Show a row's email as it will leave."""
    loaded = load(campaign, recipients)
    text = loaded.preview(row=row).render(form, api=api_name(api, loaded))
    if output is None:
        tell(text)
        return
    from turbobatch.report.atomic import replacing

    check_not_own(loaded, str(output))
    with replacing(output) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def send(
    campaign: CampaignPath,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE|FOLDER/", help="The report, or NAME/ for a folder of Parquet files."
        ),
    ] = None,
    recipients: Recipients = None,
    rate: Annotated[str | None, typer.Option(help='Such as "20/second, 5000/day".')] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="POSTs in flight at most.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Emails to post at most.")] = None,
    test_to: Annotated[str | None, typer.Option(help="Send the first rows to this address instead.")] = None,
    api: ApiName = None,
    base_url: BaseUrl = None,
    transport: Annotated[str | None, typer.Option(help="requests, or curl (faster, the default).")] = None,
    journal: JournalPlace = None,
    on: Cluster = None,
    in_doubt: Annotated[
        Literal["hold", "resend"], typer.Option(help="Rows in doubt: leave them, or post them again.")
    ] = "hold",
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Send also what looks as if it had left under other keys.")
    ] = False,
    for_excel: Annotated[bool, typer.Option("--for-excel", help="Make a CSV or TSV report safe for Excel.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Send what isn't sent yet and write the report. The same command goes on after a stop."""
    loaded = load(campaign, recipients, rate=rate, concurrency=concurrency, journal=journal)
    client = make_client(api or loaded.api, base_url, transport)
    loaded.check_client(client)
    if test_to is not None:
        send_test(loaded, client, test_to, limit or 1, yes=yes)
    if output is None:
        raise CampaignError("a report is missing: name it with -o, such as -o report.csv")
    check_output(loaded, output)
    again = command_text("report", campaign, recipients=recipients, output=output, journal=journal)
    with loaded.cluster(on, client) if on is not None else nullcontext() as dask:
        resend = in_doubt == "resend"
        plan = loaded.plan(resend=resend, progress=is_terminal(sys.stderr), on=dask)
        accepted = confirm(plan, client, limit, resend=resend, changes=accept_changes, yes=yes)
        with interruptible("left at once; the journal knows what was sent, and the same command goes on"):
            start = partial(run_to_end, loaded, plan, client, limit, resend=resend, accept_changes=accepted, on=dask)
            report = partial(write, loaded, output, for_excel=for_excel, by=(dask, plan) if dask is not None else None)
            code = _sent_and_reported(
                loaded, start, report, partial(unwritten, output, again), limited=limit is not None
            )
    raise typer.Exit(code)


def _sent_and_reported(
    loaded: Campaign,
    start: Callable[..., Run],
    report: Callable[[], tuple[Counter[str], list[str]]],
    not_written: Callable[[], str],
    *,
    limited: bool,
) -> int:
    """Run to the end, write the report, and tell the exit code."""
    run = start(report=report, unwritten=not_written)
    if loaded.sent_version is not None and (change := loaded.sent_version.change()):
        warn(f"warning: {change}")
    try:
        counts, doubts = report()
    except TurboBatchError as error:
        # Emails have left, so it must not look like "nothing was sent".
        fail(f"{error}; the emails are journalled; {not_written()}", exit_code(run, ["?"], limited=False))
    return exit_code(run, [*counts, *(Status.IN_DOUBT for _ in doubts)], limited=limited)
