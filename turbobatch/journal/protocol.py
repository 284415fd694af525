"""What every journal offers, and the records that go in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from turbobatch.policy import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A POST is about to begin. `time` in seconds since the epoch, `recipients` as `addresses.digest_of` makes it."""

    key: str
    digest: str
    time: float
    resend: bool = False  # the user accepts that a row in doubt may go out twice
    recipients: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a row. `posted`: of one that was claimed for a POST; others need none (invalid, suppressed)."""

    key: str
    status: Status
    message: str
    time: float
    posted: bool
    errors: tuple[str, ...] = ()
    mid: str | None = None
    http_status: int | None = None
    seconds: float | None = None


class Entry(NamedTuple):
    """What the journal knows of one key. A named tuple, since there is one for each row of a table."""

    key: str
    status: Status
    message: str
    errors: tuple[str, ...]
    mid: str | None
    http_status: int | None
    attempts: int
    time: float | None
    seconds: float | None
    digest: str | None
    recipients: str | None
    in_flight: bool = False  # another process waits for its answer: in doubt, and not to be settled


class Journal(Protocol):
    """One campaign's memory. Safe to use from several threads of one process."""

    def commit(self, intents: Sequence[Intent], outcomes: Sequence[Outcome]) -> Mapping[str, Entry]:
        """Make all of them durable in one transaction, outcomes first.

        Returns what is known of the keys that another process has claimed before: of these there is no intent, and
        they must not be posted. A journal that one process has to itself returns none.

        Raises:
            JournalError: one of them contradicts what is known (a sent key is claimed again, say), or the file
                can't be written; then none of them is kept. With intents, also where `check` finds a fault.
        """
        ...

    def check(self) -> None:
        """Make sure that what is committed will be found again.

        Raises:
            JournalError: the file isn't where it was.
        """
        ...

    def lookup(self, keys: Iterable[str]) -> Mapping[str, Entry]:
        """What is known of these keys; unknown ones are absent."""
        ...

    def entries(self, status: Status) -> Iterator[Entry]:
        """Everything with this status, in the order of keys."""
        ...

    def counts(self) -> Mapping[Status, int]:
        """Keys by status."""
        ...

    def post_times(self, since: float, now: float) -> Sequence[float]:
        """When POSTs began, after `since`, ascending; seconds since the epoch.

        A clock that was ahead has left times after `now`: they count as the moment when a run first found them so.
        """
        ...

    def post_spans(self, keys: Iterable[str]) -> Mapping[str, tuple[float, float]]:
        """When the first and the last POST of each of these keys began; seconds since the epoch, as the clock said."""
        ...

    def unaccounted(self, since: float, until: float) -> Sequence[Entry]:
        """Keys, not in doubt, of which a POST begun in this time may have left an email whose message id isn't known.

        Those that were settled by hand, or posted more than once; also what is in flight in another process.
        """
        ...

    def known_mids(self, mids: Iterable[str]) -> set[str]:
        """Those of these message ids that an email in the journal has."""
        ...

    def settle(self, keys: Iterable[str] | None, status: Status, message: str, time: float) -> int:
        """Settle rows in doubt by hand (all of them if `keys` is None); tells how many there were."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
