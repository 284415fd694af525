"""What the panes say, as HTML of one look, and whose changes of widgets are clicks.

Colours are JupyterLab's own variables with a fallback, so that both themes, VS Code and Colab can show them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from turbobatch.console.words import Tone
from turbobatch.markup import Html, escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from turbobatch.events import Workers

INK = "color: var(--jp-ui-font-color1, inherit)"
FAINT = "color: var(--jp-ui-font-color2, #80868b)"
LINK = "color: var(--jp-content-link-color, #1976d2); text-decoration: underline"
MONO = "font-family: var(--jp-code-font-family, monospace); font-size: 12px"
EDGE = "1px solid var(--jp-border-color2, #8884)"
TIGHT = "line-height: 1.45; overflow-wrap: anywhere"

_TONES = {
    Tone.QUIET: "#80868b",
    Tone.BUSY: "#3b82d6",
    Tone.GOOD: "#2e9e5b",
    Tone.BAD: "#d0603a",
}


class _Painting(threading.local):
    """Whether this thread is setting what widgets show: then their changes are nobody's clicks."""

    is_on = False


_painting = _Painting()


class painting:  # noqa: N801 - used like a function, `with painting():`
    """While it lasts, changes of widgets by this thread call no handlers."""

    def __enter__(self) -> None:
        self._before, _painting.is_on = _painting.is_on, True

    def __exit__(self, *_: object) -> None:
        _painting.is_on = self._before


def on_change(widget: Any, handler: Callable[[Any], object], name: str = "value") -> None:
    """Call a handler with the new value where the user has changed it."""

    def heard(change: Any) -> None:
        if not _painting.is_on:
            handler(change["new"])

    widget.observe(heard, names=name)


def text_html(text: str, *, faint: bool = False) -> str:
    """A line of text."""
    return f'<div style="{FAINT if faint else INK}; {TIGHT}">{escaped(text)}</div>' if text else ""


def workers_html(workers: Workers) -> Html:
    """How many workers there are and where, with the way to Dask's own page about them."""
    link = f'href="{escaped(workers.dashboard)}" target="_blank" rel="noopener noreferrer" style="{LINK}"'
    return Html(escaped(str(workers)) + (f" (<a {link}>dashboard</a>)" if workers.dashboard else ""))


def notice_html(text: str, tone: Tone = Tone.BAD) -> str:
    """A line that wants to be read; nothing for an empty one."""
    if not text:
        return ""
    return f'<div style="{INK}; {TIGHT}; border-left: 3px solid {_TONES[tone]}; padding: 2px 8px">{escaped(text)}</div>'


def badge_html(text: str, tone: Tone) -> str:
    """A word in a frame of its tone's colour."""
    style = f"border: 1px solid {_TONES[tone]}; border-radius: 9px; padding: 0 8px; white-space: nowrap"
    return f'<span style="{style}">{escaped(text)}</span>'


def table_html(rows: Iterable[tuple[str, str]], *, mono: bool = False) -> str:
    """Names and values, each pair on a line."""
    value = f"{INK}; {TIGHT}; white-space: pre-wrap; min-width: 0; {MONO if mono else ''}"
    lines = "".join(
        f'<div style="{FAINT}; {TIGHT}">{escaped(name)}</div><div style="{value}">{escaped(text)}</div>'
        for name, text in rows
    )
    return f'<div style="display: grid; grid-template-columns: fit-content(14em) 1fr; gap: 0 16px">{lines}</div>'


def pre_html(text: str) -> str:
    """Text as it is, with its line breaks, in letters of one width."""
    style = f"{INK}; {MONO}; white-space: pre-wrap; overflow-wrap: anywhere; border: {EDGE}; padding: 8px; margin: 0"
    return f'<pre style="{style}; max-height: 34em; overflow: auto">{escaped(text)}</pre>'
