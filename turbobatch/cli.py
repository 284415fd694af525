"""The command line: parse, call the facade, print, exit code. What a command does lives elsewhere."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

from turbobatch._version import __version__
from turbobatch.errors import AuthenticationError, CampaignError, JournalError, NotSentError, TurboBatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

    from turbobatch.campaign import Campaign, Plan
    from turbobatch.client import TurboClient
    from turbobatch.run import Run
    from turbobatch.sandbox import Sandbox

SOME_ROWS_NOT_SENT = 1
NOTHING_SENT = 2
STOPPED_EARLY = 3


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Ctrl-C, wherever it struck, also at a question."""


class Commands(TyperGroup):
    """The commands; typer would turn a Ctrl-C into an exit code of its own."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, typer.Abort):
            raise Interrupted from None


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
    # A batch system's SIGTERM is a Ctrl-C that nobody pressed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except (CampaignError, JournalError) as error:
        _fail(error, NOTHING_SENT)
    except (AuthenticationError, NotSentError) as error:
        _fail(error, STOPPED_EARLY)
    except TurboBatchError as error:
        _fail(error, SOME_ROWS_NOT_SENT)
    except (Interrupted, KeyboardInterrupt):
        _fail("left at once; the journal knows what was sent, and the same command goes on", STOPPED_EARLY)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not look like a run that ended
        from turbobatch.summary import unexpected_text

        _fail(unexpected_text(error), STOPPED_EARLY)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"turbobatch {__version__}")
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

    run_demo(folder, typer.echo)


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")]) -> None:
    """Make a ready campaign to edit."""
    from turbobatch.samples import copy_sample

    copy_sample("starter", folder)
    typer.echo(f"{folder} is a campaign now. Edit {folder / 'campaign.toml'}, then: turbobatch check {folder}")


@app.command()
def check(
    campaign: CampaignPath, output: OptionalOutput = None, recipients: Recipients = None, api: ApiName = None
) -> None:
    """Merge every row, send nothing, and list every problem."""
    from turbobatch.report import write_report
    from turbobatch.summary import changed_text, problems_text

    loaded = _load(campaign, recipients)
    if output is not None:
        _check_output(loaded, output)
    problems = loaded.check(api=_api_name(api, loaded))
    if output is not None:
        write_report(problems, output)
        typer.echo(f"{len(problems)} problems, written to {output}")
    else:
        typer.echo(problems_text(problems), nl=False)
    invalid = problems.loc[problems["status"] == "invalid", "row"].nunique()
    typer.echo(changed_text(problems) + (f"{invalid} rows can't be sent" if invalid else "Every row can be sent."))
    raise typer.Exit(SOME_ROWS_NOT_SENT if invalid else 0)


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
        typer.echo(text)
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
    for_excel: Annotated[bool, typer.Option("--for-excel", help="Make a CSV or TSV report safe for Excel.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Send what isn't sent yet and write the report. The same command goes on after a stop."""
    loaded = _load(campaign, recipients, rate=rate, concurrency=concurrency, journal=journal)
    client = _client(api or loaded.api, base_url, transport)
    if test_to is not None:
        _send_test(loaded, client, test_to, limit or 1, yes=yes)
    if output is None:
        raise CampaignError("a report is missing: name it with -o, such as -o report.csv")
    _check_output(loaded, output)
    resend = in_doubt == "resend"
    plan = loaded.plan(resend=resend)
    _confirm(plan, client, limit, resend=resend, yes=yes)
    run = _run_to_end(
        loaded, plan, client, limit, resend=resend, tell=lambda: _report(loaded, output, for_excel=for_excel)
    )
    if loaded.sent_version is not None and (change := loaded.sent_version.change()):
        typer.echo(f"warning: {change}", err=True)
    try:
        counts = _report(loaded, output, for_excel=for_excel)
    except TurboBatchError as error:
        # Emails have left, so it must not look like "nothing was sent".
        again = f"turbobatch report {campaign} -o FILE"
        code = _exit_code(run, Counter("?"), limited=False)
        _fail(f"{error}; the emails are journalled: write the report with {again}", code)
    raise typer.Exit(_exit_code(run, counts, limited=limit is not None))


