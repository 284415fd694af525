"""Which workers are given parts: those that have said that they can take part, and that are heard of."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from turbobatch.cluster.pool import addresses_of, check_workers
from turbobatch.cluster.signals import ANSWER
from turbobatch.errors import CampaignError
from turbobatch.progress import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from distributed import Client

    from turbobatch.cluster.orders import Sending

_ASKING = 5.0  # seconds that go to workers who have come, before those who send hear of us again
# One that doesn't answer keeps the others waiting for new parts each time, at most ANSWER seconds for a question.
_PAUSE = 60.0  # seconds until it is asked again; then twice that, and so on
_LONGEST_PAUSE = 900.0


@dataclass(slots=True)
class _Absent:
    """A worker that can't take part."""

    ask_at: float  # by the clock
    pause: float


@dataclass(slots=True, kw_only=True)
class Crew:
    """The workers of a run.

    Args:
        dask: the cluster.
        sending: what they have to be able to do.
        able: those that have been asked already; others are, when they come.
        clock: monotonic, seconds.
    """

    dask: Client
    sending: Sending
    able: set[str]
    clock: Callable[[], float] = time.monotonic
    _absent: dict[str, _Absent] = field(default_factory=dict, init=False)

    def there(self, *, ask: bool = True) -> list[str]:
        """Those that there are now and that can take part; with `ask`, who has come since is asked.

        Raises:
            OSError: the scheduler doesn't answer (TimeoutError), or is gone.
        """
        workers = addresses_of(self.dask)
        self.able.intersection_update(workers)  # what comes back under an old address may be another
        for gone in self._absent.keys() - workers:
            del self._absent[gone]
        if ask:
            self._ask(workers)
        return [worker for worker in workers if worker in self.able]

    def lose(self, worker: str) -> None:
        """Give it nothing more until it is heard of, or answers when it is asked again."""
        self.able.discard(worker)
        self._put_off(worker)

    def ask_first(self, worker: str) -> None:
        """Give it nothing more before it has answered."""
        self.able.discard(worker)

    def hear(self, worker: str) -> None:
        """A worker that sends for this run has said something."""
        if worker in self._absent:
            self._take(worker)

    def _ask(self, workers: Iterable[str]) -> None:
        until = self.clock() + _ASKING
        for worker in workers:
            absent = self._absent.get(worker)
            if worker in self.able or (absent is not None and self.clock() < absent.ask_at):
                continue
            if self.clock() > until:
                return  # the others are to hear from us first
            try:
                check_workers(self.dask, self.sending.orders, self.sending.account, [worker], ANSWER)
            except CampaignError as error:
                self._put_off(worker)
                if absent is None:
                    log.error("%s; the run goes on without it", error)
                return  # it may have taken its time, and the others are to hear from us first
            self._take(worker)

    def _put_off(self, worker: str) -> None:
        before = self._absent.get(worker)
        pause = _PAUSE if before is None else min(2 * before.pause, _LONGEST_PAUSE)
        self._absent[worker] = _Absent(self.clock() + pause, pause)

    def _take(self, worker: str) -> None:
        self.able.add(worker)
        if self._absent.pop(worker, None) is not None:
            log.warning("worker %s takes part again", worker)
