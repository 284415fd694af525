"""The vendor's books: what became of each message, who is suppressed, which addresses were judged.

Deliveries aren't kept anywhere: they follow from the messages and the dice. Catching up with a long run's messages
takes seconds, so that is done in other threads than the one that answers.
"""

from __future__ import annotations

import bisect
import csv
import io
import itertools
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from turbobatch.addresses import Address, AddressError, parse_list
from turbobatch.sandbox.events import Delivery, EventPlan
from turbobatch.typos import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from turbobatch.sandbox.store import Envelope, MessageStore

_SOURCES = {"FAIL": "bounce", "REPORT": "spam", "UNSUB": "unsubscribe"}
_REASONS = {"REPORT": "reported as spam", "UNSUB": "unsubscribed"}
_WORDS = {"catch_all", "unknown", "spamtrap", "abuse", "do_not_mail", "invalid"}
_POLLS = 4  # until a list is done
_CHUNK = 200  # messages read at a time: who clears, or suppresses an address, waits for no more
_LONGEST_CELL = 131_072
_HEADINGS = {"email", "e-mail", "address"}


class Sent(NamedTuple):
    """A message at one of its recipients."""

    mid: str
    time: datetime
    subject: str
    sender: str
    recipient: str
    campaign_id: str
    delivery: Delivery
    number: int  # of the message in the store


class Suppressed(NamedTuple):
    """A suppressed address."""

    time: datetime
    sender: str
    source: str
    subject: str
    recipient: str
    reason: str


class Judgement(NamedTuple):
    """What a validation says of an address, in the vendor's words."""

    email: str
    status: str
    sub_status: str = ""
    did_you_mean: str | None = None