@app.command()
def status(
    campaign: CampaignPath,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    recipients: Recipients = None,
    journal: JournalFile = None,
) -> None:
    """Count the rows by status and name those in doubt."""
    loaded = _load(campaign, recipients, journal=journal)
    counts: Counter[str] = Counter()
    for chunk in loaded.result_chunks():
        counts.update(chunk["send_status"])
    in_doubt = loaded.in_doubt()
    if as_json:
        found = {"campaign": loaded.name, "journal": str(loaded.journal_path), "rows": counts.total()}
        typer.echo(json.dumps({**found, "statuses": dict(counts), "in_doubt": in_doubt}, ensure_ascii=False))
        return
    from turbobatch.campaign import shown
    from turbobatch.summary import counts_text

    typer.echo(f"Campaign {loaded.name!r}, journal {shown(loaded.journal_path)}")
    typer.echo(counts_text(counts))
    if in_doubt:
        typer.echo("In doubt, by key: " + ", ".join(in_doubt))
        typer.echo(f"Settle them with: turbobatch resolve {campaign} --as sent|pending [--key KEY]")


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
    _report(loaded, output, for_excel=for_excel)


@app.command()
def audit(
    source: Annotated[Path, typer.Argument(metavar="REPORT|CAMPAIGN", help="A report, or a campaign.")],
    output: OptionalOutput = None,
) -> None:
    """List the failed addresses: one row each, with field and reason."""
    from turbobatch.audit import audit as find_failures
    from turbobatch.recipients.table import file_errors
    from turbobatch.report import check_report_path, read_report, write_report
    from turbobatch.summary import failures_text

    with file_errors(source):
        loaded = _load(source) if source.is_dir() or source.suffix == ".toml" else None
    if output is not None:
        check_report_path(output)
        if loaded is not None:
            _check_not_own(loaded, output)
    failures = find_failures(loaded.result_chunks() if loaded is not None else read_report(source))
    if output is None:
        typer.echo(failures_text(failures))
        return
    write_report(failures, output)
    typer.echo(f"{len(failures)} failed addresses, written to {output}")


@app.command()
def resolve(
    campaign: CampaignPath,
    settle_as: Annotated[Literal["sent", "pending"], typer.Option("--as", help="What the rows in doubt are.")],
    key: Annotated[list[str] | None, typer.Option("--key", help="Only the row with this key; again for more.")] = None,
    journal: JournalFile = None,
) -> None:
    """Settle rows in doubt by hand."""
    from turbobatch.policy import Status

    settled = _load(campaign, journal=journal).settle(Status(settle_as), key or None)
    typer.echo(f"{settled} rows in doubt settled as {settle_as}")


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


def _confirm(plan: Plan, client: TurboClient, limit: int | None, *, resend: bool, yes: bool) -> None:
    """Say what is about to happen, and ask."""
    for warning in plan.warnings:
        typer.echo(f"warning: {warning}", err=True)
    emails = min(plan.emails, limit) if limit is not None else plan.emails
    known = ", ".join(f"{count} {status} already" for status, count in plan.known.items())
    typer.echo(f"{plan.rows} rows{f' ({known})' if known else ''}: up to {emails} emails to send")
    typer.echo(f"from {plan.sender} through {client.host} ({client.api.name})")
    if plan.elsewhere:
        typer.echo(
            f"warning: {plan.elsewhere} emails of this campaign have left under keys that this table doesn't have; "
            "make sure that the table, its key or a template hasn't changed in a way that would send them again",
            err=True,
        )
    if resend:
        typer.echo("Rows in doubt are posted again: some may have been accepted and would arrive twice.")
    if emails == 0 or yes:
        return
    if not sys.stdin.isatty():
        raise CampaignError("there is no terminal to ask on: say --yes to send without a question")
    if not typer.confirm("Send?"):
        raise CampaignError("nothing was sent")


