"""What takes time, off the kernel's main thread: the store that all threads report to, jobs, a throttle for views."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from turbobatch.errors import TurboBatchError
from turbobatch.progress import log
from turbobatch.wording import unexpected_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from turbobatch.console.state import State

    Change = Callable[[State], State]
    Later = Callable[[float, Callable[[], None]], None]

VIEWS = 0.1
"""Seconds from one view to the next at least: ten updates a second are as many as anyone sees."""


class Store:
    """The state, for any thread to change; `listener` hears of each change, outside the lock."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._changed = threading.Condition()
        self.listener: Callable[[], None] = lambda: None

    @property
    def state(self) -> State:
        """As it is now."""
        with self._changed:
            return self._state

    def change(self, change: Change) -> State:
        """Go to the next state, and return it."""
        with self._changed:
            state = self._state = change(self._state)
            self._changed.notify_all()
        self.listener()
        return state

    def change_if(self, may: Callable[[State], bool], change: Change) -> State | None:
        """The same if it may be, as one step: of two who press a button at once, one does nothing.

        Returns the state that it was changed from, None if it wasn't.
        """
        with self._changed:
            before = self._state
            if not may(before):
                return None
            self._state = change(before)
            self._changed.notify_all()
        self.listener()
        return before

    def wait(self, is_so: Callable[[State], bool], timeout: float) -> bool:
        """Wait until the state is as wanted, `timeout` seconds at most; tells whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: is_so(self._state), timeout)


class Stopped(Exception):  # noqa: N818 - it is no error
    """Raised inside a job that isn't wanted any more."""


class Job:
    """Something that takes time; it asks now and then whether it is still wanted."""

    def __init__(self, work: Callable[[Job], None], store: Store, on_end: Callable[[str], Change]) -> None:
        self._work = work
        self._store = store
        self._on_end = on_end
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._is_replaced = False

    def look(self) -> None:
        """Raise Stopped if the job was stopped."""
        if self._stop.is_set():
            raise Stopped

    def report(self, change: Change) -> None:
        """Change the state, unless the job was stopped: what comes late must not undo what came after."""
        with self._lock:
            self.look()
            self._store.change(change)

    def stop(self, *, replaced: bool = False) -> None:
        """Let it end; one that is replaced says nothing any more."""
        with self._lock:
            self._is_replaced = self._is_replaced or replaced
            self._stop.set()

    def run(self) -> None:
        """Do the work; `on_end` makes the last change of what to say, "" for a job that was stopped."""
        try:
            self._work(self)
        except Stopped:
            said = ""
        except TurboBatchError as error:
            said = str(error)
        except Exception as error:  # noqa: BLE001 - a thread's traceback would be seen by nobody
            said = unexpected_text(error)
        else:
            return
        with self._lock:
            if not self._is_replaced:
                self._store.change(self._on_end(said))


class Jobs:
    """Jobs by name: different ones run beside each other; of the same name, a new one takes the place of the old one.

    A thread lives as long as there is something to do, so that consoles that nobody looks at cost nothing.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._running: dict[str, Job] = {}
        self._next: dict[str, Job] = {}

    def start(self, name: str, work: Callable[[Job], None], on_end: Callable[[str], Change]) -> None:
        """Do it soon, in place of the job of that name, if there is one.

        `on_end` makes the last change of a job that didn't end well, of what to say: "" if it was stopped.
        """
        job = Job(work, self._store, on_end)
        with self._lock:
            if (running := self._running.get(name)) is not None:
                running.stop(replaced=True)
                self._next[name] = job
                return
            self._running[name] = job
        threading.Thread(target=self._work, args=(name, job), name=f"turbobatch-{name}", daemon=True).start()

    def stop(self, name: str) -> None:
        """Let the job of that name end."""
        with self._lock:
            running = self._running.get(name)
            self._next.pop(name, None)
        if running is not None:
            running.stop()

    def stop_all(self) -> None:
        """Let all of them end."""
        with self._lock:
            names = list(self._running)
        for name in names:
            self.stop(name)

    def _work(self, name: str, first: Job) -> None:
        job: Job | None = first
        while job is not None:
            job.run()
            with self._lock:
                job = self._next.pop(name, None)
                if job is None:
                    del self._running[name]
                else:
                    self._running[name] = job


class Throttle:
    """Calls `show` soon after it was asked to, `every` seconds apart at least, always once more after the last time.

    One thread shows at a time. The first call, and one after a pause, shows at once in the thread that asks. What
    `show` raises stays here: a view that can't be drawn is nobody's fault who changes the state.

    Args:
        show: draws whatever is the case then.
        on_fault: hears what `show` raised.
        every: seconds.
        clock: seconds that don't go back.
        later: calls something in so many seconds, in another thread.
    """

    def __init__(
        self,
        show: Callable[[], None],
        *,
        on_fault: Callable[[Exception], None] = lambda _: None,
        every: float = VIEWS,
        clock: Callable[[], float] = time.monotonic,
        later: Later | None = None,
    ) -> None:
        self._show = show
        self._on_fault = on_fault
        self._is_logged = False
        self._every = every
        self._clock = clock
        self._later = later or _later
        self._lock = threading.Lock()
        self._last: float | None = None
        self._is_showing = self._is_due = self._is_asked = False

    def __call__(self) -> None:
        """Ask for a view."""
        with self._lock:
            if self._is_due or self._is_showing:
                self._is_asked = True
                return
            if (wait := self._wait()) > 0:
                self._is_due = True
                self._later(wait, self._come_due)
                return
            self._is_showing = True
        self._draw()

    def _come_due(self) -> None:
        with self._lock:
            self._is_due, self._is_showing = False, True
        self._draw()

    def _draw(self) -> None:
        with self._lock:
            self._is_asked = False
        try:
            self._show()
        except Exception as error:  # noqa: BLE001 - of any kind: views come and go while a run goes on
            self._fail(error)
        finally:
            with self._lock:
                self._last, self._is_showing = self._clock(), False
                if self._is_asked:
                    self._is_due = True
                    self._later(self._every, self._come_due)

    def _fail(self, error: Exception) -> None:
        if not self._is_logged:
            self._is_logged = True
            log.warning("the console can't be drawn: %s", unexpected_text(error))
        self._on_fault(error)

    def _wait(self) -> float:
        return 0.0 if self._last is None else self._last + self._every - self._clock()


def _later(seconds: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
