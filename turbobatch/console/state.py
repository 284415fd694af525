"""What the console shows, as data: frozen states, functions from one to the next, and questions that they answer.

Nothing here waits, reads or draws. Each pane has a state of its own; `State` holds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from turbobatch.console.causes import Cause, grouped
from turbobatch.console.results_state import PAGE, Outcome
from turbobatch.console.send_state import Phase, Sending
from turbobatch.console.send_state import start_fault as sending_fault
from turbobatch.policy import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from turbobatch.check import Checked
    from turbobatch.console.rows import Page

MOST_FOUND = 1000
"""Rows that a search brings at most."""

MOST_PROBLEM_ROWS = 10_000
"""Rows with problems that the preview steps through at most."""

P = ParamSpec("P")


class Tab(IntEnum):
    """The panes, in their order."""

    PREVIEW = 0
    CHECK = 1
    SEND = 2
    RESULTS = 3


class Listed(StrEnum):
    """Which rows the preview steps through."""

    ALL = "all rows"
    PROBLEMS = "rows with problems"
    FOUND = "rows found"


class Form(StrEnum):
    """What of an email is shown."""

    HTML = "HTML"
    TEXT = "Text"
    WIRE = "Wire fields"
    CELLS = "Row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """The preview: which row of which rows.

    Attributes:
        rows: the first row of each email, in the table's order.
        place: in the rows that are stepped through.
        page: the email that is shown; it may be another row's while the next is made.
        more: a search would bring more rows than `found`.
        more_problems: there are more rows with problems than `problems`.
        notice: why there is no page of the row.
        told: what else there is to say, until the user goes on.
    """

    columns: tuple[str, ...] = ()
    rows: Sequence[int] = ()
    counting: Phase = Phase.IDLE
    listed: Listed = Listed.ALL
    place: int = 0
    found: tuple[int, ...] = ()
    problems: tuple[int, ...] = ()
    more: bool = False
    more_problems: bool = False
    searched: str = ""
    searching: Phase = Phase.IDLE
    form: Form = Form.HTML
    page: Page | None = None
    notice: str = ""
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checking:
    """The check: how far, and what it found.

    Attributes:
        invalid: rows that can't be sent.
        changed: rows that were sent already and would make another email now.
        picked: place of the cause whose rows are listed.
        first: place of the first row that is listed.
    """

    phase: Phase = Phase.IDLE
    rows: int = 0
    problems: int = 0
    invalid: int = 0
    changed: int = 0
    causes: tuple[Cause, ...] = ()
    picked: int | None = None
    first: int = 0
    notice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that the console shows. `table` and `host` are names to be read."""

    campaign: str
    table: str
    host: str
    tab: Tab = Tab.PREVIEW
    preview: Looking = field(default_factory=Looking)
    check: Checking = field(default_factory=Checking)
    send: Sending = field(default_factory=Sending)
    results: Outcome = field(default_factory=Outcome)


# The preview


def listed(now: Looking) -> Sequence[int]:
    """The rows that the preview steps through."""
    match now.listed:
        case Listed.PROBLEMS:
            return now.problems
        case Listed.FOUND:
            return now.found
    return now.rows


def current(now: Looking) -> int | None:
    """The row to show; None if there is none."""
    rows = listed(now)
    return rows[now.place] if now.place < len(rows) else None


def form_chosen(state: State, form: Form) -> State:
    """Show the email in another form."""
    return replace(state, preview=replace(state.preview, form=form))


def table_known(state: State, table: str, columns: tuple[str, ...]) -> State:
    """Take note of the table's name and columns."""
    return replace(state, table=table, preview=replace(state.preview, columns=columns))


def shown(state: State, page: Page) -> State:
    """Show a row's page, unless the user has gone on since it was asked for."""
    if page.row != current(state.preview):
        return state
    return replace(state, preview=replace(state.preview, page=page, notice=""))


def preview_noticed(state: State, notice: str) -> State:
    """Say what went wrong; the page that is shown isn't the row's any more."""
    if not notice:
        return state
    return replace(state, preview=replace(state.preview, notice=notice, page=None))


def outdated(state: State) -> State:
    """The page is to be made anew; it is shown until it is."""
    return replace(state, preview=replace(state.preview, page=None))


def table_changed(state: State, notice: str) -> State:
    """The table's file was changed: what was found in it, and in a check, is told of another table."""
    preview = replace(state.preview, found=(), problems=(), more=False, more_problems=False, listed=Listed.ALL)
    preview = replace(preview, place=_place_of(state.preview, preview), page=None, notice="", told=notice)
    is_told = state.check.phase in {Phase.DONE, Phase.STOPPED}
    check = Checking(notice=f"{notice}; check again") if is_told else state.check
    return replace(state, check=check, preview=preview)


def search_ended(state: State, notice: str) -> State:
    """The search was stopped, or can't be made."""
    return replace(state, preview=replace(state.preview, searching=Phase.STOPPED, told=notice))


def placed(state: State, place: int) -> State:
    """Go to a place in the rows that are stepped through; the nearest one if there is none."""
    now = replace(state.preview, place=place, told="")
    return replace(state, preview=replace(now, place=_nearest(now)))


def stepped(state: State, by: int) -> State:
    """Go on, or back."""
    return placed(state, state.preview.place + by)


def switched(state: State, which: Listed) -> State:
    """Step through other rows, from the one that is shown if it is among them."""
    now = replace(state.preview, listed=which, told="")
    return replace(state, preview=replace(now, place=_place_of(state.preview, now)))


