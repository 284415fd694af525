"""Campaign: the facade. Check, preview, send, start, results."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from turbobatch.check import any_account, checking, whole
from turbobatch.client import TurboClient
from turbobatch.cluster.campaign import Clustered
from turbobatch.definition import absolute
from turbobatch.descriptors import affordable, shortage
from turbobatch.engine import Engine
from turbobatch.errors import CampaignError
from turbobatch.feed import Feed, Preparation
from turbobatch.journal import open_journal, open_pacer, warning_of
from turbobatch.journal.neighbours import sent_by_neighbours
from turbobatch.plan import Plan, make_plan
from turbobatch.preview import Preview, preview_row
from turbobatch.progress import log, reading, start_and_watch
from turbobatch.rates import JITTER, Pacer
from turbobatch.run import Asked, Run, active_run, start_run
from turbobatch.suppression import Suppressed, load_for_a_look, load_suppressed, looking
from turbobatch.trial import send_trial
from turbobatch.validation import Validating, account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import dask.dataframe as dd
    import pandas as pd

    from turbobatch.check import Checked
    from turbobatch.client import SendResult
    from turbobatch.cluster.campaign import On
    from turbobatch.cluster.dispatch import Dispatch
    from turbobatch.progress import Tick
    from turbobatch.recipients import Table
    from turbobatch.sendapi import SendApi
    from turbobatch.units import Source
    from turbobatch.validation import Need

    Recipients = pd.DataFrame | dd.DataFrame | Table | str | Path


class Campaign(Clustered):
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
        policy: how often an email is tried, and how long an outage is waited for.

    Methods take `recipients`, a table in place of the campaign's own, and `client`, an account in place of the one in
    the environment.

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

        `recipients`, `client` and `api` are `check`'s. `progress` shows a bar, `say` takes warnings. `validate` may be
        asked whether so many addresses may be paid for, and raises if not.
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

        Args:
            recipients: the table, if not the campaign's own.
            row: its number, from 0.

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
        self,
        recipients: Recipients | None = None,
        *,
        resend: bool = False,
        progress: bool | Tick = False,
        on: On | None = None,
    ) -> Plan:
        """Read the whole table once, so that what is wrong with it shows before anything is sent, and count.

        Args:
            recipients: the table, if not the campaign's own.
            resend: count rows in doubt as emails to post.
            progress: show a bar if it takes long; or what is called with the number of rows that were read since.
            on: a cluster whose workers read it, as `send` takes it.

        Raises:
            CampaignError: the table or a template can't be used.
            JournalError: the journal can't be used.
        """
        source = self.source(recipients)
        sender = self.message.sender
        with (
            ExitStack() as held,
            self._journal_to_write() as journal,
            reading(bar=progress, rows=source.table.about) as tick,
        ):
            if on is None:
                plan = make_plan(*source, journal, resend=resend, sender=sender, tick=tick)
            else:
                from turbobatch.cluster.pool import check_workers
                from turbobatch.cluster.survey import survey

                dask, orders = held.enter_context(self.cluster(on)), self._orders(resend=resend)
                check_workers(dask, orders)
                plan = survey(dask, orders, source, journal, sender=sender, tick=tick)
        own = (*source.table.warnings, shortage(self.concurrency), warning_of(self.journal_place), *plan.warnings)
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
        on: On | None = None,
    ) -> pd.DataFrame:
        """Send what isn't sent yet and return the table with its result columns. Running it again sends nothing twice.

        Args:
            recipients: a DataFrame (pandas' or Dask's), or the path of a table or of a folder of its parts; else the
                campaign's own.
            client: else one with the credentials in the environment.
            limit: emails to post at most.
            resend: post rows in doubt again; some of them may have been accepted and would arrive twice.
            accept_changes: send also where `plan` objects that the emails look like ones that have left already.
            progress: show a tqdm bar.
            on: a cluster that sends, instead of this process: a Dask Client, a scheduler's address (tcp://HOST:8786),
                or "local:4" for so many processes here. The journal must be in PostgreSQL, the campaign's files at the
                same place on every machine, and the credentials in each worker's environment. The results of a Dask
                DataFrame are another one: what the journal says when it is computed (the database's password must be in
                PGPASSWORD or ~/.pgpass there). Those of other tables come whole; where they are too large for that,
                `start` the run, `wait` for it, and write the `report`.

        Raises:
            CampaignError: the table, a template or the cluster can't be used, or the emails look like ones that have
                left already; nothing was sent.
            AuthenticationError: the credentials were refused; the rows are pending.
            ManagementError: the vendor's suppression list couldn't be had; nothing was sent.
            NotSentError: the run ended early (outage, no credit); run it again to go on.
            JournalError: the journal can't be used.
            KeyboardInterrupt: stopped by Ctrl-C or Interrupt, after the POSTs in flight have ended.
        """
        say = log.warning if progress else log.info
        with ExitStack() as held:
            given: Recipients | Plan | None = recipients
            if on is not None:
                client = client or TurboClient.from_env(api=self.api)
                on = held.enter_context(self.cluster(on, client))
                given = self._told(self.plan(recipients, resend=resend, progress=progress, on=on))
            run = self.run_to_end(
                given, client, limit=limit, resend=resend, accept_changes=accept_changes, bar=progress, say=say, on=on
            )
        run.raise_if_stopped()
        lazy = self.lazy_results(given) if isinstance(given, Plan) else None
        return self.results(recipients) if lazy is None else lazy

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
        on: On | None = None,
    ) -> Run:
        """Start a run and watch it to its end, also to an early one; the first Ctrl-C stops it cleanly.

        `bar` and `say` are `progress.watch`'s. `on_start` gets the run: what is raised from then on broke it. The
        others are `start`'s.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed before anything was sent, or twice.
            TurboBatchError: what `start` raises, or what broke the run.
        """
        start = partial(
            self.start,
            recipients,
            client,
            limit=limit,
            resend=resend,
            accept_changes=accept_changes,
            progress=bar,
            on=on,
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
        on: On | None = None,
    ) -> Run:
        """Begin to send in the background. If that is in progress already, its run is returned.

        `recipients` may be what `plan` returned: it goes for the table that it was made of, and isn't made again.
        `progress` shows a bar while it is made. `client`, `limit`, `resend`, `accept_changes` and `on` are `send`'s.

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
        with ExitStack() as held:
            if on is not None:
                on = held.enter_context(self.cluster(on, client))
            if isinstance(recipients, Plan):
                plan = recipients
            else:
                plan = self._told(self.plan(given, resend=resend, progress=progress, on=on))
            source = self._checked(plan, accept_changes=accept_changes)
            self.sent_version = source.table.version
            if on is None:
                prepare = self._preparation(source, client.api, self._suppressed(client, progress=progress))
                make_feed = partial(
                    Feed, table=source.table, layout=source.layout, prepare=prepare, resend=resend, limit=limit
                )
                return start_run(self._identity, asked, partial(self._engine, plan, make_feed, client), total=plan.rows)
            dispatch = self._dispatch(plan, client, on, resend=resend, limit=limit)

            def begin(until_end: ExitStack) -> Dispatch:
                until_end.push(held.pop_all())
                return dispatch

            return start_run(self._identity, asked, begin, total=plan.rows)

    def _told(self, plan: Plan) -> Plan:
        for warning in plan.warnings:
            log.warning("%s", warning)
        return plan

    def _checked(self, plan: Plan, *, accept_changes: bool) -> Source:
        """The plan's own table, so that what is sent is what was counted.

        Raises:
            CampaignError: the plan objects, or it is another campaign's.
        """
        if plan.objection and not accept_changes:
            raise CampaignError(
                f"{plan.objection}; undo the change, or send them all the same with accept_changes=True "
                "(--accept-changes)"
            )
        source = self.source(plan.table)
        if (plan.journal, plan.layout) != (self._identity, source.layout):
            raise CampaignError("the plan is another campaign's, or its key has changed since: plan again")
        return source

    def _engine(self, plan: Plan, make_feed: Callable[..., Feed], client: TurboClient, held: ExitStack) -> Engine:
        concurrency = affordable(self.concurrency)
        journal = open_journal(*self._identity)
        held.callback(journal.close)
        pacer = open_pacer(journal, self.limits, jitter=JITTER)
        held.callback(pacer.close)
        return Engine(
            feed=iter(make_feed(journal=journal, sent=plan.rows if plan.is_done_by(journal) else 0)),
            journal=journal,
            transport=client.open_transport(concurrency),
            pacer=pacer,
            concurrency=concurrency,
            window=self.window,
            policy=self.policy,
            emit=self.emit,
        )

    def report(
        self,
        path: str | Path,
        recipients: Recipients | None = None,
        *,
        for_excel: bool = False,
        progress: bool = True,
        on: On | None = None,
    ) -> Path:
        """Write the report from the journal, at any time, without holding the table.

        Args:
            path: the file or folder, as `write_report` takes it. With `on` a folder, the same one for all workers.
            recipients: the table, if not the campaign's own.
            for_excel: make a CSV or TSV file safe and readable for Excel, as `write_report` does.
            progress: show bars while a cluster works; without `on` there are none.
            on: a cluster whose workers write it in parts, as `send` takes it.

        Raises:
            CampaignError: the table can't be read, or the report not written.
            JournalError: the journal can't be used.
        """
        from turbobatch.report import write_report
        from turbobatch.report.parts import is_folder

        if on is None:
            return write_report(self.result_chunks(recipients), path, for_excel=for_excel)
        if Path(path).suffix and not is_folder(path):
            raise CampaignError(f"{path}: workers write a report in parts: name a folder, such as report/")
        with self.cluster(on) as dask:
            plan = self.plan(recipients, progress=progress, on=dask)
            with reading("report", bar=progress, rows=plan.rows) as tick:
                self.report_by(dask, plan, path, tick)
        return Path(path)

    def send_test(
        self, address: str, recipients: Recipients | None = None, client: TurboClient | None = None, *, rows: int = 1
    ) -> Iterator[tuple[int, SendResult | str]]:
        """Send the first rows to `address` alone, outside the journal: (row, the API's answer or why it is invalid).

        `rows` says how many emails, of the table `recipients` if not the campaign's own, by `client`'s account.

        Raises:
            CampaignError: the address is none, or the table or a template can't be used.
            AuthenticationError, NotSentError, InDoubtError: as TurboClient.send does.
        """
        source = self.source(recipients)
        client = client or TurboClient.from_env(api=self.api)
        pacer = Pacer(self.limits, jitter=JITTER)
        return send_trial(source.find(), source.merger, client, pacer, to=address, campaign=self.name, emails=rows)

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
