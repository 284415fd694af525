"""A worker's part of a run: the same engine on some rows of the table, under orders from whoever dispatches."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turbobatch.cluster.signals import line
from turbobatch.descriptors import affordable
from turbobatch.engine import Control, Engine
from turbobatch.errors import JournalError, TurboBatchError
from turbobatch.events import Known, Retrying, Settled, Waiting
from turbobatch.feed import Feed, Preparation, look_up
from turbobatch.journal import open_journal
from turbobatch.plan import Walk
from turbobatch.policy import Status, StopReason
from turbobatch.rates import Pacer
from turbobatch.suppression import Suppressed, load_suppressed
from turbobatch.units import Finder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turbobatch.client import TurboClient
    from turbobatch.cluster.orders import Part, Sending
    from turbobatch.events import RunEvent
    from turbobatch.journal import Journal
    from turbobatch.units import Source

_TOLD = 20  # rows in trouble that are told of in a beat; the others are in the report alone

_at_a_time = threading.Lock()
"""Held while this process sends a part: of one that is killed no more is in doubt than one engine has in flight."""

_lists: dict[str, Suppressed] = {}
"""The suppression lists of the run that this process takes part in, so that they are read once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What became of a part.

    Attributes:
        rows: by status, as far as the part was gone through.
        known: how many of them were settled before.
        trouble: the rows in trouble that weren't told of in a beat, as `Report.told` has them.
        fault: what broke it, in one line.
        is_journal: whether that was the journal; a lease that was lost, say: another try may do better.
    """

    rows: dict[Status, int]
    known: int
    trouble: Sequence[list[Any]] = ()
    stop_reason: StopReason | None = None
    stop_message: str = ""
    fault: str = ""
    is_journal: bool = False


def send_part(sending: Sending, part: Part) -> Ended:
    """Send a part: what Dask runs, also again after a worker's death; the journal's claims decide what is posted."""
    report, control = Report(part.number), Control()
    with _at_a_time, line(sending.orders.run, control, report.told):
        try:
            with ExitStack() as held:
                engine = _engine(sending, part, control, report, held)
                engine.run()
        except TurboBatchError as error:
            return report.ended(fault=str(error), is_journal=isinstance(error, JournalError))
    return report.ended(stop_reason=engine.stop_reason, stop_message=engine.stop_message)


def _engine(sending: Sending, part: Part, control: Control, report: Report, held: ExitStack) -> Engine:
    orders = sending.orders
    source = orders.source(part.portion.open(part.first))
    client = sending.account.open()
    held.callback(client.close)
    prepare = Preparation(
        campaign=orders.campaign,
        merger=source.merger,
        api=client.api,
        suppressed=_suppressed(sending, client) or None,
    )
    journal = open_journal(orders.journal, orders.campaign)
    held.callback(journal.close)
    feed = Feed(
        table=source.table,
        layout=source.layout,
        prepare=prepare,
        journal=journal,
        resend=orders.resend,
        limit=_limit(part, source, journal, resend=orders.resend),
        elsewhere=part.elsewhere,
    )
    concurrency = affordable(sending.concurrency)
    engine = Engine(
        feed=iter(feed),
        journal=journal,
        transport=client.open_transport(concurrency),
        pacer=Pacer(sending.limits),
        concurrency=concurrency,
        window=sending.window,
        policy=sending.policy,
        control=control,
    )
    held.callback(engine.close)
    engine.listen(report.hear)
    return engine


def _limit(part: Part, source: Source, journal: Journal, *, resend: bool) -> int | None:
    """How many emails to post at most, less those that another try of this part has posted."""
    if part.limit is None or part.limit in (0, part.emails):
        return part.limit
    walk = Walk(resend)
    finder = Finder(source.layout, source.merger, elsewhere=part.elsewhere)
    for batch, entries in look_up(finder.batches(source.table), journal):
        walk.take(batch, entries)
    return max(part.limit - (part.emails - walk.counts.emails), 0)


def _suppressed(sending: Sending, client: TurboClient) -> Suppressed:
    run = sending.orders.run
    if run not in _lists:
        _lists.clear()
        _lists[run] = load_suppressed(sending.suppress, client)
    return _lists[run]


class Report:
    """How far a part is; heard by the engine's thread, told by another."""

    def __init__(self, part: int) -> None:
        self._part = part
        self._try = uuid.uuid4().hex  # a part that is sent again begins to count anew
        self._lock = threading.Lock()
        self._rows: Counter[Status] = Counter()
        self._known = 0
        self._waiting: tuple[str, float] = "", 0.0
        self._trouble: list[list[Any]] = []

    def hear(self, event: RunEvent) -> None:
        """Count what happens."""
        with self._lock:
            match event:
                case Settled(number=number, size=size, status=status, message=message):
                    self._rows[status] += size
                    if status is not Status.SENT:
                        self._note(["settled", number, size, str(status), message])
                case Retrying(number=number, key=key, message=message, seconds=seconds):
                    self._note(["retrying", number, key, message, seconds])
                case Known(rows=rows):
                    self._rows.update(rows)
                    self._known += rows.total()
                case Waiting(reason=reason, until=until):
                    self._waiting = reason, until

    def told(self) -> dict[str, Any]:
        """The counts so far, and the trouble since the last time."""
        with self._lock:
            trouble, self._trouble = self._trouble, []
            return {
                "part": self._part,
                "try": self._try,
                "rows": {str(status): rows for status, rows in self._rows.items()},
                "known": self._known,
                "waiting": list(self._waiting),
                "trouble": trouble,
            }

    def ended(self, **said: Any) -> Ended:
        """What there is at the end, and why it came."""
        with self._lock:
            return Ended(rows=dict(self._rows), known=self._known, trouble=self._trouble, **said)

    def _note(self, trouble: list[Any]) -> None:
        if len(self._trouble) < _TOLD:
            self._trouble.append(trouble)