def _run_to_end(
    campaign: Campaign, plan: Plan, client: TurboClient, limit: int | None, *, resend: bool, tell: Callable[[], object]
) -> Run:
    begun: list[Run] = []
    try:
        return campaign.run_to_end(
            plan.table,
            client,
            limit=limit,
            resend=resend,
            bar=sys.stderr.isatty(),
            say=lambda text: typer.echo(text, err=True),
            on_start=begun.append,
        )
    except Exception as error:
        if not begun:
            raise
        if isinstance(error, JournalError):  # this process may be the last to know what was sent
            with suppress(TurboBatchError):
                tell()
            _fail(error, STOPPED_EARLY)
        _fail(f"{error}; what was sent before is in the journal: run the same command again", STOPPED_EARLY)


def _check_output(campaign: Campaign, output: Path) -> None:
    """Find out before a run what would keep its report from being written, or make it overwrite what it is made of."""
    from turbobatch.report import check_report_path

    check_report_path(output)
    _check_not_own(campaign, output)


def _check_not_own(campaign: Campaign, output: Path) -> None:
    if campaign.reads(output):
        raise CampaignError(f"{output} is a file of the campaign itself: give the output another name")


def _report(campaign: Campaign, output: Path, *, for_excel: bool) -> Counter[str]:
    """Write the report chunk by chunk, and print its counts and failures."""
    from turbobatch.audit import audit as find_failures
    from turbobatch.audit import concatenated
    from turbobatch.report import write_report
    from turbobatch.summary import counts_text, failures_text

    counts: Counter[str] = Counter()
    failures: list[pd.DataFrame] = []

    def looked_at() -> Iterable[pd.DataFrame]:
        for chunk in campaign.result_chunks():
            failures.append(find_failures(chunk, start=counts.total()))
            counts.update(chunk["send_status"])
            yield chunk

    write_report(looked_at(), output, for_excel=for_excel)
    typer.echo(counts_text(counts))
    typer.echo(failures_text(concatenated(failures)))
    typer.echo(f"Report: {output}")
    return counts


def _exit_code(run: Run, counts: Counter[str], *, limited: bool) -> int:
    from turbobatch.policy import SETTLED_WELL, Status
    from turbobatch.run import describe_stop

    if run.stop_reason is not None:
        typer.echo(f"error: {describe_stop(run.stop_reason, run.stop_message)}", err=True)
        return STOPPED_EARLY
    good = SETTLED_WELL | ({Status.PENDING} if limited else set())
    return 0 if all(status in good for status in counts) else SOME_ROWS_NOT_SENT


def _send_test(campaign: Campaign, client: TurboClient, address: str, rows: int, *, yes: bool) -> NoReturn:
    if not yes and not sys.stdin.isatty():
        raise CampaignError("there is no terminal to ask on: say --yes to send without a question")
    typer.echo(f"{rows} test emails to {address} through {client.host}, outside the journal")
    if not yes and not typer.confirm("Send?"):
        raise CampaignError("nothing was sent")
    failed = 0
    for row, result in campaign.send_test(address, client=client, rows=rows):
        said = result if isinstance(result, str) else f"{result.status} {'; '.join(result.errors)}".strip()
        failed += isinstance(result, str) or result.status != "sent"
        typer.echo(f"row {row}: {said}")
    raise typer.Exit(SOME_ROWS_NOT_SENT if failed else 0)


def _tell_sandbox(running: Sandbox) -> None:
    """Say where a sandbox listens and how to point the commands at it."""
    from turbobatch.summary import sandbox_text

    typer.echo(sandbox_text(running))
    sys.stdout.flush()


def _fail(error: object, code: int) -> NoReturn:
    typer.echo(f"error: {' '.join(str(error).splitlines())}", err=True)
    sys.exit(code)
