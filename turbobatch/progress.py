"""Events → a tqdm bar and log lines."""

from __future__ import annotations

import logging
import time
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from turbobatch.events import Retrying, Settled, Told, Waiting
from turbobatch.markup import masked
from turbobatch.policy import Status
from turbobatch.run import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd

    from turbobatch.events import RunEvent
    from turbobatch.run import Progress, Run

    Tick = Callable[[int], object]
    """Is told how many rows were read since it was told last."""

_PATIENCE = 0.5  # seconds that reading a table may take without a word
_LOOK = 0.1  # seconds between two looks at a run: ten updates a second are as many as anyone sees

log = logging.getLogger("turbobatch")


def log_event(event: RunEvent, level: int = logging.WARNING) -> None:
    """Write an event to the `turbobatch` logger: trouble as warnings, or at another level, the rest at debug level."""
    match event:
        case Settled(status=Status.SENT, number=number, key=key):
            log.debug("row %d (%s) sent", number, masked(key or ""))
        case Settled(number=number, status=status, message=message):
            log.log(level, "row %d %s: %s", number, status, masked(message))
        case Retrying(number=number, message=message, seconds=seconds):
            log.log(level, "row %d not accepted: %s; next try in %.0f s", number, masked(message), seconds)
        case Told(event=told):
            log_event(told, level)
        case Waiting(reason=reason, until=until) if reason:
            ends = f" until {clock_time(until)}" if until > time.time() else ""  # nobody knows when Resume is pressed
            log.log(level, "waiting for %s%s", reason, ends)


@contextmanager
def reading(what: str = "reading", *, bar: bool | Tick, rows: int | None = None) -> Iterator[Tick]:
    """Show a bar of the rows that are gone through, if that takes long; gives what to add rows with.

    `rows`: how many there are, about. Where there is something else to show them, `bar` is that.
    """
    if not isinstance(bar, bool):
        yield bar
        return
    if not bar:
        yield lambda _rows: None
        return
    from tqdm.auto import tqdm

    with closing(tqdm(desc=what, total=rows, unit="row", leave=False, delay=_PATIENCE, dynamic_ncols=True)) as shown:
        yield shown.update


def ticking(chunks: Iterable[pd.DataFrame], tick: Callable[[int], object]) -> Iterator[pd.DataFrame]:
    """Pass frames on, and call `tick` with the number of each one's rows."""
    for chunk in chunks:
        tick(len(chunk))
        yield chunk


@contextmanager
def aside() -> Iterator[None]:
    """Take the bars away while something is said."""
    from tqdm.auto import tqdm

    with tqdm.external_write_mode():
        yield


class Bar:
    """A tqdm bar over the table's rows, for terminals and notebooks."""

    def __init__(self, total: int, *, file: Any = None) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=total, unit="row", file=file, dynamic_ncols=True, smoothing=0.1)

    def close(self) -> None:
        """End it; what it showed last stays."""
        self._bar.close()

    def update(self, now: Progress) -> None:
        """Show the counts, and what the run waits for, if anything."""
        self._bar.n, self._bar.initial = now.done, now.known  # the pace is this run's
        self._bar.set_postfix_str(_described(now), refresh=False)
        self._bar.refresh()


class Lines:
    """A plain line now and then, for logs, which a bar would fill; with a Bar's methods."""

    def __init__(self, say: Callable[[str], None], *, every: float = 10.0) -> None:
        self._say = say
        self._every = every  # seconds
        self._told = 0.0
        self._waiting = ""

    def close(self) -> None:
        """End it."""

    def update(self, now: Progress) -> None:
        """Tell the counts if it is time, or if the run has begun or ceased to wait for something."""
        if now.waiting == self._waiting and now.seconds < self._told + self._every:
            return
        self._told, self._waiting = now.seconds, now.waiting
        left = f", {now.seconds_left:.0f} s left" if now.seconds_left else ""
        pace = f" ({now.rows_per_second:.1f} rows/s{left})" if now.rows_per_second else ""
        self._say(f"{now.done:,} of {now.total:,} rows: {_described(now) or 'none yet'}{pace}")


def clock_time(at: float) -> str:
    """A moment as people read it, in local time: the time alone today, else with its date."""
    moment = datetime.fromtimestamp(at).astimezone()
    today = datetime.now().astimezone().date() == moment.date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def watch(run: Run, *, bar: bool = True, file: Any = None, say: Callable[[str], None] = log.warning) -> None:
    """Wait for a run in the main thread; the first Ctrl-C stops it cleanly, the second leaves at once.

    Args:
        run: the run.
        bar: show a tqdm bar; without one, `say` tells how far it is now and then.
        file: where the bar goes; stderr or the notebook's cell if not given.
        say: takes what there is to tell, line by line.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed twice. What was in flight is in doubt then.
        TurboBatchError: what broke the run.
    """
    stopping = False
    with closing(_Display(lambda: Bar(run.progress.total, file=file) if bar else Lines(say))) as display:
        while True:
            try:
                display.update(run.progress)  # in here, as it imports tqdm: Ctrl-C may come that early
                while not run.wait(_LOOK):
                    display.update(run.progress)
                break
            except KeyboardInterrupt:
                if stopping:
                    raise
                stopping = True
                run.stop()
                _is_heard(lambda: say("stopping: waiting for the POSTs in flight; Ctrl-C again to leave at once"))
        display.update(run.progress)


def start_and_watch(
    start: Callable[[], Run],
    running: Callable[[], Run | None],
    *,
    bar: bool,
    say: Callable[[str], None],
    on_start: Callable[[Run], object] | None = None,
) -> Run:
    """Start a run and wait for it; `running` finds it where a Ctrl-C strikes before `start` returns.

    `on_start` gets the run. The rest, and what is raised, is `watch`'s and `start`'s.
    """
    try:
        run = start()
        if on_start is not None:
            on_start(run)
        watch(run, bar=bar, say=say)
    except KeyboardInterrupt:
        # POSTs may have begun, and nobody watches yet.
        begun = running()
        if begun is None or begun.progress.state is RunState.STOPPING:
            raise
        run = begun
        run.stop()
        watch(run, bar=bar, say=say)
    return run


class _Display:
    """A Bar or Lines for as long as somebody looks: a terminal or pipe that is closed must not stop the run."""

    def __init__(self, make: Callable[[], Bar | Lines]) -> None:
        self._make = make
        self._shown: Bar | Lines | None = None
        self._is_lost = False

    def close(self) -> None:
        if self._shown is not None:
            with suppress(Exception):
                self._shown.close()

    def update(self, now: Progress) -> None:
        if self._is_lost:
            return
        self._is_lost = not _is_heard(lambda: self._show(now))

    def _show(self, now: Progress) -> None:
        self._shown = self._shown or self._make()
        self._shown.update(now)


def _is_heard(say: Callable[[], None]) -> bool:
    """Say something, and tell whether that went well."""
    try:
        say()
    except Exception as error:  # noqa: BLE001 - whatever keeps a run from being seen, it goes on
        log.warning("the run goes on, but can't be shown: %s", error)
        return False
    return True


def _described(now: Progress) -> str:
    counts = ", ".join(f"{now.rows[status]:,} {status}" for status in Status if now.rows.get(status))
    return "; ".join(filter(None, (counts, now.waiting and f"waiting for {now.waiting}")))
