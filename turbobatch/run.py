"""Run: a campaign in progress, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from turbobatch.errors import AuthenticationError, CampaignError, NotSentError
from turbobatch.events import Known, Moved, Settled, Waiting, Workers
from turbobatch.markup import Html, badge, box, line
from turbobatch.policy import Status, StopReason
from turbobatch.recipients import Table, is_dask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import dask.dataframe as dd
    import pandas as pd

    from turbobatch.engine import Control
    from turbobatch.events import RunEvent
    from turbobatch.journal import Place


class RunState(StrEnum):
    """Where a run is."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"  # no new POSTs; those in flight are waited for
    STOPPED = "stopped"  # ended early; the same command goes on
    FINISHED = "finished"  # every row has been looked at
    FAILED = "failed"  # an error ended it


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A moment of a run. Rows are counted once they have a status that is durable."""

    state: RunState
    total: int  # rows of the table
    rows: Mapping[Status, int] = field(default_factory=dict)
    known: int = 0  # rows that were settled before this run
    seconds: float = 0.0  # since it began
    waiting: str = ""  # what the run waits for, if anything
    workers: Workers | None = None  # who sends, if this process doesn't

    @property
    def done(self) -> int:
        """Rows with a status."""
        return sum(self.rows.values())

    @property
    def rows_per_second(self) -> float:
        """The pace of this run, over all of it."""
        return (self.done - self.known) / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate by the pace so far; None before there is one."""
        return (self.total - self.done) / self.rows_per_second if self.rows_per_second else None


class Worker(Protocol):
    """What a run runs: an Engine, or what has others do the work."""

    @property
    def control(self) -> Control:
        """How it is told to stop or pause."""
        ...

    @property
    def stop_reason(self) -> StopReason | None:
        """Why it ended early."""
        ...

    @property
    def stop_message(self) -> str:
        """The API's own words for that."""
        ...

    def listen(self, hear: Callable[[RunEvent], None]) -> None:
        """Have `hear` called with each event, first of all."""
        ...

    def run(self) -> object:
        """Work until the end."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Run:
    """A campaign in progress; `Campaign.start` makes it.

    The engine works in a daemon thread: leaving the process at any moment is safe, at the price of at most
    `concurrency` rows in doubt.
    """

    def __init__(
        self,
        engine: Worker,
        *,
        total: int,
        on_begin: Callable[[Run], None] = lambda _run: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._total = total
        self._on_end = on_end
        self._lock = threading.Lock()
        self._rows: Counter[Status] = Counter()
        self._known = 0
        self._waiting = ""
        self._workers: Workers | None = None
        self._began = time.monotonic()
        self._ended: float | None = None
        self._finished = threading.Event()
        self._error: BaseException | None = None
        self._has_begun = self._is_cancelled = False
        engine.listen(self._hear)
        self._thread = threading.Thread(target=self._work, name="turbobatch-run", daemon=True)
        on_begin(self)
        self._thread.start()

    def cancel(self) -> bool:
        """Keep its thread from beginning to work; False if it has begun."""
        with self._lock:
            self._is_cancelled = not self._has_begun
            return self._is_cancelled

    @property
    def progress(self) -> Progress:
        """How far it is."""
        with self._lock:
            return Progress(
                state=self._state(),
                total=self._total,
                rows=dict(self._rows),
                known=self._known,
                seconds=(self._ended or time.monotonic()) - self._began,
                waiting="" if self._finished.is_set() else self._waiting,
                workers=self._workers,
            )

    @property
    def stop_reason(self) -> StopReason | None:
        """Why it ended before its table did; None if it didn't."""
        return self._engine.stop_reason if self._finished.is_set() else None

    @property
    def stop_message(self) -> str:
        """The API's own words for the stop, if it had any."""
        return self._engine.stop_message

    def pause(self) -> None:
        """Begin no new POSTs until `resume`."""
        self._engine.control.pause.set()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._engine.control.pause.clear()

    def stop(self) -> None:
        """End soon: no new POSTs, those in flight are waited for. The rest stays pending."""
        self._engine.control.stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, or `timeout` seconds; tells whether it has ended.

        Raises:
            TurboBatchError: what broke the run, a JournalError for instance.
        """
        ended = self._finished.wait(timeout)
        if self._error is not None:
            raise self._error
        return ended

    def raise_if_stopped(self) -> None:
        """Turn an early end into the error that says what to do about it.

        Raises:
            KeyboardInterrupt: the user stopped it.
            AuthenticationError: the credentials were refused.
            NotSentError: the API can't be reached, throttles, or has no credit.
        """
        reason = self.stop_reason
        if reason is None:
            return
        if reason is StopReason.USER:
            raise KeyboardInterrupt
        message = describe_stop(reason, self.stop_message)
        raise (AuthenticationError if reason is StopReason.CREDENTIALS else NotSentError)(message)

    def __repr__(self) -> str:
        now = self.progress
        return f"<Run {now.state}: {now.done} of {now.total} rows>"

    def _repr_html_(self) -> str:
        now = self.progress
        bar = Html(f'<progress value="{now.done}" max="{max(now.total, 1)}" style="width:20em"></progress>')
        counts = [badge(status, now.rows[status]) for status in Status if now.rows.get(status)]
        pace = f"{now.rows_per_second:,.1f} rows/s" if now.rows_per_second else ""
        left = f"{now.seconds_left:,.0f} s left" if now.seconds_left and not self._finished.is_set() else ""
        waits = f"waiting for {now.waiting}" if now.waiting else ""
        by = f"by {now.workers}" if now.workers is not None and not self._finished.is_set() else ""
        why = describe_stop(self.stop_reason, self.stop_message) if self.stop_reason else str(self._error or "")
        told = [line(*filter(None, some)) for some in (counts, (pace, left, waits), (by,), (why,)) if any(some)]
        return box(line(badge(now.state), bar, f"{now.done:,} of {now.total:,} rows"), *told)

    def _state(self) -> RunState:
        if self._finished.is_set():
            if self._error is not None:
                return RunState.FAILED
            return RunState.STOPPED if self._engine.stop_reason is not None else RunState.FINISHED
        if self._engine.control.stop.is_set() or self._engine.stop_reason is not None:
            return RunState.STOPPING
        return RunState.PAUSED if self._engine.control.pause.is_set() else RunState.RUNNING

    def _hear(self, event: RunEvent) -> None:
        with self._lock:
            match event:
                case Settled(size=size, status=status):
                    self._rows[status] += size
                case Known(rows=rows):
                    self._rows.update(rows)
                    self._known += rows.total()
                case Moved(rows=rows, known=known):
                    self._rows.update(rows)
                    self._known += known
                case Waiting(reason=reason):
                    self._waiting = reason
                case Workers():
                    self._workers = event

    def _work(self) -> None:
        with self._lock:
            if self._is_cancelled:
                self._finished.set()  # somebody may have found it, and wait
                return
            self._has_begun = True
        try:
            self._engine.run()
        except BaseException as error:  # noqa: BLE001 - whatever broke the thread is raised again in wait()
            self._error = error
        finally:
            self._ended = time.monotonic()
            for let_go in (self._engine.close, self._on_end):
                try:
                    let_go()
                except Exception as error:  # noqa: BLE001 - nobody may wait for an end that never comes
                    self._error = self._error or error
            self._finished.set()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was started for. `recipients`: an absolute path, a DataFrame or a table that is open already."""

    recipients: Path | pd.DataFrame | dd.DataFrame | Table | None
    limit: int | None
    resend: bool

    def is_same(self, other: Asked) -> bool:
        """Whether another start asks for the same; a cell that is run again reads its table again."""
        if (self.limit, self.resend) != (other.limit, other.resend):
            return False
        mine, theirs = self.recipients, other.recipients
        if mine is None or theirs is None or isinstance(mine, Path) or isinstance(theirs, Path):
            return type(mine) is type(theirs) and bool(mine == theirs)
        if is_dask(mine) or is_dask(theirs):
            return is_dask(mine) and is_dask(theirs) and _token(mine) == _token(theirs)
        if isinstance(mine, Table) or isinstance(theirs, Table):
            return mine is theirs
        return mine.equals(theirs)


