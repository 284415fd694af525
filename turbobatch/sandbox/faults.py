"""Which fault a POST meets: by dice with a seed, or by a magic address.

| kind | what the client sees | accepted |
|---|---|---|
| `429` `429-date` | 429 with `Retry-After: 1`, or with an HTTP date | no |
| `500` `502` `503` | a server's failure: plain text, an HTML page, `Retry-After: 1` | no |
| `redirect` | 307 to the same path on another host | no |
| `reject` | the API's own error answer | no |
| `reset-before` | the connection is reset | no |
| `hang` | nothing, until the client leaves or the sandbox stops | no |
| `reset-after` `close-after` | the connection is reset, or ends, without an answer | yes |
| `garbage` | 200 with bytes that are no JSON | yes |
| `truncated` | 200 whose body ends before its Content-Length | yes |

A magic address is a `to` recipient whose local part is a kind, or a kind and `+` and anything: `reset-after@x.example`,
`429+ana@x.example`. It meets its fault at every POST; `429` and `429-date` only at the first one to each distinct
address, so that a retry succeeds.
"""

from __future__ import annotations

import difflib
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from turbobatch.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class FaultKind(StrEnum):
    """The ways in which the sandbox can fail a client; the module's table tells what each does."""

    TOO_MANY = "429"
    TOO_MANY_DATE = "429-date"
    ERROR = "500"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    REDIRECT = "redirect"
    REJECT = "reject"
    RESET_BEFORE = "reset-before"
    HANG = "hang"
    RESET_AFTER = "reset-after"
    CLOSE_AFTER = "close-after"
    GARBAGE = "garbage"
    TRUNCATED = "truncated"

    @property
    def accepts(self) -> bool:
        """Whether the message is taken, and stored, before the fault strikes."""
        return self in _ACCEPTING

    @property
    def meaning(self) -> str:
        """What the client sees, in a few words."""
        return _MEANINGS[self]


_MEANINGS = {
    FaultKind.TOO_MANY: "429 with Retry-After: 1; a magic address meets it once",
    FaultKind.TOO_MANY_DATE: "429 with Retry-After as a date; a magic address meets it once",
    FaultKind.ERROR: "500 with plain text",
    FaultKind.BAD_GATEWAY: "502 with an HTML page",
    FaultKind.UNAVAILABLE: "503 with Retry-After: 1",
    FaultKind.REDIRECT: "307 to the same path on another host",
    FaultKind.REJECT: "the API's own error answer",
    FaultKind.RESET_BEFORE: "the connection is reset",
    FaultKind.HANG: "no answer until the client leaves",
    FaultKind.RESET_AFTER: "the connection is reset, the message is accepted",
    FaultKind.CLOSE_AFTER: "the connection ends, the message is accepted",
    FaultKind.GARBAGE: "200 with bytes that are no JSON, the message is accepted",
    FaultKind.TRUNCATED: "200 whose body ends early, the message is accepted",
}
_ACCEPTING = frozenset({FaultKind.RESET_AFTER, FaultKind.CLOSE_AFTER, FaultKind.GARBAGE, FaultKind.TRUNCATED})
_ONCE = frozenset({FaultKind.TOO_MANY, FaultKind.TOO_MANY_DATE})


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind and the share of POSTs that meet it, 0 to 1. `url` is where a `redirect` points, if not to the default."""

    kind: FaultKind
    share: float = 1.0
    url: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", _kind(self.kind))
        object.__setattr__(self, "share", read_share(self.share, f"fault {self.kind}"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `KIND:SHARE` as a command line gives it: `429:3%`, `reset-after:0.01`, or `hang` for every POST.

        Raises:
            CampaignError: the kind is unknown or the share is not between 0 and 1.
        """
        kind, colon, share = text.partition(":")
        return cls(_kind(kind), read_share(share if colon else 1.0, f"fault {kind}"))


def read_faults(given: Mapping[str, float] | Iterable[Fault | str]) -> tuple[Fault, ...]:
    """Read faults as `Sandbox` takes them: `{"429": 0.05, "hang": "1%"}`, `Fault`s, or texts `KIND:SHARE`.

    Raises:
        CampaignError: an unknown kind, a bad share, or shares that add up to more than 1.
    """
    if hasattr(given, "items"):
        faults = tuple(Fault(_kind(kind), share) for kind, share in given.items())
    else:
        faults = tuple(Fault.parse(item) if isinstance(item, str) else item for item in given)
    total = sum(fault.share for fault in faults)
    if total > 1 + 1e-9:
        raise CampaignError(f"the faults' shares add up to {total:g}: a POST meets one fault at most, so at most 1")
    return faults


class FaultPlan:
    """Tells each POST its fault, in the order of arrival: the same seed and order give the same faults."""

    def __init__(self, faults: Iterable[Fault], seed: int = 0) -> None:
        self._faults = tuple(faults)
        self._seed = seed
        self._fired: set[tuple[FaultKind, str]] = set()
        self.reset()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What the dice deal."""
        return self._faults

    def use(self, faults: Iterable[Fault]) -> None:
        """Deal these faults from now on; the dice go on where they are."""
        self._faults = tuple(faults)

    def reset(self) -> None:
        """Start over: the dice from their seed, no address met yet."""
        self._dice = random.Random(self._seed)  # noqa: S311 - repeatable faults, no secret
        self._fired.clear()

    def next(self, to: object) -> Fault | None:
        """The fault for a POST with this `to` field, None for a fair answer. A magic address goes before the dice."""
        return self._magic(to) or self._roll()

    def _magic(self, to: object) -> Fault | None:
        for item in str(to or "").split(","):
            address = item.rpartition("<")[2].strip(" >").lower()
            kind = address.rpartition("@")[0].partition("+")[0]
            if kind in _KINDS and self._strikes(FaultKind(kind), address):
                return self._named(FaultKind(kind))
        return None

    def _strikes(self, kind: FaultKind, address: str) -> bool:
        if kind not in _ONCE:
            return True
        first = (kind, address) not in self._fired
        self._fired.add((kind, address))
        return first

    def _named(self, kind: FaultKind) -> Fault:
        return next((fault for fault in self._faults if fault.kind == kind), Fault(kind))

    def _roll(self) -> Fault | None:
        if not self._faults:
            return None
        left = self._dice.random()
        for fault in self._faults:
            left -= fault.share
            if left < 0:
                return fault
        return None


_KINDS = frozenset(kind.value for kind in FaultKind)


def _kind(given: object) -> FaultKind:
    text = str(given).strip().lower()
    if text in _KINDS:
        return FaultKind(text)
    close = difflib.get_close_matches(text, sorted(_KINDS), n=1, cutoff=0.0)
    raise CampaignError(f"unknown fault {text!r}: did you mean {close[0]!r}? Known: {', '.join(FaultKind)}")


def read_share(given: object, what: str) -> float:
    """Read a share: 0.03, or "3%". `what` names whose it is, should it be none.

    Raises:
        CampaignError: it is not between 0 and 1.
    """
    text = str(given).strip()
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise CampaignError(f"{what}: the share {text!r} is not between 0 and 1; 3 % is written 0.03 or 3%")
    return share
