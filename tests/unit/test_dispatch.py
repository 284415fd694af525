"""What who dispatches makes of what workers tell, and what workers make of what is said to them; Dask is elsewhere."""

from __future__ import annotations

import signal
import uuid
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.cluster.dispatch import Dispatch
from turbobatch.cluster.errand import Errand
from turbobatch.cluster.orders import SurveyedPart
from turbobatch.cluster.preload import dask_setup
from turbobatch.cluster.signals import _SILENCE, Caller, _Hearing
from turbobatch.cluster.work import Ended, PartProgress
from turbobatch.engine import Control
from turbobatch.errors import CampaignError, JournalError
from turbobatch.events import Known, Moved, Retrying, Settled, Told, Waiting
from turbobatch.policy import Status, StopReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turbobatch.events import RunEvent

COUNTS = st.dictionaries(st.sampled_from(list(Status)), st.integers(0, 9))


def part(number: int = 0) -> SurveyedPart:
    return SurveyedPart(number=number, portion=cast("Any", None), first=10 * number, rows=10, emails=10)


def told(progress: PartProgress, worker: str = "tcp://a") -> dict[str, Any]:
    """What a worker tells, as Dask passes it on."""
    return progress.told() | {"worker": worker}


def dispatching(events: list[RunEvent], *errands: Errand, resend: bool = False) -> Dispatch:
    """A Dispatch whose errands are under way, without a cluster."""
    sending: Any = SimpleNamespace(orders=SimpleNamespace(key=("id",), resend=resend), account=None)
    made = Dispatch(dask=cast("Any", None), sending=sending, parts=(), able=set(), emit=events.append)
    made._errands.update({str(errand.part.number): errand for errand in errands})
    return made


def rows_of(events: Sequence[RunEvent]) -> tuple[Counter[Status], int]:
    """What a bar shows after these events: rows by status, and how many were known before."""
    rows: Counter[Status] = Counter()
    known = 0
    for event in events:
        if isinstance(event, Moved):
            rows.update(event.rows)
            known += event.known
    return +rows, known


@given(told=st.lists(st.tuples(COUNTS, st.integers(0, 9)), min_size=1))
def test_counts_are_those_told_last(told: list[tuple[dict[Status, int], int]]) -> None:
    """Also where another try began to count anew."""
    errand = Errand(part())
    events = [errand.moved(rows, known) for rows, known in told]
    assert rows_of(events) == (+Counter(told[-1][0]), told[-1][1])


def test_what_an_old_try_tells_is_not_heard() -> None:
    """The worker that was given up goes on telling; the one that has its part counts."""
    events: list[RunEvent] = []
    made = dispatching(events, Errand(part(3), worker="tcp://a"))
    old, new = PartProgress(3), PartProgress(3)
    for progress, number in ((old, 2), (new, 1), (old, 5), (new, 3), (PartProgress(4), 9), (old, 7)):
        progress.hear(Settled(0, number, Status.SENT))
        made._note(told(progress))
    assert rows_of(events) == (Counter({Status.SENT: 4}), 0)


def test_progress_tells_all_that_happens() -> None:
    """Counts as they are, rows in trouble once, and no more of these at a time than can be read."""
    progress = PartProgress(3)
    events: list[RunEvent] = []
    made = dispatching(events, errand := Errand(part(3), worker="tcp://a"))
    progress.hear(Known(Counter({Status.SENT: 5, Status.IN_DOUBT: 1})))
    progress.hear(Settled(31, 2, Status.SENT))
    progress.hear(Settled(33, 1, Status.REJECTED, "k", "no"))
    progress.hear(Retrying(34, "l", "later", 2.0))
    progress.hear(Waiting("the rate", 5.0))
    made._note(told(progress))
    assert rows_of(events) == (Counter({Status.SENT: 7, Status.IN_DOUBT: 1, Status.REJECTED: 1}), 6)
    assert [event.event for event in events if isinstance(event, Told)] == [
        Settled(33, 1, Status.REJECTED, None, "no"),
        Retrying(34, "l", "later", 2.0),
    ]
    assert errand.waiting == ("the rate", 5.0)
    for number in range(100):
        progress.hear(Settled(number, 1, Status.INVALID))
    assert len(progress.told()["trouble"]) == 20
    assert progress.told()["trouble"] == []
    progress.hear(Settled(7, 1, Status.FAILED, "m", "too late for a beat"))
    made._take(errand, progress.ended())
    assert rows_of(events)[0][Status.INVALID] == 100
    assert events[-1] == Told(Settled(7, 1, Status.FAILED, None, "too late for a beat"))


def test_what_becomes_of_a_part_that_ended() -> None:
    """A lost journal is tried again, thrice; a stop that nobody asked for too; others end the run."""
    journal = Ended(rows={}, known=0, fault="the lease ended", is_journal=True)
    made, errand = dispatching([]), Errand(part())
    for _ in range(2):
        made._take(errand, journal)
        assert made._waits.popleft() is errand
    made._take(errand, journal)
    assert isinstance(made._fault, JournalError)
    assert not made._waits

    other = dispatching([])
    other._take(errand, Ended(rows={}, known=0, stop_reason=StopReason.USER))
    assert other.stop_reason is None
    assert other._waits.popleft() is errand
    last = dispatching([])
    last._take(errand, Ended(rows={}, known=0, stop_reason=StopReason.NO_CREDIT, stop_message="0 left"))
    assert (last.stop_reason, last.stop_message) == (StopReason.NO_CREDIT, "0 left")


