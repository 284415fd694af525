"""The run that a console shows: followed in a thread of its own, as long as no other one takes its place."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from turbobatch.console import results_state, send_state
from turbobatch.console.state import State, results, sending
from turbobatch.console.work import VIEWS
from turbobatch.errors import TurboBatchError
from turbobatch.run import describe_stop
from turbobatch.wording import unexpected_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from turbobatch.console.work import Store
    from turbobatch.run import Run


class Watch:
    """Tells the store how far a run is; `on_end` is called in the run's thread once it is over."""

    def __init__(self, store: Store, on_end: Callable[[], None]) -> None:
        self._store = store
        self._on_end = on_end
        self._lock = threading.Lock()
        self._run: Run | None = None

    def show(self, run: Run) -> bool:
        """Follow this run from now on; tells whether it wasn't followed already."""
        with self._lock:
            if run is self._run:
                return False
            self._run = run
        self._store.change(lambda now: sending(now, send_state.watched, run.progress))
        threading.Thread(target=self._follow, args=(run,), name="turbobatch-watch", daemon=True).start()
        return True

    def tell(self, order: Callable[[Run], None]) -> None:
        """Give an order to the run in progress, and show what comes of it."""
        run = self._run
        if run is not None and self._store.state.send.running:
            order(run)
            self._store.change(lambda now: sending(now, send_state.sampled, run.progress) if now.send.running else now)

    def _follow(self, run: Run) -> None:
        def is_shown(_: State) -> bool:
            return self._run is run

        def sampled(now: State) -> State:
            return sending(now, send_state.sampled, run.progress)

        how = ""
        try:
            while not run.wait(VIEWS):
                if self._store.change_if(is_shown, sampled) is None:
                    return  # another one has begun since; its own thread tells of it
            if run.stop_reason is not None:
                how = describe_stop(run.stop_reason, run.stop_message, "count again and start")
        except TurboBatchError as error:
            how = str(error)
        except Exception as error:  # noqa: BLE001 - whatever broke the run is to be seen
            how = unexpected_text(error)

        def over(now: State) -> State:
            # As one step: what the journal told before the run isn't taken for what it tells after it.
            return results(sending(now, send_state.ended, run.progress, how), results_state.run_over)

        if self._store.change_if(is_shown, over) is not None:
            self._on_end()
