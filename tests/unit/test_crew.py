"""Workers that don't answer, or aren't heard of any more: others get their parts, and no end waits for them."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from turbobatch import __version__
from turbobatch.cluster.crew import Crew
from turbobatch.cluster.dispatch import _BEGINS, _GETS_ON, _SILENT, Dispatch
from turbobatch.cluster.orders import Orders, Sending, SurveyedPart
from turbobatch.cluster.pool import _ALONE, NoWorkersError, Watch, is_executing, until_done, version
from turbobatch.cluster.signals import _SILENCE, ANSWER, BEAT
from turbobatch.cluster.work import PartProgress
from turbobatch.errors import CampaignError
from turbobatch.events import Settled, Waiting
from turbobatch.journal.postgres import _USUAL_LEASE
from turbobatch.policy import Status, StopReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from turbobatch.events import RunEvent

TIMEOUT = 60.0  # seconds that an answer may take
A, B, C = "tcp://a", "tcp://b", "tcp://c"


class Given:
    """A part that a worker was given, as Dask shows it to who dispatches."""

    def __init__(self, key: str, part: int, worker: str, sending: Sending) -> None:
        self.key, self.part, self.worker, self.sending = key, part, worker, sending
        self.status = "pending"
        self.progress = PartProgress(part)

    def cancel(self) -> None:
        self.status = "cancelled"

    def add_done_callback(self, _call: Callable[[Given], None]) -> None:
        """None of them ends here."""


class Cluster:
    """What Dask's Client says of workers, of which some are frozen, or lack something."""

    status = "running"
    dashboard_link = None

    def __init__(self, *there: str) -> None:
        self.there = list(there)
        self.frozen: set[str] = set()
        self.lacking: set[str] = set()
        self.asked: list[str] = []
        self.given: list[Given] = []
        self.now = 0.0
        self.paused: set[str] = set()
        self.executing: set[str] = set()
        self.mute = False  # its scheduler
        self.trouble: Exception = OSError()
        self.scheduler = SimpleNamespace(
            address="tcp://scheduler",
            ncores=lambda **_: dict.fromkeys(self.there, 1),
            ncores_running=lambda **_: {worker: 1 for worker in self.there if worker not in self.paused},
        )

    def sync(self, ask: Callable[..., Any], **given: object) -> Any:
        self.ask_scheduler()
        return ask(**given)

    def subscribe_topic(self, _topic: str, _hear: object) -> None:
        raise self.trouble

    def ask_scheduler(self) -> None:
        if self.mute:
            self.now += ANSWER
            raise TimeoutError

    def run(self, question: object, *_: object, workers: Sequence[str], callback_timeout: float, on_error: str) -> Any:
        assert on_error == "return"
        if question is is_executing:
            return {w: TimeoutError() if w in self.frozen else w in self.executing for w in workers}
        if question is version:
            self.asked += workers
        if self.frozen.intersection(workers):
            self.now += callback_timeout
            raise TimeoutError
        return {
            worker: __version__ if question is version else RuntimeError("no") if worker in self.lacking else None
            for worker in workers
        }

    def submit(self, _function: object, sending: Sending, part: SurveyedPart, _frame: None, **how: Any) -> Given:
        (worker,) = how["workers"]
        self.given.append(Given(how["key"], part.number, worker, sending))
        return self.given[-1]


class Sent:
    """A run over a Cluster, whose time passes as the test says."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        parts: int = 1,
        key: tuple[str, ...] = ("id",),
        limit: int | None = None,
        resend: bool = False,
    ) -> None:
        self.cluster = cluster
        self.said: deque[str] = deque(maxlen=1)
        self.events: list[RunEvent] = []
        nothing = cast("Any", None)
        orders = Orders(
            run="r", campaign="c", message=nothing, key=key, group_by=(), journal=nothing, mark="", resend=resend
        )
        sending = Sending(
            orders=orders,
            account=cast("Any", SimpleNamespace(timeout=TIMEOUT)),
            suppress=(),
            listed=(),
            limits=(),
            concurrency=4,
            window=None,
            policy=nothing,
        )
        self.dispatch = Dispatch(
            dask=cast("Any", cluster),
            sending=sending,
            parts=[
                SurveyedPart(number=number, portion=nothing, first=0, rows=9, emails=9, limit=limit)
                for number in range(parts)
            ],
            able=set(cluster.there),
            emit=self.events.append,
            clock=lambda: cluster.now,
        )
        self.look()

    def look(self) -> None:
        """What happens each beat."""
        ending = self.dispatch.stop_reason is not None
        self.dispatch._reach(cast("Any", self), is_ending=ending)

    def end(self, given: Given) -> None:
        """Have a worker end its part."""
        self.dispatch._errands.pop(given.key)
        self.look()

    def say(self, word: str) -> None:
        """A Caller's."""
        self.cluster.ask_scheduler()
        self.said.append(word)

    def tell(self, given: Given) -> None:
        """Have a worker tell how far it is."""
        self.dispatch._note(given.progress.told() | {"worker": given.worker})

    def wait(self, seconds: float, *telling: Given) -> None:
        """Let time pass, in which these tell how far they are."""
        until = self.cluster.now + seconds
        while self.cluster.now < until:
            self.cluster.now += BEAT
            for given in telling:
                self.tell(given)
            self.look()

    @property
    def given(self) -> list[tuple[int, str]]:
        """Who was given which part so far."""
        return [(given.part, given.worker) for given in self.cluster.given]