def test_another_try_leaves_doubts_as_they_are_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Which of them this run has made nobody could tell."""
    fault = Ended(rows={}, known=0, fault="the lease ended", is_journal=True)
    dispatching([])._take(Errand(part(2), worker="tcp://a"), fault)
    assert caplog.messages == []
    dispatching([], resend=True)._take(Errand(part(2), worker="tcp://a"), fault)
    (told,) = caplog.messages
    assert told.endswith("the lease ended; what is in doubt in part 2 (rows from 20 on) isn't posted again in this run")


@pytest.mark.parametrize("same", [True, False])
def test_a_part_that_takes_its_workers_down_is_not_given_out_for_ever(*, same: bool) -> None:
    """Whether they are others each time or the same one."""
    made, errand = dispatching([]), Errand(part(2))
    for _ in range(10):
        errand.tries += 1
        errand.worker = "tcp://a" if same else uuid.uuid4().hex
        made._lose(errand)
        if made._fault is not None:
            break
        assert made._waits.popleft() is errand
    assert isinstance(made._fault, CampaignError)
    assert str(made._fault).startswith("part 2 (rows from 20 on) was given out ")


def test_a_part_that_gets_on_may_lose_any_number_of_workers() -> None:
    """Each of them has done some of it."""
    made, errand = dispatching([]), Errand(part(2))
    for number in range(1, 21):
        errand.worker = uuid.uuid4().hex
        errand.moved({Status.SENT: number}, 0)
        made._lose(errand)
        assert made._waits.popleft() is errand
    assert made._fault is None


class Line:
    """What a worker looks at, and the worker's own state, as Dask shows it."""

    def __init__(self) -> None:
        self.said: list[Any] = ["go", 0, False]
        self.task = type("Task", (), {"state": "executing"})()
        self.worker = type("Worker", (), {})()
        self.worker.status = type("Status", (), {"name": "running"})()
        self.worker.state = type("State", (), {"tasks": {"key": self.task}})()
        self.now = 0.0
        self.hearing = _Hearing(cast("Any", self), self.worker, Control(), "key", clock=lambda: self.now)

    def get(self, timeout: float, callback_timeout: float) -> list[Any]:
        """A Variable's, which may have gone."""
        assert 0 < timeout < callback_timeout
        if not self.said:
            raise TimeoutError
        return self.said

    def hears(self, word: str, *, healthy: bool = False) -> Control:
        """Say something new."""
        self.said = [word, self.said[1] + 1 if self.said else 1, healthy]
        return self.heard()

    def heard(self) -> Control:
        self.hearing.hear()
        return self.hearing.control


def test_a_worker_does_what_is_said() -> None:
    line = Line()
    assert not line.hears("go").stop.is_set()
    assert line.hears("pause").pause.is_set()
    assert not line.hears("go").pause.is_set()
    assert line.hears("stop").stop.is_set()


def test_that_the_service_has_answered_is_told_to_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is told while a part is sent, or at its end; and nobody is told before."""
    line = Line()
    monkeypatch.setattr("distributed.Variable", lambda *_, **__: SimpleNamespace(set=set_said))

    def set_said(said: list[Any], callback_timeout: float) -> None:
        assert callback_timeout > 0
        line.said = said

    for at_the_end in (False, True):
        line.hearing.control.healthy.clear()
        made = dispatching([], errand := Errand(part(3), worker="tcp://a"))
        caller = Caller(cast("Any", None), "r", made.control.healthy)
        control = Control()
        progress = PartProgress(3, control.healthy)
        for is_healthy in (False, True):
            if is_healthy:
                control.healthy.set()
            if at_the_end:
                made._take(errand, progress.ended())
            else:
                made._note(told(progress))
            caller.say("go")
            assert line.heard().healthy.is_set() == is_healthy


def test_a_worker_that_hears_nothing_new_stops() -> None:
    """After a while; each new word begins it anew."""
    line = Line()
    for _ in range(2):
        line.hears("go")
        line.now += _SILENCE
        assert not line.heard().stop.is_set()
    line.now += 0.1
    assert line.heard().stop.is_set()


def test_a_worker_that_nobody_could_stop_any_more_stops() -> None:
    """What it looks at is gone, its task is released, or it retires itself."""
    line = Line()
    line.said = []
    assert line.heard().stop.is_set()
    line = Line()
    line.task.state = "cancelled"
    assert line.hears("go").stop.is_set()
    line = Line()
    line.worker.state.tasks.clear()
    assert line.hears("go").stop.is_set()
    line = Line()
    line.worker.status.name = "paused"  # for its memory: what it has begun goes on
    assert not line.hears("go").stop.is_set()
    line.worker.status.name = "closing_gracefully"
    assert line.hears("go").stop.is_set()


def test_a_worker_started_here_leaves_ctrl_c_to_who_dispatches() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        dask_setup(None)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
