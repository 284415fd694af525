"""What goes between who dispatches and the workers while parts are sent: go on, pause or stop; and how far they are.

Beside that goes, both ways, whether the service has answered in this run: it tells an outage from a wrong host.

Downwards it is a Dask Variable that every worker looks at, upwards an event that Dask passes on. Who hears nothing any
more, as the scheduler or the dispatching process is gone, stops claiming.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distributed import Client, Worker

    from turbobatch.engine import Control

    Word = Literal["go", "pause", "stop"]

BEAT = 0.5  # seconds from one look to the next
ANSWER = 10.0  # seconds that the scheduler may take for an answer
_SILENCE = 30.0  # seconds without a new word after which nobody is there any more


def topic_of(run: str) -> str:
    """Where the workers of a run tell how far they are."""
    return f"turbobatch-{run}"


class Caller:
    """Tells the workers of a run what to do; to be called again and again, so that they know that somebody is there.

    `healthy` is set once the service has answered one of them.
    """

    def __init__(self, dask: Client, run: str, healthy: threading.Event | None = None) -> None:
        from distributed import Variable

        self._healthy = healthy or threading.Event()
        self._variable = Variable(f"turbobatch-{run}", client=dask)
        self._number = 0

    def say(self, word: Word) -> None:
        """Tell it to whoever looks."""
        self._number += 1
        self._variable.set([word, self._number, self._healthy.is_set()], callback_timeout=ANSWER)

    def close(self) -> None:
        """Nothing more is said: who is still there stops."""
        with suppress(Exception):  # the scheduler may be gone, and the Variable with it
            self._variable.delete()


@dataclass(slots=True)
class _Hearing:
    """A worker's side."""

    variable: Any
    worker: Worker
    control: Control
    task: str
    last: int = -1
    clock: Callable[[], float] = time.monotonic
    heard_at: float = 0.0
    ended: threading.Event = field(default_factory=threading.Event)

    def hear(self) -> None:
        """Look what is said, and do it."""
        try:
            # The one is how long the scheduler waits for a word, the other how long it is waited for. A word was said
            # before any part was given out, and is there until the run's end: who wakes after that is to stop at once.
            word, number, healthy = self.variable.get(timeout=BEAT, callback_timeout=2 * ANSWER)
        except Exception:  # noqa: BLE001 - whatever keeps it from being heard, nobody could stop this worker any more
            word, number, healthy = "stop", self.last, False
        if number != self.last:
            self.last, self.heard_at = number, self.clock()
        if healthy:
            self.control.healthy.set()
        if word == "stop" or self.clock() - self.heard_at > _SILENCE or not self._is_wanted():
            self.control.stop.set()
        elif word == "pause":
            self.control.pause.set()
        else:
            self.control.pause.clear()

    def _is_wanted(self) -> bool:
        """Whether this worker stays, and Dask still wants what it does: not where who dispatches is gone."""
        task = self.worker.state.tasks.get(self.task)
        leaves = self.worker.status.name not in ("running", "paused")
        return not leaves and task is not None and task.state != "cancelled"


@contextmanager
def line(run: str, control: Control, told: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Hear and tell, in a worker's task, as long as a part is sent; heard once before it begins."""
    from distributed import Variable, get_client, get_worker

    worker = get_worker()
    hearing = _Hearing(Variable(f"turbobatch-{run}", client=get_client()), worker, control, worker.get_current_task())
    hearing.hear()

    def go_on() -> None:
        while not hearing.ended.wait(BEAT):
            hearing.hear()
            with suppress(Exception):  # how far it is may be lost; what was sent is in the journal
                hearing.worker.log_event(topic_of(run), told())

    thread = threading.Thread(target=go_on, name="turbobatch-line", daemon=True)
    thread.start()
    try:
        yield
    finally:
        hearing.ended.set()
        thread.join(ANSWER)
