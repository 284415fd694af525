"""The command line: parse, call the facade, print, exit code. What a command does lives elsewhere."""

from __future__ import annotations

import gc
import json
import logging
import os
import shlex
import sys
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from turbobatch._version import __version__
from turbobatch.errors import AuthenticationError, CampaignError, JournalError, NotSentError, TurboBatchError
from turbobatch.policy import Status
from turbobatch.sending import Counts, confirm, exit_code, run_to_end, send_test, unwritten, write
from turbobatch.terminal import (
    NOTHING_SENT,
    SOME_ROWS_NOT_SENT,
    STOPPED_EARLY,
    Interrupted,
    ask,
    fail,
    flush,
    interruptible,
    is_terminal,
    sandbox_text,
    take_signals,
    tell,
    warn,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from turbobatch.campaign import Campaign
    from turbobatch.client import TurboClient
    from turbobatch.sandbox import Sandbox


_GARBAGE = 10_000  # objects from one search for cycles to the next: rows make none, and Python's 700 cost a fifth more


class Commands(TyperGroup):
    """The commands; typer would turn a Ctrl-C into an exit code of its own."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, typer.Abort):
            raise Interrupted("stopped by the user") from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # they would show local variables
)

CampaignPath = Annotated[Path, typer.Argument(metavar="CAMPAIGN", help="A campaign.toml or its folder.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="The report: .csv .tsv .parquet .xlsx .html")]
OptionalOutput = Annotated[Path | None, typer.Option("-o", "--output", help="A file to write.")]
JournalFile = Annotated[Path | None, typer.Option("--journal", help="Another journal than the campaign's own.")]
Recipients = Annotated[Path | None, typer.Option("--recipients", help="Another table than the campaign's own.")]
ApiName = Annotated[str | None, typer.Option("--api", help="v1 or v2; else by the credentials found.")]


def main() -> None:
    """Run the command line. Every error is one line on stderr and an exit code."""
    logging.basicConfig(format="%(message)s", level=logging.ERROR)
    gc.set_threshold(_GARBAGE)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # its own keeps 50 MB more of a large table
    take_signals()
    try:
        app()
    except (CampaignError, JournalError) as error:
        fail(error, NOTHING_SENT)
    except (AuthenticationError, NotSentError) as error:
        fail(error, STOPPED_EARLY)
    except TurboBatchError as error:
        fail(error, SOME_ROWS_NOT_SENT)
    except Interrupted as interruption:
        fail(interruption, STOPPED_EARLY)
    except KeyboardInterrupt:
        fail("stopped by the user", STOPPED_EARLY)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not look like a run that ended
        from turbobatch.summary import unexpected_text

        fail(unexpected_text(error), STOPPED_EARLY)
    finally:
        flush()


def _show_version(wanted: bool) -> None:
    if wanted:
        tell(f"turbobatch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """A table in, one email per row through the turboSMTP Send API, one honest verdict per row out."""


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", help="Where the demo keeps its files.")] = Path("turbobatch-demo"),
) -> None:
    """Do the main job on sample data through a sandbox; no account needed."""
    from turbobatch.demo import demo as run_demo

    run_demo(folder, tell)


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")]) -> None:
    """Make a ready campaign to edit."""
    from turbobatch.samples import copy_sample

    copy_sample("starter", folder)
    tell(f"{folder} is a campaign now. Edit {folder / 'campaign.toml'}, then: turbobatch check {folder}")


@app.command()
def check(
    campaign: CampaignPath, output: OptionalOutput = None, recipients: Recipients = None, api: ApiName = None
) -> None:
    """Merge every row, send nothing, and list every problem."""
    from turbobatch.progress import aside
    from turbobatch.report import write_report
    from turbobatch.summary import Problems, problems_text

    loaded = _load(campaign, recipients)
    if output is not None:
        _check_output(loaded, output)
    problems = Problems()
    parts = problems.counted(loaded.checking(api=_api_name(api, loaded), progress=is_terminal(sys.stderr)))
    if output is not None:
        write_report((part.frame() for part in parts), output)
        tell(f"{problems.count} problems, written to {output}")
    else:
        for part in parts:
            if part.problems:
                with aside():
                    tell(problems_text(part.problems))
    tell(problems.text())
    raise typer.Exit(SOME_ROWS_NOT_SENT if problems.invalid else 0)


@app.command()
def preview(
    campaign: CampaignPath,
    row: Annotated[int, typer.Option(min=0, help="Counted from 0.")] = 0,
    form: Annotated[str, typer.Option("--format", help="text, html, eml or wire")] = "text",
    output: OptionalOutput = None,
    recipients: Recipients = None,
    api: ApiName = None,
) -> None:
    """Show a row's email as it will leave."""
    loaded = _load(campaign, recipients)
    text = loaded.preview(row=row).render(form, api=_api_name(api, loaded))
    if output is None:
        tell(text)
        return
    from turbobatch.report import replacing

    _check_not_own(loaded, output)
    with replacing(output) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


@app.command()
def send(
    campaign: CampaignPath,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The report to write.")] = None,
    recipients: Recipients = None,
    rate: Annotated[str | None, typer.Option(help='Such as "20/second, 5000/day".')] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="POSTs in flight at most.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Emails to post at most.")] = None,
    test_to: Annotated[str | None, typer.Option(help="Send the first rows to this address instead.")] = None,
    api: ApiName = None,
    base_url: Annotated[str | None, typer.Option(help="The URL up to and without /mail/send.")] = None,
    transport: Annotated[str | None, typer.Option(help="requests, or curl (faster, the default).")] = None,
    journal: JournalFile = None,
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
    loaded = _load(campaign, recipients, rate=rate, concurrency=concurrency, journal=journal)
    client = _client(api or loaded.api, base_url, transport)
    if test_to is not None:
        send_test(loaded, client, test_to, limit or 1, yes=yes)
    if output is None:
        raise CampaignError("a report is missing: name it with -o, such as -o report.csv")
    _check_output(loaded, output)
    resend = in_doubt == "resend"
    plan = loaded.plan(resend=resend, progress=is_terminal(sys.stderr))
    accepted = confirm(plan, client, limit, resend=resend, changes=accept_changes, yes=yes)
    with interruptible("left at once; the journal knows what was sent, and the same command goes on"):
        report = partial(write, loaded, output, for_excel=for_excel)
        not_written = partial(unwritten, output, _report_command(campaign, output, recipients, journal))
        run = run_to_end(
            loaded, plan, client, limit, resend=resend, accept_changes=accepted, report=report, unwritten=not_written
        )
        if loaded.sent_version is not None and (change := loaded.sent_version.change()):
            warn(f"warning: {change}")
        try:
            counts, doubts = report()
        except TurboBatchError as error:
            # Emails have left, so it must not look like "nothing was sent".
            fail(f"{error}; the emails are journalled; {not_written()}", exit_code(run, ["?"], limited=False))
    statuses = [*counts, *(Status.IN_DOUBT for _ in doubts)]
    raise typer.Exit(exit_code(run, statuses, limited=limit is not None))


