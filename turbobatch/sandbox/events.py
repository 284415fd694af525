"""What becomes of an accepted message at each of its recipients: by dice with a seed, or by a magic address.

| kind | status in analytics | and then |
|---|---|---|
| `bounce` | `FAIL`, with the other server's words | suppressed (`bounce`) |
| `drop` | `SYSFAIL`: the vendor didn't even try | |
| `defer` | `DEFER`: the other server wants to be asked later | |
| `open` `click` | `OPEN` `CLICK`: delivered, and noticed | |
| `unsubscribe` | `UNSUB`: delivered, and enough of it | suppressed (`unsubscribe`) |
| `complain` | `REPORT`: delivered, and called spam | suppressed (`spam`) |

All others are `SUCCESS`. A magic address is a recipient whose local part is a kind, or a kind and `+` and anything:
`bounce@x.example`, `complain+ana@x.example`. None of the kinds is a fault's, so an address calls for one or the other.
Later messages to who is suppressed are dropped (`SYSFAIL`), as at the vendor.

The dice are thrown anew whenever they are asked about, from the seed, the message's id and the address, so they always
show the same and nobody has to keep what they showed.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from turbobatch.errors import CampaignError
from turbobatch.sandbox.faults import read_share

if TYPE_CHECKING:
    from collections.abc import Mapping


class EventKind(StrEnum):
    """What can happen to a message after it was accepted; the module's table tells what each leads to."""

    BOUNCE = "bounce"
    DROP = "drop"
    DEFER = "defer"
    OPEN = "open"
    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"
    COMPLAIN = "complain"

    @property
    def meaning(self) -> str:
        """What becomes of the message, in a few words."""
        return _MEANINGS[self]


_MEANINGS = {
    EventKind.BOUNCE: "it bounces; later messages to the address are dropped",
    EventKind.DROP: "it is dropped: the vendor doesn't even try",
    EventKind.DEFER: "it stays queued: the other server wants to be asked later",
    EventKind.OPEN: "it is delivered and opened",
    EventKind.CLICK: "it is delivered, and a link is clicked",
    EventKind.UNSUBSCRIBE: "it is delivered, and answered by unsubscribing; later messages are dropped",
    EventKind.COMPLAIN: "it is delivered, and reported as spam; later messages are dropped",
}


class Delivery(NamedTuple):
    """What became of a message at one recipient: the vendor's word, and the other server's (empty if it was glad)."""

    status: str
    error: str = ""


_STATUSES = {
    EventKind.BOUNCE: "FAIL",
    EventKind.DROP: "SYSFAIL",
    EventKind.DEFER: "DEFER",
    EventKind.OPEN: "OPEN",
    EventKind.CLICK: "CLICK",
    EventKind.UNSUBSCRIBE: "UNSUB",
    EventKind.COMPLAIN: "REPORT",
}
_ERRORS = {
    EventKind.BOUNCE: (
        "550 5.1.1 <{}>: user unknown",
        "552 5.2.2 <{}>: mailbox full",
        "550 5.7.1 message refused: listed as spam",
        "550 5.4.1 <{}>: access denied",
    ),
    EventKind.DROP: ("bounced before, not tried again", "not a valid recipient"),
    EventKind.DEFER: ("451 4.7.1 greylisted, try again later", "421 4.3.2 system not accepting messages now"),
}


@dataclass(frozen=True, slots=True)
class EventPlan:
    """Tells what becomes of each message at each recipient: the share of each kind, 0 to 1, and the dice's seed."""

    shares: tuple[tuple[EventKind, float], ...] = ()
    seed: int = 0

    def delivery(self, mid: str, recipient: str) -> Delivery:
        """Look at the dice for this message and address. A magic address goes before them."""
        kind = _magic(recipient) or self._thrown(self._dice("kind", mid, recipient))
        if kind is None:
            return Delivery("SUCCESS")
        errors = _ERRORS.get(kind, ("",))
        words = errors[int(self._dice("words", mid, recipient) * len(errors))]
        return Delivery(_STATUSES[kind], words.format(recipient))

    def _thrown(self, left: float) -> EventKind | None:
        for kind, share in self.shares:
            left -= share
            if left < 0:
                return kind
        return None

    def _dice(self, *about: str) -> float:
        text = "\0".join((str(self.seed), *about)).lower()
        return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") / 2**32


def read_events(given: Mapping[str, float | str], seed: int = 0) -> EventPlan:
    """Read shares as `Sandbox` takes them: `{"bounce": 0.03, "complain": "0.1%"}`.

    Raises:
        CampaignError: an unknown kind, a bad share, or shares that add up to more than 1.
    """
    shares = tuple((_kind(name), read_share(share, f"event {name}")) for name, share in given.items())
    total = sum(share for _, share in shares)
    if total > 1 + 1e-9:
        raise CampaignError(f"the events' shares add up to {total:g}: one befalls a message at most, so at most 1")
    return EventPlan(shares, seed)


def _magic(recipient: str) -> EventKind | None:
    word = recipient.rpartition("@")[0].partition("+")[0].lower()
    return EventKind(word) if word in _STATUSES else None


def _kind(given: object) -> EventKind:
    text = str(given).strip().lower()
    if text in _STATUSES:
        return EventKind(text)
    close = difflib.get_close_matches(text, list(map(str, EventKind)), n=1, cutoff=0.0)
    raise CampaignError(f"unknown event {text!r}: did you mean {close[0]!r}? Known: {', '.join(EventKind)}")
