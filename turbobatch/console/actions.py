"""What the console's buttons do: short handlers that change the state, set an Event, or hand work to a thread."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from turbobatch.console import send_state, state
from turbobatch.console.desk import Desk
from turbobatch.console.loading import facts_of
from turbobatch.console.results_actions import ResultsActions
from turbobatch.console.results_state import failed_count
from turbobatch.console.rows import Rows, TableChangedError
from turbobatch.console.send_state import Phase, limit_of
from turbobatch.console.state import Form, Listed, State, Tab, current, sending
from turbobatch.console.watching import Watch
from turbobatch.errors import CampaignError
from turbobatch.progress import log_event
from turbobatch.rates import Pacer
from turbobatch.trial import send_trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from turbobatch.campaign import Campaign
    from turbobatch.client import TurboClient
    from turbobatch.cluster.campaign import On
    from turbobatch.console.desk import Recipients
    from turbobatch.console.work import Job
    from turbobatch.plan import Plan


class Actions:
    """One campaign's console without its widgets. All methods return at once and may be called from any thread.

    Attributes:
        store: the state.
        jobs: what takes time.
        results: what the results' pane does.
    """

    def __init__(
        self, campaign: Campaign, recipients: Recipients | None, client: TurboClient | None, on: On | None
    ) -> None:
        self._desk = desk = Desk(campaign, recipients, client, on)
        self.store, self.jobs = desk.store, desk.jobs
        self._plan: Plan | None = None
        self._lock = threading.Lock()
        self._rows = Rows(desk.source, campaign.name, desk.api)
        self.results = ResultsActions(desk, self.attach)
        self._watch = Watch(self.store, self.results.load)

    def open(self) -> None:
        """Find out what is the case: the table's rows, the journal's word, a run in progress."""
        self.store.change(lambda now: sending(now, send_state.reopened))
        self.count()
        self.attach()
        self.results.load()

    def close(self) -> None:
        """Leave what reads; a run goes on. It can be opened again."""
        self._desk.close()

    def refresh(self) -> None:
        """Look at everything anew."""
        self._rows.reload()
        self.store.change(state.outdated)
        self.attach()
        self._watch.tell(lambda _run: None)
        self.count()
        self.results.load()

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
            warnings: list[str] = []
            desk = self._desk
            for part in desk.campaign.checking(desk.recipients, desk.asking(), api=desk.api, say=warnings.append):
                job.report(partial(state.checked, part=part))
            job.report(partial(state.check_ended, phase=Phase.DONE, notice="; ".join(warnings)))

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

            client = self._desk.account()
            job.report(lambda now: sending(now, send_state.reaching, self._desk.pool.is_used))
            dask = self._desk.pool.open(self._desk.campaign, client)
            job.report(lambda now: sending(now, send_state.reaching, False))
            with self._desk.turn(job):
                plan = self._desk.campaign.plan(self._desk.recipients, progress=tick, on=dask)
            facts = facts_of(plan, client, dask)
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
            self.store.change(lambda now: sending(now, send_state.refused, state.start_fault(now)))
            return
        before = state_before.send

        def work(job: Job) -> None:  # noqa: ARG001 - once begun, it isn't stopped half-way
            with self._lock:
                plan, self._plan = self._plan, None
            if plan is None:
                raise CampaignError("count anew what there is to send")
            paced = self._desk.campaign.paced(rate=before.rate.strip() or None, concurrency=send_state.places(before))
            # The console shows what happens; a cell would be flooded with it.
            paced.emit = partial(log_event, level=logging.DEBUG)
            client, consent = self._desk.account(), before.accepted
            dask = self._desk.pool.open(paced, client)
            try:
                run = paced.start(plan, client, limit=limit_of(before), accept_changes=consent, on=dask)
            except CampaignError:
                self.attach()  # another console, or a cell, may have been quicker
                raise
            self._desk.pool.hand_over(run)
            self._desk.campaign = paced  # it knows which version of the table was sent
            self._watch.show(run)

        self.jobs.start("start", work, lambda said: partial(sending, change=send_state.start_failed, notice=said))

    def attach(self) -> bool:
        """Show the run in progress, if there is one; tells whether it wasn't shown already."""
        run = self._desk.campaign.running
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
                self._desk.account(),
                Pacer(()),
                to=address,
                campaign=self._desk.campaign.name,
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

    def retry(self) -> None:
        """Count again: what failed is sent again by a new run, which wants its own count typed."""
        if failed_count(self.store.state.results):
            self.go_to(Tab.SEND)
            self.plan()
