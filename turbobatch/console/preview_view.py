"""The preview's widgets: which row, and its email as it will leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from turbobatch.console import parts
from turbobatch.console.send_state import Phase
from turbobatch.console.state import Form, Listed, current, known_problem, listed
from turbobatch.console.words import listed_options, where_text

if TYPE_CHECKING:
    from turbobatch.console.actions import Actions
    from turbobatch.console.kit import Kit
    from turbobatch.console.rows import Page
    from turbobatch.console.state import Looking, State

_ANY = "any column"


class PreviewPane:
    """Step through the rows, search them, and see each one's email."""

    def __init__(self, actions: Actions, kit: Kit) -> None:
        self._kit = kit
        self.back = kit.button("◀", lambda: actions.step(-1), tooltip="the row before", min_width="3em")
        self.on = kit.button("▶", lambda: actions.step(1), tooltip="the next row", min_width="3em")
        self.slider = kit.make(
            widgets.IntSlider, {"flex": "1 1 12em", "width": "auto"},
            min=0, max=0, readout=False, continuous_update=False,
        )  # fmt: skip
        self.where = kit.html(width="auto")
        self.listed = kit.choice([(str(which), which) for which in Listed], "15em")
        self.text = kit.field("", "13em", placeholder="search the rows", continuous_update=False)
        self.column = kit.choice([_ANY], "11em")
        self.find = kit.button("Find", self._search)
        self.form = kit.make(
            widgets.ToggleButtons, {"width": "auto"}, style={"button_width": "auto"},
            options=[(str(form), form) for form in Form],
        )  # fmt: skip
        self.notice, self.head, self.body = kit.html(), kit.html(), kit.html()
        self._actions = actions
        self._columns: tuple[str, ...] = ()
        self._options: list[tuple[str, Listed]] = []
        parts.on_change(self.slider, actions.place)
        parts.on_change(self.listed, actions.switch)
        parts.on_change(self.form, actions.show_form)
        parts.on_change(self.text, lambda _text: self._search())
        self.widget = kit.stack(
            kit.bar(self.back, self.slider, self.on, self.where),
            kit.bar(self.listed, self.text, self.column, self.find),
            self.notice,
            self.head,
            self.form,
            self.body,
        )

    def update(self, state: State) -> None:
        """Show what the state says."""
        now = state.preview
        rows = listed(now)
        self.slider.max = max(len(rows) - 1, 0)
        self.slider.value = now.place
        self.slider.disabled = len(rows) <= 1
        self.back.disabled, self.on.disabled = now.place <= 0, now.place >= len(rows) - 1
        self.where.value = parts.text_html(where_text(now))
        self._fill_choices(now)
        self.find.disabled = now.searching is Phase.BUSY
        searching = f"searching for {now.searched!r}" if now.searching is Phase.BUSY else ""
        page = now.page if now.page is not None and now.page.row == current(now) else None
        known = known_problem(state) if page is not None and not page.problem else ""  # else the page says it itself
        self.notice.value = parts.notice_html("; ".join(filter(None, (now.told or searching, now.notice or known))))
        self.form.value = now.form
        if page is not None or now.notice or not rows:  # else the page before stays until the next one is there
            self.head.value = _head_html(page)
            self._kit.show(self.form, page is not None and not page.problem)
            self.body.value = _body_html(page, now.form)

    def _fill_choices(self, now: Looking) -> None:
        if (options := listed_options(now)) != self._options:
            self._options = options
            self.listed.options = options
        self.listed.value = now.listed
        if now.columns != self._columns:
            self._columns = now.columns
            self.column.options = [_ANY, *now.columns]

    def _search(self) -> None:
        place: int = self.column.index or 0
        self._actions.search(self.text.value.strip(), self._columns[place - 1] if place else None)


def _head_html(page: Page | None) -> str:
    if page is None:
        return ""
    if page.problem:
        return parts.notice_html(f"makes no email: {page.problem}")
    head: list[tuple[str, Any]] = [*page.head, *(("Attachment", item) for item in page.attachments)]
    return parts.table_html([*head, ("Key", page.key)])


def _body_html(page: Page | None, form: Form) -> str:
    if page is None:
        return ""
    if page.problem or form is Form.CELLS:
        return parts.table_html(page.cells, mono=True)
    match form:
        case Form.HTML:
            if page.unshown:
                return parts.text_html(page.unshown, faint=True) + parts.pre_html(page.text)
            return page.frame or parts.text_html("(no HTML part)", faint=True)
        case Form.TEXT:
            return parts.pre_html(page.text) if page.text else parts.text_html("(no text part)", faint=True)
    return parts.pre_html(page.wire)
