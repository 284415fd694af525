"""What Dask loads first in each worker that is started here."""

from __future__ import annotations

import signal


def dask_setup(worker: object) -> None:  # noqa: ARG001 - Dask's interface
    """Leave Ctrl-C to who dispatches: a terminal sends it to all its processes, and workers are told what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