def test_the_silence_is_longer_than_what_is_healthy() -> None:
    """Who lives and is cut off has stopped by itself, and who wakes soon may still commit what it has in flight."""
    assert max(_SILENCE, 2 * ANSWER) + ANSWER < _SILENT < _USUAL_LEASE


def test_a_part_of_a_silent_worker_goes_to_another(caplog: pytest.LogCaptureFixture) -> None:
    """After that silence and no sooner; the silent one is told of once, and gets nothing until it is heard of."""
    sent = Sent(Cluster(A, B), parts=3)
    first, second = sent.cluster.given
    first.progress.hear(Settled(0, 1, Status.SENT))
    sent.wait(1, first, second)
    sent.cluster.frozen.add(A)
    sent.wait(_SILENT - 1, second)
    assert sent.given == [(0, A), (1, B)]
    assert first.status == "pending"
    sent.wait(2, second)
    assert first.status == "cancelled"
    assert sent.given == [(0, A), (1, B)]
    (told,) = caplog.messages
    assert told == "worker tcp://a isn't heard of any more (46 seconds): it gets nothing until it is"
    sent.cluster.there.append(C)
    sent.wait(1, second)
    assert sent.given == [(0, A), (1, B), (0, C)]
    third = sent.cluster.given[-1]
    sent.wait(_SILENT, second, third)
    assert len(sent.given) == 3
    sent.cluster.frozen.clear()
    sent.wait(1, first, second, third)  # it wakes, and tells of what it has been relieved of
    assert sent.given[3:] == [(2, A)]
    assert caplog.messages[1:] == ["worker tcp://a takes part again"]


def test_what_a_worker_that_wakes_tells_of_its_old_part_counts_no_more() -> None:
    """Also if it is the first word of that try, and comes after the other one's."""
    sent = Sent(Cluster(A))
    first = sent.cluster.given[0]
    sent.cluster.frozen.add(A)
    sent.cluster.there.append(B)
    sent.wait(_SILENT + 2)
    second = sent.cluster.given[-1]
    second.progress.hear(Settled(0, 2, Status.SENT))
    sent.wait(1, second)
    first.progress.hear(Settled(0, 5, Status.SENT))
    sent.wait(_SILENT - 1, first)
    (errand,) = sent.dispatch._errands.values()
    assert errand.rows == {Status.SENT: 2}
    sent.wait(2, first)
    assert second.status == "cancelled"  # that the other one tells is no sign of it


def test_a_worker_that_has_not_begun_is_asked() -> None:
    """It may have other tasks, or wait for a partition: it keeps its part if it answers at all."""
    sent = Sent(Cluster(A))
    sent.cluster.there.append(B)
    sent.wait(5 * _SILENT)
    assert sent.given == [(0, A)]
    assert sent.cluster.asked == [B, A, A, A, A]
    sent.cluster.frozen.add(A)
    sent.wait(_SILENT)
    assert sent.given == [(0, A), (0, B)]


def test_what_this_process_sleeps_is_no_silence_of_others() -> None:
    """A laptop that was closed, or Ctrl-Z: their words are there, it just hasn't heard them."""
    sent = Sent(Cluster(A))
    (given,) = sent.cluster.given
    sent.wait(1, given)
    for _ in range(9):
        sent.cluster.now += 10 * _SILENT
        sent.look()
        sent.wait(1, given)
    assert sent.given == [(0, A)]
    assert given.status == "pending"