@app.command()
def status(
    campaign: CampaignPath,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    recipients: Recipients = None,
    journal: JournalFile = None,
) -> None:
    """Count the rows by status and name those in doubt."""
    from turbobatch.progress import reading, ticking

    loaded = _load(campaign, recipients, journal=journal)
    _check_journal(loaded, journal)
    counts = Counts()
    with loaded.look() as results:
        with reading(bar=is_terminal(sys.stderr), rows=results.table.about) as tick:
            for chunk in ticking(results.frames(), tick):
                counts.add(chunk)
        in_doubt, in_use = results.in_doubt(), results.in_use
    elsewhere = counts.elsewhere(in_doubt)
    if as_json:
        found = {"campaign": loaded.name, "journal": str(loaded.journal_path), "in_progress": in_use}
        doubts = {"in_doubt": in_doubt, "in_doubt_elsewhere": elsewhere}
        rows = {"rows": counts.rows.total(), "statuses": dict(counts.rows)}
        tell(json.dumps({**found, **rows, **doubts}, ensure_ascii=False))
        return
    from turbobatch.settings import shown
    from turbobatch.summary import IN_PROGRESS, counts_text, doubts_text

    tell(f"Campaign {loaded.name!r}, journal {shown(loaded.journal_path)}")
    tell(counts_text(counts.rows))
    if elsewhere:
        tell(doubts_text(elsewhere))
    if in_doubt:
        tell("In doubt, by key: " + ", ".join(in_doubt))
    if in_use:
        tell(IN_PROGRESS)
    elif in_doubt:
        tell(f"Settle them with: turbobatch resolve {campaign} --as sent|pending [--key KEY]")


@app.command()
def report(
    campaign: CampaignPath,
    output: Output,
    recipients: Recipients = None,
    journal: JournalFile = None,
    for_excel: Annotated[bool, typer.Option("--for-excel", help="Make a CSV or TSV report safe for Excel.")] = False,
) -> None:
    """Write the report from the journal, at any time."""
    loaded = _load(campaign, recipients, journal=journal)
    _check_output(loaded, output)
    _check_journal(loaded, journal)
    write(loaded, output, for_excel=for_excel)