def _token(frame: dd.DataFrame) -> str:
    """What a Dask DataFrame is made of and by; comparing two by `==` would make a third."""
    from dask.base import tokenize

    return str(tokenize(frame))


_active: dict[tuple[Place, str], tuple[Run, Asked]] = {}
"""The runs in progress in this process, by journal and campaign."""

_starting = threading.RLock()
"""Held while a run is made and while one ends, so that a run that ends at once isn't taken for one in progress."""


def active_run(identity: tuple[Place, str], asked: Asked | None = None) -> Run | None:
    """The campaign's run in progress, if it does what is asked for.

    Raises:
        CampaignError: it does something else.
    """
    run, doing = _active.get(identity, (None, None))
    if doing is not None and asked is not None and not asked.is_same(doing):
        raise CampaignError(
            "a run of this campaign with another table or other options is in progress: wait for it, or stop it"
        )
    return run


def start_run(
    identity: tuple[Place, str], asked: Asked, make_engine: Callable[[ExitStack], Worker], *, total: int
) -> Run:
    """Start a run over `total` rows, unless another thread has just started the same.

    `make_engine` leaves with the stack whatever is to be closed at the run's end, but for the transport.

    Raises:
        CampaignError: another thread has just started one that does something else.
        TurboBatchError: what keeps the engine from being made.
    """
    with _starting:
        if (active := active_run(identity, asked)) is not None:
            return active
        engine: Worker | None = None
        held = ExitStack()
        held.callback(_forget, identity)

        def begin(run: Run) -> None:
            _active[identity] = run, asked

        try:
            engine = make_engine(held)
            return Run(engine, total=total, on_begin=begin, on_end=held.close)
        except BaseException:
            # A Ctrl-C strikes anywhere. A run whose POSTs may have begun is found as the campaign's, and ends itself.
            run = active_run(identity)
            if run is None or run.cancel():
                with held:
                    if engine is not None:
                        engine.close()
            raise


def _forget(identity: tuple[Place, str]) -> None:
    with _starting:
        _active.pop(identity, None)


def describe_stop(reason: StopReason, message: str, again: str = "run the same command again") -> str:
    """One line: why a run ended early, and what to do; `again` is how the user goes on."""
    cures = {
        StopReason.CREDENTIALS: f"check them and {again}",
        StopReason.NO_CREDIT: f"top it up and {again}",
        StopReason.MISDIRECTED: f"check the base URL and {again}",
    }
    said = f" ({message})" if message else ""
    return f"{reason}{said}: the rest is pending; {cures.get(reason, f'{again} to go on')}"
