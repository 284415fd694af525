"""Bounds for templates: a plain loop that never ends or a common operation's giant result is a problem of its row.

Not everything is bounded: recursion that branches, and some filters' arguments, can still take very long.

The bounds are counts, never clocks, so the same row fails or passes in every run. Sizes are checked before Python would
make the value. What a bound needs to see is compiled into the templates: loops and `~` pass through filters whose names
no template can spell.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from turbobatch.merge.files import MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_ROUNDS = 1_000_000
"""Rounds of all loops together, in the rendering of one field."""

MAX_SIZE = 32 * MEBIBYTE
"""Characters of a text, or items of a list, that a template may make."""

ROUNDS, JOINED = "<rounds>", "<joined>"

_MAX_BITS = 4096  # more digits than any amount of money has
_WIDTH = re.compile(r"\d{5,}|\*|\{[^{}]*\{")  # a width of five digits, or one that comes from a value
_GROWING_FILTERS = frozenset({"center", "format", "indent", "join", "replace", "wordwrap", "batch", "slice"})


class UnboundedError(OverflowError):
    """A template doesn't end, or makes more than an email can hold."""


class _Meter(threading.local):
    rounds = 0


_meter = _Meter()


def begin() -> None:
    """Count anew, for the next field of this thread."""
    _meter.rounds = 0


def counted(items: Iterable[Any]) -> Iterator[Any]:
    """Pass a loop's items on, and count them."""
    for item in items:
        _meter.rounds += 1
        if _meter.rounds > MAX_ROUNDS:
            raise UnboundedError(f"the template doesn't end: more than {MAX_ROUNDS:,} loop rounds")
        yield item


def sized(value: Any) -> Any:
    """Pass a value on that was just made, unless it has grown too large to go on with."""
    check_size(_size(value))
    return value


def check_size(size: int, what: str = "a value that the template makes") -> None:
    """Refuse what would be too large.

    Raises:
        UnboundedError: `size` characters or items are more than an email can hold.
    """
    if size > MAX_SIZE:
        raise UnboundedError(f"{what} is over {MAX_SIZE // MEBIBYTE} MB")


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result would be too large.

    Raises:
        UnboundedError: it would be.
    """
    match operator:
        case "+":
            check_size(_size(left) + _size(right))
        case "*":
            check_size(max(_repeated(left, right), _repeated(right, left)))
            _check_bits(_bits(left) + _bits(right))
        case "**":
            _check_bits(_bits(left) * right if isinstance(right, int) else 0)
        case "%":
            if isinstance(left, str):
                check_call("format", left, (right,))


def check_call(name: str, value: Any, arguments: tuple[Any, ...]) -> None:
    """Refuse a call of a text's method, or of a filter, whose result would be too large.

    Raises:
        UnboundedError: it would be.
    """
    widest = max((item for item in arguments if isinstance(item, int)), default=0)
    match name:
        case "indent" | "expandtabs":
            check_size(_size(value) * (1 + widest))
        case "center" | "ljust" | "rjust" | "zfill" | "wordwrap" | "batch" | "slice":
            check_size(widest)
        case "format" | "format_map" if isinstance(value, str) and _WIDTH.search(value):
            raise UnboundedError("a width in a format is too large, or comes from a value")
        case "join":
            other = arguments[0] if arguments else ""
            joint, items = (value, other) if isinstance(value, str) else (other, value)
            check_size(sum(map(_size, items)) + _size(joint) * len(items) if isinstance(items, (list, tuple)) else 0)
        case "replace" if len(arguments) > 1:
            check_size(_size(value) * max(1, _size(arguments[1])))


def bound_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that checks its size before it works; others are left alone."""
    if name not in _GROWING_FILTERS:
        return function
    passes_first = hasattr(function, "jinja_pass_arg")

    def bounded(*arguments: Any, **named: Any) -> Any:
        value, *rest = arguments[1:] if passes_first else arguments
        check_call(name, value, (*rest, *named.values()))
        return function(*arguments, **named)

    bounded.__dict__.update(function.__dict__)
    return bounded


class Bounding(NodeTransformer):
    """Compiles the counting of loops and the sizing of `~` into a template."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - Jinja's name
        """Count a loop's rounds."""
        self.generic_visit(node)
        node.iter = _passed_through(ROUNDS, node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802 - Jinja's name
        """Size what `~` makes: each operand was bounded, so their sum is small enough to make."""
        self.generic_visit(node)
        return _passed_through(JOINED, node)


def _passed_through(name: str, node: Any) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, list, tuple, dict)) else 0


def _repeated(sequence: Any, times: Any) -> int:
    return _size(sequence) * times if isinstance(times, int) and not isinstance(sequence, dict) else 0


def _bits(number: Any) -> int:
    return number.bit_length() if isinstance(number, int) else 0


def _check_bits(bits: int) -> None:
    if bits > _MAX_BITS:
        raise UnboundedError("the template calculates a number of more than a thousand digits")
