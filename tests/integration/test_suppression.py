"""The vendor's suppression list, fetched before a run or a check: the sandbox's, and that of less regular hosts."""

from __future__ import annotations

import json
import logging
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

import turbobatch as tb
from tests.integration.hosts import Answering, account_at
from turbobatch.suppression import VENDOR, load_suppressed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from turbobatch.sandbox import Sandbox

    Answer = Callable[[dict[str, str]], tuple[int, Any]]

pytestmark = pytest.mark.usefixtures("folder")


def campaign(suppress: Any = VENDOR) -> tb.Campaign:
    """A campaign made in Python."""
    message = tb.MailMerge(
        from_="shop@acme.example", to="{{ email }}", cc="{{ cc | default('') }}", subject="Hi", text="Dear {{ id }}"
    )
    return tb.Campaign(name="letters", message=message, key="id", suppress=suppress)


def people(rows: int = 3) -> pd.DataFrame:
    """Good rows; the second one has a cc."""
    cc = ["" if number != 1 else "boss@bücher.example" for number in range(rows)]
    return pd.DataFrame({"id": range(rows), "email": [f"p{number}@example.org" for number in range(rows)], "cc": cc})


@contextmanager
def host(answer: Answer) -> Iterator[tb.TurboClient]:
    """A client of a host that gives an `answer` (status and JSON) to the queries of /suppressions."""

    class Handler(Answering, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            status, content = answer(query)
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with account_at(Handler) as client:
        yield client


def row(recipient: str, **more: str) -> dict[str, str]:
    """A row of the vendor's list."""
    known = {"date": "2026-11-02 10:00:00", "sender": "", "source": "bounce", "subject": "", "reason": "550 no mailbox"}
    return {**known, "recipient": recipient, **more}


# The run


def test_whoever_the_vendor_suppresses_gets_nothing(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """In any letter case, in cc too, and by either spelling of a domain; the reason tells source, date and why."""
    client.import_suppressions(["P0@Example.org", "boss@xn--bcher-kva.example"], "asked us to stop")
    results = campaign().send(people(), client, progress=False)
    assert results["send_status"].tolist() == ["suppressed", "suppressed", "sent"]
    assert results["send_message"].str.extract(r"^(row \d: \w+: \S+ is suppressed \(by the vendor since )[-\d]{10} ")[
        0
    ].tolist()[:2] == [
        "row 0: to: p0@example.org is suppressed (by the vendor since ",
        "row 1: cc: boss@xn--bcher-kva.example is suppressed (by the vendor since ",
    ]
    assert results["send_message"][0].endswith(", manual: asked us to stop)")
    assert sandbox.inbox()["to"].tolist() == ["p2@example.org"]
    assert tb.audit(results)[["address", "field"]].to_numpy().tolist() == [
        ["p0@example.org", "to"],
        ["boss@xn--bcher-kva.example", "cc"],
    ]


def test_the_list_is_fetched_for_each_run(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Who was suppressed since, gets nothing; who isn't any more, gets the email."""
    client.import_suppressions(["p0@example.org"], "x")
    first = campaign().send(people(2), client, progress=False)
    sandbox.clear()
    client.import_suppressions(["p2@example.org"], "x")
    again = campaign().send(people(4), client, progress=False)
    assert first["send_status"].tolist() == ["suppressed", "sent"]
    assert again["send_status"].tolist() == ["sent", "sent", "suppressed", "sent"]


def test_files_and_the_vendor_go_together(folder: Path, client: tb.TurboClient) -> None:
    """Both are left out, also where a campaign.toml names them."""
    client.import_suppressions(["p0@example.org"], "x")
    (folder / "stop.csv").write_text("email\np1@example.org\n", encoding="utf-8")
    results = campaign(["stop.csv", "vendor"]).send(people(), client, progress=False)
    assert results["send_status"].tolist() == ["suppressed", "suppressed", "sent"]
    (folder / "people.csv").write_text("id,email\n1,p0@example.org\n2,p1@example.org\n3,p2@example.org\n", "utf-8")
    (folder / "campaign.toml").write_text(
        'name = "toml"\n[recipients]\npath = "people.csv"\nkey = "id"\n[message]\nfrom = "shop@acme.example"\n'
        'to = "{{ email }}"\nsubject = "x"\n[send]\nsuppress = ["vendor", "stop.csv"]\n',
        encoding="utf-8",
    )
    loaded = tb.Campaign.load(folder)
    assert loaded.reads(folder / "stop.csv")
    assert loaded.send(client=client, progress=False)["send_status"].tolist() == ["suppressed", "suppressed", "sent"]


def test_without_the_list_nothing_is_sent(sandbox: Sandbox) -> None:
    """A host that gives no list, a list of another shape, or no access: no POST, and a word on what to do."""
    answers: list[tuple[int, Any]] = [(400, {"message": "error"}), (200, {"message": "OK"}), (401, {"message": "no"})]
    for status, content in answers:
        with host(lambda _, answer=(status, content): answer) as client:  # type: ignore[misc]  # mypy infers no lambda's default
            client._management._sleep = lambda _: None  # type: ignore[union-attr]  # the waits between tries
            kind = tb.AuthenticationError if status == 401 else tb.ManagementError
            said = "the vendor's suppression list" if status == 401 else "nothing was sent .* run it again$"
            with pytest.raises(kind, match=said):
                campaign().send(people(), client, progress=False)
    assert sandbox.requests_seen() == 0
    assert set(campaign(suppress=None).results(people())["send_status"]) == {"pending"}


def test_v1_has_no_list(sandbox: Sandbox) -> None:
    """That is said before anything else happens."""
    client = sandbox.client("v1")
    with pytest.raises(tb.CampaignError, match='suppress = "vendor" needs v2 credentials'):
        campaign().send(people(), client, progress=False)
    assert sandbox.requests_seen() == 0


# The check


def test_a_check_looks_at_the_list_too(
    sandbox: Sandbox, client: tb.TurboClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a client, or with the environment's credentials."""
    client.import_suppressions(["p1@example.org"], "x")
    given = campaign().check(people(), client=client)
    monkeypatch.setenv("TURBOSMTP_CONSUMER_KEY", "sandbox")
    monkeypatch.setenv("TURBOSMTP_CONSUMER_SECRET", "sandbox")
    monkeypatch.setenv("TURBOSMTP_BASE_URL", sandbox.base_url("v2"))
    for found in (given, campaign().check(people())):
        assert found[["row", "status"]].to_numpy().tolist() == [[1, "suppressed"]]


@pytest.mark.parametrize("api", [None, "v1"])
def test_a_check_does_without_it(api: str | None, sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """Without v2 credentials all else is checked, and one warning says what wasn't; the files' lists are."""
    listed = pd.DataFrame({"email": ["p2@example.org"]})
    client = sandbox.client("v1") if api else None
    with caplog.at_level(logging.WARNING, "turbobatch"):
        found = campaign([listed, VENDOR]).check(people(), client=client)
    assert found["status"].tolist() == ["suppressed"]
    (record,) = caplog.records
    assert record.getMessage().startswith("the vendor's suppression list wasn't looked at: no credentials: set ")


def test_a_check_does_without_a_vendor_out_of_reach(caplog: pytest.LogCaptureFixture) -> None:
    """The files' lists are looked at all the same, and one warning says what wasn't."""
    listed = pd.DataFrame({"email": ["p2@example.org"]})
    with host(lambda _: (422, {"message": "error", "errors": ["no"]})) as client:
        with caplog.at_level(logging.WARNING, "turbobatch"):
            found = campaign([listed, VENDOR]).check(people(), client=client)
        assert found[["row", "status"]].to_numpy().tolist() == [[2, "suppressed"]]
        (record,) = caplog.records
        said = r"the vendor's suppression list wasn't looked at: \S+ gave no word on the suppressions: no"
        assert re.fullmatch(said, record.getMessage())
        with pytest.raises(tb.ManagementError, match="nothing was sent without the suppression list"):
            campaign(VENDOR).send(people(), client, progress=False)


def test_a_validation_needs_the_list() -> None:
    """Nobody pays for an address that gets nothing."""
    with (
        host(lambda _: (422, {"message": "error", "errors": ["no"]})) as client,
        pytest.raises(tb.ManagementError, match="the suppressions"),
    ):
        campaign().check(people(), client=client, validate=True)


# Hosts


@pytest.mark.unmeasured
def test_a_long_list_comes_in_many_pages() -> None:
    """All of it is fetched, from 2000 on and every source, however few rows the host gives to a page."""
    asked = []

    def answer(query: dict[str, str]) -> tuple[int, Any]:
        asked.append(query)
        first = (int(query["page"]) - 1) * 700
        rows = [row(f"p{number}@example.org") for number in range(first, min(first + 700, 60_001))]
        return 200, {"count": 60_001, "results": rows}

    counted: list[int] = []
    with host(answer) as client:
        found = load_suppressed([VENDOR], client, tick=counted.append)
    assert sum(counted) == 60_001
    assert found.get("p0@example.org") == found.get("p60000@example.org")
    assert found.get("p0@example.org") == "by the vendor since 2026-11-02 10:00:00, bounce: 550 no mailbox"
    assert (asked[0]["from"], "filter_by" in asked[0]) == ("2000-01-01", False)


def test_a_host_of_small_pages_is_asked_for_small_pages() -> None:
    """The largest page isn't documented: one that is refused is asked for again, smaller."""

    def answer(query: dict[str, str]) -> tuple[int, Any]:
        if int(query["limit"]) > 100:
            return 400, {"message": "error", "errors": ["limit"]}
        return 200, {"count": 2, "results": [row("a@x.example"), row("b@x.example")] if query["page"] == "1" else []}

    with host(answer) as client:
        assert load_suppressed([VENDOR], client).get("b@x.example")


def test_what_the_vendor_writes_stays_one_line() -> None:
    """A reason is a server's own text, and may be anything; several addresses in a row are each suppressed."""
    rows = [
        row("a@x.example, B@x.example", reason="550\r\nno\x1b[31m " + "x" * 500),
        row("c@x.example", date="", source=""),
    ]
    with host(lambda query: (200, {"count": 2, "results": rows if query["page"] == "1" else []})) as client:
        found = load_suppressed([VENDOR], client)
    for address in ("a@x.example", "b@x.example"):
        reason = found.get(address) or ""
        assert reason.isprintable()
        assert len(reason) == 300
    assert found.get("c@x.example") == "by the vendor, 550 no mailbox"
