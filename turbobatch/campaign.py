"""Campaign: the facade. Check, preview, send, start, results."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from turbobatch.check import any_account, checking, whole
from turbobatch.client import TurboClient
from turbobatch.descriptors import affordable, shortage
from turbobatch.engine import Engine
from turbobatch.errors import CampaignError
from turbobatch.feed import Feed, Preparation
from turbobatch.journal import SqliteJournal, open_journal, read_journal
from turbobatch.journal.neighbours import sent_by_neighbours
from turbobatch.plan import Plan, make_plan
from turbobatch.policy import Policy, Status
from turbobatch.preview import Preview, preview_row
from turbobatch.progress import log, log_event, reading, start_and_watch
from turbobatch.rates import Pacer, Window, parse_rate
from turbobatch.recipients import open_table
from turbobatch.results import Results
from turbobatch.run import Asked, Run, active_run, start_run
from turbobatch.settings import checked_concurrency, is_one_of, load_settings, mail_merge, name_fault, names, shown
from turbobatch.settlement import doubts_to_settle, settle_by_hand
from turbobatch.suppression import load_suppressed
from turbobatch.trial import send_trial
from turbobatch.units import Layout, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd

    from turbobatch.check import Checked
    from turbobatch.client import SendResult
    from turbobatch.engine import RunEvent
    from turbobatch.merge import MailMerge
    from turbobatch.progress import Tick
    from turbobatch.recipients import Table
    from turbobatch.recipients.version import FileVersion
    from turbobatch.sendapi import SendApi

    Recipients = pd.DataFrame | Table | str | Path

_JITTER = 0.02  # seconds; measured: threads and commits move POSTs by 11 to 16 ms at most


class Campaign:
    """A message, and how and how often it may leave. The name and its journal are what makes it the same campaign.

    Args:
        name: a key is sent at most once per name.
        message: the templates.
        recipients: the table, where the methods aren't given one.
        key: the column(s) that tell emails apart; without one, a digest of each email's content does.
        group_by: the column(s) whose equal values make one email of several rows.
        rate: "20/second, 5000/day"; without one, `concurrency` is the only bound.
        concurrency: POSTs in flight at most.
        window: "Mon-Fri 09:00-18:00 Europe/Rome".
        suppress: a file or table of addresses that get nothing.
        api: "v1" or "v2", where the environment has credentials for both.
        journal: its file; `<name>.journal.db` in the working directory if not given.

    Raises:
        CampaignError: a setting can't be used.
    """

    def __init__(
        self,
        *,
        name: str,
        message: MailMerge,
        recipients: Recipients | None = None,
        key: str | Sequence[str] | None = None,
        group_by: str | Sequence[str] | None = None,
        rate: str | None = None,
        concurrency: int = 16,
        window: str | None = None,
        suppress: Recipients | None = None,
        api: str | None = None,
        journal: str | Path | None = None,
        policy: Policy | None = None,
    ) -> None:
        if fault := name_fault(name):
            raise CampaignError(f"name {name!r} {fault}")
        self.name = name
        self.message = message
        self.api = api
        self.concurrency = checked_concurrency(concurrency)
        self.policy = policy or Policy()
        self.limits = parse_rate(rate)
        self.window = Window.parse(window) if window is not None else None
        # Absolute, all of them: a change of the working directory must not make another campaign of it.
        self.journal_path = Path(journal if journal is not None else f"{name}.journal.db").absolute()
        self.emit: Callable[[RunEvent], None] = log_event  # hears what happens in a run
        self._recipients = _absolute(recipients)
        self._read_options: dict[str, Any] = {}
        self._file: Path | None = None
        self.sent_version: FileVersion | None = None  # of the table's file, as the last run read it
        self._key = names(key)
        self._group_by = names(group_by)
        self._suppress = _absolute(suppress)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        recipients: Recipients | None = None,
        rate: str | None = None,
        concurrency: int | None = None,
        journal: str | Path | None = None,
    ) -> Self:
        """Load a campaign.toml or the one in a folder; what is given here goes before what it says.

        Raises:
            CampaignError: it can't be read or used.
        """
        settings = load_settings(path)
        table, send, folder = settings.recipients, settings.send, settings.folder
        own = folder / table.path if table.path is not None else None
        campaign = cls(
            name=settings.name,
            message=mail_merge(settings),
            recipients=recipients if recipients is not None else own,
            key=table.key,
            group_by=table.group_by,
            rate=rate if rate is not None else send.rate,
            concurrency=concurrency if concurrency is not None else send.concurrency,
            window=send.window,
            suppress=folder / send.suppress if send.suppress else None,
            api=send.api,
            journal=journal or folder / f"{settings.name}.journal.db",
        )
        campaign._file = settings.file
        if recipients is None:
            campaign._read_options = {"encoding": table.encoding, "delimiter": table.delimiter, "sheet": table.sheet}
        return campaign

    def check(self, recipients: Recipients | None = None, *, api: str | None = None) -> pd.DataFrame:
        """Merge every row and send nothing: one row per problem, with its cure.

        Columns: `row, where` (the same with the file's line), `status` (what the row would become: invalid, duplicate,
        suppressed), `field, columns, problem, cure, send_key`.

        Raises:
            CampaignError: the table or a template can't be used at all.
        """
        from turbobatch.frames import CheckFrame, framed

        return framed(CheckFrame, whole(self.checking(recipients, api=api)))

    def checking(
        self, recipients: Recipients | None = None, *, api: str | None = None, progress: bool = False
    ) -> Iterator[Checked]:
        """The same part by part, at least one, for tables whose problems don't fit into memory, or to show progress."""
        source = self.source(recipients)
        prepare = self._preparation(source, any_account(api or self.api or "v2"))
        with reading("checking", bar=progress, rows=source.table.about) as tick:
            for part in checking(source.table, source.layout, prepare, self._journal):
                tick(part.rows)
                yield part

    def preview(self, recipients: Recipients | None = None, *, row: int = 0) -> Preview:
        """The email that a row makes, as it will leave.

        Raises:
            CampaignError: there is no such row.
        """
        source = self.source(recipients)
        found = preview_row(source.find(), source.merger, row, self.name)
        if found is None:
            group = " that begins a group" if source.layout.group_by else ""
            raise CampaignError(f"{source.table.name} has no row {row}{group}: rows count from 0")
        return found

    def plan(
        self, recipients: Recipients | None = None, *, resend: bool = False, progress: bool | Tick = False
    ) -> Plan:
        """Read the whole table once, so that what is wrong with it shows before anything is sent, and count.

        `progress` shows a bar if that takes long, or is called with the number of rows that were read since.

        Raises:
            CampaignError: the table or a template can't be used.
            JournalError: the journal can't be used.
        """
        source = self.source(recipients)
        with self._journal_to_write() as journal, reading(bar=progress, rows=source.table.about) as tick:
            plan = make_plan(*source, journal, resend=resend, sender=self.message.sender, tick=tick)
        own = (*source.table.warnings, shortage(self.concurrency), *plan.warnings)
        renamed = sent_by_neighbours(self.journal_path, plan.sample, plan.emails)
        return replace(plan, journal=self._identity, warnings=tuple(filter(None, (*own, *renamed))))

    def send(
        self,
        recipients: Recipients | None = None,
        client: TurboClient | None = None,
        *,
        limit: int | None = None,
        resend: bool = False,
        accept_changes: bool = False,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Send what isn't sent yet and return the table with its result columns. Running it again sends nothing twice.

        Args:
            recipients: a DataFrame or the path of a table; else the campaign's own.
            client: else one with the credentials in the environment.
            limit: emails to post at most.
            resend: post rows in doubt again; some of them may have been accepted and would arrive twice.
            accept_changes: send also where `plan` objects that the emails look like ones that have left already.
            progress: show a tqdm bar.

        Raises:
            CampaignError: the table or a template can't be used, or the emails look like ones that have left already;
                nothing was sent.
            AuthenticationError: the credentials were refused; the rows are pending.
            NotSentError: the run ended early (outage, no credit); run it again to go on.
            JournalError: the journal can't be used.
            KeyboardInterrupt: stopped by Ctrl-C or Interrupt, after the POSTs in flight have ended.
        """
        say = log.warning if progress else log.info
        run = self.run_to_end(
            recipients, client, limit=limit, resend=resend, accept_changes=accept_changes, bar=progress, say=say
        )
        run.raise_if_stopped()
        return self.results(recipients)

    def run_to_end(
        self,
        recipients: Recipients | Plan | None = None,
        client: TurboClient | None = None,
        *,
        limit: int | None = None,
        resend: bool = False,
        accept_changes: bool = False,
        bar: bool = True,
        say: Callable[[str], None] = log.warning,
        on_start: Callable[[Run], None] | None = None,
    ) -> Run:
        """Start a run and watch it to its end, also to an early one; the first Ctrl-C stops it cleanly.

        `bar` and `say` are `progress.watch`'s. `on_start` gets the run: what is raised from then on broke it.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed before anything was sent, or twice.
            TurboBatchError: what `start` raises, or what broke the run.
        """
        start = partial(
            self.start, recipients, client, limit=limit, resend=resend, accept_changes=accept_changes, progress=bar
        )
        return start_and_watch(start, lambda: self.running, bar=bar, say=say, on_start=on_start)

    def start(
        self,
        recipients: Recipients | Plan | None = None,
        client: TurboClient | None = None,
        *,
        limit: int | None = None,
        resend: bool = False,
        accept_changes: bool = False,
        progress: bool = False,
    ) -> Run:
        """Begin to send in the background. If that is in progress already, its run is returned.

        A Plan goes for the table that it was made of, and isn't made again. `progress` shows a bar while it is made.

        Raises:
            CampaignError: the table or a template can't be used, the emails look like ones that have left already, the
                Plan is another campaign's, or a run with another table or other options is in progress; nothing was
                sent.
            JournalError: the journal can't be used.
        """
        given = recipients.table if isinstance(recipients, Plan) else recipients
        asked = Asked(_absolute(given) if given is not None else self._recipients, limit, resend)
        if (active := active_run(self._identity, asked)) is not None:
            return active
        client = client or TurboClient.from_env(api=self.api)
        if isinstance(recipients, Plan):
            plan = recipients
        else:
            plan = self.plan(given, resend=resend, progress=progress)
            for warning in plan.warnings:
                log.warning("%s", warning)
        if plan.objection and not accept_changes:
            raise CampaignError(
                f"{plan.objection}; undo the change, or send them all the same with accept_changes=True "
                "(--accept-changes)"
            )
        source = self.source(plan.table)  # the same, so that what is sent is what was counted
        if (plan.journal, plan.layout) != (self._identity, source.layout):
            raise CampaignError("the plan is another campaign's, or its key has changed since: plan again")
        make_engine = partial(self._engine, plan, source, client, asked)
        self.sent_version = source.table.version
        return start_run(self._identity, asked, make_engine, total=plan.rows)

    def paced(self, *, rate: str | None, concurrency: int) -> Self:
        """The same campaign, with the same journal and run, at another pace; a CampaignError if it can't be kept."""
        other = copy(self)
        other.limits, other.concurrency = parse_rate(rate), checked_concurrency(concurrency)
        return other

    @property
    def running(self) -> Run | None:
        """The run in progress in this process."""
        return active_run(self._identity)

    @property
    def _identity(self) -> tuple[Path, str]:
        return self.journal_path.resolve(), self.name

    def _engine(self, plan: Plan, source: Source, client: TurboClient, asked: Asked, held: ExitStack) -> Engine:
        concurrency = affordable(self.concurrency)
        journal = open_journal(*self._identity)
        held.callback(journal.close)
        feed = Feed(
            table=source.table,
            layout=source.layout,
            prepare=self._preparation(source, client.api),
            journal=journal,
            resend=asked.resend,
            limit=asked.limit,
            sent=plan.rows if plan.is_done_by(journal) else 0,
        )
        return Engine(
            feed=iter(feed),
            journal=journal,
            transport=client.open_transport(concurrency),
            pacer=Pacer(self.limits, jitter=_JITTER),
            concurrency=concurrency,
            window=self.window,
            policy=self.policy,
            emit=self.emit,
        )

    def send_test(
        self, address: str, recipients: Recipients | None = None, client: TurboClient | None = None, *, rows: int = 1
    ) -> Iterator[tuple[int, SendResult | str]]:
        """Send the first rows to `address` alone, outside the journal: (row, the API's answer or why it is invalid).

        Raises:
            CampaignError: the address is none, or the table or a template can't be used.
            AuthenticationError, NotSentError, InDoubtError: as TurboClient.send does.
        """
        source = self.source(recipients)
        client = client or TurboClient.from_env(api=self.api)
        pacer = Pacer(self.limits, jitter=_JITTER)
        return send_trial(source.find(), source.merger, client, pacer, to=address, campaign=self.name, emails=rows)

    def results(self, recipients: Recipients | None = None) -> pd.DataFrame:
        """The table with its result columns, from the journal, at any time: also while another process sends.

        Raises:
            CampaignError: the table can't be read.
            JournalError: the journal can't be used.
        """
        import pandas as pd

        from turbobatch.frames import as_results

        return as_results(pd.concat(list(self.result_chunks(recipients))))

    def result_chunks(self, recipients: Recipients | None = None) -> Iterator[pd.DataFrame]:
        """The same in chunks of some thousand rows, at least one, for tables that don't fit into memory."""
        with self.look(recipients) as results:
            yield from results.frames()

    @contextmanager
    def look(self, recipients: Recipients | None = None) -> Iterator[Results]:
        """The same, and what is in doubt, as one moment's journal tells it."""
        source = self.source(recipients)
        read, sent = source.table.version, self.sent_version
        if read is not None and sent is not None and read.path == sent.path and (change := sent.change()):
            log.warning("%s", change)
        with self._journal() as journal:
            table, layout, merger = source.table, source.layout, source.merger
            yield Results(
                table=table, layout=layout, merger=merger, journal=journal, campaign=self.name, in_use=journal.in_use
            )

    def reads(self, path: Path, recipients: Recipients | None = None) -> bool:
        """Whether this file is one that the campaign is made of: tables, suppression list, templates, journal.

        The journal's files are the campaign's own also before they exist.
        """
        journal = [Path(f"{self.journal_path}{ending}") for ending in ("", "-wal", "-mark", "-journal", "-shm")]
        given = [self._recipients, _absolute(recipients), self._suppress, self._file, *self.message.files, *journal]
        return is_one_of(path, [item for item in given if isinstance(item, Path)])

    def in_doubt(self) -> list[str]:
        """The keys of all emails in doubt, also of those whose rows have left the table."""
        with self._journal() as journal:
            return [entry.key for entry in journal.entries(Status.IN_DOUBT)]

    def doubts_to_settle(self, status: Status, keys: Iterable[str] | None = None) -> list[str]:
        """The keys in doubt that `settle` would settle; raises what it would raise."""
        with self._journal_to_write() as journal:
            return doubts_to_settle(journal, status, keys)

    def settle(self, status: Status, keys: Iterable[str] | None = None) -> int:
        """Settle rows in doubt by hand, all of them or those with `keys`, as `sent` or `pending`; tells how many.

        Named by its key, a rejected row can be settled as `pending` too: it is tried again then.

        Raises:
            CampaignError: rows can't be settled as that, or a key is not in doubt; nothing was settled then.
            JournalError: the journal can't be used.
        """
        if self.running is not None:
            raise CampaignError("a run of this campaign is in progress: stop it, then settle what is in doubt")
        with self._journal_to_write() as journal:
            return settle_by_hand(journal, status, keys)

    def _preparation(self, source: Source, api: SendApi) -> Preparation:
        suppressed = load_suppressed(self._suppress) if self._suppress is not None else {}
        return Preparation(campaign=self.name, merger=source.merger, api=api, suppressed=suppressed)

    def _journal(self) -> SqliteJournal:
        """The journal for those who only look."""
        return read_journal(*self._identity)

    def _journal_to_write(self) -> SqliteJournal:
        """The journal, to oneself; it isn't made yet where there is none, but could be."""
        return open_journal(*self._identity, make=False)

    def source(self, recipients: Recipients | None = None) -> Source:
        """The table, opened, with its layout and the merge that is bound to its columns."""
        options = {} if recipients is not None else self._read_options
        given = recipients if recipients is not None else self._recipients
        if given is None:
            raise CampaignError(
                "the campaign has no recipients: name a table ([recipients] path, or --recipients FILE)"
            )
        table = open_table(given, **options)
        layout = Layout(table.columns, self._key, self._group_by)
        return Source(table, layout, self.message.bind(table.columns))

    def __repr__(self) -> str:
        return f"<Campaign {self.name!r}, journal {shown(self.journal_path)}>"


def _absolute(given: Recipients | None) -> Path | pd.DataFrame | Table | None:
    return Path(given).absolute() if isinstance(given, (str, Path)) else given