@pytest.mark.parametrize("paused", [False, True])
def test_the_end_does_not_wait_for_silent_workers(*, paused: bool, caplog: pytest.LogCaptureFixture) -> None:
    """It says how many parts those had, and what to do; who is heard of is waited for."""
    sent = Sent(Cluster(A, B, C), parts=3)
    first, second, third = sent.cluster.given
    sent.wait(1, first, second, third)
    if paused:
        sent.dispatch.control.pause.set()
    sent.cluster.frozen |= {A, B}
    sent.wait(_SILENT / 2, third)
    sent.dispatch._stop(StopReason.USER, "")
    sent.cluster.there.append("tcp://late")
    sent.wait(_SILENT / 2 + 1, third)
    assert sent.cluster.asked == []
    assert sent.said[0] == "stop"
    assert [given.status for given in sent.cluster.given] == ["cancelled", "cancelled", "pending"]
    assert len(sent.dispatch._errands) == 1
    sent.dispatch._tell_unheard()
    assert sent.dispatch.stop_message.startswith("2 parts weren't waited for, as nothing is heard from there")
    assert "end what hangs; what it had in flight is in doubt" in sent.dispatch.stop_message
    assert [line.endswith("the run ends without it") for line in caplog.messages] == [True, True]


def test_a_scheduler_that_does_not_answer_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """The run goes on, but for the third time in turn."""
    sent = Sent(Cluster(A), parts=2)
    (given,) = sent.cluster.given
    for _ in range(9):
        sent.cluster.mute = True
        sent.wait(2 * ANSWER)
        sent.cluster.mute = False
        sent.wait(1, given)
    assert given.status == "pending"
    assert sent.dispatch._errands
    sent.cluster.mute = True
    before = sent.cluster.now
    while sent.dispatch._errands:
        sent.look()
    assert sent.cluster.now - before == 3 * ANSWER
    assert sent.dispatch.stop_reason is StopReason.CLUSTER
    assert sent.dispatch.stop_message == "Dask's scheduler can't be reached"
    assert caplog.messages == []


def test_a_scheduler_that_is_gone_ends_the_run_at_once() -> None:
    """A client that has lost it has lost its parts, even if it finds another."""
    sent = Sent(Cluster(A))
    sent.cluster.mute, sent.cluster.status = True, "connecting"
    sent.look()
    assert sent.dispatch.stop_reason is StopReason.CLUSTER


@pytest.mark.parametrize("status", ["running", "closed"])
def test_a_scheduler_that_is_lost_at_the_beginning(status: str) -> None:
    """Nothing is given out, and the run ends as one that loses it later."""
    sent = Sent(Cluster())
    sent.cluster.status = status
    sent.cluster.trouble = OSError("no") if status == "running" else AttributeError("no")
    sent.dispatch._subscribe("topic")
    assert sent.dispatch.stop_reason is StopReason.CLUSTER
    again = Sent(Cluster())
    again.cluster.trouble = AttributeError("a mistake")
    with pytest.raises(AttributeError):
        again.dispatch._subscribe("topic")


def test_where_a_fault_ends_the_run_the_log_says_what_was_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """The fault itself is what the run ends with."""
    sent = Sent(Cluster(A))
    sent.dispatch._break(CampaignError("no"))
    sent.dispatch._unheard = 1
    sent.dispatch._tell_unheard()
    assert caplog.messages[-1].startswith("1 part wasn't waited for")
    assert sent.dispatch.stop_message == ""


def test_a_part_of_a_limit_is_not_sent_on(caplog: pytest.LogCaptureFixture) -> None:
    """As where its worker is gone. The other parts are sent, and then it is said that this isn't all."""
    sent = Sent(Cluster(A, B), limit=5, parts=3)
    first, second = sent.cluster.given
    sent.wait(1, first, second)
    sent.wait(_SILENT, second)
    assert sent.given == [(0, A), (1, B)]
    assert sent.dispatch.stop_reason is None
    sent.end(second)
    assert sent.given[2:] == [(2, B)]
    sent.end(sent.cluster.given[-1])
    assert sent.dispatch._end() is StopReason.CLUSTER
    assert sent.dispatch.stop_message.startswith("worker tcp://a isn't heard of any more; the rest of its part waits")
    assert caplog.messages[-1].startswith("worker tcp://a isn't heard of any more; the rest of its part waits")


