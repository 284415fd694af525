"""Sending, as data: what was planned and typed, how far the run is, and what keeps a start from being made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from turbobatch.console.figures import Sample, with_sample
from turbobatch.errors import CampaignError
from turbobatch.rates import parse_rate
from turbobatch.run import RunState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turbobatch.events import Workers
    from turbobatch.policy import Status
    from turbobatch.run import Progress

MOST_CONCURRENCY = 1000


class Phase(StrEnum):
    """Where something that takes time is."""

    IDLE = "idle"
    BUSY = "busy"
    DONE = "done"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a plan says, and where it would go. `refused`: of `emails`, those that leave only if they have changed."""

    rows: int
    emails: int
    known: Mapping[Status, int]
    sender: str
    host: str
    api: str
    warnings: tuple[str, ...] = ()
    objection: str = ""
    refused: int = 0
    workers: Workers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """The run: what was planned and typed, and how far it is.

    Attributes:
        plan: None until one is made, and again once a run was started with it.
        reaching: the cluster that is to count is being opened.
        read: rows that the plan has read so far.
        typed, limit, rate, concurrency, test_to: the fields' texts, as they are.
        accepted: the plan's objection has its consent.
        cleared: how often what was typed has been taken away; the fields follow that.
        starting: a run was asked for and isn't there yet.
        progress: of the run in progress, else of the last one.
        running: there is a run in progress.
        ended: how the last run ended.
    """

    plan: Facts | None = None
    planning: Phase = Phase.IDLE
    reaching: bool = False
    read: int = 0
    typed: str = ""
    limit: str = ""
    rate: str = ""
    concurrency: str = "16"
    accepted: bool = False
    cleared: int = 0
    starting: bool = False
    running: bool = False
    progress: Progress | None = None
    samples: tuple[Sample, ...] = ()
    ended: str = ""
    notice: str = ""
    test_to: str = ""
    testing: Phase = Phase.IDLE
    tested: str = ""


def limit_of(now: Sending) -> int | None:
    """The most emails to send; None for all.

    Raises:
        CampaignError: it is no number above 0.
    """
    if not now.limit.strip():
        return None
    number = whole(now.limit)
    if number is None or number < 1:
        raise CampaignError(f"send at most {now.limit.strip()!r}: give a whole number above 0, or nothing for all")
    return number


def pace_fault(now: Sending) -> str:
    """Why the limit, the rate or the concurrency can't be used, in one line; empty if they can."""
    try:
        limit_of(now)
        parse_rate(now.rate.strip() or None)
    except CampaignError as error:
        return str(error)
    number = whole(now.concurrency)
    if number is None or not 1 <= number <= MOST_CONCURRENCY:
        return f"at a time {now.concurrency.strip()!r}: give a whole number from 1 to {MOST_CONCURRENCY}"
    return ""


def emails_to_send(now: Sending) -> int:
    """How many emails a start would send at most; 0 while that isn't known."""
    if now.plan is None:
        return 0
    try:
        limit = limit_of(now)
    except CampaignError:
        limit = None
    return now.plan.emails if limit is None else min(now.plan.emails, limit)


def start_fault(now: Sending) -> str:
    """What keeps a start from being made, in one line; empty if nothing does."""
    if now.running or now.starting:
        return "a run is in progress"
    if now.plan is None or now.planning is Phase.BUSY:
        return "count first what there is to send"
    if fault := pace_fault(now):
        return fault
    if not emails_to_send(now):
        return "nothing is left to send"
    if now.plan.objection and not now.accepted:
        return "tick that the emails are to be sent all the same, or undo the change"
    return _typed_fault(now.typed.strip(), emails_to_send(now))


def _typed_fault(typed: str, emails: int) -> str:
    number = whole(typed)
    if number == emails:
        return ""
    cure = f"type {emails} to start"
    if not typed:
        return cure
    return f"{typed!r} is no number: {cure}" if number is None else f"{number} is not the number of emails: {cure}"


def can_plan(now: Sending) -> bool:
    """Whether a plan can be made now."""
    return not now.running and not now.starting and now.planning is not Phase.BUSY


def planning(now: Sending) -> Sending:
    """Begin to count; what was typed for the plan before doesn't hold for the next."""
    return replace(_cleared(now), plan=None, planning=Phase.BUSY, reaching=False, read=0, notice="", ended="")


def reaching(now: Sending, is_so: bool) -> Sending:
    """Wait for the cluster, or no longer."""
    return replace(now, reaching=is_so)


def counting(now: Sending, rows: int) -> Sending:
    """Take note of rows that were read."""
    return replace(now, read=now.read + rows)


def testing(now: Sending) -> Sending:
    """Begin to send a test."""
    return replace(now, testing=Phase.BUSY, tested="")


def tested(now: Sending, text: str) -> Sending:
    """Tell what a test came to."""
    return replace(now, testing=Phase.DONE, tested=text)


def planned(now: Sending, facts: Facts) -> Sending:
    """Know what there is to send."""
    return replace(now, plan=facts, planning=Phase.DONE)


def plan_ended(now: Sending, phase: Phase, notice: str) -> Sending:
    """The plan was stopped, or can't be made."""
    return replace(now, plan=None, planning=phase, reaching=False, notice=notice)


def reopened(now: Sending) -> Sending:
    """Shown anew: the fields are as they were, but a count wants to be typed again."""
    return _cleared(now)


def starting(now: Sending) -> Sending:
    """A start was pressed: the next press starts nothing."""
    return replace(_cleared(now), starting=True, notice="", ended="", progress=None, samples=())


def refused(now: Sending, fault: str) -> Sending:
    """Say why a start does nothing; where there is a run already, that is nothing to say."""
    return now if now.running or now.starting else replace(now, notice=fault)


def forestalled(now: Sending) -> Sending:
    """A run was begun elsewhere: a start begins no other."""
    return replace(now, notice="a run of this campaign is in progress already, so Start began none")


def start_failed(now: Sending, notice: str) -> Sending:
    """No run was made; the plan may be out of date, so another one is wanted."""
    return replace(now, starting=False, plan=None, planning=Phase.IDLE, notice=notice)


def sampled(now: Sending, progress: Progress) -> Sending:
    """Take in a run's progress; a plan is spent once a run was made of it, since what it counts has changed."""
    sample = Sample(progress.seconds, progress.done - progress.known)
    return replace(
        now,
        starting=False,
        running=True,
        plan=None,
        planning=Phase.IDLE,
        progress=progress,
        samples=with_sample(now.samples, sample),
    )


def watched(now: Sending, progress: Progress) -> Sending:
    """Show another run than before: what was shown of that one isn't this one's."""
    return sampled(replace(now, samples=(), ended=""), progress)


def ended(now: Sending, progress: Progress, how: str) -> Sending:
    """The run is over."""
    return replace(sampled(now, progress), running=False, ended=how)


def places(now: Sending) -> int:
    """POSTs at a time, where `pace_fault` finds nothing."""
    return whole(now.concurrency) or 1


def is_stopping(now: Sending) -> bool:
    """Whether the run waits for its last answers."""
    return now.progress is not None and now.progress.state is RunState.STOPPING


def _cleared(now: Sending) -> Sending:
    return replace(now, typed="", accepted=False, cleared=now.cleared + 1)


def whole(text: str) -> int | None:
    """The whole number that a text is, as people write them (1,000 or 1_000); None if it is none."""
    plain = text.strip().replace(",", "").replace("_", "").replace(" ", "")
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) < 16 else None  # noqa: PLR2004 - digits
