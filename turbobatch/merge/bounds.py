"""Bounds for templates: one that never ends or makes a giant value is a problem of its row.

What an operator, a call, a filter or a test reads is counted in steps on the meter before it works, and the size of
what it would make is checked before Python makes it. `counting` sees to what Jinja has no hooks for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jinja2.runtime import LoopContext, Macro

from turbobatch.merge.meter import (
    SMALL,
    UnboundedError,
    check_bits,
    check_items,
    check_size,
    counted,
    length_of,
    made,
    size_of,
    spend,
)

if TYPE_CHECKING:
    from collections.abc import Callable

UNSAFE = frozenset({"encode", "expandtabs", "from_bytes", "maketrans", "strptime", "to_bytes", "translate"})
"""Methods that no email needs and that can take very long, or make a giant value of a small one."""

USELESS_FILTERS = ("pprint", "random")
"""`pprint` is for debugging, and slow on what is nested; with `random` no two runs would make the same email."""

_CALL = 20  # steps of an operator, filter or test
_ENTRY = 100  # steps of a call
_MAX_NUMBER, _MAX_TEXT = 10_000, 1000  # in the arguments of filters that need small ones

_FREE = frozenset({"attr", "count", "d", "default", "first", "last", "length"})  # they read one item at most
_SHALLOW = frozenset({
    "batch", "items", "list", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "slice",
})  # fmt: skip
_SLOW = {"sort": 2, "groupby": 2, "dictsort": 2, "unique": 2, "title": 4, "wordcount": 4, "urlencode": 4, "xmlattr": 4,
         "tojson": 16, "urlize": 16, "wordwrap": 16, "striptags": 2, "indent": 4, "split": 8, "rsplit": 8,
         "splitlines": 8}  # fmt: skip
_PLAIN_ARGUMENTS = frozenset(
    {"batch", "slice", "date", "indent", "int", "number", "round", "tojson", "trim", "urlize", "wordwrap"}
)
_EXAMINING_TESTS = frozenset({
    "odd", "even", "divisibleby", "lower", "upper", "in", "==", "eq", "equalto", "!=", "ne",
    ">", "gt", "greaterthan", ">=", "ge", "<", "lt", "lessthan", "<=", "le",
})  # fmt: skip
_GROWING = frozenset({
    "center", "ljust", "rjust", "zfill", "format", "join", "replace", "indent", "tojson", "sum", "striptags", "urlize",
    "wordwrap",
})  # fmt: skip
_LOOKUPS = frozenset({"get", "items", "keys", "values"})
_BACKWARD = frozenset({"rfind", "rindex", "rpartition", "rsplit", "strip", "lstrip", "rstrip", "trim"})

_PERCENT = re.compile(r"%(?:\([^()]*\))?[-+ #0]*(\*|\d*)(?:\.(\*|\d*))?")
_DIGITS = re.compile(r"\d+")


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result would be too large.

    Raises:
        UnboundedError: it would be.
    """
    spend(_CALL)
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        _check_number(operator, left, right)
    elif operator == "%" and isinstance(left, (str, bytes)):
        _check_percent(left, right)
    elif operator == "+":
        _check_grown(left, _shallow(left) + _shallow(right))
    elif operator == "*":
        _check_grown(left if _shallow(left) else right, max(_repeated(left, right), _repeated(right, left)))
    else:
        spend(size_of(left) + size_of(right))


