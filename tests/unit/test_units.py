"""A row's key is the same however its table was read, and no two rows share one by accident."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.errors import CampaignError
from turbobatch.merge import MailMerge
from turbobatch.policy import Status
from turbobatch.recipients import open_table
from turbobatch.units import Finder, Finding, Layout, Unit, key_parts, units

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MESSAGE = MailMerge(from_="shop@acme.example", to="{{ email }}", subject="Hello", text="Hello")

texts = st.text(st.sampled_from('a|\\ "é'), min_size=1, max_size=5).map(str.strip).filter(bool)


def key_of(*values: Any) -> str | None:
    """The key that these cells make."""
    columns = tuple(f"c{number}" for number in range(len(values)))
    return Layout(columns, key=columns).key_of(values)


def findings(data: pd.DataFrame, *, key: Sequence[str] = (), group_by: Sequence[str] = ()) -> list[Finding]:
    table = open_table(data)
    layout = Layout(table.columns, tuple(key), tuple(group_by))
    batches = Finder(layout, MESSAGE.bind(table.columns)).batches(table)
    return [item for batch in batches for item in batch.findings]


def groups(data: pd.DataFrame, *columns: str) -> list[Unit]:
    table = open_table(data)
    return list(units(table, Layout(table.columns, group_by=columns)))


class TestKey:
    @pytest.mark.parametrize(
        ("value", "key"),
        [
            ("A-7", "A-7"),
            ("  A 7\t", "A 7"),
            ("007", "007"),
            ("7.0", "7.0"),
            (7, "7"),
            (7.0, "7"),
            (-0.0, "0"),
            (7.5, "7.5"),
            (2.0**70, str(2**70)),
            (True, "True"),
            (dt.date(2026, 11, 1), "2026-11-01"),
            (dt.datetime(2026, 11, 1), "2026-11-01"),  # noqa: DTZ001 - Excel's cells have no time zone
            (pd.Timestamp("2026-11-01"), "2026-11-01"),
            (dt.datetime(2026, 11, 1, 9, 30), "2026-11-01 09:30:00"),  # noqa: DTZ001 - as above
            (dt.datetime(2026, 11, 1, tzinfo=dt.UTC), "2026-11-01 00:00:00+00:00"),
        ],
    )
    def test_of_one_cell_is_its_text(self, value: Any, key: str) -> None:
        """Text verbatim but for the space around it; numbers and dates as a CSV file would have them."""
        assert key_of(value) == key

    def test_is_the_same_whatever_the_table_came_from(self, tmp_path: Path) -> None:
        """A run from the CSV file and one from the DataFrame it was written from are one campaign."""
        data = pd.DataFrame(
            {
                "id": pd.array([1, 2, None], dtype="Int64"),
                "day": pd.to_datetime(["2026-11-01", "2026-11-02", "2026-11-03"]),
                "at": pd.to_datetime(["2026-11-01 09:30", "2026-11-02 09:31", "2026-11-03 00:01"]),
            }
        )
        data.to_csv(tmp_path / "t.csv", index=False)
        data.to_parquet(tmp_path / "t.parquet")
        data.to_excel(tmp_path / "t.xlsx", index=False)
        for columns in (("id",), ("day",), ("at",), ("id", "day", "at")):
            keys = {
                source: [
                    Layout(table.columns, key=columns).key_of(values)
                    for chunk in table.chunks()
                    for values in chunk.rows()
                ]
                for source, table in (
                    ("frame", open_table(data)),
                    *((ending, open_table(tmp_path / f"t.{ending}")) for ending in ("csv", "parquet", "xlsx")),
                )
            }
            assert len({tuple(item) for item in keys.values()}) == 1, keys

    @pytest.mark.parametrize("blank", [None, "", "   ", "\t\n"])
    def test_needs_every_cell(self, blank: str | None) -> None:
        """A blank column makes no key, alone or among others."""
        assert key_of(blank) is None
        assert key_of("a", blank) is None
        assert key_of(0, "a") == "0|a"

    @given(st.lists(texts, min_size=2, max_size=4), st.lists(texts, min_size=2, max_size=4))
    def test_of_several_cells_tells_them_apart(self, one: list[str], other: list[str]) -> None:
        """Whatever separators the cells hold, different cells make different keys."""
        if len(one) == len(other):
            assert (key_of(*one) == key_of(*other)) == (one == other)

    @pytest.mark.parametrize(("columns", "longest"), [(2, 3), (3, 2)])
    def test_of_several_cells_that_look_alike(self, columns: int, longest: int) -> None:
        """All short cells made of the separator, the escape and a letter: as many keys as rows."""
        cells = ["".join(item) for size in range(1, longest + 1) for item in itertools.product("a|\\", repeat=size)]
        rows = list(itertools.product(cells, repeat=columns))
        assert len({key_of(*row) for row in rows}) == len(rows)
        assert all(key_parts(key_of(*row) or "", columns) == list(row) for row in rows)

    def test_of_other_columns_has_no_parts(self) -> None:
        """Where their number was another one; a single cell's text isn't escaped."""
        assert key_parts("a|b|c", 2) is None
        assert key_parts("a|b", 1) == ["a|b"]

    @pytest.mark.parametrize("role", ["key", "group_by"])
    def test_of_an_unknown_column_is_refused(self, role: str) -> None:
        """The message names the nearest column."""
        with pytest.raises(CampaignError, match=rf"{role} names column 'oder_id', .* did you mean 'order_id'\?"):
            Layout(("order_id", "email"), **{role: ("oder_id",)})


class TestUnits:
    def test_without_groups_are_the_rows(self) -> None:
        """In the table's order, each with its place."""
        table = open_table(pd.DataFrame({"id": range(5000)}))
        found = list(units(table, Layout(table.columns, key=("id",))))
        assert [item.number for item in found] == list(range(5000))
        assert found[7] == Unit(7, (7,), table)
        assert found[7].size == 1

    def test_know_their_line_in_a_file(self, tmp_path: Path) -> None:
        """Also beyond a cell that holds a line break."""
        (tmp_path / "t.csv").write_text('id,email\n"a\nb",x@example.org\nc,y@example.org\n')
        table = open_table(tmp_path / "t.csv")
        assert [item.where for item in units(table, Layout(table.columns))] == [
            "row 0 (line 2 of t.csv)",
            "row 1 (line 4 of t.csv)",
        ]

    def test_groups_may_be_scattered(self) -> None:
        """A group comes when its last row has, with all its rows, and is called by its first."""
        data = pd.DataFrame({"who": ["a", "b", "a", "c", "b", "a"], "n": range(6)})
        found = groups(data, "who")
        assert [(item.number, [row[1] for row in item.rows or ()]) for item in found] == [
            (3, [3]),
            (1, [1, 4]),
            (0, [0, 2, 5]),
        ]
        assert [item.where for item in found] == ["row 3", "row 1", "row 0"]
        assert found[2][:2] == (0, ("a", 0))
        assert found[2].rows == (("a", 0), ("a", 2), ("a", 5))
        assert sum(item.size for item in found) == len(data)

    def test_groups_may_lie_in_several_chunks(self) -> None:
        """Rows of one group at both ends of a long table."""
        data = pd.DataFrame({"who": ["first", *(f"row {number}" for number in range(6000)), "first"]})
        last = groups(data, "who")[-1]
        assert (last.number, last.size) == (0, 2)

    def test_groups_by_several_columns(self) -> None:
        """Both must be equal."""
        data = pd.DataFrame({"who": ["a", "a", "a"], "month": [1, 2, 1]})
        assert [item.size for item in groups(data, "who", "month")] == [1, 2]

    def test_a_row_with_a_blank_group_stands_alone(self) -> None:
        """Two rows that belong nowhere don't belong together."""
        data = pd.DataFrame({"who": ["a", None, None, "a"], "n": range(4)})
        assert [(item.number, item.size) for item in groups(data, "who")] == [(1, 1), (2, 1), (0, 2)]

    @given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12))
    def test_every_row_is_in_exactly_one(self, column: list[str | None]) -> None:
        """Nothing is lost in grouping, and rows keep their order within a group."""
        data = pd.DataFrame({"who": pd.array(column, dtype="string"), "n": range(len(column))})
        found = groups(data, "who")
        numbers = [[row[1] for row in item.rows or ()] for item in found]
        assert sorted(itertools.chain(*numbers)) == list(range(len(column)))
        assert all(rows == sorted(rows) and rows[0] == item.number for rows, item in zip(numbers, found, strict=True))


