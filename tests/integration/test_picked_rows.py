"""Rows that somebody picked from results are told by the numbers that they have in the table that was sent."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import turbobatch as tb

if TYPE_CHECKING:
    from pathlib import Path

    from turbobatch.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("folder")

MESSAGE = tb.MailMerge(from_="shop@acme.example", to="{{ email }}", subject="Order {{ id }}", text="Hi")


def sent(sandbox: Sandbox, table: pd.DataFrame | Path) -> pd.DataFrame:
    with closing(sandbox.client()) as client:
        return tb.Campaign(name="spring", message=MESSAGE, key="id").send(table, client, progress=False)


def test_rows_that_were_picked_keep_their_numbers(sandbox: Sandbox, tmp_path: Path) -> None:
    """By the index of results and of reports, in any order and in chunks."""
    table = pd.DataFrame({"id": range(6), "email": "broken"})
    table.to_csv(tmp_path / "table.csv", index=False)
    found = sent(sandbox, table)
    anew = tb.Campaign(name="spring", message=MESSAGE, key="id").results(tmp_path / "table.csv")
    for whole in (found, anew, tb.read_report(tb.write_report(found, tmp_path / "report.csv"))):
        odd = whole["id"].isin([1, 3, 5, "1", "3", "5"])
        for picked, rows in ((whole, [*range(6)]), (whole[odd], [1, 3, 5]), (whole[::-1][:2], [5, 4])):
            for given in (picked, [picked.iloc[:1], picked.iloc[1:]]):
                assert [item.row for item in tb.summary(given).failed] == rows
                assert tb.audit(given)["row"].tolist() == rows


@pytest.mark.parametrize("index", [[7, 9, 11], list("abc"), [0, 0, 1]])
def test_an_index_of_the_tables_own_is_no_row_number(index: list[Any], sandbox: Sandbox) -> None:
    """Rows count as they come, as in the messages of the results; so they do where the index was changed."""
    table = pd.DataFrame({"id": range(3), "email": "broken"}, index=index)
    found = sent(sandbox, table)
    assert tb.audit(found)["row"].tolist() == [0, 1, 2]
    by_id = tb.Campaign(name="spring", message=MESSAGE, key="id").results(table.reset_index(drop=True)).set_index("id")
    assert tb.audit(by_id.iloc[1:])["row"].tolist() == [0, 1]


def test_a_page_numbers_the_rows_alike(sandbox: Sandbox, tmp_path: Path) -> None:
    found = sent(sandbox, pd.DataFrame({"id": range(12), "email": "ana@x.example"}))
    page = tb.write_report(found.iloc[[11]], tmp_path / "page.html").read_text()
    assert '<td class="number faint">11</td>' in page