def before_call(callee: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """Count what a call takes, and give the arguments to call with.

    Raises:
        UnboundedError: it would take or make too much.
    """
    if _is_slight(callee, arguments, named):
        return arguments
    spend(_ENTRY + 4 * (len(arguments) + len(named)))
    if isinstance(callee, Macro):
        return arguments
    if isinstance(callee, LoopContext):
        return tuple(counted(items, _CALL) for items in arguments)
    given = (*arguments, *named.values())
    owner, name = getattr(callee, "__self__", None), getattr(callee, "__name__", "")
    if isinstance(owner, (str, bytes)):
        check_work(name, owner, given)
    else:
        spend(sum(map(size_of, given)))
        if isinstance(owner, (list, tuple, dict)) and name not in _LOOKUPS:
            spend(size_of(owner))
        elif name == "strftime":
            _check_plain(given)
    return arguments


def _is_slight(callee: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Whether it is a small text's method with small texts, as nearly all calls are; its steps are counted then."""
    owner = getattr(callee, "__self__", None)
    if owner.__class__ is not str or len(owner) > SMALL or named or callee.__name__ in _GROWING:
        return False
    for item in arguments:
        if item.__class__ is not str or len(item) > SMALL:
            return False
    spend(_ENTRY + 4 * len(owner))
    return True


def check_work(name: str, value: Any, arguments: tuple[Any, ...]) -> None:
    """Count what a text's method, or a filter that reads all of its value, takes.

    Raises:
        UnboundedError: it would take or make too much.
    """
    if not arguments and isinstance(value, str) and len(value) <= SMALL and name not in _GROWING:
        spend(_CALL + len(value))
        return
    given = sum(map(size_of, arguments))
    size, length = size_of(value), length_of(value)
    spend(_CALL + given + size * _SLOW.get(name, 1) + length * 32 + (length * given >> 2))
    if name in _BACKWARD:
        spend(size * given >> 4)
    if name in _GROWING:
        _check_growth(name, value, size, arguments)


def check_filter(name: str, value: Any, arguments: tuple[Any, ...]) -> None:
    """Count what a filter takes.

    Raises:
        UnboundedError: it would take or make too much.
    """
    if name in _FREE:
        spend(_CALL)
    elif name in _SHALLOW:
        given, length = sum(map(size_of, arguments)), _shallow(value)
        check_items(length)
        spend(_CALL + given + length * 16 + (length * given >> 2))
    else:
        check_work(name, value, arguments)
    if name in _PLAIN_ARGUMENTS:
        _check_plain(arguments)
    elif name in {"batch", "slice"}:
        check_items(max((item for item in arguments if isinstance(item, int)), default=0))


def check_braces(text: str, arguments: tuple[Any, ...]) -> None:
    """Refuse a call of `str.format` whose result would be too large.

    Raises:
        UnboundedError: it would be.
    """
    fields = text.replace("{{", "").replace("}}", "").split("{")[1:]
    numbers = ["*" for field in fields if "}" not in field]
    for field in fields:
        numbers += _DIGITS.findall(field.partition("}")[0].partition(":")[2])
    _check_fields(text, len(fields), numbers, arguments)


def bound_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that counts its work before it works, and what it made after."""
    passes_first = hasattr(function, "jinja_pass_arg")

    def bounded(*arguments: Any, **named: Any) -> Any:
        value, *rest = arguments[1:] if passes_first else arguments
        check_filter(name, value, (*rest, *named.values()))
        result = function(*arguments, **named)
        return result if name in _FREE else made(result)

    bounded.__dict__.update(getattr(function, "__dict__", {}))
    return bounded


def bound_test(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A test that counts its work, if it looks into values."""
    if name not in _EXAMINING_TESTS:
        return function

    def bounded(*values: Any) -> Any:
        if name in {"odd", "even", "divisibleby"}:
            check_operator("%", values[0], values[-1])
        else:
            spend(_CALL + sum(map(size_of, values)))
        return function(*values)

    return bounded


def _check_growth(name: str, value: Any, size: int, arguments: tuple[Any, ...]) -> None:
    widest = max((item for item in arguments if isinstance(item, int)), default=0)
    texts = max((len(item) for item in arguments if isinstance(item, (str, bytes))), default=0)
    match name:
        case "center" | "ljust" | "rjust" | "zfill":
            check_size(widest)
        case "format":
            _check_percent(value, arguments)
        case "join":
            items = arguments[0] if isinstance(value, (str, bytes)) and arguments else value
            joint = len(value) if items is not value else texts
            check_size(size_of(items) + joint * (length_of(items) or _shallow(items)))
        case "replace":
            check_size(size + size * _shallow(arguments[1]) if len(arguments) > 1 else size)
        case "indent":
            check_size(size + (widest + texts) * len(str(value).splitlines()))
        case "tojson":
            check_size(size * (1 + 100 * widest))
        case _:
            _check_slow(name, value, size, arguments, texts)


def _check_slow(name: str, value: Any, size: int, arguments: tuple[Any, ...], texts: int) -> None:
    match name:
        case "sum" if any(length_of(item) for item in arguments):
            spend(size * length_of(value))
        case "striptags":
            spend(size * str(value).count("<") >> 4)
        case "urlize":
            spend(_longest_word(str(value)) ** 2 >> 4)
        case "wordwrap":
            width = max(1, min((item for item in arguments if isinstance(item, int) and item is not True), default=79))
            check_size(size + (2 * size // width + str(value).count("\n")) * texts)
            spend(size * 64 // width + _longest_word(str(value)) ** 2 // (width * 64))


def _check_number(operator: str, left: float, right: float) -> None:
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        check_bits(max(bits, right.bit_length()))
        if operator == "*":
            check_bits(bits + right.bit_length())
        elif operator == "**":
            check_bits(bits * right)


def _check_grown(value: Any, size: int) -> None:
    check_size(size) if isinstance(value, (str, bytes)) else check_items(size)


def _check_plain(arguments: tuple[Any, ...]) -> None:
    for item in arguments:
        if isinstance(item, (int, float)) and abs(item) > _MAX_NUMBER:
            raise UnboundedError(f"a filter's argument is over {_MAX_NUMBER:,}")
        if isinstance(item, (str, bytes)) and len(item) > _MAX_TEXT:
            raise UnboundedError(f"a filter's argument is longer than {_MAX_TEXT:,} characters")


def _check_percent(text: Any, values: Any) -> None:
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    if isinstance(text, str):
        found = _PERCENT.findall(text)
        _check_fields(text, len(found), [number for field in found for number in field if number], (values,))


def _check_fields(text: str, fields: int, numbers: list[str], arguments: tuple[Any, ...]) -> None:
    if any(number == "*" for number in numbers):
        raise UnboundedError("a width in a format comes from a value")
    widest = max((int(number[:9]) for number in numbers), default=0)
    given = sum(map(size_of, arguments))
    spend(len(text) + given)
    check_size(len(text) + fields * (widest + given + 400), "a format's result")


def _shallow(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes)) else length_of(value)


def _repeated(sequence: Any, times: Any) -> int:
    return _shallow(sequence) * times if isinstance(times, int) else 0


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)