@dataclass(slots=True)
class JudgedList:
    """A list of addresses; `done` of them are judged once it was started, more with each look."""

    addresses: tuple[str, ...]
    started: bool = False
    polls: int = 0

    @property
    def percentage(self) -> int:
        """How far it is, 0 to 100."""
        return min(self.polls * 100 // _POLLS, 100)

    def judgements(self) -> list[Judgement]:
        """What is known so far."""
        return [judge_address(item) for item in self.addresses[: len(self.addresses) * self.percentage // 100]]


@dataclass(slots=True)
class Office:
    """The books of one account.

    Attributes:
        store: the accepted messages.
        plan: what becomes of them.
        delay: seconds before a message shows.
        validations: credits that judging addresses has cost.
    """

    store: MessageStore
    plan: EventPlan = field(default_factory=EventPlan)
    delay: float = 0.0
    validations: int = 0
    _sent: list[Sent] = field(default_factory=list)  # oldest first, as far as was read
    _read: int = 0  # the last message's id
    _imported: dict[str, Suppressed] = field(default_factory=dict)  # by the address in small letters
    _lost: set[str] = field(default_factory=set)  # who bounced, complained or left, as far as was read
    _lists: dict[int, JudgedList] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)  # of what was read and imported

    def clear(self) -> None:
        """Forget everything but the settings; lists' numbers go on rising."""
        with self._lock:
            self._sent.clear()
            self._imported.clear()
            self._lost.clear()
            self._read = 0
        self._lists.clear()
        self.validations = 0

    def sent(self) -> list[Sent]:
        """Every message at every recipient, newest first, as far as it shows."""
        while self._catch_up():
            pass
        latest = datetime.now(UTC) - timedelta(seconds=self.delay)
        with self._lock:
            return [item for item in reversed(self._sent) if item.time <= latest]

    def deliveries(self, numbers: Iterable[int], *, chunks: int | None = None) -> dict[int, list[Sent]]:
        """These messages of the store at each of their recipients, as far as they show.

        With `chunks` only so many of those that were not yet read are: a list is not to wait for a long run's.
        """
        left = itertools.count() if chunks is None else range(chunks)
        any(not self._catch_up() for _ in left)
        latest = datetime.now(UTC) - timedelta(seconds=self.delay)
        with self._lock:
            return {number: [item for item in self._of(number) if item.time <= latest] for number in numbers}

    def suppressed(self) -> list[Suppressed]:
        """Every suppressed address, newest first: each once per source."""
        found: dict[tuple[str, str], Suppressed] = {}
        for item in self.sent():
            if source := _SOURCES.get(item.delivery.status):
                reason = item.delivery.error or _REASONS.get(item.delivery.status, "")
                # The oldest stays: it is met last.
                found[item.recipient.lower(), source] = Suppressed(
                    item.time, item.sender, source, item.subject, item.recipient, reason
                )
        with self._lock:
            return sorted([*found.values(), *self._imported.values()], reverse=True)

    def suppress(self, addresses: Iterable[object], reason: str) -> tuple[int, int]:
        """Suppress addresses from now on; tells how many were taken and how many are none."""
        time, valid, invalid = datetime.now(UTC), 0, 0
        for item in addresses:
            try:
                email = Address.of("", str(item).strip()).email
            except AddressError:
                invalid += 1
                continue
            valid += 1
            with self._lock:
                self._imported.setdefault(email.lower(), Suppressed(time, "", "manual", "", email, reason))
        return valid, invalid

    def judge(self, address: str) -> Judgement:
        """Judge an address, for a credit."""
        self.validations += 1
        return judge_address(address)

    def add_list(self, table: str) -> tuple[int, JudgedList]:
        """Take a table whose first column has addresses, with or without a heading; tells the list's number.

        Raises:
            csv.Error: it is none, or a cell is too long to be one of an address.
        """
        cells = [row[0].strip() for row in csv.reader(io.StringIO(table)) if row and row[0].strip()]
        if cells and cells[0].lower() in _HEADINGS:
            del cells[0]
        if any(len(cell) > _LONGEST_CELL for cell in cells):  # csv's own limit belongs to the whole process
            raise csv.Error(f"field larger than field limit ({_LONGEST_CELL})")
        number = next(self._numbers)
        self._lists[number] = JudgedList(tuple(cells))
        return number, self._lists[number]

    def start_list(self, number: int) -> JudgedList | None:
        """Have a list judged, for a credit each, however often; None if there is none of that number."""
        if found := self._lists.get(number):
            found.started, found.polls = True, 0
            self.validations += len(found.addresses)
        return found

    def find_list(self, number: int, *, poll: bool) -> JudgedList | None:
        """Look at a list; a `poll` finds it further than the one before."""
        found = self._lists.get(number)
        if found is not None and poll and found.started:
            found.polls += 1
        return found

    def _catch_up(self) -> bool:
        """Read a chunk of what has come; tells whether there was anything."""
        with self._lock:
            envelopes = self.store.envelopes(self._read, _CHUNK)
            for envelope in envelopes:
                self._sent += self._deliveries(envelope)
                self._read = envelope.number
        return bool(envelopes)

    def _of(self, number: int) -> list[Sent]:
        first = bisect.bisect_left(self._sent, number, key=lambda item: item.number)
        return list(itertools.takewhile(lambda item: item.number == number, itertools.islice(self._sent, first, None)))

    def _deliveries(self, envelope: Envelope) -> list[Sent]:
        time = datetime.fromisoformat(envelope.time)
        sender = Address.parse(envelope.sender).email
        about = (envelope.mid, time, envelope.subject, sender)
        found = []
        for to in parse_list(", ".join(filter(None, (envelope.to, envelope.cc, envelope.bcc)))):
            delivery = self._delivery(envelope.mid, time, to.email)
            found.append(Sent(*about, to.email, envelope.campaign_id or "", delivery, envelope.number))
        self._lost.update(item.recipient.lower() for item in found if item.delivery.status in _SOURCES)
        return found

    def _delivery(self, mid: str, time: datetime, recipient: str) -> Delivery:
        imported = self._imported.get(recipient.lower())
        if recipient.lower() in self._lost or (imported is not None and imported.time <= time):
            return Delivery("SYSFAIL", "suppressed")
        return self.plan.delivery(mid, recipient)


def judge_address(address: str) -> Judgement:
    """Judge an address by its syntax, its domain, and whether a status is written in it (`spamtrap@…`, `…@abuse.…`)."""
    guess = suggest(address)
    try:
        email = Address.of("", address.strip()).email
    except AddressError:
        return Judgement(address, "invalid", "failed_syntax_check", guess)
    local, _, domain = email.lower().partition("@")
    for word in (local.partition("+")[0], domain.partition(".")[0]):
        if (word := word.replace("-", "_")) in _WORDS:
            return Judgement(address, word)
        if word == "bounce":
            return Judgement(address, "invalid", "mailbox_not_found")
    if guess is not None and guess != email:
        return Judgement(address, "invalid", "possible_typo", guess)
    return Judgement(address, "valid")
