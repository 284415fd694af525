"""A console that is opened in the tests' own process, and the hands and eyes of its user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

import turbobatch as tb
from turbobatch.console.send_state import Phase
from turbobatch.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from turbobatch.console.state import State
    from turbobatch.console.view import View

PATIENCE = 60.0
QUICK = Policy(first_wait=0.01, longest_wait=0.02, first_patience=0.1, patience=0.1)
EMAILS = 40


def people(count: int = EMAILS, **changes: Any) -> pd.DataFrame:
    numbers = range(count)
    own = {"id": list(numbers), "name": [f"P {n}" for n in numbers], "email": [f"p{n}@example.org" for n in numbers]}
    return pd.DataFrame(own | changes)


def campaign(**changes: Any) -> tb.Campaign:
    message = tb.MailMerge(
        from_="Acme <shop@acme.example>", to="{{ email }}", subject="Order {{ id }}", text="Dear {{ name }}",
        html="<p>Dear {{ name }}</p>",
    )  # fmt: skip
    settings: dict[str, Any] = {"name": "orders", "message": message, "key": "id", "concurrency": 2, "policy": QUICK}
    return tb.Campaign(**(settings | changes))


class Opened:
    """A console, and the hands and eyes of its user."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.console = tb.Console(*args, **options)
        self.view: View = self.console.view
        self.sees(lambda now: now.results.phase is not Phase.BUSY and now.preview.counting is not Phase.BUSY)

    @property
    def now(self) -> State:
        return self.console.state

    def sees(self, is_so: Callable[[State], bool]) -> State:
        """Wait until the state is so, and let it be shown."""
        assert self.console.wait(is_so, PATIENCE), self.now
        self.view.paint()
        return self.now

    def shows_row(self, row: int) -> None:
        self.sees(lambda now: now.preview.page is not None and now.preview.page.row == row)

    def count(self) -> None:
        self.view.send.plan.click()
        self.sees(lambda now: now.send.planning is not Phase.BUSY)

    def start(self) -> None:
        """Count, type what was counted, start."""
        self.count()
        plan = self.now.send.plan
        assert plan is not None, self.now.send.notice
        self.view.send.typed.value = str(plan.emails)
        self.view.paint()
        assert not self.view.send.start.disabled
        self.view.send.start.click()
        self.sees(lambda now: not now.send.starting)

    def ends(self) -> State:
        """Wait for the run's end and for the journal's word of it."""
        self.sees(lambda now: not now.send.running and not now.send.starting)
        return self.sees(lambda now: now.results.phase is Phase.DONE)


def text_of(widget: Any) -> str:
    return str(widget.value)


def every_widget(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every_widget(child)


def is_there(widget: Any) -> bool:
    """Whether a pane shows this widget."""
    return bool(widget.layout.display != "none")


def shown(lines: Any) -> list[Any]:
    return list(lines.widget.children[::2])


def held_by(widget: Any) -> Iterator[Any]:
    """Everything that a widget and those in it hold of what they show."""
    yield from (value for name, value in widget.get_state().items() if name not in {"children", "layout", "style"})
    for child in getattr(widget, "children", ()):
        yield from held_by(child)
