"""Results joined with the deliveries that the sandbox makes up, over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

import turbobatch as tb
from turbobatch.delivery import DELIVERY_COLUMNS, Deliveries

if TYPE_CHECKING:
    from pathlib import Path

    from turbobatch.sandbox import Sandbox

EVENTS = {
    "bounce": "bounced", "drop": "dropped", "complain": "complaint", "unsubscribe": "unsubscribed", "defer": "queued",
    "open": "opened", "click": "opened", "ana": "delivered",
}  # fmt: skip
MESSAGE = tb.MailMerge(from_="shop@acme.example", to="{{ email }}", subject="Order {{ id }}", text="Hi")

pytestmark = pytest.mark.usefixtures("folder")


def test_each_sent_row_has_what_became_of_it(sandbox: Sandbox) -> None:
    """By its message id; a bounce has its reason, and what isn't sent has nothing."""
    table = pd.DataFrame({"id": range(len(EVENTS) + 1), "email": [f"{name}@x.example" for name in EVENTS] + ["broken"]})
    client = sandbox.client()
    results = tb.Campaign(name="spring", message=MESSAGE, key="id").send(table, client)
    found = tb.with_delivery(results, client, campaign="spring")
    assert found["delivery_status"].tolist()[:-1] == list(EVENTS.values())
    assert pd.isna(found["delivery_status"].iloc[-1])
    assert found["delivery_address"].iloc[0] == "bounce@x.example"
    assert found["delivery_reason"].iloc[0].startswith("5")
    assert list(found.columns) == [*results.columns, *DELIVERY_COLUMNS]
    client.close()


def test_more_rows_than_a_page_are_joined_chunk_by_chunk(sandbox: Sandbox) -> None:
    """Every row is found, whatever page of the analytics it is on; the counts are those of the rows."""
    names = ["bounce" if number % 10 == 0 else "p" for number in range(230)]
    table = pd.DataFrame({"id": range(230), "email": [f"{name}+{n}@x.example" for n, name in enumerate(names)]})
    client = sandbox.client()
    results = tb.Campaign(name="spring", message=MESSAGE, key="id").send(table, client)
    chunks = [results.iloc[start : start + 50] for start in range(0, 230, 50)]
    found = Deliveries.fetch(chunks, client, campaign="spring")
    joined = pd.concat(map(found.joined, chunks))
    assert (joined["delivery_status"] == "bounced").tolist() == [name == "bounce" for name in names]
    assert (dict(found.counts), found.unknown) == ({"bounced": 23, "delivered": 207}, 0)
    client.close()


def test_what_v1_sent_has_no_id_to_look_for(sandbox: Sandbox) -> None:
    """Its rows are counted as unknown."""
    v1, v2 = sandbox.client(api="v1"), sandbox.client()
    table = pd.DataFrame({"id": [1], "email": ["a@x.example"]})
    results = tb.Campaign(name="spring", message=MESSAGE, key="id").send(table, v1)
    found = Deliveries.fetch([results], v2)
    assert found.joined(results)["delivery_status"].isna().all()
    assert found.unknown == 1
    with pytest.raises(tb.CampaignError, match="v2 credentials"):
        tb.with_delivery(results.assign(send_mid="1"), v1)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
def test_each_failed_recipient_of_an_email_is_audited(ending: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """With what became of it, not of the worst one; also of a report. The columns and counts go by the worst."""
    to = "bounce@x.example, complain@x.example, ana@x.example, drop@x.example"
    table = pd.DataFrame({"id": [1, 2], "email": [to, "open@x.example, complain+2@x.example"]})
    client = sandbox.client()
    results = tb.Campaign(name="spring", message=MESSAGE, key="id").send(table, client)
    deliveries = Deliveries.fetch([results], client)
    found = deliveries.joined(results)
    client.close()
    assert found["delivery_status"].tolist() == ["bounced", "complaint"]
    assert dict(deliveries.counts) == {"bounced": 1, "complaint": 1}
    audits = [tb.audit(found), tb.audit(tb.read_report(tb.write_report(found, tmp_path / f"report{ending}")))]
    for audit in audits:
        assert sorted(audit[["row", "address", "category"]].itertuples(index=False, name=None)) == [
            (0, "bounce@x.example", "bounced"),
            (0, "complain@x.example", "complaint"),
            (0, "drop@x.example", "dropped"),
            (1, "complain+2@x.example", "complaint"),
        ]
        assert "delivery_failures" not in audit.columns
        assert audit.set_index("address")["reason"]["bounce@x.example"].startswith("5")
    cut = found.assign(delivery_failures=found["delivery_failures"].str[:-2])
    assert tb.audit(cut)["address"].tolist() == ["bounce@x.example", "complain+2@x.example"]
