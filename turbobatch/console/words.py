"""The states in words: short sentences, as plain text."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

from turbobatch.console.figures import Sample, pace
from turbobatch.console.send_state import Phase, emails_to_send
from turbobatch.console.state import Listed, State, current, listed, look_up_fault
from turbobatch.policy import Status
from turbobatch.reconcile import Trace
from turbobatch.run import RunState
from turbobatch.wording import refused_text, resending_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from turbobatch.console.results_state import Outcome
    from turbobatch.console.send_state import Sending
    from turbobatch.console.state import Checking, Looking
    from turbobatch.reconcile import Reconciled

_FEW = 5  # seconds that have a decimal
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_NAMED = 5  # keys that a question names at most


class Tone(StrEnum):
    """How a badge or a line is meant."""

    QUIET = "quiet"
    BUSY = "busy"
    GOOD = "good"
    BAD = "bad"


def badge(state: State) -> tuple[str, Tone]:
    """What goes on, in a word or two."""
    send, outcome = state.send, state.results
    if send.running and send.progress is not None:
        word = str(send.progress.state)
        return word, Tone.BAD if word == RunState.PAUSED else Tone.BUSY
    doing = {
        "starting": send.starting,
        "counting": send.planning is Phase.BUSY,
        "checking": state.check.phase is Phase.BUSY,
        "looking up": outcome.looking_up is Phase.BUSY,
        "in use elsewhere": outcome.in_use,
    }
    if word := next((word for word, is_so in doing.items() if is_so), ""):
        return word, Tone.BUSY
    if send.ended:
        return "stopped", Tone.BAD
    return standing(outcome) if outcome.phase is Phase.DONE else ("reading", Tone.QUIET)


def standing(now: Outcome) -> tuple[str, Tone]:
    """Where the campaign is, by its journal."""
    if now.in_doubt:
        return "in doubt", Tone.BAD
    if not any(now.counts.get(status) for status in (Status.SENT, Status.REJECTED, Status.FAILED)):
        return "nothing sent", Tone.QUIET
    if now.counts.get(Status.PENDING):
        return "partly sent", Tone.QUIET
    bad = sum(now.counts.get(status, 0) for status in (Status.FAILED, Status.INVALID, Status.REJECTED))
    return ("done, with failures", Tone.BAD) if bad else ("done", Tone.GOOD)


def where_text(now: Looking) -> str:
    """Which row is shown, and how many there are."""
    rows, row = listed(now), current(now)
    if row is None:
        return "reading the table" if now.counting is Phase.BUSY else "no rows"
    page = now.page
    where = page.where if page is not None and page.row == row else f"row {row}"
    group = f", {many(page.size, 'row')}" if page is not None and page.row == row and page.size > 1 else ""
    more = " or more" if now.counting is Phase.BUSY and now.listed is Listed.ALL else ""
    return f"{where}{group}; {now.place + 1:,} of {len(rows):,}{more}"


def listed_options(now: Looking) -> list[tuple[str, Listed]]:
    """The sorts of rows to step through, with their numbers."""
    more = {Listed.PROBLEMS: now.more_problems, Listed.FOUND: now.more}
    counts = {Listed.ALL: len(now.rows), Listed.PROBLEMS: len(now.problems), Listed.FOUND: len(now.found)}
    return [(f"{which} ({counts[which]:,}{'+' if more.get(which) else ''})", which) for which in Listed]


def check_text(now: Checking) -> str:
    """What a check has found."""
    if now.phase is Phase.IDLE:
        return "Every row's email is made, and nothing is sent."
    verdict = {
        Phase.BUSY: f"{many(now.rows, 'row')} checked",
        Phase.DONE: f"Checked all {many(now.rows, 'row')}",
        Phase.STOPPED: f"Stopped after {many(now.rows, 'row')}",
    }[now.phase]
    found = f"{many(now.problems, 'problem')} of {many(len(now.causes), 'kind')}" if now.problems else "no problems"
    said = [f"{verdict}: {found}"]
    if now.invalid:
        said.append(f"{many(now.invalid, 'row')} can't be sent")
    if now.changed:
        said.append(f"sent already, though another email now: {many(now.changed, 'row')}, which stay as they were sent")
    return "; ".join(said) + "."


def plan_text(now: Sending) -> str:
    """What Start would do, in a sentence."""
    if now.plan is None and now.planning is not Phase.BUSY:
        return ""
    if now.plan is None:
        return "waiting for the cluster" if now.reaching else f"{many(now.read, 'row')} counted"
    known = ", ".join(f"{count:,} {status} already" for status, count in now.plan.known.items())
    rows = many(now.plan.rows, "row") + (f" ({known})" if known else "")
    emails = many(emails_to_send(now), "email")
    return f"{rows}: up to {emails} to send{refused_text(now.plan.refused)}"


def run_text(now: Sending) -> str:
    """How far a run is, how fast, and how long it will take."""
    progress = now.progress
    if progress is None:
        return ""
    said = [f"{progress.done:,} of {many(progress.total, 'row')}"]
    if now.running:
        rows = progress.done - progress.known
        speed = pace(now.samples, Sample(progress.seconds, rows))
        said.append(f"{speed:,.1f} rows/s")
        if speed and progress.state is RunState.RUNNING:
            said.append(f"about {duration((progress.total - progress.done) / speed)} left")
    else:
        said.append(f"{progress.rows_per_second:,.1f} rows/s over {duration(progress.seconds)}")
    if progress.waiting:
        said.append(f"waiting for {progress.waiting}")
    return "; ".join(said)


def counts_of(rows: Mapping[Status, int] | Mapping[str, int]) -> Iterator[tuple[Status, int]]:
    """The counts in the statuses' order, those that are not 0."""
    plain = {str(status): count for status, count in rows.items()}
    for status in Status:
        if plain.get(str(status)):
            yield status, plain[str(status)]


