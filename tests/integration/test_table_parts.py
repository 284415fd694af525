"""Tables in parts through a whole campaign: each email leaves once, and the results stand in the table's order."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import dask.dataframe as dd
import pandas as pd
import pytest

import turbobatch as tb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from turbobatch.sandbox import Sandbox

ALONE = "Order {{ id }}: {{ amount }} {{ paid | default('no') }}"
GROUPED = "Order {{ id }}:{% for row in rows %} {{ row.amount }} {{ row.paid | default('no') }}{% endfor %}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def orders() -> pd.DataFrame:
    """Two rows an order, in the order of the table; integers with a gap; an address that is broken."""
    numbers = range(24)
    return pd.DataFrame(
        {
            "id": [f"{number // 2:02}" for number in numbers],
            "amount": list(numbers),
            "paid": [float(number) if number % 5 else None for number in numbers],
            "email": ["broken" if number // 2 == 7 else f"p{number // 2}@example.org" for number in numbers],
        }
    )


def csv_parts(frame: pd.DataFrame, path: Path) -> Path:
    path.mkdir()
    for part, start in enumerate(range(0, len(frame), 5)):  # so that groups go on in the next part
        frame.iloc[start : start + 5].to_csv(path / f"orders-{part}.csv", index=False)
    return path


def parquet_parts(frame: pd.DataFrame, path: Path) -> Path:
    path.mkdir()
    for part, start in enumerate(range(0, len(frame), 5)):
        frame.iloc[start : start + 5].to_parquet(path / f"orders-{part}.parquet")
    return path


def dask_frame(frame: pd.DataFrame, _path: Path) -> Any:
    return dd.from_pandas(frame, npartitions=5, sort=False)


def campaign(table: Any, group_by: str | None) -> tb.Campaign:
    template = GROUPED if group_by else ALONE
    message = tb.MailMerge(from_="shop@acme.example", to="{{ email }}", subject=template, text="Hi")
    return tb.Campaign(name="parts", message=message, recipients=table, key="id", group_by=group_by)


def subject(found: tb.Campaign, row: int) -> str:
    email = found.preview(row=row).email
    assert email is not None
    return email.subject


@pytest.mark.parametrize("source", [csv_parts, parquet_parts, dask_frame])
@pytest.mark.parametrize("group_by", [None, "id"])
def test_a_table_in_parts_is_sent_as_a_whole_one_is(
    source: Callable[[pd.DataFrame, Path], Any], group_by: str | None, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The same emails and verdicts, in the same order; once more sends nothing."""
    frame = orders() if group_by else orders().drop_duplicates("id", ignore_index=True)
    frame.to_csv("whole.csv", index=False)
    whole = campaign(tmp_path / "whole.csv" if source is csv_parts else frame, group_by)
    in_parts = campaign(source(frame, tmp_path / "orders"), group_by)
    good = [row for row in frame.drop_duplicates("id").index if frame["id"][row] != "07"]
    subjects = [subject(whole, row) for row in good]
    assert [subject(in_parts, row) for row in good] == subjects
    assert in_parts.check()["send_key"].tolist() == ["07"]
    with closing(sandbox.client()) as client:
        for _ in range(2):
            results = in_parts.send(client=client, progress=False)
            assert sorted(sandbox.inbox()["subject"]) == sorted(subjects)
            assert results["id"].tolist() == results["send_key"].tolist() == frame["id"].tolist()
            assert (results["send_status"] == "sent").tolist() == (frame["id"] != "07").tolist()
    assert tb.audit(results)["row"].tolist() == [row for row, key in enumerate(frame["id"]) if key == "07"]


def test_a_run_of_a_dask_frame_in_progress_is_found_again(sandbox: Sandbox, tmp_path: Path) -> None:
    """A cell that is run again makes its table anew."""
    with closing(sandbox.client()) as client:
        sending = campaign(None, None).paced(rate="1/minute", concurrency=1)
        run = sending.start(dask_frame(orders(), tmp_path), client)
        assert sending.start(dask_frame(orders(), tmp_path), client) is run
        with pytest.raises(tb.CampaignError, match="a run of this campaign with another table"):
            sending.start(dask_frame(orders().iloc[:3], tmp_path), client)
        run.stop()
        assert run.wait()


def test_a_part_that_comes_meanwhile_stops_the_run(sandbox: Sandbox, tmp_path: Path) -> None:
    """Between the count and the run: what would be sent isn't what was told."""
    with closing(sandbox.client()) as client:
        sending = campaign(csv_parts(orders().drop_duplicates("id"), tmp_path / "orders"), None)
        plan = sending.plan()
        orders().to_csv(tmp_path / "orders" / "orders-9.csv", index=False)
        with pytest.raises(tb.CampaignError, match="orders was changed while it was in use: it has other files"):
            sending.run_to_end(plan, client, bar=False)
    assert len(sandbox.inbox()) == 0
