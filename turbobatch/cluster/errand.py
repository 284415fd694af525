"""An errand: a part that is given out, until it is sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from turbobatch.events import Moved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turbobatch.cluster.orders import SurveyedPart
    from turbobatch.policy import Status


@dataclass(slots=True)
class Errand:
    """A part on its way: how far it is, by the try that began last."""

    part: SurveyedPart
    given: int = 0  # times that it was given out
    tries: int = 0  # of them, those that may have begun
    settled: int = 0  # rows, by the tries before; and since it has got on last:
    fruitless: int = 0  # tries
    faults: int = 0  # of the journal
    lost: set[str] = field(default_factory=set)  # workers
    worker: str = ""  # whom it was given to; and since then:
    is_begun: bool = False  # it has told of it
    silence: float = 0.0  # seconds that it was listened for in vain
    stillness: float = 0.0  # seconds that it was listened for and didn't get on; anew at the run's end
    begun: list[str] = field(default_factory=list)  # Dask's tries, the newest last
    rows: Counter[Status] = field(default_factory=Counter)
    known: int = 0
    waiting: tuple[str, float] = ("", 0.0)

    def has_ended_early(self) -> None:
        """A try has come to nothing, or to a part of it."""
        if (settled := self.rows.total()) > self.settled:
            self.settled, self.fruitless, self.faults = settled, 0, 0
            self.lost.clear()
        self.fruitless += 1

    def moved(self, rows: Mapping[Status, int], known: int) -> Moved:
        """Take the counts that it has now; tells what has changed."""
        change = Counter({status: rows.get(status, 0) - self.rows[status] for status in {*rows, *self.rows}})
        event = Moved(change, known - self.known)
        self.rows, self.known = Counter(rows), known
        if event.known or any(change.values()):
            self.stillness = 0.0
        return event
