"""The results' widgets: counts, failures, emails in doubt, and the export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from turbobatch.console import parts, words
from turbobatch.console.results_state import PAGE, failed_count, filtered, page_of
from turbobatch.console.send_state import Phase, can_plan
from turbobatch.markup import escaped, masked
from turbobatch.policy import Status
from turbobatch.wording import IN_PROGRESS, MEANINGS

if TYPE_CHECKING:
    from turbobatch.console.actions import Actions
    from turbobatch.console.results_actions import ResultsActions
    from turbobatch.console.results_state import Failure, Outcome
    from turbobatch.console.state import State

_FAILED = (Status.REJECTED, Status.INVALID, Status.FAILED, Status.IN_DOUBT)
_FORMATS = {"CSV": ".csv", "Parquet": ".parquet", "Excel": ".xlsx", "HTML page": ".html"}
_REJECTED = "rejected rows are tried again once their email has changed"
_ENDINGS = (*_FORMATS.values(), ".tsv")


class ResultsPane:
    """What became of the rows, and what can be done about it."""

    def __init__(self, actions: Actions) -> None:
        self._doubts: tuple[str, ...] = ()
        self.read = parts.button("Read again", actions.results.load)
        self.retry = parts.button("Retry failed", actions.retry, tooltip="count again; the count wants to be typed")
        self.text, self.why = parts.html(flex="1 1 12em", width="auto"), parts.html(width="auto")
        self.counts = parts.html()
        self.notice, self.answer = parts.html(), parts.html()
        self._make_failures(actions)
        self._make_doubts(actions.results)
        self._make_export(actions.results)
        self.widget = parts.stack(
            parts.bar(self.read, self.retry, self.why, self.text), self.counts, self.notice, self.answer,
            self.failed, self.in_doubt,
            parts.section("Export", self.writing, self.replacing),
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
        self._update_doubts(now, is_idle=not state.send.running)
        self.export.disabled = now.exporting is Phase.BUSY
        self.exported.value = parts.text_html(f"{now.exported:,} rows" if now.exporting is Phase.BUSY else "")
        parts.show(self.replacing, bool(now.replaces))
        self.there.value = parts.notice_html(f"{now.replaces} is there already. Replace it?" if now.replaces else "")

    def _make_failures(self, actions: Actions) -> None:
        self.status = parts.choice([("all", ""), *((str(status), str(status)) for status in _FAILED)], "13em", "Status")
        look = {"placeholder": "address, reason or key", "continuous_update": False}
        self.search = parts.field("", "16em", value=actions.store.state.results.text, **look)
        self.status.value = actions.store.state.results.status
        self.failures = parts.Lines(PAGE, actions.show_row)
        self.pager = parts.Pager(actions.results.turn)
        filters = parts.bar(self.status, self.search, self.pager.widget)
        self.failed = parts.section("Failed addresses; a click shows the row's preview", filters, self.failures.widget)
        parts.on_change(self.status, lambda status: actions.results.narrow(status=status))
        parts.on_change(self.search, lambda text: actions.results.narrow(text=text))

    def _make_doubts(self, actions: ResultsActions) -> None:
        layout = widgets.Layout(width="100%", max_width="36em", height="8em")
        self.doubts = widgets.SelectMultiple(options=(), layout=layout)
        self.all = parts.button("Choose all", lambda: actions.choose(self._doubts))
        self.as_sent = parts.button("Settle as sent", lambda: actions.ask_to_settle(Status.SENT))
        self.as_pending = parts.button("Settle as pending", lambda: actions.ask_to_settle(Status.PENDING))
        self.yes = parts.button("Settle", actions.settle, style="primary")
        self.no = parts.button("Cancel", lambda: actions.ask_to_settle(None))
        self.doubt_text, self.question = parts.html(), parts.html(flex="1 1 12em", width="auto")
        self.confirm = parts.bar(self.question, self.yes, self.no)
        buttons = parts.bar(self.all, self.as_sent, self.as_pending)
        self.in_doubt = parts.section("In doubt", self.doubt_text, self.doubts, buttons, self.confirm)
        parts.on_change(self.doubts, lambda places: actions.choose(tuple(self._doubts[place] for place in places)))

    def _make_export(self, actions: ResultsActions) -> None:
        self.path = parts.field("File", "24em", value=actions.export_path)
        self.format = parts.choice([*_FORMATS.items()], "9em")
        self.for_excel = widgets.Checkbox(
            description="for Excel", indent=False, layout=widgets.Layout(width="auto"),
            tooltip="cells that begin a formula get a ' before them, and the file a byte order mark",
        )  # fmt: skip
        self.export = parts.button(
            "Export", lambda: actions.export(self.path.value, for_excel=self.for_excel.value and self._is_text())
        )
        self.exported = parts.html(width="auto")
        self.writing = parts.bar(self.path, self.format, self.for_excel, self.export, self.exported)
        self.there = parts.html(flex="1 1 12em", width="auto")
        replace = parts.button("Replace", lambda: actions.replace(for_excel=self.for_excel.value and self._is_text()))
        self.replace, self.keep = replace, parts.button("Cancel", actions.keep)
        self.replacing = parts.bar(self.there, self.replace, self.keep)
        parts.on_change(self.format, self._end_with)
        parts.on_change(self.path, lambda _: parts.show(self.for_excel, self._is_text()))

    def _end_with(self, ending: str) -> None:
        self.path.value = with_ending(self.path.value, ending)

    def _is_text(self) -> bool:
        return str(self.path.value).strip().lower().endswith((".csv", ".tsv"))

    def _update_failures(self, now: Outcome) -> None:
        parts.show(self.failed, bool(now.failures))
        shown = page_of(now)
        self.failures.fill([(item.row, f"row {item.row}", _failure_html(item)) for item in shown])
        more = f"; {now.failed:,} in all" if now.failed > len(now.failures) else ""
        self.pager.update(now.first, len(shown), len(filtered(now)), more)

    def _update_doubts(self, now: Outcome, *, is_idle: bool) -> None:
        parts.show(self.in_doubt, bool(now.doubts))
        if now.doubts != self._doubts:
            # By place: what a widget holds is saved with the notebook, and a key may be an address.
            self.doubts.options = [(masked(key), place) for place, key in enumerate(now.doubts)]
            self._doubts = now.doubts
        chosen = set(now.chosen)
        self.doubts.value = tuple(place for place, key in enumerate(now.doubts) if key in chosen)
        more = f" (the first {len(now.doubts):,} are listed)" if now.in_doubt > len(now.doubts) else ""
        advice = "look them up in the vendor's panel, then settle each as sent or pending"
        said = f"{words.many(now.in_doubt, 'email')} may have left, no verdict came{more}: {advice}."
        self.doubt_text.value = parts.text_html(IN_PROGRESS if now.in_use or not is_idle else said)
        self.as_sent.disabled = self.as_pending.disabled = not is_idle
        parts.show(self.confirm, now.asked is not None)
        self.question.value = parts.notice_html(words.settle_text(now))


def with_ending(path: str, ending: str) -> str:
    """A typed path with the ending of another format; what follows a dot and names no format stays."""
    path = path.strip()
    if path.lower().endswith(_ENDINGS):
        return path[: path.rindex(".")] + ending
    return path + ending if path and not path.endswith(("/", "\\", ".")) else path


def _failure_html(item: Failure) -> str:
    address = item.address or (f"key {item.key}" if item.key else "")
    guess = f" (did you mean {item.suggestion}?)" if item.suggestion else ""
    cells = (
        f'<span style="{parts.FAINT}">{escaped(item.status)}</span>',
        f"<span>{escaped(address)}</span>",
        f'<span>{escaped(item.reason)}<span style="{parts.FAINT}">{escaped(guess)}</span></span>',
    )
    look = "display: grid; grid-template-columns: 5em minmax(8em, 2fr) 5fr; gap: 0 12px"
    return f'<div style="{parts.INK}; {parts.TIGHT}; {look}">{"".join(cells)}</div>'
