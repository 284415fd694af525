"""The console's widgets: a header line and the four panes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from turbobatch.console import parts
from turbobatch.console.check_view import CheckPane
from turbobatch.console.preview_view import PreviewPane
from turbobatch.console.results_view import ResultsPane
from turbobatch.console.send_view import SendPane
from turbobatch.console.state import Tab
from turbobatch.console.words import badge
from turbobatch.console.work import Throttle
from turbobatch.markup import escaped
from turbobatch.wording import unexpected_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turbobatch.console.actions import Actions
    from turbobatch.console.state import State


class View:
    """All widgets of one console; `widget` is what is displayed."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._store = actions.store
        self._lock = threading.RLock()
        self._is_closed = False
        self.preview, self.check = PreviewPane(actions), CheckPane(actions)
        self.send, self.results = SendPane(actions), ResultsPane(actions)
        self.panes = (self.preview, self.check, self.send, self.results)
        self.head = parts.html(flex="1 1 20em", width="auto")
        self.refresh = parts.button("Refresh", self._refresh, tooltip="look at the table and the journal anew")
        self.tabs = widgets.Tab(
            [pane.widget for pane in self.panes],
            titles=[tab.name.capitalize() for tab in Tab],
            layout=widgets.Layout(width="auto"),
        )
        self.widget = parts.stack(parts.bar(self.head, self.refresh), self.tabs)
        parts.on_change(self.tabs, lambda place: actions.go_to(Tab(place)), "selected_index")
        self.paint()
        self._store.listener = Throttle(self.paint, on_fault=self._say_fault)

    @property
    def is_closed(self) -> bool:
        """Whether it shows nothing any more."""
        return self._is_closed

    def paint(self) -> None:
        """Show the state as it is now."""
        with self._lock, parts.painting():
            if self._is_closed:
                return
            state = self._store.state
            self.head.value = _head_html(state)
            self.tabs.selected_index = int(state.tab)
            for pane in self.panes:
                pane.update(state)

    def close(self, said: str) -> None:
        """Show nothing any more but a line, and read nothing; a run goes on."""
        self._actions.close()
        self._store.listener = lambda: None
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            before = self.widget.children
            self.widget.children = (parts.html(parts.text_html(said, faint=True)),)
            for widget in [item for child in before for item in _all(child)]:
                # A layout and a style are models of their own: the kernel and the page keep them until they are closed.
                for model in (widget, widget.layout, getattr(widget, "style", None)):
                    if model is not None:
                        model.close()

    def _say_fault(self, error: Exception) -> None:
        with self._lock, parts.painting():
            if not self._is_closed:
                said = parts.notice_html(f"What is shown below may be out of date: {unexpected_text(error)}")
                self.head.value = _head_html(self._store.state) + said

    def _refresh(self) -> None:
        self._actions.refresh()
        self.paint()
        # In the thread of the click, all of it: Colab shows nothing of what other threads draw.
        for widget in _all(self.widget):
            widget.layout.send_state()
            widget.send_state()


def _all(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from _all(child)


def _head_html(state: State) -> str:
    parts_ = [f"<b>{escaped(state.campaign)}</b>"]
    parts_ += [
        f'<span style="{parts.FAINT}">{name}</span> {escaped(text)}'
        for name, text in (("table", state.table), ("host", state.host))
        if text
    ]
    gap = '<span style="display: inline-block; width: 1.2em"></span>'
    return f'<div style="{parts.INK}; {parts.TIGHT}">{gap.join([*parts_, parts.badge_html(*badge(state))])}</div>'
