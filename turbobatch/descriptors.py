"""How many POSTs at a time the process has file descriptors for."""

from __future__ import annotations

from pathlib import Path

_SPARE = 16  # for the journal, the table, attachments, the report
_EACH = 2  # a POST's connection, and what finding the host's address takes for a moment


def affordable(concurrency: int) -> int:
    """How many POSTs may be in flight: `concurrency`, or what the process' limit of open files leaves; at least 1."""
    try:
        import resource
    except ImportError:  # Windows, whose sockets are not counted so
        return concurrency
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return concurrency
    return max(min(concurrency, (limit - _in_use() - _SPARE) // _EACH), 1)


def shortage(concurrency: int) -> str:
    """What to say where there are too few for `concurrency` POSTs at a time; else empty."""
    bounded = affordable(concurrency)
    if bounded == concurrency:
        return ""
    return (
        f"this process may open too few files for {concurrency} POSTs at a time: at most {bounded} are in flight; "
        "raise the limit (ulimit -n) or lower the concurrency"
    )


def _in_use() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return sum(1 for _ in Path(folder).iterdir())
        except OSError:
            continue
    return 0
