"""Dispatch: hands the parts of a table out to Dask's workers, and is to a Run what an Engine is.

One part at a time goes to each worker, so that a stop finds little begun and a worker that joins finds work. A part
whose worker is gone goes to another; whether an email of it is posted again, the journal's claims decide.
"""

from __future__ import annotations

import queue
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from turbobatch.cluster.crew import Crew
from turbobatch.cluster.errand import Errand
from turbobatch.cluster.orders import sent_along
from turbobatch.cluster.pool import running_of, silent_ones, workers_of
from turbobatch.cluster.signals import ANSWER, BEAT, Caller, topic_of
from turbobatch.cluster.work import Ended, is_repeatable, once_more, send_part
from turbobatch.engine import Control
from turbobatch.errors import CampaignError, JournalError
from turbobatch.events import Moved, Retrying, Settled, Told, Waiting, ignore_event, in_turn
from turbobatch.policy import Status, StopReason
from turbobatch.progress import log

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from distributed import Client, Future

    from turbobatch.cluster.orders import Sending, SurveyedPart
    from turbobatch.events import RunEvent, Workers

_FAULTS = 3  # of the journal, while a part doesn't get on
_LOSSES = 3  # workers that may be gone meanwhile: it may be what ends them
_MOST_TRIES = 10  # of a part that doesn't get on, whatever ends them
_NO_WORKERS = "workers"
_PAUSED = "workers: Dask has paused them, as their memory is full"
_AGAIN = "run the same command again to go on"

# Seconds without a word from a worker after which another gets its part. A healthy one tells each BEAT, but for a look
# that the scheduler answers late (2 * ANSWER at most). One that is cut off and lives stops claiming by itself meanwhile
# (signals._SILENCE), so that two don't share the work of one. It is less than a lease usually lasts: a worker that
# wakes before its own ends still commits the answers that it waits for. Nothing is sent twice whatever this is: what
# the silent one has claimed is in doubt for everybody else, and once its lease has ended it can commit nothing.
_SILENT = 45.0
_UNANSWERED = 3  # times in turn, ANSWER seconds each, until the scheduler counts as gone; workers stop after two
_HEARKENED = 2 * BEAT  # seconds of silence that count from one look to the next: a process that sleeps hears nothing

# Seconds without a word of it until a part counts as not begun, where its worker is paused or the run ends. Should it
# have: it hears that it isn't wanted any more, journals what it has in flight, and another try finds that it has begun.
_BEGINS = 10 * BEAT
_GETS_ON = 15.0  # seconds beside the time for an answer, until a part doesn't get on any more when the run ends


