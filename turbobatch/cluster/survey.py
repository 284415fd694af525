"""A look at the whole table by all workers: what a plan counts, how many rows each part has, and which keys come twice.

Each part is read once. What is to be known of it beyond itself are its keys: their digests, 16 bytes each, are dealt
out by value to buckets, and each bucket finds the keys that it has twice. So no process holds the keys of the table.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from itertools import accumulate, count
from typing import TYPE_CHECKING, Any

from turbobatch.cluster.orders import SurveyedPart, opened, sent_along
from turbobatch.cluster.pool import addresses_of, in_one_line, until_done
from turbobatch.errors import CampaignError
from turbobatch.feed import look_up
from turbobatch.plan import Counts, Plan, Walk, elsewhere_of, make_plan
from turbobatch.policy import Status
from turbobatch.recipients.portions import portions
from turbobatch.units import Finder, key_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import pandas as pd
    from distributed import Client, Future

    from turbobatch.cluster.orders import Orders
    from turbobatch.journal import Entry, Journal
    from turbobatch.recipients.portions import Portion
    from turbobatch.units import Batch, Source

    Items = np.ndarray[Any, Any]
    """Units as `_ITEM` has them."""

_ROWS = 250  # of a part at least: a smaller one costs more to begin than to send
_PARTS = 4  # for each worker, so that none waits long for the last ones
_BUCKET = 5_000_000  # keys; a bucket takes about 100 bytes of memory for each while it is looked through
_STATES: tuple[Status | None, ...] = (None, *Status)
_ITEM = [("high", "<u8"), ("low", "<u8"), ("row", "<u4"), ("size", "<u4"), ("state", "u1")]
_AGAIN = [*_ITEM, ("part", "<u4"), ("first_part", "<u4"), ("first", "<u4")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan(Plan):
    """A Plan with the parts that workers send."""

    parts: tuple[SurveyedPart, ...]

    def limited(self, limit: int | None) -> tuple[SurveyedPart, ...]:
        """The parts, so that all of them together post no more emails than that."""
        if limit is None:
            return self.parts
        found = []
        for part in self.parts:
            share = min(part.emails, limit)
            limit -= share
            if share:
                found.append(replace(part, limit=share))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a worker tells of a part: its counts, contents (digests) by key of its first new emails, and warnings."""

    counts: Counts
    sample: Mapping[str, str] = field(repr=False)
    warnings: tuple[str, ...]


