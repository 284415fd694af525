"""The clock that leases and permits are measured by."""

from __future__ import annotations

import time

SECOND = 1_000_000_000


def boot_time() -> int:
    """Nanoseconds that also pass while the machine sleeps, where the system tells."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime_ns(clock) if clock is not None else time.monotonic_ns()
