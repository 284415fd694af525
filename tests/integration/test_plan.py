"""What is found out before anything is sent: emails that look like ones that have left already."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import turbobatch as tb
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, where a Campaign made in Python has its journal."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[tb.TurboClient]:
    made = sandbox.client()
    yield made
    made.close()


def campaign(text: str = "Dear {{ name }}", name: str = "news", **changes: Any) -> tb.Campaign:
    """A newsletter, whose content doesn't say its key."""
    message = tb.MailMerge(from_="Acme <shop@acme.example>", to="{{ name }} <{{ email }}>", subject="News", text=text)
    return tb.Campaign(name=name, message=message, **changes)


def people(first: int = 0, count: int = 3) -> pd.DataFrame:
    """A table of good rows."""
    numbers = range(first, first + count)
    return pd.DataFrame(
        {"id": list(numbers), "name": [f"P {n}" for n in numbers], "email": [f"p{n}@example.org" for n in numbers]}
    )


def test_a_changed_template_sends_again_only_with_consent(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Without a key column it makes each row a new email: neither send nor start does that unasked."""
    campaign().send(people(), client, progress=False)
    changed = campaign("Dear {{ name }}!")
    said = (
        r"^3 emails of this campaign have left under keys that this table doesn't have, and 3 are to be sent: without "
        r"a key column, a changed template .*; undo the change, or send them all the same with accept_changes=True"
    )
    with pytest.raises(tb.CampaignError, match=said):
        changed.send(people(), client, progress=False)
    with pytest.raises(tb.CampaignError, match="accept_changes"):
        changed.start(people(), client)
    assert sandbox.requests_seen() == 3
    results = changed.send(people(), client, accept_changes=True, progress=False)
    assert set(results["send_status"]) == {"sent"}
    assert sandbox.requests_seen() == 6


def test_another_key_column_sends_again_only_with_consent(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """The same emails under other keys are recognised by their content, also where more rows have come."""
    campaign(key="id").send(people(), client, progress=False)
    changed = campaign(key="email")
    with pytest.raises(tb.CampaignError, match=r"'p0@example\.org' is, word for word, the one with key '0' \(sent\)"):
        changed.send(people(count=5), client, progress=False)
    assert sandbox.requests_seen() == 3
    run = changed.start(people(), client, accept_changes=True)
    assert run.wait(60)
    assert sandbox.requests_seen() == 6


def test_the_next_customers_need_no_consent(
    sandbox: Sandbox, client: tb.TurboClient, caplog: pytest.LogCaptureFixture
) -> None:
    """With a key column, new rows in place of old ones are an ordinary batch: told, and sent."""
    campaign(key="id").send(people(), client, progress=False)
    with caplog.at_level(logging.WARNING, "turbobatch"):
        campaign(key="id").send(people(3), client, progress=False)
    assert sandbox.requests_seen() == 6
    assert "3 emails of this campaign have left under keys that this table doesn't have" in caplog.text


def test_rows_that_went_need_no_consent(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Where nothing is left to send, there is nothing to accept; the same table goes on as ever."""
    first = campaign()
    first.send(people(count=4), client, limit=2, progress=False)
    assert set(first.send(people(count=1), client, progress=False)["send_status"]) == {"sent"}
    assert set(first.send(people(count=4), client, progress=False)["send_status"]) == {"sent"}
    assert sandbox.requests_seen() == 4


def test_a_run_in_background_tells_of_a_guess(
    folder: Path, client: tb.TurboClient, caplog: pytest.LogCaptureFixture
) -> None:
    """What the command line prints before it asks, a notebook finds in its log."""
    (folder / "people.csv").write_bytes("id,name,email\n1,Zo\u00eb,zoe@example.org\n".encode("cp1252"))
    with caplog.at_level(logging.WARNING, "turbobatch"):
        assert campaign(key="id").start("people.csv", client).wait(60)
    assert "people.csv is not UTF-8: read as cp1252" in caplog.text


@pytest.mark.parametrize("key", ["id", None])
def test_a_renamed_campaign_is_told_of_its_other_journal(key: str | None, client: tb.TurboClient, folder: Path) -> None:
    """Its emails have left, word for word, under another name; other contents, and other files, are no news."""
    campaign(key=key).send(people(), client, progress=False)
    (folder / "other.journal.db").write_bytes(b"no journal")
    (warning,) = campaign(key=key, name="news 2").plan(people(count=5)).warnings
    assert warning == "3 of these emails have left already by journal news.journal.db: was the campaign renamed?"
    assert campaign("Something else", key=key, name="news 2").plan(people()).warnings == ()
    assert campaign(key=key).plan(people()).warnings == ()
