"""The results' widgets: counts, failures, emails in doubt, and the export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from turbobatch.console import parts, words
from turbobatch.console.results_state import categories, failed_count, filtered, page_of
from turbobatch.console.send_state import Phase, can_plan
from turbobatch.console.state import can_look_up
from turbobatch.markup import Html, escaped, masked
from turbobatch.policy import MEANINGS, Status
from turbobatch.wording import IN_PROGRESS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from turbobatch.console.actions import Actions
    from turbobatch.console.kit import Kit
    from turbobatch.console.results_actions import ResultsActions
    from turbobatch.console.results_state import Failure, Outcome
    from turbobatch.console.state import State
    from turbobatch.reconcile import Reconciled

_FAILED = (Status.REJECTED, Status.INVALID, Status.FAILED, Status.IN_DOUBT)
_FORMATS = {"CSV": ".csv", "Parquet": ".parquet", "Excel": ".xlsx", "HTML page": ".html"}
_REJECTED = "rejected rows are tried again once their email has changed"
_ANY = "any"
_MOST_TOLD = 200  # emails that were looked up, of which it is shown what came of them
_ENDINGS = (*_FORMATS.values(), ".tsv")


class ResultsPane:
    """What became of the rows, and what can be done about it."""

    def __init__(self, actions: Actions, kit: Kit) -> None:
        self._kit = kit
        self._doubts: tuple[str, ...] = ()
        self.read = kit.button("Read again", actions.results.load)
        self.retry = kit.button("Retry failed", actions.retry, tooltip="count again; the count wants to be typed")
        self.text, self.why = kit.html(flex="1 1 12em", width="auto"), kit.html(width="auto")
        self.counts = kit.html()
        self.notice, self.answer = kit.html(), kit.html()
        self._make_failures(actions, kit)
        self._make_doubts(actions.results, kit)
        self._make_export(actions.results, kit)
        self.widget = kit.stack(
            kit.bar(self.read, self.retry, self.why, self.text), self.counts, self.notice, self.answer,
            self.failed, self.in_doubt,
            kit.section("Export", self.writing, self.to_correct, self.replacing),
        )  # fmt: skip

    def update(self, state: State) -> None:
        """Show what the state says."""
        now = state.results
        self.retry.disabled = not failed_count(now) or not can_plan(state.send)
        only_rejected = 0 < now.counts.get(Status.REJECTED, 0) == failed_count(now)
        self.why.value = parts.text_html(_REJECTED if only_rejected else "", faint=True)
        self.text.value = parts.text_html(words.results_text(now), faint=True)
        counts = [(f"{count:,} {status}", MEANINGS[status]) for status, count in words.counts_of(now.counts)]
        self.counts.value = parts.table_html(counts) if counts else ""
        self.notice.value = parts.notice_html(now.notice) + parts.notice_html(now.warning)
        self.answer.value = parts.notice_html(now.answer, words.Tone.GOOD)
        self._update_failures(now)
        self._update_doubts(state)
        self.export.disabled = now.exporting is Phase.BUSY
        self._kit.show(self.to_correct, bool(now.failed))
        self.export_failed.disabled = now.exporting is Phase.BUSY
        self.exported.value = parts.text_html(f"{now.exported:,} rows" if now.exporting is Phase.BUSY else "")
        self._kit.show(self.replacing, bool(now.replaces))
        self.there.value = parts.notice_html(words.replace_text(now))

    def _make_failures(self, actions: Actions, kit: Kit) -> None:
        self.status = kit.choice([("all", ""), *((str(status), str(status)) for status in _FAILED)], "13em", "Status")
        look = {"placeholder": "address, reason or key", "continuous_update": False}
        self.category = kit.choice([(_ANY, "")], "15em", "Kind")
        self.search = kit.field("", "16em", value=actions.store.state.results.text, **look)
        self.status.value = actions.store.state.results.status
        self.failures = kit.lines(actions.show_row)
        self.pager = kit.pager(actions.results.turn)
        filters = kit.bar(self.status, self.category, self.search, self.pager.widget)
        self.failed = kit.section("Failed addresses; a click shows the row's preview", filters, self.failures.widget)
        parts.on_change(self.status, lambda status: actions.results.narrow(status=status))
        parts.on_change(self.category, lambda category: actions.results.narrow(category=category))
        parts.on_change(self.search, lambda text: actions.results.narrow(text=text))

    def _make_doubts(self, actions: ResultsActions, kit: Kit) -> None:
        look = {"width": "100%", "max_width": "36em", "height": "8em"}
        self.doubts = kit.make(widgets.SelectMultiple, look, options=())
        self.look_up = kit.button(
            "Look them up", actions.look_up, tooltip="ask the vendor's analytics; what is found is settled as sent"
        )
        self.stop_look_up = kit.button("Stop", actions.stop_look_up, style="danger")
        self.look_up_text = kit.html(flex="1 1 12em", width="auto")
        self.all = kit.button("Choose all", lambda: actions.choose(self._doubts))
        self.as_sent = kit.button("Settle as sent", lambda: actions.ask_to_settle(Status.SENT))
        self.as_pending = kit.button("Settle as pending", lambda: actions.ask_to_settle(Status.PENDING))
        self.yes = kit.button("Settle", actions.settle, style="primary")
        self.no = kit.button("Cancel", lambda: actions.ask_to_settle(None))
        self.doubt_text, self.question = kit.html(), kit.html(flex="1 1 12em", width="auto")
        self.confirm = kit.bar(self.question, self.yes, self.no)
        self.told = kit.html()
        self._settling = (self.doubts, self.all, self.as_sent, self.as_pending)
        buttons = kit.bar(self.look_up, self.stop_look_up, *self._settling[1:], self.look_up_text)
        self.in_doubt = kit.section("In doubt", self.doubt_text, self.told, self.doubts, buttons, self.confirm)
        parts.on_change(self.doubts, lambda places: actions.choose(tuple(self._doubts[place] for place in places)))

    def _make_export(self, actions: ResultsActions, kit: Kit) -> None:
        self.path = kit.field("File", "24em", value=actions.export_path)
        self.format = kit.choice([*_FORMATS.items()], "9em")
        self.for_excel = kit.make(
            widgets.Checkbox, {"width": "auto"}, description="for Excel", indent=False,
            tooltip="cells that begin a formula get a ' before them, and the file a byte order mark",
        )  # fmt: skip
        self.export = kit.button(
            "Export", lambda: actions.export(self.path.value, for_excel=self.for_excel.value and self._is_text())
        )
        self.exported = kit.html(width="auto")
        self.writing = kit.bar(self.path, self.format, self.for_excel, self.export, self.exported)
        self.failed_path = kit.field("To correct", "24em", value=actions.failed_path)
        self.export_failed = kit.button(
            "Write failed addresses", lambda: actions.export_failed(self.failed_path.value),
            tooltip="a file to correct by hand and to give back as recipients",
        )  # fmt: skip
        self.to_correct = kit.bar(self.failed_path, self.export_failed)
        self.there = kit.html(flex="1 1 12em", width="auto")
        replace = kit.button("Replace", lambda: actions.replace(for_excel=self.for_excel.value and self._is_text()))
        self.replace, self.keep = replace, kit.button("Cancel", actions.keep)
        self.replacing = kit.bar(self.there, self.replace, self.keep)
        parts.on_change(self.format, self._end_with)
        parts.on_change(self.path, lambda _: self._kit.show(self.for_excel, self._is_text()))

    def _end_with(self, ending: str) -> None:
        self.path.value = with_ending(self.path.value, ending)

    def _is_text(self) -> bool:
        return str(self.path.value).strip().lower().endswith((".csv", ".tsv"))

    def _update_failures(self, now: Outcome) -> None:
        self._kit.show(self.failed, bool(now.failures))
        _offer(self.category, [(_ANY, ""), *((kind, kind) for kind in categories(now))], now.category)
        shown = page_of(now)
        self.failures.fill([(item.row, f"row {item.row}", _failure_html(item)) for item in shown])
        more = f"; {now.failed:,} in all" if now.failed > len(now.failures) else ""
        self.pager.update(now.first, len(shown), len(filtered(now)), more)

    def _update_doubts(self, state: State) -> None:
        now, is_looking = state.results, state.results.looking_up is Phase.BUSY
        self._kit.show(self.in_doubt, bool(now.doubts or now.told))
        for widget in self._settling:
            self._kit.show(widget, bool(now.doubts))
        if now.doubts != self._doubts:
            # By place: what a widget holds is saved with the notebook, and a key may be an address.
            self.doubts.options = [(masked(key), place) for place, key in enumerate(now.doubts)]
            self._doubts = now.doubts
        chosen = set(now.chosen)
        self.doubts.value = tuple(place for place, key in enumerate(now.doubts) if key in chosen)
        is_idle = not state.send.running
        is_busy = bool(now.doubts) and (now.in_use or not is_idle)
        self.doubt_text.value = parts.text_html(IN_PROGRESS if is_busy else words.doubt_text(now))
        self.look_up.disabled = not can_look_up(state)
        self.look_up_text.value = parts.text_html(words.look_up_text(state), faint=True)
        self._kit.show(self.stop_look_up, is_looking)
        self.told.value = _told_html(now)
        self.as_sent.disabled = self.as_pending.disabled = not is_idle or is_looking
        self._kit.show(self.confirm, now.asked is not None)
        self.question.value = parts.notice_html(words.settle_text(now))


def with_ending(path: str, ending: str) -> str:
    """A typed path with the ending of another format; what follows a dot and names no format stays."""
    path = path.strip()
    if path.lower().endswith(_ENDINGS):
        return path[: path.rindex(".")] + ending
    return path + ending if path and not path.endswith(("/", "\\", ".")) else path


def _offer(drop_down: Any, options: list[tuple[str, str]], value: str) -> None:
    """Give a drop-down other options, if they are others, and its value."""
    if list(drop_down.options) != options:
        drop_down.options = options
    drop_down.value = value


def _told_html(now: Outcome) -> str:
    """What came of each email that was looked up: what remains in doubt with the message ids that it could have."""
    lines = "".join(
        _cells_html("6em minmax(6em, 2fr) 5fr", (item.trace, f"key {item.key}", _message(item)))
        for item in now.told[:_MOST_TOLD]
    )
    more = f"and {len(now.told) - _MOST_TOLD:,} more" if len(now.told) > _MOST_TOLD else ""
    look = f"max-height: 14em; overflow: auto; border: {parts.EDGE}; padding: 2px 8px"
    return f'<div style="{look}">{lines}{parts.text_html(more, faint=True)}</div>' if lines else ""


def _message(item: Reconciled) -> str:
    mids = f" (mid {', '.join(item.mids)})" if item.mids and not item.is_settled else ""
    return f"{item.message}{mids}"


def _failure_html(item: Failure) -> str:
    address = item.address or (f"key {item.key}" if item.key else "")
    guess = f'<span style="{parts.FAINT}"> (did you mean {escaped(item.suggestion)}?)</span>' if item.suggestion else ""
    cells = (item.status, item.category, address, Html(f"{escaped(item.reason)}{guess}"))
    return _cells_html("5em 10em minmax(8em, 2fr) 5fr", cells, faint=2)


def _cells_html(widths: str, cells: Iterable[str], *, faint: int = 1) -> str:
    """Texts side by side, the first ones of them faint."""
    spans = "".join(
        f'<span style="{parts.FAINT if place < faint else parts.INK}">{escaped(cell)}</span>'
        for place, cell in enumerate(cells)
    )
    return f'<div style="{parts.TIGHT}; display: grid; grid-template-columns: {widths}; gap: 0 12px">{spans}</div>'
