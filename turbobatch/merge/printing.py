"""Printing: what becomes of a value between `{{` and `}}`, in each kind of field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jinja2 import Undefined, pass_eval_context
from jinja2.compiler import CodeGenerator
from markupsafe import Markup, escape

from turbobatch.merge.cells import CLOSE, OPEN, unmarked
from turbobatch.merge.meter import SMALL, printed, spend

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import nodes
    from jinja2.compiler import Frame
    from jinja2.nodes import EvalContext

_ESCAPING = 8  # steps for a character that Markdown could misread
_NEEDS_ESCAPING = re.compile("[&<>'\"]")

_MARKDOWN_ANYWHERE = re.compile(r"[\\`*_\[\]<>&~|!()]")
_MARKDOWN_AT_LINE_START = re.compile(r"^(?:[#+=:-]|[0-9]+(?=\.(?:\s|$)))", re.MULTILINE)
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
_LINE_BREAK = re.compile(r"\r\n?|\n")


class PrintingCode(CodeGenerator):
    """Compiles `{{ … }}` into one call of the environment's `print_text` or `print_html`.

    Jinja's own code calls two functions, and makes a Markup of every text.
    """

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile:
            super()._output_child_pre(node, frame, finalize)
        else:
            self.write(f"environment.{'print_html' if frame.eval_ctx.autoescape else 'print_text'}(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile:
            super()._output_child_post(node, frame, finalize)
        else:
            self.write(")")


def printers(finalize: Callable[[Any], Any]) -> tuple[Callable[[Any], str], Callable[[Any], str]]:
    """What prints a value as text, and what prints it as HTML, of a field whose values `finalize` makes."""
    shown = finalizer(finalize)
    plain = finalize is printable
    needs_escaping = _NEEDS_ESCAPING.search

    def print_text(value: Any) -> str:
        if plain and value.__class__ is str and len(value) <= SMALL:
            return value  # nearly all; their steps are counted with what prints them
        return str(shown(None, value))

    def print_html(value: Any) -> str:
        if plain and value.__class__ is str and len(value) <= SMALL and not needs_escaping(value):
            return value  # as above
        return escape(shown(None, value))

    return print_text, print_html


def finalizer(finalize: Callable[[Any], Any]) -> Callable[..., Any]:
    """The environment's `finalize`: counts what printing takes, where that isn't counted elsewhere."""
    plain = finalize is printable

    @pass_eval_context  # else Jinja would print constants when it compiles
    def finalized(_context: EvalContext | None, value: Any) -> Any:
        value = printed(value)
        return value if plain and isinstance(value, str) else finalize(value)

    return finalized


def printable(value: Any) -> Any:
    """Refuse to print a function: `{{ name.upper }}` without its brackets."""
    if callable(value) and not isinstance(value, Undefined):
        raise TypeError(f"{getattr(value, '__name__', 'this')} is a function: call it with ()")
    return value


def escape_markdown(text: str) -> str:
    """Make text mean itself in Markdown; its line breaks stay inside the paragraph."""
    text = _INDENT.sub(" ", _LINE_BREAK.sub("\n", text))
    text = _MARKDOWN_ANYWHERE.sub(r"\\\g<0>", text)
    text = _MARKDOWN_AT_LINE_START.sub(_escape_line_start, text)
    return text.replace("\n", "\\\n")


def _escape_line_start(match: re.Match[str]) -> str:
    start = match[0]
    return f"{start}\\" if start.isdigit() else f"\\{start}"


def markdown_value(value: Any) -> Any:
    """Text that means itself; what is Markdown already (`| safe`, a block, a macro) stays as it is."""
    if hasattr(value, "__html__"):
        return value
    text = str(printable(value))
    spend(_ESCAPING * len(text))
    return Markup(escape_markdown(text))  # noqa: S704 - Markdown here, made HTML with html=False later


def marked_value(value: Any) -> str:
    """A value of an address field, told apart from the template's own text."""
    if isinstance(value, list):
        # One value, like a cell that lists addresses: its commas part addresses, but never make one of a name's part.
        value = ", ".join(str(printable(item)) for item in value)
    if isinstance(value, str):
        # A block or macro that was rendered before: its values are marked, the rest is the template's own text.
        return value if OPEN in value else f"{OPEN}{value}{CLOSE}"
    return f"{OPEN}{unmarked(str(printable(value)))}{CLOSE}"