def results_text(now: Outcome) -> str:
    """What the results pane says of the journal."""
    if now.phase is Phase.BUSY:
        return f"reading the journal: {many(now.read, 'row')}"
    return many(sum(now.counts.values()), "row")


def many(count: int, noun: str) -> str:
    """So many of something."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def settle_text(now: Outcome) -> str:
    """What is asked before emails are settled; it names them, since a list that is read anew moves under a click."""
    if now.asked is None:
        return ""
    count = len(now.chosen)
    keys = ", ".join(now.chosen[:_NAMED]) + (f" and {count - _NAMED:,} more" if count > _NAMED else "")
    means = resending_text(count) if now.asked is Status.PENDING else "What is sent is never sent again."
    return f"Settle {many(count, 'email')} as {now.asked}, {keys}? {means}"


def doubt_text(now: Outcome) -> str:
    """What is in doubt, and what to do about it."""
    if not now.in_doubt:
        return ""
    more = f" (the first {len(now.doubts):,} are listed)" if now.in_doubt > len(now.doubts) else ""
    said = f"{many(now.in_doubt, 'email')} may have left, no verdict came{more}"
    return f"{said}: look them up (v2), then settle what remains as sent or pending."


def look_up_text(state: State) -> str:
    """How far a look-up is, else what keeps it from being made."""
    now = state.results
    if now.looking_up is Phase.BUSY:
        return f"{now.looked_up:,} of {now.in_doubt:,}"
    return look_up_fault(state)


def told_text(told: Sequence[Reconciled]) -> str:
    """What a look-up came to, in a sentence."""
    counts = Counter(item.trace for item in told)
    said = ", ".join(f"{counts[trace]:,} {trace}" for trace in Trace if counts[trace])
    settled = " Found ones are settled as sent." if counts[Trace.FOUND] else ""
    return f"Looked up {many(len(told), 'email')}: {said or 'nothing is in doubt'}.{settled}"


def replace_text(now: Outcome) -> str:
    """What is asked before a file is replaced."""
    if not now.replaces:
        return ""
    loss = " What was corrected in it would be lost." if now.replaces_to_correct else ""
    return f"{now.replaces} is there already.{loss} Replace it?"


def correcting_text(path: Path) -> str:
    """How failed addresses that were written to a file go on."""
    file = str(path)
    return (
        "Correct the table's own columns in it, not `address`; then this sends what was corrected, and nothing twice: "
        f"tb.Console(campaign, {file!r}, client) or campaign.send({file!r}, client)"
    )


def duration(seconds: float) -> str:
    """A time as people say it: 1.4 s, 45 s, 3 min 20 s, 2 h 5 min, 3 days."""
    whole = max(round(seconds), 0)
    if 0 < seconds < _FEW:
        return f"{seconds:.1f} s"
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < 2 * _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} days"
