"""Settling rows in doubt by hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from turbobatch.errors import CampaignError, did_you_mean
from turbobatch.policy import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from turbobatch.journal import Journal

_LISTED = 20  # keys that a message names at most


def settle_by_hand(journal: Journal, status: Status, keys: Iterable[str] | None) -> int:
    """Settle all rows in doubt, or those with `keys`, as `sent` or `pending`; tells how many.

    Raises:
        CampaignError: rows can't be settled as that, or a key is not in doubt; nothing was settled then.
    """
    if status not in (Status.SENT, Status.PENDING):
        raise CampaignError(f'rows in doubt are settled as "sent" or "pending", not {str(status)!r}')
    keys = None if keys is None else list(dict.fromkeys(keys))
    _check_in_doubt(journal, keys or (), status)
    return journal.settle(keys, status, f"settled by hand as {status}", time.time())


def doubts_to_settle(journal: Journal, status: Status, keys: Iterable[str] | None) -> list[str]:
    """The keys in doubt that `settle_by_hand` would settle; nothing is settled yet.

    Raises:
        CampaignError: as there.
    """
    if keys is None:
        return [entry.key for entry in journal.entries(Status.IN_DOUBT) if not entry.in_flight]
    keys = list(dict.fromkeys(keys))
    _check_in_doubt(journal, keys, status)
    return [key for key, entry in journal.lookup(keys).items() if entry.status is Status.IN_DOUBT]


def _check_in_doubt(journal: Journal, keys: Sequence[str], settled_as: Status) -> None:
    known = journal.lookup(keys)
    # A refusal may be worth another try, once what caused it is mended elsewhere; it has left no email.
    fitting = {Status.IN_DOUBT, Status.REJECTED} if settled_as is Status.PENDING else {Status.IN_DOUBT}
    for key in keys:
        if key in known and known[key].in_flight:
            raise CampaignError(
                f"key {key!r} is in flight in another process, nothing was settled: wait for its answer"
            )
        if key in known and known[key].status in fitting:
            continue
        if key in known:
            raise CampaignError(f"key {key!r} is not in doubt, nothing was settled: it is {known[key].status}")
        in_doubt = [entry.key for entry in journal.entries(Status.IN_DOUBT) if not entry.in_flight]
        hint = "no row is" if not in_doubt else did_you_mean(key, in_doubt[:_LISTED])
        raise CampaignError(f"key {key!r} is not in doubt, nothing was settled: {hint}")