def survey(
    dask: Client, orders: Orders, source: Source, journal: Journal, *, sender: str, tick: Callable[[int], object]
) -> ClusterPlan:
    """Have all workers look at the table; a Plan, and the parts.

    Where emails have left under keys that the table may not have any more, this process walks it once more, as
    `make_plan` does.

    Raises:
        CampaignError: the table or a template can't be used, a group's rows lie in more than one part, or a worker
            can't read the table.
        JournalError: the journal can't be used.
    """
    workers = max(len(addresses_of(dask)), 1)
    about = source.table.about  # None where only counting tells
    wanted = _PARTS * workers if about is None else max(1, min(_PARTS * workers, about // _ROWS))
    cut = portions(source.table, wanted, whole_files=bool(orders.group_by))
    with in_one_line("its workers looked at the table", "; nothing was sent"):
        looked, again = _look_at_all(dask, orders, cut, tick)
    parts, total = _summed(cut, looked, again, resend=orders.resend)
    elsewhere = elsewhere_of(journal, total)
    if elsewhere and total.emails:
        whole = make_plan(*source, journal, resend=orders.resend, sender=sender, tick=lambda _: tick(0))
        return ClusterPlan(**{item.name: getattr(whole, item.name) for item in fields(whole)}, parts=parts)
    return ClusterPlan(
        rows=total.rows,
        emails=total.emails,
        sent=total.sent,
        refused=total.refused,
        layout=source.layout,
        known={status: rows for status, rows in total.known.items() if rows},
        elsewhere=elsewhere,
        table=source.table,
        sender=sender,
        warnings=tuple(dict.fromkeys(text for item in looked for text in item.warnings)),
        sample={key: digest for item in reversed(looked) for key, digest in item.sample.items()},
        parts=parts,
    )


def _look_at_all(
    dask: Client, orders: Orders, cut: Sequence[Portion], tick: Callable[[int], object]
) -> tuple[list[Looked], Items]:
    import numpy as np

    def submit(work: Callable[..., Any], *given: Any) -> Future:
        return dask.submit(work, *given, key=f"{work.__name__}-{orders.run}-{next(numbers)}", pure=False)

    numbers = count()
    found = [
        submit(count_part, orders, *sent_along(dask, portion), first)
        for portion, first in zip(cut, _known_firsts(cut), strict=True)
    ]
    told = [submit(counts_of_part, each) for each in found]
    looked: list[Looked] = until_done(dask, told, lambda found: tick(found.counts.rows))
    buckets = sum(item.counts.rows for item in looked) // _BUCKET + 1
    dealt = [[submit(keys_of_part, each, bucket, buckets) for each in found] for bucket in range(buckets)]
    again = [submit(find_repeats, each) for each in dealt]
    groups = submit(find_repeats, [submit(groups_of_part, each) for each in found])
    *repeats, split = until_done(dask, [*again, groups], lambda _: tick(0))
    _check_groups(cut, split)
    return looked, np.concatenate(repeats)


# What workers do


def count_part(orders: Orders, portion: Portion, frame: pd.DataFrame | None, first: int) -> tuple[Looked, Items, Items]:
    """Count a part as a plan does; with it its keys and its groups.

    `first`: how many rows come before it, as far as that is known; what is wrong with a row names its number.
    """
    source = _opened(orders, portion, frame, first)
    walk, digests, groups = Walk(orders.resend), _Digests(), _Digests()
    with orders.read_journal() as journal:
        finder = Finder(source.layout, source.merger)
        for batch, entries in look_up(finder.batches(source.table), journal):
            numbers = _numbers(batch, walk.counts.rows, first, grouped=bool(orders.group_by))
            digests.add(batch.keys, numbers, batch.sizes, entries)
            if orders.group_by:
                units = [finding.unit for finding in batch.findings]
                groups.add([source.layout.group_of(unit.values) for unit in units], numbers, batch.sizes, entries)
            walk.take(batch, entries)
    looked = Looked(walk.counts, walk.sampled(source.layout, source.merger), source.table.warnings)
    return looked, digests.items(), groups.items()


def _opened(orders: Orders, portion: Portion, frame: pd.DataFrame | None, first: int) -> Source:
    """A part with its layout and the merge; who dispatches could open the whole, so trouble is this worker's own."""
    from distributed import get_worker

    try:
        return orders.source(opened(portion, frame, first))
    except CampaignError as error:
        raise CampaignError(
            f"worker {get_worker().address}: {error}; table and templates must be at the same place on every machine"
        ) from error


def counts_of_part(found: tuple[Looked, Items, Items]) -> Looked:
    """What was counted, without the keys."""
    return found[0]


def keys_of_part(found: tuple[Looked, Items, Items], bucket: int, buckets: int) -> Items:
    """A bucket's share of a part's keys."""
    import numpy as np

    keys = found[1]
    share: Items = keys[keys["low"] % np.uint64(buckets) == bucket]
    return share


def groups_of_part(found: tuple[Looked, Items, Items]) -> Items:
    """A part's groups."""
    return found[2]


def find_repeats(parts: Sequence[Items]) -> Items:
    """The units whose key an earlier part has, each with the first unit of that key; `parts` in the table's order."""
    import numpy as np

    items = np.concatenate(parts)
    owners = np.repeat(np.arange(len(parts)), [len(each) for each in parts])
    order = np.lexsort((owners, items["low"], items["high"]))  # stable: of two units the earlier one stays before
    items, owners = items[order], owners[order]
    same = (items["high"][1:] == items["high"][:-1]) & (items["low"][1:] == items["low"][:-1])
    again = np.concatenate(([False], same)) if len(items) else np.zeros(0, dtype=bool)
    firsts = np.maximum.accumulate(np.where(again, 0, np.arange(len(items))))[again]
    found = np.empty(int(again.sum()), dtype=_AGAIN)
    found["part"], found["first_part"], found["first"] = owners[again], owners[firsts], items["row"][firsts]
    for name, _ in _ITEM:
        found[name] = items[name][again]
    return found


class _Digests:
    """Units as items, batch by batch."""

    def __init__(self) -> None:
        self._parts: list[Items] = []

    def add(
        self, keys: Sequence[str | None], rows: Sequence[int], sizes: Sequence[int], entries: Sequence[Entry | None]
    ) -> None:
        """Note the units that have a key."""
        import numpy as np

        places = [place for place, key in enumerate(keys) if key is not None]
        digests = np.frombuffer(b"".join(key_digest(key) for key in keys if key is not None), dtype="<u8")
        items = np.empty(len(places), dtype=_ITEM)
        items["high"], items["low"] = digests[::2], digests[1::2]
        items["row"] = [rows[place] for place in places]
        items["size"] = [sizes[place] for place in places]
        items["state"] = [_STATES.index(entry and entry.status) for entry in map(entries.__getitem__, places)]
        self._parts.append(items)

    def items(self) -> Items:
        """All of them."""
        import numpy as np

        return np.concatenate([np.empty(0, dtype=_ITEM), *self._parts])


def _numbers(batch: Batch, start: int, first: int, *, grouped: bool) -> Sequence[int]:
    """The units' first rows, counted within the part."""
    # Findings are made only where they are needed: of a table that was sent they mostly aren't.
    if grouped:
        return [finding.unit.number - first for finding in batch.findings]
    return range(start, start + len(batch.keys))


# What becomes of it


def _known_firsts(cut: Sequence[Portion]) -> list[int]:
    """How many rows come before each portion; 0 for those where only reading would tell."""
    firsts: list[int | None] = [0]
    for portion in cut:
        before = firsts[-1]
        firsts.append(None if before is None or portion.rows is None else before + portion.rows)
    return [first or 0 for first in firsts[:-1]]


def _check_groups(cut: Sequence[Portion], split: Items) -> None:
    """Refuse a group whose rows lie in two parts: it would become two emails.

    Raises:
        CampaignError: there is one.
    """
    if len(split):
        one = split[0]
        raise CampaignError(
            f"the group of row {one['row']} of {cut[one['part']].name} has rows in {cut[one['first_part']].name} too "
            f"(row {one['first']} there): put all rows of a group into one file, or leave --on (on=) out"
        )


def _summed(
    cut: Sequence[Portion], looked: Sequence[Looked], again: Items, *, resend: bool
) -> tuple[tuple[SurveyedPart, ...], Counts]:
    """The parts, each with what it must know of the others, and the whole table's counts."""
    starts = [0, *accumulate(item.counts.rows for item in looked)]
    elsewhere: list[dict[int, tuple[int, bytes]]] = [{} for _ in cut]
    for high, low, row, size, state, number, first_part, first in again.tolist():
        digest = high.to_bytes(8, "little") + low.to_bytes(8, "little")
        elsewhere[number][starts[number] + row] = starts[first_part] + first, digest
        looked[number].counts.count(_STATES[state], size, resend=resend, by=-1)
    parts = tuple(
        SurveyedPart(
            number=number,
            portion=portion,
            first=starts[number],
            rows=item.counts.rows,
            emails=item.counts.emails,
            elsewhere=elsewhere[number],
        )
        for number, (portion, item) in enumerate(zip(cut, looked, strict=True))
    )
    total = Counts()
    for item in looked:
        total.add(item.counts)
    return parts, total
