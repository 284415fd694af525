"""A table that is looked at in parts: what is found is what one look at the whole table finds."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.cluster.orders import Orders, SurveyedPart
from turbobatch.cluster.survey import ClusterPlan, _summed, count_part, counts_of_part, find_repeats, keys_of_part
from turbobatch.feed import look_up
from turbobatch.journal import Intent, Outcome, open_journal, read_journal
from turbobatch.merge import MailMerge
from turbobatch.plan import Walk
from turbobatch.policy import Status
from turbobatch.recipients import open_table
from turbobatch.recipients.portions import HeldPortion
from turbobatch.units import Finder, Layout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from turbobatch.recipients.frame import FrameTable
    from turbobatch.units import Batch

MESSAGE = MailMerge(from_="shop@acme.example", to="{{ email }}", subject="{{ id }}", text="Hello")
ROWS = st.lists(st.tuples(st.sampled_from(["", "sent", "doubt", "3", "3 ", "4", "é", "e"]), st.booleans()), max_size=25)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that knows two keys: sent, and in doubt."""
    path: Path = tmp_path_factory.mktemp("survey") / "letters.journal.db"
    with open_journal(path, "letters") as opened:
        opened.commit([Intent(key=key, digest="d", time=1.0) for key in ("sent", "doubt")], [])
        opened.commit([], [Outcome(key="sent", status=Status.SENT, message="", time=2.0, posted=True)])
    return path


def told(batches: Iterable[Batch]) -> list[tuple[object, ...]]:
    """What is found of each row."""
    found = (finding for batch in batches for finding in batch.findings)
    return [(item.unit.number, item.key, item.status, item.message, item.errors) for item in found]


class _Orders(Orders):
    """Orders whose journal is a file."""

    def read_journal(self) -> Any:
        return read_journal(cast("Path", self.journal), self.campaign)


@given(data=st.data(), rows=ROWS, by_column=st.booleans(), buckets=st.integers(1, 4))
def test_any_cut_finds_what_the_whole_finds(
    journal: Path, data: st.DataObject, rows: list[tuple[str, bool]], buckets: int, *, by_column: bool
) -> None:
    """Keys, duplicates with their first rows, and counts; whether a column makes the key or the content does."""
    frame = pd.DataFrame(
        {"id": [key for key, _ in rows], "email": ["a@example.org" if good else "?" for _, good in rows]}
    )
    table = cast("FrameTable", open_table(frame.astype("object")))
    layout = Layout(table.columns, ("id",) if by_column else ())
    given_orders = _Orders(
        run="r",
        campaign="letters",
        message=MESSAGE,
        key=layout.key,
        group_by=(),
        journal=cast("Any", journal),
        mark="",
        resend=False,
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    cut = [HeldPortion(replace(table, data=table.data.iloc[a:b])) for a, b in pairwise([0, *cuts, len(rows)])]

    looks = [count_part(given_orders, portion, None, 0) for portion in cut]
    again = [find_repeats([keys_of_part(look, bucket, buckets) for look in looks]) for bucket in range(buckets)]
    parts, total = _summed(cut, [counts_of_part(look) for look in looks], np.concatenate(again), resend=False)

    merger, walk = MESSAGE.bind(table.columns), Walk(resend=False)
    with read_journal(journal, "letters") as opened:
        for batch, entries in look_up(Finder(layout, merger).batches(table), opened):
            walk.take(batch, entries)
    by_parts = [
        item
        for part in parts
        for item in told(Finder(layout, merger, elsewhere=part.elsewhere).batches(part.portion.open(part.first)))
    ]
    assert by_parts == told(Finder(layout, merger).batches(table))
    counts, expected = asdict(total), asdict(walk.counts)
    assert +counts.pop("known") == +expected.pop("known")
    assert counts == expected
    assert sum(part.emails for part in parts) == total.emails


@given(emails=st.lists(st.integers(0, 9), max_size=8), limit=st.integers(0, 50))
def test_a_limit_is_shared_out_from_the_table_s_beginning(emails: list[int], limit: int) -> None:
    """No part gets more than it has, and none anything before those ahead of it have all of theirs."""
    parts = tuple(
        SurveyedPart(number=number, portion=cast("Any", None), first=0, rows=9, emails=count)
        for number, count in enumerate(emails)
    )
    plan = ClusterPlan(
        rows=0,
        emails=sum(emails),
        sent=0,
        refused=0,
        layout=Layout(()),
        known={},
        elsewhere=0,
        table=cast("Any", None),
        sender="",
        parts=parts,
    )
    assert plan.limited(None) == parts
    shares = {part.number: part.limit for part in plan.limited(limit)}
    posts = iter(range(limit))
    expected = [sum(1 for _ in zip(range(count), posts, strict=False)) for count in emails]
    assert shares == {number: share for number, share in enumerate(expected) if share}  # others aren't looked at
