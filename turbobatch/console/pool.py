"""A console's cluster: opened when something is counted, kept for the run, and closed with it or with the console."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client as DaskClient

    from turbobatch.campaign import Campaign
    from turbobatch.client import TurboClient
    from turbobatch.cluster.campaign import On
    from turbobatch.run import Run


class Pool:
    """For any thread. Opening and closing a cluster of this machine's own takes seconds: no caller waits for a close.

    Args:
        on: what `campaign.send(on=…)` takes; None where this process sends.
    """

    def __init__(self, on: On | None) -> None:
        self._on = on
        self._lock = threading.Lock()
        self._held = ExitStack()
        self._dask: DaskClient | None = None

    @property
    def is_used(self) -> bool:
        """Whether it isn't this process that sends."""
        return self._on is not None

    def open(self, campaign: Campaign, client: TurboClient) -> DaskClient | None:
        """The cluster, as it is if it is open already; None where this process sends.

        Raises:
            CampaignError: it can't be used.
        """
        if self._on is None:
            return None
        with self._lock:
            if self._dask is None or self._dask.status != "running":
                self._let_go()
                self._dask = self._held.enter_context(campaign.cluster(self._on, client))
            return self._dask

    def hand_over(self, run: Run) -> None:
        """Leave it to a run, at whose end it is closed; whoever counts next has a new one."""
        with self._lock:
            held, self._held, self._dask = self._held, ExitStack(), None

        def close() -> None:
            with suppress(Exception):  # what broke the run is told by whoever watches it
                run.wait()
            _closed(held)

        _aside(close)

    def close(self) -> None:
        """Close it soon, unless a run has it."""

        def close() -> None:
            with self._lock:
                self._let_go()

        if self._on is not None:
            _aside(close)

    def _let_go(self) -> None:
        held, self._held, self._dask = self._held, ExitStack(), None
        _closed(held)


def _closed(held: ExitStack) -> None:
    with suppress(Exception):  # a cluster that is gone already can't be closed, and needn't be
        held.close()


def _aside(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="turbobatch-cluster", daemon=True).start()
