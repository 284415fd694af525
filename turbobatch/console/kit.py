"""The widgets of one console: buttons, lines and lists of one look, from core ipywidgets alone.

Each widget, each Layout and each Style is a model, and a message to the page. A page that gets too many at once may
lose some, so a kit makes one Layout for each look and one Style for each kind, and its widgets share them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from turbobatch.console.parts import EDGE, FAINT, text_html
from turbobatch.markup import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_LABELLED = {"description_width": "initial"}
_PICKED = {"width": "8em", "min_width": "5em", "height": "26px"}


class Kit:
    """Makes the widgets of a console, and closes them.

    A layout is never changed once it is made, because others share it: a widget is hidden by another layout.
    """

    def __init__(self) -> None:
        self._shared: dict[tuple[Any, ...], Any] = {}
        self._layouts: dict[Any, Any] = {}  # of each widget, in the order they were made, the one it is shown with
        self._lines: list[Lines] = []

    @property
    def members(self) -> tuple[Any, ...]:
        """All widgets, without their layouts and styles."""
        return tuple(self._layouts)

    def make(
        self, kind: Any, layout: Mapping[str, str], *, style: Mapping[str, str] | None = None, **options: Any
    ) -> Any:
        """A widget of any kind."""
        looks = {"layout": self.share(widgets.Layout, layout)}
        if (trait := kind.class_traits().get("style")) is not None:  # boxes have none
            looks["style"] = self.share(trait.klass, style or {})
        made = kind(**looks, **options)
        _keep_in_order(made)
        self._layouts[made] = made.layout
        return made

    def show(self, widget: Any, on: bool) -> None:
        """Show a widget or take it away."""
        widget.layout = self._layouts[widget] if on else self.share(widgets.Layout, {"display": "none"})

    def discard(self, gone: Iterable[Any]) -> None:
        """Close widgets that are wanted no more."""
        for widget in gone:
            del self._layouts[widget]
            widget.close()

    def renew(self) -> None:
        """Close the lines of all lists: filled again, they are made anew in the thread that fills them."""
        for lines in self._lines:
            lines.clear()

    def close(self) -> None:
        """Close every model: the kernel and the page keep a layout and a style until they are closed themselves."""
        self.discard(self.members)
        for model in self._shared.values():
            model.close()
        self._shared.clear()

    def button(
        self, text: str, on_click: Callable[[], object], *, style: str = "", tooltip: str = "", **layout: str
    ) -> Any:
        """A button as wide as its text.

        `style`: "primary" for a pane's main action, "danger" for what ends something.
        """
        look = {"width": "auto", "min_width": "5em"} | layout
        made = self.make(widgets.Button, look, description=text, button_style=style, tooltip=tooltip)
        made.on_click(lambda _: on_click())
        return made

    def field(self, label: str, width: str, **options: Any) -> Any:
        """A line to type in, with its label."""
        return self.make(widgets.Text, {"width": width}, style=_LABELLED, description=label, **options)

    def choice(self, options: Sequence[Any], width: str, label: str = "") -> Any:
        """A drop-down."""
        return self.make(widgets.Dropdown, {"width": width}, style=_LABELLED, options=options, description=label)

    def bar(self, *children: Any) -> Any:
        """Widgets side by side, in as many lines as the page's width asks for."""
        look = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "4px 8px", "width": "100%"}
        return self.make(widgets.HBox, look, children=children)

    def stack(self, *children: Any) -> Any:
        """Widgets below each other, never wider than the page."""
        look = {"width": "100%", "min_width": "0", "grid_gap": "6px", "overflow": "hidden"}
        return self.make(widgets.VBox, look, children=children)

    def section(self, title: str, *children: Any) -> Any:
        """Widgets below a small heading and a line."""
        head = f'<div style="{FAINT}; font-size: 12px; border-bottom: {EDGE}">{escaped(title)}</div>'
        return self.stack(self.html(head), *children)

    def html(self, value: str = "", **layout: str) -> Any:
        """HTML that fills its line; whoever sets its value escapes what isn't ours."""
        return self.make(widgets.HTML, {"width": "100%", "margin": "0"} | layout, value=value)

    def lines(self, on_pick: Callable[[int], object]) -> Lines:
        """A list."""
        self._lines.append(made := Lines(self, on_pick))
        return made

    def pager(self, on_turn: Callable[[int], object]) -> Pager:
        """Which page of a list is shown."""
        return Pager(self, on_turn)

    def share(self, kind: Any, settings: Mapping[str, str]) -> Any:
        """The one Layout or Style of this kind with these settings."""
        name = (kind, *sorted(settings.items()))
        if name not in self._shared:
            self._shared[name] = kind(**settings)
        return self._shared[name]


def _keep_in_order(made: Any) -> None:
    """Have what is done to a widget heard where the page says, which is one thread of the kernel for all widgets.

    From 7.4 on, ipykernel would choose the thread that wrote to the widget last: a click might be heard before what was
    typed into a field above the button.
    """
    if hasattr(made.comm, "_reply_subshell_for"):
        made.comm._reply_subshell_for = lambda _data, asked: asked  # noqa: SLF001 - nothing public leads there


class Lines:
    """A list, each line a button and what is to be said of it. A line is made when it is wanted first, and kept."""

    def __init__(self, kit: Kit, on_pick: Callable[[int], object]) -> None:
        self._kit, self._on_pick = kit, on_pick
        self._values: list[int] = []
        self._buttons: list[Any] = []
        self._texts: list[Any] = []
        # One grid for all lines: a box for each would be a model more for each.
        look = {"width": "100%", "overflow": "hidden", "align_items": "center", "grid_gap": "0 8px"}
        kit.share(widgets.Layout, _PICKED)  # now: a layout isn't made anew with its lines
        self.widget = kit.make(widgets.GridBox, look | {"grid_template_columns": "max-content minmax(0, 1fr)"})

    def fill(self, items: Sequence[tuple[int, str, str]]) -> None:
        """Show lines: what a click tells, the button's text, and HTML."""
        for place, item in enumerate(items):
            if place == len(self._values):
                self._add(*item)
            else:
                self._values[place], self._buttons[place].description, self._texts[place].value = item
        cells = [cell for pair in zip(self._buttons, self._texts, strict=True) for cell in pair]
        self.widget.children = cells[: 2 * len(items)]

    def clear(self) -> None:
        """Show no lines, and close those that there are."""
        gone = (*self._buttons, *self._texts)
        self._values, self._buttons, self._texts, self.widget.children = [], [], [], ()
        self._kit.discard(gone)

    def _add(self, value: int, said: str, html: str) -> None:
        place = len(self._values)
        self._values.append(value)
        picked = self._kit.button(said, lambda: self._on_pick(self._values[place]), **_PICKED)
        self._buttons.append(picked)
        self._texts.append(self._kit.html(html))


class Pager:
    """Previous and next page of a list, and which is shown."""

    def __init__(self, kit: Kit, on_turn: Callable[[int], object]) -> None:
        self._kit = kit
        self._back = kit.button("◀", lambda: on_turn(-1), tooltip="the page before", min_width="3em")
        self._on = kit.button("▶", lambda: on_turn(1), tooltip="the next page", min_width="3em")
        self._text = kit.html(width="auto")
        self.widget = kit.bar(self._back, self._on, self._text)

    def update(self, first: int, shown: int, total: int, more: str = "") -> None:
        """Tell which lines of how many are shown."""
        self._kit.show(self.widget, total > 0)
        self._back.disabled, self._on.disabled = first <= 0, first + shown >= total
        self._text.value = text_html(f"{first + 1:,} to {first + shown:,} of {total:,}{more}", faint=True)
