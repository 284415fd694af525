"""The meter of a rendering: what a template does is counted in steps, what it makes is measured.

A step is what evaluating one small expression takes: some 30 ns. Counts, never clocks, decide: the same row fails or
passes in every run.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, MappingView
from typing import Any

from jinja2.runtime import LoopContext

from turbobatch.merge.files import MEBIBYTE

MAX_STEPS = 80_000_000
"""Steps in the rendering of one field: a few seconds."""

MAX_SIZE = 16 * MEBIBYTE
"""Characters of a text, or characters and items in a container: more than an email's body can hold."""

MAX_ITEMS = 1_000_000
"""Items of one list, tuple or dictionary."""

MAX_BITS = 4096
"""Of an integer: more digits than any amount of money has."""

SMALL = 500
"""Characters: a text up to here costs the same, whatever its length."""

_OPAQUE = 50  # steps to compare or print an object that isn't looked into, such as a row
_HOLDER = 16  # for a container beside its items, so that a nest of small ones is found out early
_ROUND = 16  # steps for an item that a filter hands on: a call, and the memory for the item
_SCALARS = frozenset({int, float, bool, type(None)})


class UnboundedError(OverflowError):
    """A template doesn't end, or makes more than an email can hold."""


class _Meter(threading.local):
    steps = 0


_meter = _Meter()


def begin(steps: int = 0) -> int:
    """Count anew, for the next field of this thread, and give the steps so far."""
    before, _meter.steps = _meter.steps, steps
    return before


def spend(steps: int) -> None:
    """Count steps.

    Raises:
        UnboundedError: there were too many.
    """
    _meter.steps += steps
    if _meter.steps > MAX_STEPS:
        raise UnboundedError("the template doesn't end, or does far more work than an email takes")


def check_size(size: float, what: str = "a value that the template makes") -> None:
    """Refuse what would be too large.

    Raises:
        UnboundedError: `size` characters or items are more than an email can hold.
    """
    if size > MAX_SIZE:
        raise UnboundedError(f"{what} is over {MAX_SIZE // MEBIBYTE} MB")


def check_items(count: float) -> None:
    """Refuse a container of too many items.

    Raises:
        UnboundedError: `count` is over the limit.
    """
    if count > MAX_ITEMS:
        raise UnboundedError(f"a list that the template makes has more than {MAX_ITEMS:,} items")


def check_bits(bits: float) -> None:
    """Refuse a giant integer.

    Raises:
        UnboundedError: `bits` is over the limit.
    """
    if bits > MAX_BITS:
        raise UnboundedError("the template calculates a number of more than a thousand digits")


def size_of(value: Any) -> int:
    """Characters and items of a value and of all that is in it; what is in it twice counts twice.

    Raises:
        UnboundedError: there are too many. A list that holds a list twice that holds a list twice … is found out early.
    """
    if isinstance(value, (str, bytes)):
        return len(value)
    if type(value) in _SCALARS:
        return 1
    size, rest = 0, [value]
    while rest:
        item = rest.pop()
        if isinstance(item, (str, bytes)):
            size += 1 + len(item)
        elif type(item) in _SCALARS:
            size += 1
        elif isinstance(item, (list, tuple)):
            size += _HOLDER + len(item)
            rest.extend(item)
        elif isinstance(item, dict):
            size += _HOLDER + len(item)
            rest.extend(item)
            rest.extend(item.values())
        elif isinstance(item, MappingView):
            size += _HOLDER + len(item)
            rest.extend(item)  # type: ignore[arg-type]  # every view of a mapping can be iterated
        else:
            size += len(item) if isinstance(item, range) else _OPAQUE
        check_size(size)
    return size


def length_of(value: Any) -> int:
    """A container's items; 0 for all else."""
    if isinstance(value, (str, bytes)) or type(value) in _SCALARS:  # before the others: they ask an abstract class
        return 0
    return len(value) if isinstance(value, (list, tuple, dict, range, MappingView)) else 0


def made(value: Any) -> Any:
    """Pass on a value that was just made, and count the memory that it takes.

    Raises:
        UnboundedError: it is too large to go on with.
    """
    if isinstance(value, (str, bytes)):
        if len(value) > SMALL:
            check_size(len(value))
            spend(sys.getsizeof(value) >> 2)
    elif isinstance(value, int):
        check_bits(value.bit_length())
    elif isinstance(value, (list, tuple, dict)):
        check_items(len(value))
        spend(4 * len(value))
    elif hasattr(value, "__next__") and not isinstance(value, LoopContext):
        return made(list(counted(value, _ROUND)))  # a lazy filter works here, where its work is counted
    return value


def printed(value: Any) -> Any:
    """Pass on a value that is about to become text, and count what that takes.

    Raises:
        UnboundedError: its text would be too large.
    """
    if isinstance(value, str):
        if len(value) <= SMALL:
            _meter.steps += 12  # the steps around it are checked
        else:
            check_size(len(value))
            spend(sys.getsizeof(value))  # its bytes: escaping can make several times as many
    elif type(value) in _SCALARS:
        spend(8)
    else:
        spend(8 + 4 * size_of(value) if isinstance(value, (list, tuple, dict, MappingView)) else 16)
    return value


def counted(items: Iterable[Any], steps: int) -> Iterator[Any]:
    """Pass items on, and count `steps` for each."""
    for item in items:
        spend(steps)
        yield item


def concat(pieces: Iterable[str]) -> str:
    """Join what a macro, block or module printed.

    Raises:
        UnboundedError: the whole would be too large.
    """
    known = list(pieces)
    size = sum(map(len, known))
    check_size(size)
    spend(8 + (size >> 2))
    return "".join(known)
