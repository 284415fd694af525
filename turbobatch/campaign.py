"""Campaign: the facade. Check, preview, send, start, results."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import astuple, fields, replace
from functools import partial
from typing import TYPE_CHECKING

from turbobatch.check import any_account, checking, whole
from turbobatch.client import TurboClient
from turbobatch.definition import Definition, absolute
from turbobatch.descriptors import affordable, shortage
from turbobatch.engine import Engine
from turbobatch.errors import CampaignError
from turbobatch.feed import Feed, Preparation
from turbobatch.journal import open_journal
from turbobatch.journal.neighbours import sent_by_neighbours
from turbobatch.plan import Plan, make_plan
from turbobatch.policy import Status
from turbobatch.preview import Preview, preview_row
from turbobatch.progress import log, reading, start_and_watch
from turbobatch.rates import Pacer
from turbobatch.reconcile import GRACE, Reconciled, reconcile
from turbobatch.results import Results
from turbobatch.run import Asked, Run, active_run, start_run
from turbobatch.settlement import doubts_to_settle, settle_by_hand
from turbobatch.suppression import Suppressed, load_for_a_look, load_suppressed, looking
from turbobatch.trial import send_trial
from turbobatch.validation import Validating, account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import dask.dataframe as dd
    import pandas as pd

    from turbobatch.check import Checked
    from turbobatch.client import SendResult
    from turbobatch.progress import Tick
    from turbobatch.recipients import Table
    from turbobatch.sendapi import SendApi
    from turbobatch.units import Source
    from turbobatch.validation import Need

    Recipients = pd.DataFrame | dd.DataFrame | Table | str | Path

_JITTER = 0.02  # seconds; measured: threads and commits move POSTs by 11 to 16 ms at most


class Campaign(Definition):
    """A message, and how and how often it may leave. The name and its journal are what makes it the same campaign.

    Args:
        name: a key is sent at most once per name.
        message: the templates.
        recipients: the table, where the methods aren't given one: a DataFrame, a Dask DataFrame, a file, or a folder of
            CSV or Parquet files that are one table.
        key: the column(s) that tell emails apart; without one, a digest of each email's content does.
        group_by: the column(s) whose equal values make one email of several rows.
        rate: "20/second, 5000/day"; without one, `concurrency` is the only bound.
        concurrency: POSTs in flight at most.
        window: "Mon-Fri 09:00-18:00 Europe/Rome".
        suppress: a file or table of addresses that get nothing, "vendor" for the list that the vendor keeps (v2), which
            is fetched for each run, or several of these.
        api: "v1" or "v2", where the environment has credentials for both.
        journal: its file, or the URL of a PostgreSQL database that several processes may share
            (postgresql://USER@HOST/DATABASE); `<name>.journal.db` in the working directory if not given.

    Raises:
        CampaignError: a setting can't be used.
    """

    def check(
        self,
        recipients: Recipients | None = None,
        *,
        api: str | None = None,
        client: TurboClient | None = None,
        validate: bool = False,
    ) -> pd.DataFrame:
        """Merge every row and send nothing: one row per problem, with its cure.

        Columns: `row, where` (the same with the file's line), `status` (what the row would become: invalid, duplicate,
        suppressed; `warning`: it is sent all the same), `field, columns, problem, cure, send_key`.

        Args:
            recipients: the table, if not the campaign's own.
            api: "v1" or "v2", whose size limit counts.
            client: a v2 account, else the environment's, for what the vendor is asked. Without any, or where the vendor
                can't be reached, its suppression list is left out, with a warning.
            validate: have the vendor judge the address of everybody who could be sent an email, which costs a credit
                each. It judges invalid, spamtrap, abuse and do_not_mail: problems; the others are counted in
                `attrs["turbobatch.validated"]`. A judgement is kept in `<name>.validated.db` beside the journal and
                used again for 30 days, "unknown" for one.

        Raises:
            CampaignError: the table or a template can't be used at all, or `validate` has no v2 account.
            AuthenticationError: the vendor refused the credentials.
            ManagementError: `validate` couldn't ask the vendor.
            JournalError: `validate` has to know what is sent, and the journal can't be read.
            KeyboardInterrupt: Ctrl-C. A list that is being judged goes on: the next such check takes it up.
        """
        from turbobatch.frames import CheckFrame, framed

        return framed(CheckFrame, whole(self.checking(recipients, client, api=api, validate=validate)))

    def checking(
        self,
        recipients: Recipients | None = None,
        client: TurboClient | None = None,
        *,
        api: str | None = None,
        progress: bool = False,
        say: Callable[[str], object] = log.warning,
        validate: bool | Callable[[Need], object] = False,
    ) -> Iterator[Checked]:
        """The same part by part, at least one, for tables whose problems don't fit into memory, or to show progress.

        `say` takes warnings. `validate` may be asked whether so many addresses may be paid for, and raises if not.
        """
        source = self.source(recipients)
        for warning in source.table.warnings:
            say(warning)
        with ExitStack() as held:
            validating = None
            if validate:
                client = held.enter_context(account(client))
                validating = held.enter_context(Validating(self.validated_path, source.merger))
            found = held.enter_context(looking(self._suppress, client, say))
            # Who is on the list mustn't be paid for: a validation needs it, a mere look goes on without.
            suppressed = self._suppressed(found, progress=progress, say=None if validate else say)
            prepare = self._preparation(source, any_account(api or self.api or "v2"), suppressed)
            on_ready = validating.want if validating is not None else None
            with reading("checking", bar=progress, rows=source.table.about) as tick:
                for part in checking(source.table, source.layout, prepare, self._journal, on_ready):
                    tick(part.rows)
                    yield part
            if validating is not None and client is not None:
                with reading("validating", bar=progress, rows=validating.need().new) as tick:
                    validating.ask(client, validate if callable(validate) else lambda _: None, tick)
                yield from validating.parts()

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
        renamed = sent_by_neighbours(self._identity[0], plan.sample, plan.emails)
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
            ManagementError: the vendor's suppression list couldn't be had; nothing was sent.
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
            AuthenticationError, ManagementError: the vendor's suppression list couldn't be had; nothing was sent.
            JournalError: the journal can't be used.
        """
        given = recipients.table if isinstance(recipients, Plan) else recipients
        asked = Asked(absolute(given) if given is not None else self._recipients, limit, resend)
        if (active := active_run(self._identity, asked)) is not None:
            return active
        client = client or TurboClient.from_env(api=self.api)
        self.check_client(client)
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
        prepare = self._preparation(source, client.api, self._suppressed(client, progress=progress))
        make_feed = partial(Feed, table=source.table, layout=source.layout, prepare=prepare, resend=resend, limit=limit)
        make_engine = partial(self._engine, plan, make_feed, client)
        self.sent_version = source.table.version
        return start_run(self._identity, asked, make_engine, total=plan.rows)

    @property
    def running(self) -> Run | None:
        """The run in progress in this process."""
        return active_run(self._identity)

    def _engine(self, plan: Plan, make_feed: Callable[..., Feed], client: TurboClient, held: ExitStack) -> Engine:
        concurrency = affordable(self.concurrency)
        journal = open_journal(*self._identity)
        held.callback(journal.close)
        return Engine(
            feed=iter(make_feed(journal=journal, sent=plan.rows if plan.is_done_by(journal) else 0)),
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
        from turbobatch.frames import as_results

        with self.look(recipients) as results:
            return as_results(results.frame())

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

    def reconcile(
        self,
        recipients: Recipients | None = None,
        client: TurboClient | None = None,
        *,
        grace: float = GRACE,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Look for the rows in doubt in the vendor's analytics (v2): what is found there is settled as `sent`.

        Gives one row for each that was in doubt: `send_key, trace` (found, unclear, missing, too early), `message,
        mids, delivery`. All but `found` stays in doubt; to `settle` it is up to you.

        Args:
            recipients: the table, if not the campaign's own. A row that isn't in it is recognised by whom it went to.
            client: a v2 account; else the one in the environment.
            grace: seconds after its POST in which an email may not show yet.
            progress: show a bar.

        Raises:
            CampaignError: the client is no v2 account's, or a run is in progress.
            AuthenticationError, ManagementError: the vendor couldn't be asked; nothing was settled.
            JournalError: the journal can't be used.
        """
        import pandas as pd

        from turbobatch.frames import Frame, framed

        told = self.reconciled(recipients, client, grace=grace, progress=progress)
        columns = [item.name for item in fields(Reconciled)]
        frame = pd.DataFrame([astuple(item) for item in told], columns=columns).rename(columns={"key": "send_key"})
        return framed(Frame, frame)

    def reconciled(
        self, recipients: Recipients | None, client: TurboClient | None, *, grace: float = GRACE, progress: bool | Tick
    ) -> list[Reconciled]:
        """The same as data; `progress` may be called with the number of emails that were looked for since."""
        if self.running is not None:
            raise CampaignError("a run of this campaign is in progress: stop it, then settle what is in doubt")
        client = client or TurboClient.from_env(api="v2")
        with self._journal_to_write() as journal:
            count = journal.counts().get(Status.IN_DOUBT, 0)
            has_table = recipients is not None or self._recipients is not None
            source = self.source(recipients) if count and has_table else None
            with reading("asking", bar=progress, rows=count) as tick:
                return reconcile(journal, source, client, self.name, grace=grace, tick=tick)

    def _suppressed(
        self, client: TurboClient | None, *, progress: bool, say: Callable[[str], object] | None = None
    ) -> Suppressed:
        """The lists; with `say` the vendor's is left out where it can't be had."""
        with reading("suppression list", bar=progress) as tick:
            if say is None:
                return load_suppressed(self._suppress, client, tick=tick)
            return load_for_a_look(self._suppress, client, say, tick=tick)

    def _preparation(self, source: Source, api: SendApi, suppressed: Suppressed) -> Preparation:
        return Preparation(campaign=self.name, merger=source.merger, api=api, suppressed=suppressed or None)
