"""What the panes are made of: buttons, lines and lists of one look, from core ipywidgets alone.

Colours are JupyterLab's own variables with a fallback, so that both themes, VS Code and Colab can show them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from turbobatch.console.words import Tone
from turbobatch.markup import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

INK = "color: var(--jp-ui-font-color1, inherit)"
FAINT = "color: var(--jp-ui-font-color2, #80868b)"
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


def button(text: str, on_click: Callable[[], object], *, style: str = "", tooltip: str = "") -> Any:
    """A button as wide as its text. `style`: "primary" for a pane's main action, "danger" for what ends something."""
    made = widgets.Button(
        description=text, button_style=style, tooltip=tooltip, layout=widgets.Layout(width="auto", min_width="5em")
    )
    made.on_click(lambda _: on_click())
    return made


def field(label: str, width: str, **options: Any) -> Any:
    """A line to type in, with its label."""
    style = {"description_width": "initial"}
    return widgets.Text(description=label, style=style, layout=widgets.Layout(width=width), **options)


def choice(options: Sequence[Any], width: str, label: str = "") -> Any:
    """A drop-down."""
    style = {"description_width": "initial"}
    return widgets.Dropdown(options=options, description=label, style=style, layout=widgets.Layout(width=width))


def bar(*children: Any) -> Any:
    """Widgets side by side, in as many lines as the page's width asks for."""
    layout = widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="4px 8px", width="100%")
    return widgets.HBox(children, layout=layout)


def stack(*children: Any) -> Any:
    """Widgets below each other, never wider than the page."""
    layout = widgets.Layout(width="100%", min_width="0", grid_gap="6px", overflow="hidden")
    return widgets.VBox(children, layout=layout)


def section(title: str, *children: Any) -> Any:
    """Widgets below a small heading and a line."""
    head = html(f'<div style="{FAINT}; font-size: 12px; border-bottom: {EDGE}">{escaped(title)}</div>')
    return stack(head, *children)


def html(value: str = "", **layout: str) -> Any:
    """HTML that fills its line; whoever sets its value escapes what isn't ours."""
    return widgets.HTML(value=value, layout=widgets.Layout(**({"width": "100%", "margin": "0"} | layout)))


def show(widget: Any, on: bool) -> None:
    """Show a widget or take it away."""
    widget.layout.display = None if on else "none"


def text_html(text: str, *, faint: bool = False) -> str:
    """A line of text."""
    return f'<div style="{FAINT if faint else INK}; {TIGHT}">{escaped(text)}</div>' if text else ""


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


class Lines:
    """A list of so many lines at most, each a button and what is to be said of it; made once and filled again."""

    def __init__(self, length: int, on_pick: Callable[[int], object]) -> None:
        self._values = [0] * length
        self._buttons = [self._button(place, on_pick) for place in range(length)]
        self._texts = [html(flex="1 1 0", min_width="0") for _ in range(length)]
        pairs = zip(self._buttons, self._texts, strict=True)
        look = {"width": "100%", "align_items": "center", "grid_gap": "8px"}  # not one Layout: each is hidden by itself
        self._lines = [widgets.HBox(pair, layout=look) for pair in pairs]
        self.widget = widgets.VBox(self._lines, layout=widgets.Layout(width="100%", overflow="hidden"))

    def fill(self, items: Sequence[tuple[int, str, str]]) -> None:
        """Show lines: what a click tells, the button's text, and HTML."""
        for place, line in enumerate(self._lines):
            show(line, place < len(items))
            if place < len(items):
                self._values[place], self._buttons[place].description, self._texts[place].value = items[place]

    def _button(self, place: int, on_pick: Callable[[int], object]) -> Any:
        made = button("", lambda: on_pick(self._values[place]))
        made.layout.width, made.layout.height, made.layout.flex = "8em", "26px", "0 0 auto"
        return made


class Pager:
    """Previous and next page of a list, and which is shown."""

    def __init__(self, on_turn: Callable[[int], object]) -> None:
        self._back = button("◀", lambda: on_turn(-1), tooltip="the page before")
        self._on = button("▶", lambda: on_turn(1), tooltip="the next page")
        for made in (self._back, self._on):
            made.layout.min_width = "3em"
        self._text = html(width="auto")
        self.widget = bar(self._back, self._on, self._text)

    def update(self, first: int, shown: int, total: int, more: str = "") -> None:
        """Tell which lines of how many are shown."""
        show(self.widget, total > 0)
        self._back.disabled, self._on.disabled = first <= 0, first + shown >= total
        self._text.value = text_html(f"{first + 1:,} to {first + shown:,} of {total:,}{more}", faint=True)
