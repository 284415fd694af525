"""What the console's buttons do: short handlers that change the state, set an Event, or hand work to a thread."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from turbobatch.client import TurboClient
from turbobatch.console import results_state, send_state, state
from turbobatch.console.loading import export_results, export_target, facts_of, load_results
from turbobatch.console.results_state import Outcome, failed_count
from turbobatch.console.rows import Rows, TableChangedError
from turbobatch.console.send_state import Phase, limit_of
from turbobatch.console.state import Form, Listed, State, Tab, current, results, sending
from turbobatch.console.watching import Watch
from turbobatch.console.words import many
from turbobatch.console.work import VIEWS, Jobs, Store
from turbobatch.errors import CampaignError
from turbobatch.progress import log_event
from turbobatch.rates import Pacer
from turbobatch.recipients.table import one_line
from turbobatch.settings import shown
from turbobatch.trial import send_trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd

    from turbobatch.campaign import Campaign
    from turbobatch.console.work import Job
    from turbobatch.plan import Plan
    from turbobatch.policy import Status
    from turbobatch.recipients import Table
    from turbobatch.units import Source

    Recipients = pd.DataFrame | Table | str | Path


class Actions:
    """One campaign's console without its widgets. All methods return at once and may be called from any thread.

    Attributes:
        store: the state.
    """

    def __init__(self, campaign: Campaign, recipients: Recipients | None, client: TurboClient | None) -> None:
        self._campaign = campaign
        # Absolute: a change of the working directory must not make another table of it.
        self._recipients = Path(recipients).absolute() if isinstance(recipients, (str, Path)) else recipients
        self._own_client = _from_env(campaign.api) if client is None else None
        self._client = client = client or self._own_client
        self._plan: Plan | None = None
        self._lock = threading.Lock()
        self._journal_use = threading.Lock()
        self._written: set[Path] = set()  # exports of this console: they are replaced without a question
        api = client.api.name if client is not None else campaign.api or "v2"
        self._api = api
        self._rows = Rows(self._source, campaign.name, api)
        rate = ", ".join(map(str, campaign.limits))
        self.store = Store(
            State(
                campaign=campaign.name,
                table="",
                host=client.host if client is not None else "",
                send=send_state.Sending(rate=rate, concurrency=str(campaign.concurrency)),
            )
        )
        self.jobs = Jobs(self.store)
        self._watch = Watch(self.store, self.load)

    def open(self) -> None:
        """Find out what is the case: the table's rows, the journal's word, a run in progress."""
        self.store.change(lambda now: sending(now, send_state.reopened))
        self.count()
        self.attach()
        self.load()

    def close(self) -> None:
        """Leave what reads; a run goes on. It can be opened again."""
        self.jobs.stop_all()
        with self._lock:
            if self._own_client is not None:
                self._own_client.close()
                self._client = self._own_client = None  # the next one who needs an account makes it

    def refresh(self) -> None:
        """Look at everything anew."""
        self._rows.reload()
        self.store.change(state.outdated)
        self.attach()
        self._watch.tell(lambda _run: None)
        self.count()
        self.load()

    def go_to(self, tab: Tab) -> None:
        """Show another pane."""
        self.attach()
        self.store.change(lambda now: replace(now, tab=tab))

    # The preview

    def count(self) -> None:
        """Count the table's emails, so that the preview can step through them."""

        def work(job: Job) -> None:
            table, columns = self._rows.table(), self._rows.columns()
            job.report(lambda now: state.table_known(now, table, columns))
            job.report(lambda now: state.counted(now, now.preview.rows, Phase.BUSY))

            def look(rows: Sequence[int]) -> None:
                job.look()
                if rows and not self.store.state.preview.rows:
                    job.report(lambda now: state.counted(now, rows, Phase.BUSY))
                    self._show()

            rows = self._rows.count(look)
            job.report(lambda now: state.counted(now, rows, Phase.DONE))
            self._show()

        self.jobs.start("count", work, lambda said: partial(state.count_ended, notice=said))

    def place(self, place: int) -> None:
        """Preview the row at this place of those that are stepped through."""
        self._look_at(partial(state.placed, place=place))

    def step(self, by: int) -> None:
        """Preview the next row, or the one before."""
        self._look_at(partial(state.stepped, by=by))

    def switch(self, which: Listed) -> None:
        """Step through other rows."""
        self._look_at(partial(state.switched, which=which))

    def show_row(self, row: int) -> None:
        """Preview a row that was named elsewhere."""
        self._look_at(partial(state.opened, row=row))

    def show_form(self, form: Form) -> None:
        """Show the email in another form."""
        self.store.change(partial(state.form_chosen, form=form))

    def search(self, text: str, column: str | None) -> None:
        """Step through the rows that hold a text."""
        if not text:
            self._look_at(partial(state.switched, which=Listed.ALL))
            return

        def work(job: Job) -> None:
            with self._renewing():
                rows, more = self._rows.first_found(text, column, state.MOST_FOUND, job.look)
            job.report(lambda now: state.found(now, rows, more=more))
            self._show()

        self.store.change(partial(state.searched, text=text))
        self.jobs.start("search", work, lambda said: partial(state.search_ended, notice=said))

    def _look_at(self, change: Callable[[State], State]) -> None:
        self.store.change(change)
        self._show()

    def _show(self) -> None:
        """Make the page of the row that the state names."""
        row, page = current(self.store.state.preview), self.store.state.preview.page
        if row is None or (page is not None and page.row == row):
            return

        def work(job: Job) -> None:
            with self._renewing():
                page = self._rows.page(row, job.look)
                job.report(lambda now: state.shown(now, page))

        self.jobs.start("preview", work, lambda said: partial(state.preview_noticed, notice=said))

    @contextmanager
    def _renewing(self) -> Iterator[None]:
        """Where the table's file was found to be changed, say so, count its rows anew and show what it is now."""
        try:
            yield
        except TableChangedError as error:
            self.store.change(partial(state.table_changed, notice=str(error)))
            self.count()
            self._show()
            raise

    # The check

    def check(self) -> None:
        """Make every row's email, and send nothing."""

        def work(job: Job) -> None:
            for part in self._campaign.checking(self._recipients, api=self._api):
                job.report(partial(state.checked, part=part))
            job.report(partial(state.check_ended, phase=Phase.DONE))

        if self.store.change_if(lambda now: now.check.phase is not Phase.BUSY, state.check_began) is not None:
            self.jobs.start("check", work, lambda said: partial(state.check_ended, phase=Phase.STOPPED, notice=said))

    def stop_check(self) -> None:
        """Leave the check."""
        self.jobs.stop("check")

    def pick_cause(self, place: int) -> None:
        """List a cause's rows."""
        self.store.change(partial(state.cause_picked, place=place))

    def turn_check(self, by: int) -> None:
        """Turn the page of a cause's rows."""
        self.store.change(partial(state.check_turned, by=by))

    # Sending

    def change_send(self, **fields: str | bool) -> None:
        """Take what was typed or ticked in the pane."""
        self.store.change(lambda now: replace(now, send=replace(now.send, **fields)))  # type: ignore[arg-type]  # each of its own type

    def plan(self) -> None:
        """Count what there is to send."""
        self.attach()

        def work(job: Job) -> None:
            def tick(rows: int) -> None:
                job.report(lambda now: sending(now, send_state.counting, rows))

            client = self._account()
            with self._turn(job):
                plan = self._campaign.plan(self._recipients, progress=tick)
            facts = facts_of(plan, client)
            with self._lock:
                self._plan = plan
            with suppress(TableChangedError), self._renewing():
                self._rows.follow(plan.table)
            job.report(lambda now: replace(sending(now, send_state.planned, facts), host=client.host))

        def end(said: str) -> Callable[[State], State]:
            return partial(sending, change=send_state.plan_ended, phase=Phase.STOPPED, notice=said)

        def may(now: State) -> bool:
            return send_state.can_plan(now.send)

        if self.store.change_if(may, lambda now: sending(now, send_state.planning)) is not None:
            self.jobs.start("plan", work, end)

    def stop_plan(self) -> None:
        """Leave the count."""
        self.jobs.stop("plan")

    def start(self) -> None:
        """Send, if what was typed allows it; a second press does nothing."""
        if not self.store.state.send.starting and self.attach():
            self.store.change(lambda now: sending(now, send_state.forestalled))
            return
        state_before = self.store.change_if(state.can_start, lambda now: sending(now, send_state.starting))
        if state_before is None:
            self.store.change(lambda now: sending(now, send_state.refused))
            return
        before = state_before.send

        def work(job: Job) -> None:  # noqa: ARG001 - once begun, it isn't stopped half-way
            with self._lock:
                plan, self._plan = self._plan, None
            if plan is None:
                raise CampaignError("count anew what there is to send")
            paced = self._campaign.paced(rate=before.rate.strip() or None, concurrency=send_state.places(before))
            # The console shows what happens; a cell would be flooded with it.
            paced.emit = partial(log_event, level=logging.DEBUG)
            try:
                run = paced.start(plan, self._account(), limit=limit_of(before), accept_changes=before.accepted)
            except CampaignError:
                self.attach()  # another console, or a cell, may have been quicker
                raise
            self._campaign = paced  # it knows which version of the table was sent
            self._watch.show(run)

        self.jobs.start("start", work, lambda said: partial(sending, change=send_state.start_failed, notice=said))

    def attach(self) -> bool:
        """Show the run in progress, if there is one; tells whether it wasn't shown already."""
        run = self._campaign.running
        return run is not None and self._watch.show(run)

    def pause(self) -> None:
        """Begin no new POSTs."""
        self._watch.tell(lambda run: run.pause())

    def resume(self) -> None:
        """Go on."""
        self._watch.tell(lambda run: run.resume())

    def stop(self) -> None:
        """End the run soon."""
        self._watch.tell(lambda run: run.stop())

    def test(self) -> None:
        """Send the email of the previewed row, or of the first one, to the address that was typed."""
        now = self.store.state
        address, row = now.send.test_to.strip(), current(now.preview) or 0

        def work(job: Job) -> None:
            if not address:
                raise CampaignError("type your own address first")
            with self._renewing():
                source, finding = self._rows.finding(row, job.look)
            sent = send_trial(
                iter([finding]),
                source.merger,
                self._account(),
                Pacer(()),
                to=address,
                campaign=self._campaign.name,
                emails=1,
            )
            for number, answer in sent:
                said = answer if isinstance(answer, str) else "; ".join((str(answer.status), *answer.errors))
                text = f"row {number} to {address}: {said}"
                job.report(lambda now, text=text: sending(now, send_state.tested, text))  # type: ignore[misc]  # bound

        def may(state_now: State) -> bool:
            return state_now.send.testing is not Phase.BUSY

        if self.store.change_if(may, lambda now: sending(now, send_state.testing)) is not None:
            self.jobs.start("test", work, lambda said: partial(sending, change=send_state.tested, text=said))

    # Results

    def load(self) -> None:
        """Read what the journal tells of the table."""
        self.attach()

        def work(job: Job) -> None:
            def tick(rows: int) -> None:
                job.report(lambda now: results(now, results_state.reading, rows))

            with self._turn(job):
                found: Outcome = load_results(self._campaign, self._recipients, tick)
            job.report(lambda now: results(now, results_state.loaded, found))

        self.store.change(lambda now: results(now, results_state.loading))
        self.jobs.start("results", work, lambda said: partial(results, change=results_state.failed, notice=said))

    def narrow(self, *, status: str | None = None, text: str | None = None) -> None:
        """Show other failures."""
        self.store.change(lambda now: results(now, results_state.narrowed, status=status, text=text))

    def turn(self, by: int) -> None:
        """Turn the failures' page."""
        self.store.change(lambda now: results(now, results_state.turned, by))

    def retry(self) -> None:
        """Count again: what failed is sent again by a new run, which wants its own count typed."""
        if failed_count(self.store.state.results):
            self.go_to(Tab.SEND)
            self.plan()

    def choose(self, keys: tuple[str, ...]) -> None:
        """Choose emails in doubt."""
        self.store.change(lambda now: results(now, results_state.chosen, keys))

    def ask_to_settle(self, status: Status | None) -> None:
        """Ask whether what is chosen is to be settled; None asks no more."""
        self.store.change(lambda now: results(now, results_state.ask, status))

    def settle(self) -> None:
        """Settle what is chosen as it was asked."""
        now = self.store.state.results
        keys, status = now.chosen, now.asked
        if status is None or not keys:
            return

        def work(job: Job) -> None:
            with self._turn(job):
                count = self._campaign.settle(status, keys)
            job.report(lambda now: results(now, results_state.answered, f"{count} settled as {status}"))
            self.load()

        self.ask_to_settle(None)
        self.jobs.start("settle", work, lambda said: partial(results, change=results_state.failed, notice=said))

    def export(self, path: str, *, for_excel: bool = False, may_replace: bool = False) -> None:
        """Write the results to a file; its ending picks the format. A file that is there already is asked about."""

        def work(job: Job) -> None:
            def tick(rows: int) -> None:
                job.report(lambda now: results(now, results_state.exporting, rows))

            target = export_target(self._campaign, self._recipients, path)
            if os.path.lexists(target) and target not in self._written and not may_replace:
                job.report(lambda now: results(now, results_state.ask_to_replace, path))
                return
            rows = export_results(self._campaign, self._recipients, target, tick, for_excel=for_excel)
            self._written.add(target)
            said = f"{many(rows, 'row')} written to {one_line(target)}"
            job.report(lambda now: results(now, results_state.exported, said))

        def may(now: State) -> bool:
            return now.results.exporting is not Phase.BUSY

        if self.store.change_if(may, lambda now: results(now, results_state.exporting, 0)) is not None:
            end = results_state.export_failed
            self.jobs.start("export", work, lambda said: partial(results, change=end, notice=said))

    @property
    def export_path(self) -> str:
        """Where an export goes if nothing else is typed: beside the journal, as people write that path."""
        return str(shown(self._campaign.folder / f"{self._campaign.name}-results.csv"))

    def replace(self, *, for_excel: bool = False) -> None:
        """Write the results to the file that was asked about."""
        if path := self.store.state.results.replaces:
            self.export(path, for_excel=for_excel, may_replace=True)

    def keep(self) -> None:
        """Leave the file that was asked about as it is."""
        self.store.change(lambda now: results(now, results_state.ask_to_replace, ""))

    @contextmanager
    def _turn(self, job: Job) -> Iterator[None]:
        """Wait for the others that use the journal: who writes isn't to be taken for another process by who reads."""
        while not self._journal_use.acquire(timeout=VIEWS):
            job.look()
        try:
            job.look()
            yield
        finally:
            self._journal_use.release()

    def _source(self) -> Source:
        return self._campaign.source(self._recipients)

    def _account(self) -> TurboClient:
        with self._lock:
            if self._client is None:
                self._client = self._own_client = TurboClient.from_env(api=self._campaign.api)
            return self._client


def _from_env(api: str | None) -> TurboClient | None:
    """The account of the environment; None where there is none yet, which is told when one is needed."""
    try:
        return TurboClient.from_env(api=api)
    except CampaignError:
        return None