class TestFinder:
    def test_finds_keys_by_column_without_merging(self) -> None:
        """A row's key is known even where its email can't be made."""
        (found,) = findings(pd.DataFrame({"id": [7], "email": ["broken@@"]}), key=["id"])
        assert (found.key, found.status, found.merged) == ("7", None, None)

    def test_finds_keys_by_content(self) -> None:
        """Without a key column equal emails have equal keys, and what was merged on the way is kept."""
        first, second = findings(pd.DataFrame({"email": ["ana@example.org", "bo@example.org"]}))
        assert first.key
        assert second.key
        assert first.key != second.key
        assert first.merged is not None
        assert first.merged.digest == first.key

    def test_an_email_that_can_not_be_made_has_no_digest(self) -> None:
        """The row is invalid, in the words of what is wrong with it."""
        (found,) = findings(pd.DataFrame({"email": ["broken@@"]}))
        assert (found.status, found.key) == (Status.INVALID, None)
        assert found.message.startswith("row 0: ")
        assert found.errors

    @pytest.mark.parametrize("key", [["id"], []])
    def test_refuses_a_key_that_came_before(self, key: list[str]) -> None:
        """The first row keeps it, each later one is a duplicate that names it."""
        data = pd.DataFrame(
            {"id": [1, 2, 1, 1], "email": ["ana@example.org", "bo@example.org"] + ["ana@example.org"] * 2}
        )
        found = findings(data, key=key)
        assert [item.status for item in found] == [None, None, Status.DUPLICATE, Status.DUPLICATE]
        assert [item.message for item in found[2:]] == ["row 2: same key as row 0", "row 3: same key as row 0"]
        assert found[2].key == found[0].key

    def test_groups_with_one_key_are_duplicates(self) -> None:
        """The whole group shares the verdict."""
        data = pd.DataFrame({"who": ["a", "b", "b"], "id": [1, 1, 1], "email": ["ana@example.org"] * 3})
        found = findings(data, key=["id"], group_by=["who"])
        assert [(item.status, item.unit.size) for item in found] == [(None, 1), (Status.DUPLICATE, 2)]

    def test_refuses_a_blank_key(self) -> None:
        """The row is invalid and the message names the cell to fill, not its neighbours."""
        data = pd.DataFrame({"id": [1, 2], "month": ["may", None], "email": ["ana@example.org"] * 2})
        _, found = findings(data, key=["id", "month"])
        assert (found.status, found.key) == (Status.INVALID, None)
        assert found.errors == ("column 'month' is blank, and it is the key",)
        assert found.message == "row 1: column 'month' is blank, and it is the key; fill the cell"

    def test_refuses_a_blank_group(self) -> None:
        """Even where the key is filled."""
        data = pd.DataFrame({"id": [1], "who": [None], "email": ["ana@example.org"]})
        (found,) = findings(data, key=["id"], group_by=["who"])
        assert found.errors == ("column 'who' is blank, and it is the group_by",)

    @pytest.mark.parametrize("bad", ["a\nb", "a\x00b", "a\ud800"])
    def test_refuses_a_key_that_can_not_travel(self, bad: str) -> None:
        """A control character or half a character can't be written, looked up or sent as an id."""
        data = pd.DataFrame({"id": pd.Series([bad], dtype=object), "email": ["ana@example.org"]})
        (found,) = findings(data, key=["id"])
        assert (found.status, found.key) == (Status.INVALID, None)
        assert found.message == (
            "row 0: column 'id' holds a line break or control character, and it is the key; remove it"
        )

    @given(
        st.lists(st.tuples(st.one_of(texts, st.integers(0, 9)), st.sampled_from(["a", " b", 7])), max_size=9),
        st.sampled_from([["id"], ["id", "month"]]),
    )
    def test_keys_are_the_same_beside_cells_that_need_a_closer_look(
        self, cells: list[tuple[str | int, str | int]], key: list[str]
    ) -> None:
        """Plain texts and whole numbers are read many at a time; a blank or a float among them changes nothing."""
        plain = [{"id": one, "month": other, "email": "a@example.org"} for one, other in cells]
        odd = [{"id": None, "month": 7.5, "email": "a@example.org"}]
        found, among = (findings(pd.DataFrame(rows, dtype=object), key=key) for rows in (plain or odd, [*plain, *odd]))
        for item, other in zip(found[: len(plain)], among, strict=False):
            assert (item.unit.number, item.key, *item[3:]) == (other.unit.number, other.key, *other[3:])

    def test_units_that_the_journal_knows_are_not_made(self) -> None:
        """Their keys and sizes are there without; a duplicate has no key to ask the journal for."""
        table = open_table(pd.DataFrame({"id": ["a", "b", "a"], "email": ["a@example.org"] * 3}))
        (batch,) = Finder(Layout(table.columns, ("id",)), MESSAGE.bind(table.columns)).batches(table)
        assert (batch.keys, batch.sizes) == (["a", "b", None], [1, 1, 1])
        assert "findings" not in vars(batch)
        assert [item.status for item in batch.findings] == [None, None, Status.DUPLICATE]


class TestSteadyKeys:
    """A key must be the same in every run, whatever happens to the table between them."""

    def test_a_group_has_one_key(self) -> None:
        """The first row's would be another one after the table is sorted."""
        data = pd.DataFrame({"order": [1, 1, 2], "line": ["a", "b", "c"], "email": "a@example.org"})
        first, second = findings(data, key=["line"], group_by=["order"])
        assert (first.status, second.status) == (Status.INVALID, None)
        assert "the key 'line' differs within the group" in first.message

    def test_what_reads_differently_in_every_run_makes_no_key(self) -> None:
        """An object's text can be its address in memory, and a set has no order."""
        data = pd.DataFrame({"id": [object(), {"b", "a"}, "x"], "email": "a@example.org"})
        kinds = [(item.status, item.message) for item in findings(data, key=["id"])]
        assert "column 'id' holds a object, which makes no key; put text or a number there" in kinds[0][1]
        assert [status for status, _ in kinds] == [Status.INVALID, Status.INVALID, None]
