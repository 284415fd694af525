"""The check's widgets: its progress, the problems by cause, and the rows of one cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from turbobatch.console import parts
from turbobatch.console.results_state import PAGE
from turbobatch.console.send_state import Phase
from turbobatch.console.words import check_text, many
from turbobatch.markup import escaped

if TYPE_CHECKING:
    from turbobatch.console.actions import Actions
    from turbobatch.console.causes import Cause
    from turbobatch.console.kit import Kit
    from turbobatch.console.state import State


class CheckPane:
    """Check all rows, and go from a problem to its row."""

    def __init__(self, actions: Actions, kit: Kit) -> None:
        self._kit = kit
        self.check = kit.button("Check all rows", actions.check, style="primary")
        self.stop = kit.button("Stop", actions.stop_check, style="danger")
        self.progress = kit.make(widgets.IntProgress, {"flex": "1 1 8em", "max_width": "24em"}, min=0, max=1)
        self.text, self.notice = kit.html(), kit.html()
        self.causes = kit.lines(actions.pick_cause)
        self.rows = kit.lines(actions.show_row)
        self.pager = kit.pager(actions.turn_check)
        self.by_cause = kit.section("Problems by cause", self.causes.widget)
        self.of_cause = kit.section("Rows; a click shows the preview", self.rows.widget, self.pager.widget)
        self.widget = kit.stack(
            kit.bar(self.check, self.stop, self.progress), self.text, self.notice, self.by_cause, self.of_cause
        )

    def update(self, state: State) -> None:
        """Show what the state says."""
        now = state.check
        is_busy = now.phase is Phase.BUSY
        self.check.disabled = is_busy
        self._kit.show(self.stop, is_busy)
        self._kit.show(self.progress, is_busy)
        self.progress.max = max(len(state.preview.rows), now.rows, 1)
        self.progress.value = now.rows
        self.text.value = parts.text_html(check_text(now))
        self.notice.value = parts.notice_html(now.notice)
        self._kit.show(self.by_cause, bool(now.causes))
        self.causes.fill(
            [(place, many(cause.affected, "row"), _cause_html(cause)) for place, cause in enumerate(now.causes)]
        )
        cause = now.causes[now.picked] if now.picked is not None else None
        self._kit.show(self.of_cause, cause is not None)
        if cause is not None:
            shown = cause.rows[now.first : now.first + PAGE]
            self.rows.fill([(row.number, f"row {row.number}", _row_html(row.where, row.text)) for row in shown])
            more = f"; {cause.affected:,} in all" if cause.affected > len(cause.rows) else ""
            self.pager.update(now.first, len(shown), len(cause.rows), more)


def _cause_html(cause: Cause) -> str:
    place = " · ".join(filter(None, (cause.status, cause.field)))
    cure = f'<span style="{parts.FAINT}">; {escaped(cause.cure)}</span>' if cause.cure else ""
    kind = f'<span style="{parts.FAINT}">{escaped(place)}</span> ' if place else ""
    return f'<div style="{parts.INK}; {parts.TIGHT}">{kind}{escaped(cause.text)}{cure}</div>'


def _row_html(where: str, text: str) -> str:
    place = f'<span style="{parts.FAINT}">{escaped(where)}</span>'
    return f'<div style="{parts.INK}; {parts.TIGHT}">{place} {escaped(text)}</div>'
