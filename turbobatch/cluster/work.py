"""A worker's part of a run: the same engine on some rows of the table, under orders from whoever dispatches."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from turbobatch.cluster.orders import opened
from turbobatch.cluster.signals import line
from turbobatch.descriptors import affordable
from turbobatch.engine import Control, Engine
from turbobatch.errors import JournalError, TurboBatchError
from turbobatch.events import Known, Retrying, Settled, Waiting
from turbobatch.feed import Feed, Preparation
from turbobatch.journal import open_pacer
from turbobatch.policy import Status, StopReason
from turbobatch.rates import JITTER
from turbobatch.suppression import Suppressed, load_suppressed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from turbobatch.client import TurboClient
    from turbobatch.cluster.orders import Sending, SurveyedPart
    from turbobatch.events import RunEvent
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
        trouble: the rows in trouble that weren't told of in a beat, as `PartProgress.told` has them.
        is_healthy: whether the service is known to have answered in this run.
        fault: what broke it, in one line.
        is_journal: whether that was the journal; a lease that was lost, say: another try may do better.
        is_gone: whether this was another try, of a part that is sent by one worker or by none.
    """

    rows: dict[Status, int]
    known: int
    trouble: Sequence[list[Any]] = ()
    is_healthy: bool = False
    stop_reason: StopReason | None = None
    stop_message: str = ""
    fault: str = ""
    is_journal: bool = False
    is_gone: bool = False


def send_part(sending: Sending, part: SurveyedPart, frame: pd.DataFrame | None = None) -> Ended:
    """Send a part: what Dask runs, also again after a worker's death; the journal's claims decide what is posted."""
    control = Control()
    progress = PartProgress(part.number, control.healthy)
    with _at_a_time, line(sending.orders.run, control, progress.told):
        try:
            if _is_begun(sending.orders.run, part.number):
                if not is_repeatable(sending, part):
                    return progress.ended(stop_reason=StopReason.USER, is_gone=True)
                sending = once_more(sending)
            with ExitStack() as held:
                source = sending.orders.source(opened(part.portion, frame, part.first, part.rows))
                engine = _engine(sending, part, source, control, held)
                engine.listen(progress.hear)
                engine.run()
        except TurboBatchError as error:
            return progress.ended(fault=str(error), is_journal=isinstance(error, JournalError))
    return progress.ended(stop_reason=engine.stop_reason, stop_message=engine.stop_message)


def is_repeatable(sending: Sending, part: SurveyedPart) -> bool:
    """Whether a part may be sent on by another worker in the same run.

    Not where emails are told apart by their content: an attachment may have changed since, and the next run's plan
    would say so. Nor where only so many may be posted: how many have been, the worker that is gone knew.
    """
    return bool(sending.orders.key) and part.limit is None


def once_more(sending: Sending) -> Sending:
    """The same for another try: what this very run has left in doubt, nobody has agreed to post again."""
    return replace(sending, orders=replace(sending.orders, resend=False))


def _is_begun(run: str, part: int) -> bool:
    """Whether another try of this part has begun, also one that Dask makes by itself; this one has from now on."""
    from distributed import Event, get_client

    begun = Event(f"turbobatch-{run}-{part}", client=get_client())
    if begun.is_set():
        return True
    begun.set()
    return False


def _engine(sending: Sending, part: SurveyedPart, source: Source, control: Control, held: ExitStack) -> Engine:
    orders = sending.orders
    client = sending.account.open()
    held.callback(client.close)
    prepare = Preparation(
        campaign=orders.campaign,
        merger=source.merger,
        api=client.api,
        suppressed=_suppressed(sending, client) or None,
    )
    journal = orders.open_journal()
    held.callback(journal.close)
    feed = Feed(
        table=source.table,
        layout=source.layout,
        prepare=prepare,
        journal=journal,
        resend=orders.resend,
        limit=part.limit,
        elsewhere=part.elsewhere,
    )
    pacer = open_pacer(journal, sending.limits, jitter=JITTER)
    held.callback(pacer.close)
    concurrency = affordable(sending.concurrency)
    engine = Engine(
        feed=iter(feed),
        journal=journal,
        transport=client.open_transport(concurrency),
        pacer=pacer,
        concurrency=concurrency,
        window=sending.window,
        policy=sending.policy,
        control=control,
    )
    held.callback(engine.close)
    return engine


def _suppressed(sending: Sending, client: TurboClient) -> Suppressed:
    run = sending.orders.run
    if run not in _lists:
        _lists.clear()
        found = [version.same_elsewhere() for version in sending.listed]
        loaded = load_suppressed(sending.suppress, client)
        for version in found:
            version.check()
        _lists[run] = loaded
    return _lists[run]


class PartProgress:
    """How far a part is; heard by the engine's thread, told by another. `healthy` is its Control's."""

    def __init__(self, part: int, healthy: threading.Event | None = None) -> None:
        self._part = part
        self._healthy = healthy or threading.Event()
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
                "is_healthy": self._healthy.is_set(),
            }

    def ended(self, **said: Any) -> Ended:
        """What there is at the end, and why it came."""
        with self._lock:
            said["is_healthy"] = self._healthy.is_set()
            return Ended(rows=dict(self._rows), known=self._known, trouble=self._trouble, **said)

    def _note(self, trouble: list[Any]) -> None:
        if len(self._trouble) < _TOLD:
            self._trouble.append(trouble)