@app.command()
def audit(
    source: Annotated[Path, typer.Argument(metavar="REPORT|CAMPAIGN", help="A report, or a campaign.")],
    output: OptionalOutput = None,
) -> None:
    """List the failed addresses: one row each, with field and reason."""
    from turbobatch.audit import audit_chunks
    from turbobatch.progress import reading, ticking
    from turbobatch.recipients.table import file_errors
    from turbobatch.report import check_report_path, report_chunks, write_report
    from turbobatch.summary import Failures

    with file_errors(source):
        loaded = _load(source) if source.is_dir() or source.suffix == ".toml" else None
    if output is not None:
        check_report_path(output)
        if loaded is not None:
            _check_not_own(loaded, output)
    if loaded is not None:
        _check_journal(loaded)
    failures = Failures()

    def counted() -> Iterator[pd.DataFrame]:
        results = loaded.result_chunks() if loaded is not None else report_chunks(source)
        with reading(bar=is_terminal(sys.stderr), rows=_about(loaded, source)) as tick:
            for found in audit_chunks(ticking(results, tick)):
                failures.add(found)
                yield found

    if output is None:
        deque(counted(), maxlen=0)
        tell(failures.text())
        return
    write_report(counted(), output)
    tell(f"{failures.count} failed addresses, written to {output}")


@app.command()
def resolve(
    campaign: CampaignPath,
    settle_as: Annotated[Literal["sent", "pending"], typer.Option("--as", help="What the rows in doubt are.")],
    key: Annotated[list[str] | None, typer.Option("--key", help="Only the row with this key; again for more.")] = None,
    journal: JournalFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Settle rows in doubt by hand."""
    from turbobatch.journal.files import is_there
    from turbobatch.summary import resending_text

    loaded = _load(campaign, journal=journal)
    if not is_there(loaded.journal_path):
        raise CampaignError(f"there is no journal at {loaded.journal_path}: nothing is in doubt")
    status = Status(settle_as)
    if status is Status.PENDING and (count := len(loaded.doubts_to_settle(status, key or None))):
        tell(resending_text(count))
        if not key and not yes:
            ask("Settle them all as pending?", "nothing was settled")
    settled = loaded.settle(status, key or None)
    tell(f"{settled} {'row' if settled == 1 else 'rows'} in doubt settled as {settle_as}")


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8025,
    latency: Annotated[float, typer.Option(metavar="MS", min=0, help="Milliseconds before each answer.")] = 0.0,
    fault: Annotated[list[str] | None, typer.Option(metavar="KIND:SHARE", help="Such as 429:5%.")] = None,
) -> None:
    """Run a local stand-in for the vendor until Ctrl-C."""
    from turbobatch.sandbox import serve

    serve(port=port, latency_ms=latency, faults=fault or [], on_ready=_tell_sandbox)


def _load(
    campaign: Path,
    recipients: Path | None = None,
    *,
    rate: str | None = None,
    concurrency: int | None = None,
    journal: Path | None = None,
) -> Campaign:
    from turbobatch.campaign import Campaign

    return Campaign.load(campaign, recipients=recipients, rate=rate, concurrency=concurrency, journal=journal)


def _about(campaign: Campaign | None, source: Path) -> int | None:
    """How many rows a campaign's table or a report has, where that is quickly told."""
    from turbobatch.recipients import open_table

    if campaign is not None:
        return campaign.source().table.about
    if source.suffix.lower() not in {".csv", ".tsv", ".parquet"}:
        return None
    try:
        return open_table(source).about
    except CampaignError:  # reading it says better what is wrong
        return None


def _api_name(api: str | None, campaign: Campaign) -> str:
    """The API that `send` would use, as far as that can be told without credentials."""
    if chosen := api or campaign.api:
        return chosen
    try:
        return _client(None, None, "requests").api.name
    except CampaignError:
        return "v2"


def _client(api: str | None, base_url: str | None, transport: str | None) -> TurboClient:
    from turbobatch.client import TurboClient

    return TurboClient.from_env(api=api, base_url=base_url, transport=transport)  # type: ignore[arg-type]


def _check_journal(campaign: Campaign, given: Path | None = None) -> None:
    """Say where there is no journal yet; one that was `given` by name may be mistyped.

    Raises:
        CampaignError: the one that was given isn't there.
    """
    from turbobatch.journal.files import is_there
    from turbobatch.settings import shown

    if is_there(campaign.journal_path):
        return
    missing = f"there is no journal at {shown(campaign.journal_path)} yet: nothing has been sent by it"
    if given is not None:
        raise CampaignError(missing)
    warn(missing)


def _report_command(campaign: Path, output: Path, recipients: Path | None, journal: Path | None) -> str:
    """The command that writes the report of a `send` with these options."""
    given = {"-o": output, "--recipients": recipients, "--journal": journal}
    options = [str(word) for pair in given.items() if pair[1] is not None for word in pair]
    return shlex.join(["turbobatch", "report", str(campaign), *options])


def _check_output(campaign: Campaign, output: Path) -> None:
    """Find out before a run what would keep its report from being written, or make it overwrite what it is made of."""
    from turbobatch.report import check_report_path

    check_report_path(output)
    _check_not_own(campaign, output)


def _check_not_own(campaign: Campaign, output: Path) -> None:
    if campaign.reads(output):
        raise CampaignError(f"{output} is a file of the campaign itself: give the output another name")


def _tell_sandbox(running: Sandbox) -> None:
    """Say where a sandbox listens and how to point the commands at it."""
    tell(sandbox_text(running))
    flush()