def test_without_a_key_column_a_silent_worker_ends_the_run() -> None:
    """As where it is gone."""
    sent = Sent(Cluster(A, B), key=())
    sent.wait(1, *sent.cluster.given)
    sent.wait(_SILENT)
    assert sent.given == [(0, A)]
    assert sent.dispatch.stop_reason is StopReason.CLUSTER
    assert sent.dispatch.stop_message.startswith("worker tcp://a isn't heard of any more; without a key column")


def test_a_paused_worker_gets_nothing_and_ends_what_it_has_begun() -> None:
    """Dask pauses a worker whose memory is full: it begins no task until it has room again."""
    sent = Sent(Cluster(A, B), parts=4)
    first, second = sent.cluster.given
    sent.wait(1, first, second)
    sent.cluster.paused.add(A)
    sent.wait(2 * _SILENT, first, second)
    assert sent.given == [(0, A), (1, B)]
    assert first.status == "pending"
    for given in (first, second):
        sent.dispatch._errands.pop(given.key)
    sent.wait(1)
    assert sent.given[2:] == [(2, B)]
    sent.cluster.paused.clear()
    sent.wait(1)
    assert sent.given[3:] == [(3, A)]


@pytest.mark.parametrize("limit", [5, None])
def test_a_part_that_a_paused_worker_has_not_begun_goes_to_another(
    limit: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """No try is lost by that: the other one does all that was asked for."""
    sent = Sent(Cluster(A), limit=limit, resend=True)
    sent.cluster.there.append(B)
    sent.cluster.paused.add(A)
    sent.wait(_BEGINS)
    assert sent.given == [(0, A)]
    sent.wait(1)
    first, second = sent.cluster.given
    assert sent.given == [(0, A), (0, B)]
    assert first.status == "cancelled"
    assert first.key != second.key
    assert second.sending.orders.resend
    assert caplog.messages[-1].startswith("worker tcp://a begins nothing now (Dask pauses a worker")
    sent.tell(first)  # it had begun at that very moment; what it tells is another's now
    sent.wait(1, second)
    assert [errand.worker for errand in sent.dispatch._errands.values()] == [B]


def test_that_all_workers_are_paused_is_told() -> None:
    """It waits for them, as for one that has yet to come."""
    sent = Sent(Cluster(A), parts=2)
    sent.cluster.paused.add(A)
    sent.wait(_BEGINS + 1)
    sent.dispatch._tell_waiting()
    sent.cluster.there.clear()
    sent.wait(1)
    sent.dispatch._tell_waiting()
    told = [event.reason for event in sent.events if isinstance(event, Waiting)]
    assert told == ["workers: Dask has paused them, as their memory is full", "workers"]


def test_the_end_does_not_wait_for_parts_that_have_not_begun() -> None:
    """Its worker is paused, or at another run's part. One that begins just then tells of it, and is waited for."""
    sent = Sent(Cluster(A, B, C), parts=3)
    _, second, third = sent.cluster.given
    sent.cluster.paused.add(A)
    sent.wait(_BEGINS - 1)
    sent.dispatch._stop(StopReason.USER, "")
    sent.wait(_BEGINS - 1)
    assert [given.status for given in sent.cluster.given] == ["pending", "pending", "pending"]
    sent.tell(second)
    sent.wait(2)
    assert sent.said[0] == "stop"
    assert [given.status for given in sent.cluster.given] == ["cancelled", "pending", "cancelled"]
    sent.wait(_SILENT - 2, second, third)
    assert [errand.worker for errand in sent.dispatch._errands.values()] == [B]
    assert sent.dispatch._unheard == 0


def test_the_end_does_not_wait_for_parts_that_do_not_get_on(caplog: pytest.LogCaptureFixture) -> None:
    """Their workers live, but what they wait for hangs. Whose answers still come is waited for."""
    sent = Sent(Cluster(A, B), parts=2)
    first, second = sent.cluster.given
    sent.wait(10 * TIMEOUT, first, second)  # the run goes on, however long it takes
    assert [given.status for given in sent.cluster.given] == ["pending", "pending"]
    sent.dispatch._stop(StopReason.USER, "")
    sent.wait(TIMEOUT, first, second)
    second.progress.hear(Settled(0, 1, Status.SENT))
    sent.wait(_GETS_ON, first, second)
    assert [given.status for given in sent.cluster.given] == ["pending", "pending"]
    sent.wait(1, first, second)
    assert [given.status for given in sent.cluster.given] == ["cancelled", "pending"]
    (told,) = caplog.messages
    assert told == "worker tcp://a doesn't get on (76 seconds; its PostgreSQL may hang): the run ends without it"
    sent.wait(TIMEOUT + _GETS_ON, first, second)
    assert not sent.dispatch._errands
    sent.dispatch._tell_unheard()
    assert sent.dispatch.stop_message.startswith("2 parts weren't waited for, as nothing is heard from there")


def test_tasks_of_paused_workers_are_waited_for_while_some_are_executed() -> None:
    """What a worker has begun it ends; what it hasn't, it keeps."""
    cluster = Cluster(A, B)
    watch = Watch(cast("Any", cluster), lambda: cluster.now)

    def look(seconds: float) -> None:
        cluster.now += seconds
        watch.look()

    look(3600)  # they run, and their tasks take as long as they take
    cluster.paused.add(A)
    cluster.executing.add(B)
    look(3600)
    cluster.executing.clear()
    look(_ALONE)
    with pytest.raises(NoWorkersError, match="Dask has paused 1 of 2 workers, as their memory is full: end what"):
        look(1)
    cluster.frozen.add(B)  # whether it executes any it doesn't say
    look(1)
    cluster.there.clear()
    with pytest.raises(NoWorkersError, match="the cluster has no workers any more"):
        look(_ALONE + 1)


class Kept(Given):
    """A task that is done; its worker, who has what it came to, says so or doesn't."""

    def __init__(self, key: str, *said: object) -> None:
        super().__init__(key, 0, A, cast("Any", None))
        self.status, self.said = "finished", list(said)

    def add_done_callback(self, call: Callable[[Given], None]) -> None:
        call(self)

    def result(self, *, timeout: float) -> object:
        assert timeout > 0
        said = self.said.pop(0) if self.said else TimeoutError()
        if isinstance(said, Exception):
            raise said
        return said


def test_what_tasks_came_to_is_asked_for_again_but_not_for_ever() -> None:
    """A worker that dies with it is no reason to wait where another could make it anew; where none could, it is."""
    tasks: Any = [Kept("a", TimeoutError(), 1), Kept("b", 2)]
    told: list[object] = []
    assert until_done(cast("Any", Cluster(A)), tasks, told.append) == [1, 2]
    assert sorted(map(str, told)) == ["1", "2"]
    with pytest.raises(NoWorkersError, match="no workers any more"):
        until_done(cast("Any", Cluster()), cast("Any", [Kept("c")]), told.append)
    failed = Kept("d", TimeoutError("its own"))
    failed.status = "error"
    with pytest.raises(TimeoutError, match="its own"):
        until_done(cast("Any", Cluster(A)), cast("Any", [failed]), told.append)


def crew_of(cluster: Cluster, *able: str) -> Crew:
    sending: Any = SimpleNamespace(orders=None, account=None)
    return Crew(dask=cast("Any", cluster), sending=sending, able=set(able), clock=lambda: cluster.now)


def test_who_comes_is_asked_before_it_is_given_anything() -> None:
    """Once, unless it was gone in between; no more than one a beat keeps the others waiting."""
    cluster = Cluster(A, B, C)
    cluster.lacking |= {A, B}
    crew = crew_of(cluster)
    assert [crew.there() for _ in range(4)] == [[], [], [C], [C]]
    assert cluster.asked == [A, B, C]
    cluster.there.remove(A)
    assert crew.there() == [C]
    cluster.there.append(A)
    cluster.lacking.clear()
    assert crew.there() == [C, A]


def test_nobody_is_asked_at_the_end() -> None:
    cluster = Cluster(A, B)
    cluster.frozen.add(B)
    assert crew_of(cluster, A).there(ask=False) == [A]
    assert cluster.asked == []


def test_who_does_not_answer_is_asked_again_but_ever_less_often(caplog: pytest.LogCaptureFixture) -> None:
    """It is told of once; in a day the others have waited for it for minutes, ten seconds at a time."""
    cluster = Cluster(A, B)
    cluster.frozen.add(B)
    crew = crew_of(cluster, A)
    day = 24 * 3600
    waits = []
    while cluster.now < day:
        before = cluster.now
        assert crew.there() == [A]
        waits.append(cluster.now - before)
        cluster.now += 1
    assert max(waits) == ANSWER
    assert [at for at, wait in enumerate(waits) if wait][:4] == [0, 60, 180, 420]
    assert sum(waits) < day / 80
    assert [line.endswith("the run goes on without it") for line in caplog.messages] == [True]
    cluster.frozen.clear()
    cluster.now += 900
    assert crew.there() == [A, B]
    assert caplog.messages[1:] == ["worker tcp://b takes part again"]
