"""What the results' buttons do: read the journal, look up and settle what is in doubt, write files."""

from __future__ import annotations

import os
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING

from turbobatch.console import results_state
from turbobatch.console.loading import export_failed, export_results, export_target, load_results
from turbobatch.console.send_state import Phase
from turbobatch.console.state import State, can_look_up, results
from turbobatch.console.words import correcting_text, many, told_text
from turbobatch.recipients.table import one_line
from turbobatch.settings import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from turbobatch.console.desk import Desk
    from turbobatch.console.results_state import Outcome
    from turbobatch.console.work import Job
    from turbobatch.policy import Status


class ResultsActions:
    """All methods return at once and may be called from any thread. `attach` shows the run in progress."""

    def __init__(self, desk: Desk, attach: Callable[[], object]) -> None:
        self._desk = desk
        self._store, self._jobs = desk.store, desk.jobs
        self._attach = attach
        self._written: set[Path] = set()  # exports of this console: they are replaced without a question

    def load(self) -> None:
        """Read what the journal tells of the table."""
        self._attach()

        def work(job: Job) -> None:
            def tick(rows: int) -> None:
                job.report(lambda now: results(now, results_state.reading, rows))

            with self._desk.turn(job):
                found: Outcome = load_results(self._desk.campaign, self._desk.recipients, tick)
            job.report(lambda now: results(now, results_state.loaded, found))

        self._store.change(lambda now: results(now, results_state.loading))
        self._jobs.start("results", work, lambda said: partial(results, change=results_state.failed, notice=said))

    def narrow(self, *, status: str | None = None, category: str | None = None, text: str | None = None) -> None:
        """Show other failures."""
        self._store.change(
            lambda now: results(now, results_state.narrowed, status=status, category=category, text=text)
        )

    def turn(self, by: int) -> None:
        """Turn the failures' page."""
        self._store.change(lambda now: results(now, results_state.turned, by))

    def choose(self, keys: tuple[str, ...]) -> None:
        """Choose emails in doubt."""
        self._store.change(lambda now: results(now, results_state.chosen, keys))

    def ask_to_settle(self, status: Status | None) -> None:
        """Ask whether what is chosen is to be settled; None asks no more."""
        self._store.change(lambda now: results(now, results_state.ask, status))

    def settle(self) -> None:
        """Settle what is chosen as it was asked."""
        now = self._store.state.results
        keys, status = now.chosen, now.asked
        if status is None or not keys:
            return

        def work(job: Job) -> None:
            with self._desk.turn(job):
                settled = self._desk.campaign.settle(status, keys)
            job.report(lambda now: results(now, results_state.answered, f"{settled} settled as {status}"))
            self.load()

        self.ask_to_settle(None)
        self._jobs.start("settle", work, lambda said: partial(results, change=results_state.failed, notice=said))

    def look_up(self) -> None:
        """Look for what is in doubt in the vendor's analytics, and settle what is found there."""
        self._attach()

        def work(job: Job) -> None:
            def tick(emails: int) -> None:
                job.report(lambda now: results(now, results_state.looked_for, emails))

            with self._desk.turn(job):
                campaign, recipients = self._desk.campaign, self._desk.recipients
                told = campaign.reconciled(recipients, self._desk.asking(), progress=tick)
            job.report(lambda now: results(now, results_state.looked_up, told, told_text(told)))
            self.load()

        if self._store.change_if(can_look_up, lambda now: results(now, results_state.looking_up)) is not None:
            end = results_state.look_up_ended
            self._jobs.start("look up", work, lambda said: partial(results, change=end, notice=said))

    def stop_look_up(self) -> None:
        """Leave the look-up; nothing is settled then."""
        self._jobs.stop("look up")

    def export(self, path: str, *, for_excel: bool = False, may_replace: bool = False) -> None:
        """Write the results to a file; its ending picks the format. A file that is there already is asked about."""

        def write(target: Path, tick: Callable[[int], None]) -> str:
            rows = export_results(self._desk.campaign, self._desk.recipients, target, tick, for_excel=for_excel)
            self._written.add(target)
            return f"{many(rows, 'row')} written to {one_line(target)}"

        self._write(path, write, may_replace=may_replace)

    def export_failed(self, path: str, *, may_replace: bool = False) -> None:
        """Write the failed addresses to a file to correct. One that is there may be corrected: it is asked about."""

        def write(target: Path, tick: Callable[[int], None]) -> str:
            self._written.discard(target)
            failures = export_failed(self._desk.campaign, self._desk.recipients, target, tick)
            named = shown(target)
            return f"{one_line(failures.written_text(named))}. {correcting_text(named)}"

        self._write(path, write, may_replace=may_replace, to_correct=True)

    def _write(
        self,
        path: str,
        write: Callable[[Path, Callable[[int], None]], str],
        *,
        may_replace: bool,
        to_correct: bool = False,
    ) -> None:
        """Write a file in the background; `write` gets its path and what to tell of rows, and says what is in it."""

        def work(job: Job) -> None:
            def tick(rows: int) -> None:
                job.report(lambda now: results(now, results_state.exporting, rows))

            target = export_target(self._desk.campaign, self._desk.recipients, path, to_correct=to_correct)
            if os.path.lexists(target) and not may_replace and (to_correct or target not in self._written):
                job.report(lambda now: results(now, results_state.ask_to_replace, path, to_correct=to_correct))
                return
            said = write(target, tick)
            job.report(lambda now: results(now, results_state.exported, said))

        def may(now: State) -> bool:
            return now.results.exporting is not Phase.BUSY

        if self._store.change_if(may, lambda now: results(now, results_state.exporting, 0)) is not None:
            end = results_state.export_failed
            self._jobs.start("export", work, lambda said: partial(results, change=end, notice=said))

    @property
    def export_path(self) -> str:
        """Where an export goes if nothing else is typed: beside the journal, as people write that path."""
        return str(shown(self._desk.campaign.folder / f"{self._desk.campaign.name}-results.csv"))

    @property
    def failed_path(self) -> str:
        """Where the failed addresses go if nothing else is typed: beside it, and never to the file that is opened."""
        campaign = self._desk.campaign
        names = chain(["failed"], (f"failed-{number}" for number in count(2)))
        paths = (campaign.folder / f"{campaign.name}-{name}.csv" for name in names)
        return str(shown(next(path for path in paths if not campaign.reads(path, self._desk.recipients))))

    def replace(self, *, for_excel: bool = False) -> None:
        """Write to the file that was asked about."""
        now = self._store.state.results
        if now.replaces and now.replaces_to_correct:
            self.export_failed(now.replaces, may_replace=True)
        elif now.replaces:
            self.export(now.replaces, for_excel=for_excel, may_replace=True)

    def keep(self) -> None:
        """Leave the file that was asked about as it is."""
        self._store.change(lambda now: results(now, results_state.ask_to_replace, ""))