@dataclass(slots=True, kw_only=True)
class Dispatch:
    """Has all parts sent by the workers, until they are, the user stops it, or the service makes one of them stop.

    Args:
        dask: the cluster.
        sending: what workers need to know.
        parts: in the table's order.
        able: the workers that have been asked whether they can take part; others are, when they come.
        sent: rows that are known to be sent, and are in none of the parts.
        emit: called with each event.
        clock: monotonic, seconds.
    """

    dask: Client
    sending: Sending
    parts: Sequence[SurveyedPart]
    able: set[str]
    sent: int = 0
    emit: Callable[[RunEvent], None] = ignore_event
    clock: Callable[[], float] = time.monotonic
    control: Control = field(default_factory=Control)
    stop_reason: StopReason | None = field(default=None, init=False)
    stop_message: str = field(default="", init=False)
    _waits: deque[Errand] = field(init=False)
    _errands: dict[str, Errand] = field(default_factory=dict, init=False)  # by their futures' keys
    _futures: dict[str, Future] = field(default_factory=dict, init=False)
    _news: queue.SimpleQueue[Future | dict[str, Any]] = field(default_factory=queue.SimpleQueue, init=False)
    _fault: Exception | None = field(default=None, init=False)
    _waiting: str = field(default="", init=False)
    _workers: Workers | None = field(default=None, init=False)
    _crew: Crew = field(init=False)
    _lacking: str = field(default=_NO_WORKERS, init=False)  # what it waits for where nobody sends
    _look_at: float = field(default=0.0, init=False)  # by the clock
    _looked_at: float = field(default=0.0, init=False)
    _unanswered: int = field(default=0, init=False)
    _was_ending: bool = field(default=False, init=False)
    _left: str = field(default="", init=False)  # why less was posted than the user said; the other parts go on
    _unheard: int = field(default=0, init=False)  # parts that the end didn't wait for

    def __post_init__(self) -> None:
        self._crew = Crew(dask=self.dask, sending=self.sending, able=self.able, clock=self.clock)
        self._waits = deque(map(Errand, self.parts))

    def listen(self, hear: Callable[[RunEvent], None]) -> None:
        """Have `hear` called with each event too, before `emit`."""
        self.emit = in_turn(hear, self.emit)

    def close(self) -> None:
        """Let go of what is still under way: its workers stop."""
        for future in self._futures.values():
            with suppress(Exception):  # the scheduler may be gone
                future.cancel()  # to forget it isn't enough: what waits for it holds it
        self._futures.clear()

    def run(self) -> StopReason | None:
        """Work until the end; tells why it was an early one.

        Raises:
            JournalError: a worker's journal failed again and again.
            CampaignError: what else broke a part; what the others had begun is journalled.
        """
        topic = topic_of(self.sending.orders.run)
        caller = Caller(self.dask, self.sending.orders.run, self.control.healthy)
        self.emit(Moved(Counter({Status.SENT: self.sent}), self.sent))
        try:
            self._subscribe(topic)
            while self._turn(caller):
                pass
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self.dask.unsubscribe_topic(topic)
            caller.close()
        return self._end()

    def _subscribe(self, topic: str) -> None:
        try:
            self.dask.subscribe_topic(topic, self._hear)
        except Exception as error:
            if not isinstance(error, OSError) and self.dask.status == "running":
                raise
            self._is_cut_off()

    def _end(self) -> StopReason | None:
        if self._left and self._fault is None:
            self._stop(StopReason.CLUSTER, self._left)
        if self._unheard:
            self._tell_unheard()
        if self._fault is not None:
            raise self._fault
        return self.stop_reason

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        self._news.put(event[1])

    def _turn(self, caller: Caller) -> bool:
        if self.control.stop.is_set():
            self._stop(StopReason.USER, "")
        is_ending = self.stop_reason is not None or self._fault is not None
        if self.clock() >= self._look_at:  # not for each word that a worker says
            self._reach(caller, is_ending=is_ending)
            self._look_at = self.clock() + BEAT
        self._tell_waiting()
        for item in self._arrived():
            if isinstance(item, dict):
                self._note(item)
            else:
                self._conclude(item)
        return bool(self._errands or (self._waits and not is_ending))

    def _arrived(self) -> Iterator[Future | dict[str, Any]]:
        """What has come, once something has or a beat is over."""
        try:
            yield self._news.get(timeout=BEAT)
            while True:
                yield self._news.get_nowait()
        except queue.Empty:
            return

    def _reach(self, caller: Caller, *, is_ending: bool) -> None:
        """Say what is to be done, and hand out parts; where the scheduler is gone, nothing more is waited for."""
        if self.dask.status != "running":
            self._is_cut_off()
            return
        try:
            caller.say("stop" if is_ending else "pause" if self.control.pause.is_set() else "go")
            self._find_silent(is_ending=is_ending)
            workers = self._crew.there(ask=not is_ending)
            running = running_of(self.dask)
            self._tell_workers(len(workers))
            for key, errand in list(self._errands.items()):
                if errand.worker not in workers:
                    self._let_go(key)
                    if not is_ending:
                        self._lose(errand)
            able = [worker for worker in workers if worker in running]
            self._lacking = _PAUSED if workers and not able else _NO_WORKERS
            if not is_ending and not self.control.pause.is_set():
                self._give_out(able)
            self._take_back(running, is_ending=is_ending)
        except Exception as error:
            is_gone = self.dask.status != "running"
            if not isinstance(error, OSError) and not is_gone:
                raise
            self._unanswered += 1
            if is_gone or self._unanswered >= _UNANSWERED:
                self._is_cut_off()
        else:
            self._unanswered = 0

    def _take_back(self, running: Container[str], *, is_ending: bool) -> None:
        """Don't wait for parts that haven't begun, where the run ends, or their workers begin nothing now."""
        for key, errand in list(self._errands.items()):
            if errand.is_begun or errand.stillness <= _BEGINS or (errand.worker in running and not is_ending):
                continue
            self._let_go(key)
            errand.tries -= 1  # should it have begun, its next worker finds out
            self._waits.append(errand)
            if not is_ending:
                why = "Dask pauses a worker whose memory is full"
                log.warning("worker %s begins nothing now (%s): another gets its part", errand.worker, why)

    def _let_go(self, key: str) -> None:
        """Wait no longer for what was given out; its worker stops."""
        del self._errands[key]
        with suppress(Exception):  # the scheduler may be gone
            self._futures.pop(key).cancel()

    def _find_silent(self, *, is_ending: bool) -> None:
        """Give those up that weren't heard of for too long; at the end also those that don't get on."""
        passed, self._looked_at = min(self.clock() - self._looked_at, _HEARKENED), self.clock()
        for errand in self._errands.values():
            errand.silence += passed
            errand.stillness = passed + (errand.stillness if is_ending is self._was_ending else 0.0)
        self._was_ending = is_ending
        for errand in self._errands.values():
            if errand.silence <= _SILENT:
                # By then all that was in flight has been answered.
                if is_ending and errand.stillness > self.sending.account.timeout + _GETS_ON:
                    self._crew.ask_first(errand.worker)
                    self._unheard += 1
                    said = "worker %s doesn't get on (%.0f seconds; its PostgreSQL may hang): the run ends without it"
                    log.error(said, errand.worker, errand.stillness)
                continue
            # One that hasn't begun may wait for its turn, or for a partition that is still computed.
            if not errand.is_begun and not silent_ones(self.dask, [errand.worker]):
                errand.silence = 0.0
                continue
            self._crew.lose(errand.worker)
            self._unheard += is_ending
            what = "the run ends without it" if is_ending else "it gets nothing until it is"
            log.error("worker %s isn't heard of any more (%.0f seconds): %s", errand.worker, errand.silence, what)
            if not errand.is_begun:
                return  # it was waited for, and the others are to hear from us first

    def _is_cut_off(self) -> None:
        # A client that has lost its scheduler has lost its futures too, even if it finds it again.
        self._stop(StopReason.CLUSTER, "Dask's scheduler can't be reached")
        self._errands.clear()

    # What goes out

    def _give_out(self, workers: Iterable[str]) -> None:
        """Give each worker that has none a part."""
        busy = {errand.worker for errand in self._errands.values()}
        for worker in workers:
            if worker not in busy and self._waits:
                self._give(self._waits[0], worker)
                self._waits.popleft()

    def _give(self, errand: Errand, worker: str) -> None:
        portion, frame = sent_along(self.dask, errand.part.portion)
        errand.worker, errand.is_begun, errand.silence, errand.stillness = worker, False, 0.0, 0.0
        errand.given += 1
        errand.tries += 1
        key = f"send_part-{self.sending.orders.run}-{errand.part.number}-{errand.given}"
        sending = self.sending if errand.tries == 1 else once_more(self.sending)
        part = replace(errand.part, portion=portion)
        # For this worker alone: what Dask passes on from a dead one never runs where no other was there at that moment.
        future = self.dask.submit(send_part, sending, part, frame, key=key, workers=[worker], pure=False)
        self._errands[key], self._futures[key] = errand, future
        future.add_done_callback(self._news.put)

    # What comes back

    def _note(self, said: dict[str, Any]) -> None:
        """A worker, which Dask names, has told how far it is. What a try tells that has been replaced is old."""
        self._crew.hear(said["worker"])
        self._note_health(is_healthy=said["is_healthy"])
        errand = next((item for item in self._errands.values() if item.part.number == said["part"]), None)
        if errand is None or errand.worker != said["worker"]:
            return
        if said["try"] not in errand.begun:
            errand.begun.append(said["try"])
        if said["try"] != errand.begun[-1]:
            return
        errand.is_begun, errand.silence = True, 0.0
        self.emit(errand.moved({Status(name): rows for name, rows in said["rows"].items()}, said["known"]))
        errand.waiting = tuple(said["waiting"])
        self._tell(said["trouble"])

    def _note_health(self, *, is_healthy: bool) -> None:
        if is_healthy:  # all of them are told: in an outage, a part that has seen nothing else is patient too
            self.control.healthy.set()

    def _tell(self, trouble: Iterable[Sequence[Any]]) -> None:
        for kind, *facts in trouble:
            self.emit(Told(_settled(*facts) if kind == "settled" else Retrying(*facts)))

    def _conclude(self, future: Future) -> None:
        self._futures.pop(future.key, None)
        errand = self._errands.pop(future.key, None)
        if errand is None:
            return
        self._look_at = 0.0  # there is a worker for another part
        if future.status == "finished":
            try:
                ended = future.result(timeout=ANSWER)
            except Exception:  # noqa: BLE001 - its worker is gone with it, or doesn't answer; another try finds out
                future.cancel()
                self._crew.ask_first(errand.worker)  # it may still be there
                self._lose(errand)
                return
            self._take(errand, ended)
        elif future.status == "error":
            self._break(CampaignError(f"{self._named(errand)} failed on its worker ({_trouble(future)}); {_AGAIN}"))
        elif self.dask.status == "running":  # somebody restarted the cluster
            self._lose(errand)
        else:
            self._is_cut_off()

    def _take(self, errand: Errand, ended: Ended) -> None:
        self.emit(errand.moved(ended.rows, ended.known))
        self._note_health(is_healthy=ended.is_healthy)
        self._tell(ended.trouble)
        is_running = self.stop_reason is None and self._fault is None
        if ended.fault:
            errand.has_ended_early()
            errand.faults += 1
            fault = (JournalError if ended.is_journal else CampaignError)(f"worker {errand.worker}: {ended.fault}")
            if ended.is_journal and errand.faults < _FAULTS and is_running:
                self._try_again(errand, str(fault))
            else:
                self._break(fault)
        elif ended.is_gone or (ended.stop_reason is StopReason.USER and is_running):
            self._lose(errand)  # nobody told it to stop: its worker retires, or has heard nothing for a while
        elif ended.stop_reason is not None:
            self._stop(ended.stop_reason, ended.stop_message)

    def _lose(self, errand: Errand) -> None:
        """Its worker is gone, or goes: another is to send the rest of its part."""
        errand.has_ended_early()
        errand.lost.add(errand.worker)  # one that goes may be given it once more
        if len(errand.lost) > _LOSSES or errand.fruitless >= _MOST_TRIES:
            self._break(CampaignError(f"{self._named(errand)} was given out {errand.given} times; {_AGAIN}"))
        else:
            trouble = "isn't heard of any more" if errand.silence > _SILENT else "is gone"
            self._try_again(errand, f"worker {errand.worker} {trouble}")

    def _try_again(self, errand: Errand, why: str) -> None:
        if is_repeatable(self.sending, errand.part):
            self._waits.appendleft(errand)
            if self.sending.orders.resend:
                log.warning("%s; what is in doubt in %s isn't posted again in this run", why, self._named(errand))
        elif errand.part.limit is None:
            self._stop(
                StopReason.CLUSTER,
                f"{why}; without a key column only the next run, which compares first, sends the rest of its part",
            )
        else:
            self._left = f"{why}; the rest of its part waits for another run: only so many emails may be posted"
            log.error("%s", self._left)

    def _named(self, errand: Errand) -> str:
        return f"part {errand.part.number} (rows from {errand.part.first} on)"

    def _break(self, fault: Exception) -> None:
        if self._fault is None and self.stop_reason is None:
            self._fault = fault

    def _stop(self, reason: StopReason, message: str) -> None:
        if self.stop_reason is None:
            self.stop_reason, self.stop_message = reason, message

    def _tell_unheard(self) -> None:
        """Say that some parts weren't waited for, and what to do."""
        parts = "1 part wasn't" if self._unheard == 1 else f"{self._unheard} parts weren't"
        said = (
            f"{parts} waited for, as nothing is heard from there any more, or nothing gets on: end what hangs; what it "
            "had in flight is in doubt, and can be settled once its lease is over"
        )
        if self.stop_reason is None:
            log.error("%s", said)
        else:
            self.stop_message = f"{self.stop_message}; {said}" if self.stop_message else said

    def _tell_workers(self, count: int) -> None:
        before = self._workers
        self._workers = workers_of(self.dask) if before is None else replace(before, count=count)
        if self._workers != before:
            self.emit(self._workers)

    def _tell_waiting(self) -> None:
        """Tell what all workers wait for."""
        reasons = {errand.waiting for errand in self._errands.values()}
        reason, until = (
            max(reasons, key=lambda one: one[1], default=("", 0.0)) if all(r for r, _ in reasons) else ("", 0.0)
        )
        if not self._errands and self._waits and self.stop_reason is None:
            reason, until = ("Resume" if self.control.pause.is_set() else self._lacking), time.time()
        if reason != self._waiting:
            self.emit(Waiting(reason, until))
        self._waiting = reason


def _settled(number: int, size: int, status: str, message: str) -> Settled:
    return Settled(number, size, Status(status), None, message)


def _trouble(future: Future) -> str:
    """Why a part failed, in one line."""
    error = future.exception()
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
