"""Events → a tqdm bar and log lines."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from turbobatch.engine import Retrying, Settled, Waiting
from turbobatch.policy import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turbobatch.engine import RunEvent
    from turbobatch.run import Run

_LOOK = 0.1  # seconds between two looks at a run: ten updates a second are as many as anyone sees

log = logging.getLogger("turbobatch")


def log_event(event: RunEvent) -> None:
    """Write an event to the `turbobatch` logger: trouble as warnings, the rest at debug level."""
    match event:
        case Settled(status=Status.SENT, number=number, key=key):
            log.debug("row %d (%s) sent", number, key)
        case Settled(number=number, status=status, message=message):
            log.warning("row %d %s: %s", number, status, message)
        case Retrying(number=number, message=message, seconds=seconds):
            log.warning("row %d not accepted: %s; next try in %.0f s", number, message, seconds)
        case Waiting(reason=reason, until=until) if reason:
            ends = f" until {clock_time(until)}" if until > time.time() else ""  # nobody knows when Resume is pressed
            log.warning("waiting for %s%s", reason, ends)


class Bar:
    """A tqdm bar over the table's rows, for terminals and notebooks; `with` opens and closes it."""

    def __init__(self, total: int, *, file: Any = None) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=total, unit="row", file=file, dynamic_ncols=True, smoothing=0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, rows: Mapping[Status, int], waiting: str) -> None:
        """Show these counts, and what the run waits for, if anything."""
        self._bar.n = sum(rows.values())
        counts = ", ".join(f"{count} {status}" for status, count in rows.items())
        self._bar.set_postfix_str(f"{counts}; waiting for {waiting}" if waiting else counts, refresh=False)
        self._bar.refresh()


def clock_time(at: float) -> str:
    """A moment as people read it, in local time: the time alone today, else with its date."""
    moment = datetime.fromtimestamp(at).astimezone()
    today = datetime.now().astimezone().date() == moment.date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def watch(run: Run, *, bar: bool = True, file: Any = None) -> None:
    """Wait for a run in the main thread with a tqdm bar; the first Ctrl-C stops it cleanly, the second leaves at once.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed twice. What was in flight is in doubt then.
        TurboBatchError: what broke the run.
    """
    shown: Bar | None = None
    stopping = False
    with ExitStack() as opened:
        while True:
            try:
                if bar and shown is None:  # in here, as it imports tqdm: Ctrl-C may come that early
                    shown = opened.enter_context(Bar(run.progress.total, file=file))
                while not run.wait(_LOOK):
                    _show(shown, run)
                break
            except KeyboardInterrupt:
                if stopping:
                    raise
                stopping = True
                run.stop()
                log.warning("stopping: waiting for the POSTs in flight; Ctrl-C again to leave at once")
        _show(shown, run)


def _show(bar: Bar | None, run: Run) -> None:
    if bar is not None:
        now = run.progress
        bar.update(now.rows, now.waiting)