def opened(state: State, row: int) -> State:
    """Show a row's preview, wherever it was named."""
    now = state.preview
    if row not in listed(now):
        now = replace(now, listed=Listed.ALL)
    rows = listed(now)
    place = rows.index(row) if row in rows else 0
    told = "" if row in rows else f"row {row} makes no email of its own"
    return replace(state, tab=Tab.PREVIEW, preview=replace(now, place=place, told=told))


def counted(state: State, rows: Sequence[int], phase: Phase) -> State:
    """Take note of the rows that the table has, so far or in all; the row in view stays, if it is there."""
    before, now = state.preview, replace(state.preview, rows=rows, counting=phase)
    place = _place_of(before, now) if current(before) in listed(now) else _nearest(now)
    return replace(state, preview=replace(now, place=place))


def count_ended(state: State, notice: str) -> State:
    """The table can't be read to its end; the rows that are known can be looked at."""
    now = replace(state.preview, counting=Phase.STOPPED, notice=notice or state.preview.notice)
    return replace(state, preview=now)


def searched(state: State, text: str) -> State:
    """Begin a search; the row in view stays."""
    now = state if state.preview.listed is not Listed.FOUND else switched(state, Listed.ALL)
    preview = replace(now.preview, found=(), searched=text, searching=Phase.BUSY, more=False, told="")
    return replace(now, preview=preview)


def found(state: State, rows: tuple[int, ...], *, more: bool) -> State:
    """End a search with its first rows; where there are none, the row in view stays."""
    now = replace(state.preview, found=rows, searching=Phase.DONE, more=more)
    if not rows:
        nothing = replace(now, listed=Listed.ALL if now.listed is Listed.FOUND else now.listed)
        place, told = _place_of(state.preview, nothing), f"no row holds {now.searched!r}"
        return replace(state, preview=replace(nothing, place=place, told=told))
    return replace(state, preview=replace(now, listed=Listed.FOUND, place=0))


def _place_of(before: Looking, after: Looking) -> int:
    row, rows = current(before), listed(after)
    return rows.index(row) if row is not None and row in rows else 0


def _nearest(now: Looking) -> int:
    return max(0, min(now.place, len(listed(now)) - 1))


# The check


def check_began(state: State) -> State:
    """Forget the last check."""
    preview = replace(state.preview, problems=(), more_problems=False)
    if preview.listed is Listed.PROBLEMS:
        preview = replace(
            preview, listed=Listed.ALL, place=_place_of(state.preview, replace(preview, listed=Listed.ALL))
        )
    return replace(state, check=Checking(phase=Phase.BUSY), preview=preview)


def checked(state: State, part: Checked) -> State:
    """Take in what the next rows came to."""
    now = state.check
    rows = dict.fromkeys(item.row for item in part.problems)
    invalid = {item.row for item in part.problems if item.status == Status.INVALID}
    check = replace(
        now,
        rows=now.rows + part.rows,
        problems=now.problems + len(part.problems),
        invalid=now.invalid + len(invalid),
        changed=now.changed + part.changed,
        causes=grouped(part.problems, now.causes),
    )
    room = MOST_PROBLEM_ROWS - len(state.preview.problems)
    if not rows:
        return replace(state, check=check)
    problems = (*state.preview.problems, *list(rows)[:room])
    more = state.preview.more_problems or len(rows) > room
    return replace(state, check=check, preview=replace(state.preview, problems=problems, more_problems=more))


def check_ended(state: State, phase: Phase, notice: str = "") -> State:
    """The check is through, or was stopped or broken; the first cause's rows are listed unless another one is."""
    now = state.check
    picked = 0 if now.picked is None and now.causes else now.picked
    return replace(state, check=replace(now, phase=phase, notice=notice, picked=picked))


def cause_picked(state: State, place: int | None) -> State:
    """List a cause's rows."""
    return replace(state, check=replace(state.check, picked=place, first=0))


def check_turned(state: State, by: int) -> State:
    """Turn the page of the rows of a cause."""
    now = state.check
    if now.picked is None:
        return state
    last = max(len(now.causes[now.picked].rows) - 1, 0) // PAGE * PAGE
    return replace(state, check=replace(now, first=max(0, min(now.first + by * PAGE, last))))


def known_problem(state: State) -> str:
    """What the check has found about the row in view, where it is among those that are held."""
    row = current(state.preview)
    found = (
        f"{cause.status}: {item.text}" for cause in state.check.causes for item in cause.rows if item.number == row
    )
    return next(found, "")


# The other panes have their transitions to themselves


def sending(
    state: State, change: Callable[Concatenate[Sending, P], Sending], *args: P.args, **options: P.kwargs
) -> State:
    """Change what is sent."""
    return replace(state, send=change(state.send, *args, **options))


def results(
    state: State, change: Callable[Concatenate[Outcome, P], Outcome], *args: P.args, **options: P.kwargs
) -> State:
    """Change the results."""
    return replace(state, results=change(state.results, *args, **options))


def start_fault(state: State) -> str:
    """What keeps a start from being made, in one line; empty if nothing does."""
    if state.results.looking_up is Phase.BUSY:
        return "what is in doubt is being looked up"
    return sending_fault(state.send)


def can_start(state: State) -> bool:
    """Whether Start would start a run."""
    return not start_fault(state)


def look_up_fault(state: State) -> str:
    """What keeps the emails in doubt from being looked up, in a few words; empty if nothing does."""
    if state.send.running or state.send.starting:
        return "a run is in progress"
    return "" if state.results.in_doubt else "nothing is in doubt"


def can_look_up(state: State) -> bool:
    """Whether the emails in doubt can be looked up now."""
    return not look_up_fault(state) and state.results.looking_up is not Phase.BUSY
