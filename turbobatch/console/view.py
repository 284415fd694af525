"""The console's widgets: a header line and the four panes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import ipywidgets as widgets

from turbobatch.console import parts
from turbobatch.console.check_view import CheckPane
from turbobatch.console.kit import Kit
from turbobatch.console.preview_view import PreviewPane
from turbobatch.console.results_view import ResultsPane
from turbobatch.console.send_view import SendPane
from turbobatch.console.state import Tab
from turbobatch.console.words import badge
from turbobatch.console.work import Throttle
from turbobatch.markup import escaped
from turbobatch.wording import unexpected_text

if TYPE_CHECKING:
    from turbobatch.console.actions import Actions
    from turbobatch.console.state import State


class View:
    """All widgets of one console; `widget` is what is displayed."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._store = actions.store
        self._lock = threading.RLock()
        self._is_closed = False
        self._kit = kit = Kit()
        self.preview, self.check = PreviewPane(actions, kit), CheckPane(actions, kit)
        self.send, self.results = SendPane(actions, kit), ResultsPane(actions, kit)
        self.panes = (self.preview, self.check, self.send, self.results)
        self.head = kit.html(flex="1 1 20em", width="auto")
        self.refresh = kit.button("Refresh", self._refresh, tooltip="look at the table and the journal anew")
        self.tabs = kit.make(
            widgets.Tab, {"width": "auto"},
            children=[pane.widget for pane in self.panes], titles=[tab.name.capitalize() for tab in Tab],
        )  # fmt: skip
        self._frame = Kit()  # what remains when it is closed
        self.widget = self._frame.stack(kit.bar(self.head, self.refresh), self.tabs)
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
            self.widget.children = (self._frame.html(parts.text_html(said, faint=True)),)
            self._kit.close()

    def _say_fault(self, error: Exception) -> None:
        with self._lock, parts.painting():
            if not self._is_closed:
                said = parts.notice_html(f"What is shown below may be out of date: {unexpected_text(error)}")
                self.head.value = _head_html(self._store.state) + said

    def _refresh(self) -> None:
        self._actions.refresh()
        # In the thread of the click, all of it: Colab shows nothing of what other threads draw or make.
        with self._lock, parts.painting():
            if self._is_closed:
                return
            self._kit.renew()
            self.paint()
            for widget in self._kit.members:
                widget.send_state()


def _head_html(state: State) -> str:
    parts_ = [f"<b>{escaped(state.campaign)}</b>"]
    parts_ += [
        f'<span style="{parts.FAINT}">{name}</span> {escaped(text)}'
        for name, text in (("table", state.table), ("host", state.host))
        if text
    ]
    gap = '<span style="display: inline-block; width: 1.2em"></span>'
    return f'<div style="{parts.INK}; {parts.TIGHT}">{gap.join([*parts_, parts.badge_html(*badge(state))])}</div>'
