"""Sending's widgets: what there is to send, a test, the pace, the start behind a typed count, the run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from turbobatch.console import parts, words
from turbobatch.console.figures import throughput
from turbobatch.console.plot import throughput_image
from turbobatch.console.send_state import Phase, can_plan, emails_to_send, is_stopping, pace_fault
from turbobatch.console.state import current, start_fault
from turbobatch.markup import Html
from turbobatch.run import RunState

if TYPE_CHECKING:
    from turbobatch.console.actions import Actions
    from turbobatch.console.kit import Kit
    from turbobatch.console.send_state import Sending
    from turbobatch.console.state import State


class SendPane:
    """Count, test, start, and watch the run."""

    def __init__(self, actions: Actions, kit: Kit) -> None:
        self._kit = kit
        self._cleared = 0
        self.plan = kit.button("Count what there is to send", actions.plan, style="primary")
        self.stop_plan = kit.button("Stop", actions.stop_plan, style="danger")
        self.plan_text, self.facts, self.notice = kit.html(flex="1 1 12em", width="auto"), kit.html(), kit.html()
        self.accept = kit.make(widgets.Checkbox, {"width": "auto"}, description="Send them all the same", indent=False)
        self.typed = kit.field("Type the number of emails", "18em")
        self.start = kit.button("Start", actions.start, style="primary")
        self.hint = kit.html(flex="1 1 12em", width="auto")
        self._make_settings(actions, kit)
        self._make_run(actions, kit)
        self._hear(actions)
        self.confirm = kit.bar(self.typed, self.start, self.hint)
        self.before = kit.stack(
            kit.section("What there is to send", kit.bar(self.plan, self.stop_plan, self.plan_text), self.facts),
            kit.section("Pace of this run", kit.bar(self.rate, self.concurrency, self.limit)),
            kit.section("Start", self.accept, self.confirm),
        )
        trial = kit.section("A test to your own address", kit.bar(self.test_to, self.test, self.tested))
        self.widget = kit.stack(self.running, self.before, self.notice, trial)

    def update(self, state: State) -> None:
        """Show what the state says."""
        now = state.send
        self._update_plan(now)
        self._update_start(now, start_fault(state))
        self._update_run(now)
        self.test.description = f"Send a test of row {current(state.preview) or 0}"
        self.test.disabled = now.testing is Phase.BUSY
        self.tested.value = parts.text_html("sending" if now.testing is Phase.BUSY else now.tested)
        self.notice.value = parts.notice_html(now.notice)

    def _make_settings(self, actions: Actions, kit: Kit) -> None:
        now = actions.store.state.send
        self.rate = kit.field("Rate", "19em", value=now.rate, placeholder="20/second, 5000/day")
        self.concurrency = kit.field("At a time", "9em", value=now.concurrency)
        self.limit = kit.field("Send at most", "12em", value=now.limit, placeholder="all")
        self.test_to = kit.field("Address", "22em", value=now.test_to, placeholder="you@example.org")
        self.test = kit.button("Send a test", actions.test)
        self.tested = kit.html(flex="1 1 12em", width="auto")

    def _make_run(self, actions: Actions, kit: Kit) -> None:
        self.pause = kit.button("Pause", actions.pause)
        self.resume = kit.button("Resume", actions.resume)
        self.stop = kit.button("Stop", actions.stop, style="danger", tooltip="answers in flight are waited for")
        self.progress = kit.make(widgets.IntProgress, {"flex": "1 1 8em", "width": "auto"}, min=0, max=1)
        self.run_text, self.counts, self.by, self.plot, self.ended = (kit.html() for _ in range(5))
        controls = kit.bar(self.pause, self.resume, self.stop, self.progress)
        self.running = kit.section("Run", controls, self.run_text, self.counts, self.by, self.plot, self.ended)

    def _hear(self, actions: Actions) -> None:
        fields: dict[str, Any] = {
            "typed": self.typed, "rate": self.rate, "concurrency": self.concurrency, "limit": self.limit,
            "test_to": self.test_to, "accepted": self.accept,
        }  # fmt: skip
        for name, widget in fields.items():
            parts.on_change(widget, partial(_take, actions, name))

    def _update_plan(self, now: Sending) -> None:
        self.plan.disabled = not can_plan(now)
        self._kit.show(self.stop_plan, now.planning is Phase.BUSY)
        self.plan.description = "Count again" if now.plan is not None else "Count what there is to send"
        self.plan.button_style = "" if now.plan is not None else "primary"  # then the main action is Start
        self.plan_text.value = parts.text_html(words.plan_text(now))
        plan = now.plan
        if plan is None:
            self.facts.value = ""
            return
        facts = [
            ("Emails", f"{emails_to_send(now):,}"),
            ("From", plan.sender),
            ("Through", f"{plan.host} ({plan.api})"),
        ]
        if plan.workers is not None:
            facts.append(("By", parts.workers_html(plan.workers)))
        warnings = "".join(parts.notice_html(warning, words.Tone.BUSY) for warning in plan.warnings)
        self.facts.value = parts.table_html(facts) + warnings + parts.notice_html(plan.objection)

    def _update_start(self, now: Sending, fault: str) -> None:
        is_idle = not now.running and not now.starting
        self._kit.show(self.before, is_idle)
        if now.cleared != self._cleared:  # else what is being typed is the field's own
            self._cleared, self.typed.value, self.accept.value = now.cleared, now.typed, now.accepted
        self._kit.show(self.accept, now.plan is not None and bool(now.plan.objection))
        self.start.disabled = bool(fault)
        self.start.button_style = "primary" if now.plan is not None else ""
        wrong = pace_fault(now)
        self.hint.value = parts.notice_html(wrong) if wrong else parts.text_html(fault or "ready", faint=True)

    def _update_run(self, now: Sending) -> None:
        progress = now.progress
        self._kit.show(self.running, progress is not None or now.starting)
        is_paused = progress is not None and progress.state is RunState.PAUSED
        self._kit.show(self.pause, now.running and not is_paused)
        self._kit.show(self.resume, now.running and is_paused)
        self._kit.show(self.stop, now.running)
        self.pause.disabled = self.resume.disabled = self.stop.disabled = is_stopping(now)
        self.ended.value = parts.notice_html(now.ended)
        self.run_text.value = parts.text_html("starting" if now.starting else words.run_text(now))
        if progress is None:
            self.counts.value = self.by.value = self.plot.value = ""
            self.progress.value = 0
            return
        self.progress.max, self.progress.value = max(progress.total, 1), progress.done
        counts = " · ".join(f"{count:,} {status}" for status, count in words.counts_of(progress.rows))
        self.counts.value = parts.text_html(counts)
        self.by.value = parts.text_html(_by(now))
        self.plot.value = throughput_image(throughput(now.samples))


def _by(now: Sending) -> Html | str:
    """Who sends, while it isn't this process."""
    workers = now.progress.workers if now.progress is not None and now.running else None
    return Html(f"by {parts.workers_html(workers)}") if workers is not None else ""


def _take(actions: Actions, name: str, value: str | bool) -> None:
    actions.change_send(**{name: value})
