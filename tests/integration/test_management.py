"""The management calls over real sockets: against the sandbox, and against hosts that answer oddly."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.integration import scripted
from tests.integration.scripted import OK_HEAD, Peer, Serve, tls_for
from turbobatch.client import V2_URLS, TurboClient
from turbobatch.email import Email
from turbobatch.errors import AuthenticationError, CampaignError, ManagementError
from turbobatch.management import MANAGEMENT_URL, Management
from turbobatch.sandbox import FaultKind, Sandbox
from turbobatch.sandbox.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import trustme

    from tests.conftest import Until
    from turbobatch.management import AnalyticsRow

    Act = Callable[[Peer], None]

serve, ca = scripted.serve, scripted.ca  # the fixtures

KEY, SECRET = "k3y-of-ana", "s3cret-of-ana"
TODAY = date(2026, 11, 23)
ROW = {"id": 1, "recipient": "ana@x.example", "status": "SUCCESS", "send_time": "2026-11-23 09:00:00"}


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[TurboClient]:
    made = sandbox.client()
    yield made
    made.close()


def days() -> tuple[date, date]:
    """Today, and yesterday's and tomorrow's doubt about it."""
    now = datetime.now(UTC).date()
    return now - timedelta(days=1), now + timedelta(days=1)


def send(client: TurboClient, *to: str, **changes: Any) -> str:
    """Send to these; tells the message id."""
    email = Email(
        **({"from_": "Acme <shop@acme.example>", "to": list(to), "subject": "Hello", "content": "Hi"} | changes)
    )
    mid = client.send(email).mid
    assert mid is not None
    return mid


def recipients(rows: Iterator[AnalyticsRow]) -> list[str]:
    return [row.recipient for row in rows]


class TestAnalytics:
    def test_one_row_per_recipient_newest_first(self, client: TurboClient) -> None:
        first = send(client, "ana@x.example", "ben@y.example", cc=["cy@x.example"], bcc=["di@x.example"])
        second = send(client, "Eve <eve@x.example>", subject="Grüße", campaign_id="receipts")
        rows = list(client.analytics(*days()))
        assert [(row.id, row.recipient) for row in rows] == [
            (second, "eve@x.example"),
            (first, "di@x.example"),
            (first, "cy@x.example"),
            (first, "ben@y.example"),
            (first, "ana@x.example"),
        ]
        assert (rows[0].subject, rows[0].sender, rows[0].x_campaign_id) == ("Grüße", "shop@acme.example", "receipts")
        assert (rows[0].domain, rows[0].recipient_domain) == ("acme.example", "x.example")
        assert {row.status for row in rows} == {"SUCCESS"}

    def test_times_are_those_of_the_inbox(self, client: TurboClient, sandbox: Sandbox) -> None:
        send(client, "ana@x.example")
        (row,) = client.analytics(*days())
        assert row.send_time == sandbox.inbox()["time"].iloc[0].to_pydatetime().replace(microsecond=0)

    def test_one_message_by_its_id(self, client: TurboClient) -> None:
        mid = send(client, "ana@x.example", "ben@y.example")
        row = client.analytics_of(mid)
        assert row is not None
        assert (row.id, row.recipient) == (mid, "ana@x.example")
        assert client.analytics_of("17") is None

    @pytest.mark.parametrize("page_size", [1, 3, 10, 100])
    def test_pages_hold_every_row_once(self, client: TurboClient, page_size: int) -> None:
        sent = [send(client, f"u{number}@x.example") for number in range(12)]
        assert [row.id for row in client.analytics(*days(), page_size=page_size)] == sent[::-1]

    def test_rows_that_move_while_they_are_read_come_once(self, client: TurboClient) -> None:
        """New emails push the known ones to the next page."""
        old = [f"u{number}@x.example" for number in range(12)]
        for address in old:
            send(client, address)
        found = []
        for number, row in enumerate(client.analytics(*days(), page_size=4)):
            found.append(row.recipient)
            if number % 4 == 0:
                send(client, f"new{number}@x.example")
        assert found == old[::-1]

    @pytest.mark.parametrize(
        ("search", "found"),
        [
            ({"statuses": ["FAIL"]}, ["bounce@y.example"]),
            ({"statuses": ["FAIL", "OPEN"]}, ["open@x.example", "bounce@y.example"]),
            ({"statuses": ["CLICK"]}, []),
            ({"filter": "hello", "filter_by": "subject"}, ["ana@x.example"]),
            ({"filter": "Y.EXAMPLE", "filter_by": "recipient"}, ["bounce@y.example"]),
            ({"filter": "acme", "filter_by": "recipient"}, []),
            ({"filter": "acme", "filter_by": "domain"}, ["open@x.example", "bounce@y.example", "ana@x.example"]),
            ({"filter": "shop@", "filter_by": "sender"}, ["open@x.example", "bounce@y.example", "ana@x.example"]),
            ({"filter": "autumn & co"}, ["open@x.example"]),
        ],
    )
    def test_rows_are_searched(self, client: TurboClient, search: dict[str, Any], found: list[str]) -> None:
        send(client, "ana@x.example")
        send(client, "bounce@y.example", subject="Bye")
        send(client, "open@x.example", subject="Bye", campaign_id="Autumn & Co")
        assert recipients(client.analytics(*days(), **search)) == found

    def test_other_days_have_other_rows(self, client: TurboClient) -> None:
        send(client, "ana@x.example")
        last_month = datetime.now(UTC).date() - timedelta(days=30)
        assert list(client.analytics(last_month, last_month)) == []

    def test_a_message_shows_after_its_delay(self) -> None:
        with Sandbox(analytics_delay=3600) as sandbox:
            client = sandbox.client()
            mid = send(client, "bounce@x.example")
            assert list(client.analytics(*days())) == []
            assert client.analytics_of(mid) is None
            assert list(client.suppressions(*days())) == []
            client.close()

    def test_sends_are_answered_while_the_books_are_read(
        self, client: TurboClient, sandbox: Sandbox, until: Until
    ) -> None:
        """The books are held, as they are while a long run's messages are read; who asks for them waits alone."""
        mid, found = send(client, "ana@x.example"), list[str]()
        asking = threading.Thread(target=lambda: found.extend(recipients(client.analytics(*days()))))
        with sandbox._vendor.office._lock:
            asking.start()
            until(lambda: sandbox._thread._server.server_state.tasks)  # type: ignore[union-attr]  # it is running
            assert send(client, "ben@x.example") != mid
            assert found == []
        asking.join(30)
        assert found == ["ben@x.example", "ana@x.example"]

    def test_v1s_messages_are_the_accounts_too(self, client: TurboClient, sandbox: Sandbox) -> None:
        v1 = sandbox.client("v1")
        v1.send(Email(from_="shop@acme.example", to=["ana@x.example"], subject="Hello", content="Hi"))
        assert recipients(client.analytics(*days())) == ["ana@x.example"]
        v1.close()

    def test_a_file_of_messages_has_its_past(self, tmp_path: Path) -> None:
        for address in ("ana@x.example", "ben@x.example"):
            with Sandbox(path=tmp_path / "inbox.db") as sandbox:
                client = sandbox.client()
                send(client, address)
                found = recipients(client.analytics(*days()))
                client.close()
        assert found == ["ben@x.example", "ana@x.example"]

    def test_clear_forgets(self, client: TurboClient, sandbox: Sandbox) -> None:
        send(client, "ana@x.example")
        client.import_suppressions(["ben@x.example"], "asked")
        client.validate_address("ana@x.example")
        assert len(list(client.analytics(*days()))) == 1
        sandbox.clear()
        send(client, "ben@x.example")
        assert [(row.recipient, row.status) for row in client.analytics(*days())] == [("ben@x.example", "SUCCESS")]
        assert list(client.suppressions(*days())) == []
        assert sandbox.validations() == 0


class TestEvents:
    @pytest.mark.parametrize(
        ("local_part", "status"),
        [
            ("bounce", "FAIL"),
            ("Bounce+ana", "FAIL"),
            ("drop", "SYSFAIL"),
            ("defer", "DEFER"),
            ("open", "OPEN"),
            ("click", "CLICK"),
            ("unsubscribe", "UNSUB"),
            ("complain", "REPORT"),
            ("bouncer", "SUCCESS"),
        ],
    )
    def test_a_magic_address_gets_its_event(self, client: TurboClient, local_part: str, status: str) -> None:
        row = client.analytics_of(send(client, f"{local_part}@x.example"))
        assert row is not None
        assert row.status == status
        assert bool(row.error) == (status in ("FAIL", "SYSFAIL", "DEFER"))

    def test_no_address_is_magic_twice(self) -> None:
        assert {kind.value for kind in FaultKind}.isdisjoint(EventKind)

    def test_shares_by_dice_are_the_same_at_every_look(self) -> None:
        with Sandbox(events={"bounce": 0.3, "complain": "20%"}, seed=7) as sandbox:
            client = sandbox.client()
            for number in range(200):
                send(client, f"u{number}@x.example")
            first, again = ({row.id: row for row in client.analytics(*days())} for _ in range(2))
            client.close()
        assert first == again
        counts = {
            status: sum(row.status == status for row in first.values()) for status in ("FAIL", "REPORT", "SUCCESS")
        }
        # Six standard deviations to each side.
        assert 20 < counts["FAIL"] < 100
        assert 6 < counts["REPORT"] < 75
        assert sum(counts.values()) == 200

    @pytest.mark.parametrize(
        ("events", "message"),
        [
            ({"bounced": 0.1}, "unknown event 'bounced': did you mean 'bounce'"),
            ({"bounce": 3}, "event bounce: the share '3' is not between 0 and 1"),
            ({"bounce": "lots"}, "event bounce: the share 'lots'"),
            ({"bounce": 0.7, "open": 0.7}, "add up to 1.4"),
        ],
    )
    def test_events_that_cannot_be(self, events: dict[str, Any], message: str) -> None:
        with pytest.raises(CampaignError, match=message):
            Sandbox(events=events)

    def test_a_delay_that_cannot_be(self) -> None:
        with pytest.raises(CampaignError, match="analytics_delay -1"):
            Sandbox(analytics_delay=-1)


class TestSuppressions:
    def test_who_bounces_complains_or_leaves_is_suppressed(self, client: TurboClient) -> None:
        for address in ("bounce@x.example", "complain@x.example", "unsubscribe@x.example", "open@x.example"):
            send(client, address)
        rows = list(client.suppressions(*days()))
        assert [(row.recipient, row.source) for row in rows] == [
            ("unsubscribe@x.example", "unsubscribe"),
            ("complain@x.example", "spam"),
            ("bounce@x.example", "bounce"),
        ]
        assert (rows[2].sender, rows[2].subject) == ("shop@acme.example", "Hello")
        assert rows[2].reason[:2] == "55"
        assert [row.recipient for row in client.suppressions(*days(), filter_by="spam")] == ["complain@x.example"]
        assert list(client.suppressions(*days(), filter_by="validation_failed")) == []

    def test_mail_to_who_was_imported_is_accepted_and_dropped(self, client: TurboClient) -> None:
        before = send(client, "ana@x.example")
        done = client.import_suppressions(["Ana@x.example", "no address", "ben@x.example"], "asked to")
        assert (done.valid, done.invalid) == (2, 1)
        after = send(client, "ana@x.example")
        rows = {row.id: row for row in client.analytics(*days())}
        assert rows[before].status == "SUCCESS"
        assert (rows[after].status, rows[after].error) == ("SYSFAIL", "suppressed")
        listed = {row.recipient: row for row in client.suppressions(*days(), page_size=1)}
        assert listed["Ana@x.example"].source == "manual"
        assert listed["ben@x.example"].reason == "asked to"

    @pytest.mark.parametrize("local_part", ["bounce", "complain", "unsubscribe"])
    def test_later_mail_to_who_is_suppressed_is_dropped(self, client: TurboClient, local_part: str) -> None:
        first = send(client, f"{local_part}@x.example", "ben@x.example", cc=[f"{local_part}@x.example"])
        later = send(client, "ben@x.example", local_part.title() + "@X.example")
        found = [(row.id, row.status) for row in client.analytics(*days())]
        assert found[:2] == [(later, "SYSFAIL"), (later, "SUCCESS")]
        assert "SYSFAIL" not in [status for mid, status in found if mid == first]
        assert len(list(client.suppressions(*days()))) == 1

    @pytest.mark.parametrize("addresses", [[], [""], ["ana@x.example\nben@x.example"], [" "]])
    def test_what_is_no_list_of_addresses_travels_nowhere(self, client: TurboClient, addresses: list[str]) -> None:
        for call in (
            lambda: client.import_suppressions(addresses, "asked"),
            lambda: client.upload_validation_list(addresses),
        ):
            with pytest.raises(CampaignError, match="address"):
                call()


class TestValidation:
    @pytest.mark.parametrize(
        ("address", "status", "guess"),
        [
            ("ana@x.example", "valid", None),
            ("ana@gmial.com", "invalid", "ana@gmail.com"),
            ("ana@@gmail.com", "invalid", "ana@gmail.com"),
            ("no address", "invalid", None),
            ("spamtrap@x.example", "spamtrap", None),
            ("catch-all+1@x.example", "catch_all", None),
            ("ana@do-not-mail.example", "do_not_mail", None),
            ("bounce@x.example", "invalid", None),
        ],
    )
    def test_one_address(
        self, client: TurboClient, sandbox: Sandbox, address: str, status: str, guess: str | None
    ) -> None:
        found = client.validate_address(address)
        assert (found.email, found.status, found.did_you_mean) == (address, status, guess)
        assert sandbox.validations() == 1

    def test_a_list_from_its_upload_to_its_judgements(self, client: TurboClient, sandbox: Sandbox) -> None:
        addresses = [f"u{number}@x.example" for number in range(9)] + [
            '"a, b"@x.example',
            "ana@gmial.com",
            "grün@x.example",
        ]
        made = client.upload_validation_list(addresses)
        assert (made.total_emails, made.is_processed, sandbox.validations()) == (12, False, 0)
        assert list(client.validated(made.list_id)) == []
        client.start_validation(made.list_id)
        assert sandbox.validations() == 12
        states = list(client.validating(made.list_id, interval=0))
        assert [state.percentage for state in states] == sorted({state.percentage for state in states})
        assert [state.is_processed for state in states] == [False] * (len(states) - 1) + [True]
        found = list(client.validated(made.list_id, page_size=5))
        assert [item.email for item in found] == addresses
        assert found[10].did_you_mean == "ana@gmail.com"
        assert sandbox.validations() == 12

    def test_a_list_that_takes_too_long_is_left_to_the_vendor(self, client: TurboClient) -> None:
        made = client.upload_validation_list(["ana@x.example"])  # and never started
        states = client.validating(made.list_id, interval=1, timeout=0)
        assert next(states).percentage == 0.0
        with pytest.raises(ManagementError, match=r"is at 0 % after 0 seconds; it goes on there"):
            next(states)

    def test_a_list_that_is_no_table_is_refused(self, sandbox: Sandbox) -> None:
        url = f"{sandbox.base_url('v2')}/emailvalidation/upload"
        headers = {"consumerKey": "sandbox", "consumerSecret": "sandbox"}
        answer = requests.post(url, files={"file": "a" * 131_073}, headers=headers, timeout=10)
        assert answer.status_code == 400
        assert answer.json()["errors"] == ["not valid file: field larger than field limit (131072)"]

    def test_a_list_that_is_not_there(self, client: TurboClient, sandbox: Sandbox) -> None:
        for call in (client.start_validation, client.validation_list, lambda number: list(client.validated(number))):
            with pytest.raises(ManagementError, match="HTTP 404: list_not_found") as caught:
                call("99")
            assert (caught.value.http_status, caught.value.in_doubt) == (404, False)
        assert sandbox.validations() == 0


class TestWhoMayAsk:
    def test_wrong_credentials(self, sandbox: Sandbox) -> None:
        client = TurboClient(consumer_key=KEY, consumer_secret=SECRET, base_url=sandbox.base_url("v2"))
        for call in (
            lambda: list(client.analytics(*days())),
            lambda: client.analytics_of("1"),
            lambda: client.import_suppressions(["ana@x.example"], "asked"),
            lambda: client.validate_address("ana@x.example"),
            lambda: client.upload_validation_list(["ana@x.example"]),
        ):
            with pytest.raises(
                AuthenticationError, match="refused the credentials: HTTP 401: Wrong credentials specified"
            ):
                call()
        assert sandbox.validations() == 0
        client.close()

    def test_v1_has_none_of_the_calls(self, sandbox: Sandbox) -> None:
        client = sandbox.client("v1")
        for call, what in (
            (lambda: client.analytics(TODAY, TODAY), "analytics"),
            (lambda: client.analytics_of("1"), "analytics"),
            (lambda: client.suppressions(TODAY, TODAY), "suppressions"),
            (lambda: client.import_suppressions(["ana@x.example"], ""), "suppressions"),
            (lambda: client.validate_address("ana@x.example"), "validations"),
            (lambda: client.upload_validation_list(["ana@x.example"]), "validations"),
            (lambda: client.start_validation("1"), "validations"),
            (lambda: client.validation_list("1"), "validations"),
            (lambda: client.validated("1"), "validations"),
            (lambda: client.validating("1"), "validations"),
        ):
            with pytest.raises(CampaignError, match=f"^{what} need v2 credentials: make the client with consumer_key"):
                call()

    def test_each_host_gets_its_own_credentials(self) -> None:
        """A host that was named gets every call; the vendor's credentials go to the vendor's hosts."""

        def asked(**options: Any) -> str:
            client = TurboClient(consumer_key=KEY, consumer_secret=SECRET, **options)
            assert client._management is not None
            return client._management.base_url

        assert asked() == asked(region="eu") == asked(base_url=V2_URLS["eu"]) == MANAGEMENT_URL
        assert asked(base_url="https://api.example/v2/") == "https://api.example/v2"
        assert asked(base_url="http://127.0.0.1:1/api", management_url="https://m.example/v2") == "https://m.example/v2"

    @pytest.mark.parametrize(
        "url", ["http://m.example", "https://ana:pw@m.example", "m.example", "https://m.example?a"]
    )
    def test_a_management_url_that_would_not_do(self, url: str) -> None:
        with pytest.raises(CampaignError, match="management_url"):
            TurboClient(consumer_key=KEY, consumer_secret=SECRET, management_url=url)

    def test_v1_takes_no_management_url(self) -> None:
        with pytest.raises(CampaignError, match="v1 has no management calls"):
            TurboClient(authuser="ana", authpass="x", management_url="https://m.example")

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (
                lambda client: client.analytics(TODAY, TODAY - timedelta(days=1)),
                "no days from 2026-11-23 to 2026-11-22",
            ),
            (lambda client: client.analytics(TODAY, TODAY, statuses=["FAILS"]), "did you mean 'FAIL'"),
            (lambda client: client.analytics(TODAY, TODAY, filter_by="recipent"), "did you mean 'recipient'"),
            (lambda client: client.analytics(TODAY, TODAY, page_size=0), "page_size is 0"),
            (lambda client: client.suppressions(TODAY, TODAY, filter_by="bounced"), "did you mean 'bounce'"),
            (lambda client: client.analytics_of(""), "mid '' names nothing"),
            (lambda client: client.analytics_of(".."), "mid '..' names nothing"),
            (lambda client: client.validation_list("a\nb"), "names nothing"),
        ],
    )
    def test_what_cannot_be_asked_is_told_at_once(
        self, client: TurboClient, call: Callable[[TurboClient], object], message: str
    ) -> None:
        with pytest.raises(CampaignError, match=message):
            call(client)


def answer(content: object, status: str = "200 OK", *headers: str) -> Act:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda peer: peer.answer(body, status, *headers)


PAGE = {"count": 1, "results": [ROW]}
EMPTY = {"count": 0, "results": []}
TROUBLES: dict[str, Act] = {
    "500": answer(b"Oops", "500 Internal Server Error"),
    "502": answer(b"<html>Bad Gateway</html>", "502 Bad Gateway"),
    "503": answer(b"", "503 Service Unavailable"),
    "429": answer({"message": "slow down"}, "429 Too Many Requests"),
    "garbage": answer(b"\x00\xff{]not json"),
    "another shape": answer({"message": "OK"}),
    "truncated": lambda peer: peer.send(OK_HEAD + b"Content-Length: 900\r\n\r\n" + b'{"count": 1, "results": ['),
    "close": lambda _: None,
    "reset": Peer.reset,
    "hang": Peer.hang,
}
ENDS = {"truncated", "close", "reset", "hang"}  # after these the connection is over


class Odd:
    """A host that plays one act for each request, the last one again and again, and the Management that asks it."""

    def __init__(self, serve: Serve, *acts: str | Act, timeout: float = 5.0) -> None:
        self._acts = list(acts)
        self.waits: list[float] = []
        self.server = serve(self._play)
        url = f"{self.server.url}/api/v2"
        self.calls = Management(url, KEY, SECRET, timeout=timeout, sleep=self.waits.append)

    def _play(self, peer: Peer) -> None:
        while peer.read_request() is not None:
            act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
            (TROUBLES[act] if isinstance(act, str) else act)(peer)
            if act in ENDS:
                return

    def rows(self, page_size: int = 100) -> list[AnalyticsRow]:
        try:
            return list(self.calls.analytics(TODAY, TODAY, page_size=page_size))
        finally:
            self.calls.close()

    @property
    def lines(self) -> list[str]:
        """The first line of each request."""
        return [item.partition(b"\r\n")[0].decode() for item in self.server.requests]


class TestOddHosts:
    def test_what_travels(self, serve: Serve) -> None:
        odd = Odd(serve, answer(PAGE))
        assert [row.id for row in odd.rows()] == ["1"]
        head = odd.server.requests[0].decode().lower()
        assert odd.lines == [
            "GET /api/v2/analytics?from=2026-11-23&to=2026-11-23&tz=%2B00%3A00&page=1&limit=100 HTTP/1.1"
        ]
        assert f"consumerkey: {KEY}\r\nconsumersecret: {SECRET}" in head
        assert "authorization" not in head
        assert "content-length" not in head

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_a_get_is_tried_again(self, serve: Serve, trouble: str) -> None:
        odd = Odd(serve, trouble, trouble, answer(PAGE), timeout=0.3 if trouble == "hang" else 5.0)
        assert [row.id for row in odd.rows()] == ["1"]
        assert odd.waits == [0.5, 1.0]
        assert len(set(odd.lines)) == 1

    @pytest.mark.parametrize("trouble", [name for name in TROUBLES if name != "hang"])
    def test_but_not_for_ever(self, serve: Serve, trouble: str) -> None:
        odd = Odd(serve, trouble)
        with pytest.raises(ManagementError, match=r"^127.0.0.1:\d+ gave no word on the analytics: ") as caught:
            odd.rows()
        assert (len(odd.lines), odd.waits) == (4, [0.5, 1.0, 2.0])
        assert str(caught.value).isprintable()
        assert not caught.value.in_doubt

    @pytest.mark.parametrize(
        "trouble", ["500", "429", "garbage", "another shape", "truncated", "close", "reset", "hang"]
    )
    def test_a_post_is_not(self, serve: Serve, trouble: str) -> None:
        """It costs a credit, and may have been done all the same."""
        odd = Odd(serve, trouble, timeout=0.3 if trouble == "hang" else 5.0)
        with pytest.raises(ManagementError) as caught:
            odd.calls.validate_address("ana@x.example")
        odd.calls.close()
        assert (odd.lines, odd.waits) == (["POST /api/v2/emailvalidation/validateEmail HTTP/1.1"], [])
        assert caught.value.in_doubt == (trouble != "429")
        assert ("it may have been done all the same" in str(caught.value)) == caught.value.in_doubt

    def test_unless_no_byte_of_it_left(self) -> None:
        """Nobody listens on this port any more."""
        with Sandbox() as sandbox:
            url = sandbox.base_url("v2")
        waits: list[float] = []
        calls = Management(url, "sandbox", "sandbox", sleep=waits.append)
        with pytest.raises(ManagementError, match=r"no connection \(refused\)") as caught:
            calls.validate_address("ana@x.example")
        assert waits == [0.5, 1.0, 2.0]
        assert not caught.value.in_doubt

        def listen(_: float) -> None:
            sandbox.start()

        calls = Management(url, "sandbox", "sandbox", sleep=listen)
        assert calls.validate_address("ana@x.example").status == "valid"
        assert sandbox.validations() == 1
        calls.close()
        sandbox.stop()

    @pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
    def test_who_asks_for_patience_gets_it(self, serve: Serve, status: str) -> None:
        odd = Odd(serve, answer(b"", status, "Retry-After: 7"), answer(PAGE))
        assert len(odd.rows()) == 1
        assert odd.waits == [7.0]

    def test_but_not_for_an_hour(self, serve: Serve) -> None:
        odd = Odd(serve, answer(b"", "429 Too Many Requests", "Retry-After: 1800"), answer(PAGE))
        with pytest.raises(ManagementError, match="it asks for 1800 seconds of patience") as caught:
            odd.rows()
        assert (len(odd.lines), odd.waits, caught.value.http_status) == (1, [], 429)

    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
    def test_a_redirect_is_not_followed(self, serve: Serve, status: str) -> None:
        """It would take the credentials to another host."""
        other = serve(lambda peer: peer.answer())
        odd = Odd(serve, answer(b"", status, f"Location: {other.url}/api/v2/x?secret={SECRET}"))
        with pytest.raises(ManagementError, match=rf"HTTP {status[:3]}.* a redirect to {other.url}/api/v2/x") as caught:
            odd.rows()
        with pytest.raises(ManagementError):
            odd.calls.validate_address("ana@x.example")
        odd.calls.close()
        assert other.requests == []
        assert (len(odd.lines), odd.waits) == (2, [])
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        "told",
        [
            {"message": "email_not_found"},
            {"message": "email_not_found", "details": "no such id"},
            {"message": "error", "errors": ["email_not_found"]},
        ],
    )
    def test_a_missing_email(self, serve: Serve, told: object) -> None:
        odd = Odd(serve, answer(told, "404 Not Found"))
        assert odd.calls.analytics_of("17") is None
        odd.calls.close()
        assert odd.lines == ["GET /api/v2/analytics/17?tz=%2B00%3A00 HTTP/1.1"]

    @pytest.mark.parametrize(
        "told", [b"<html>email_not_found</html>", b'{"message": "no page email_not_found here"}', b""]
    )
    def test_a_missing_page_is_not_a_missing_email(self, serve: Serve, told: bytes) -> None:
        """A wrong address of the API must not look like "the vendor doesn't know this email"."""
        odd = Odd(serve, answer(told, "404 Not Found"))
        with pytest.raises(ManagementError, match="HTTP 404"):
            odd.calls.analytics_of("17")
        odd.calls.close()

    def test_an_id_stays_in_its_place(self, serve: Serve) -> None:
        odd = Odd(serve, answer({"message": "email_not_found"}, "404 X"))
        assert odd.calls.analytics_of("x/../mail?a=b/#é%") is None
        odd.calls.close()
        assert odd.lines == ["GET /api/v2/analytics/x%2F..%2Fmail%3Fa%3Db%2F%23%C3%A9%25?tz=%2B00%3A00 HTTP/1.1"]

    def test_pages_smaller_than_asked_for(self, serve: Serve) -> None:
        pages = [[ROW | {"id": 10 * page + i} for i in range(10)] for page in range(3)]
        acts = [answer({"count": 30, "results": page}) for page in pages]
        odd = Odd(serve, *acts, answer({"count": 30, "results": []}))
        assert len(odd.rows(page_size=1000)) == 30
        assert [line.partition("page=")[2] for line in odd.lines] == [f"{n}&limit=1000 HTTP/1.1" for n in range(1, 5)]

    @pytest.mark.parametrize("told", [{"message": "no such page"}, {"message": "email_not_found"}])
    def test_a_host_without_a_page_beyond_the_last(self, serve: Serve, told: object) -> None:
        """A list whose last page is full is whole all the same."""
        rows = [ROW | {"id": number} for number in range(10)]
        odd = Odd(serve, answer({"count": 10, "results": rows}), answer(told, "404 Not Found"))
        assert len(odd.rows(page_size=10)) == 10
        assert len(odd.lines) == 2
        odd = Odd(serve, answer({"count": 11, "results": rows}), answer(told, "404 Not Found"))
        with pytest.raises(ManagementError, match="no word on the analytics"):
            odd.rows(page_size=10)

    def test_a_page_that_never_comes_is_no_end(self, serve: Serve) -> None:
        odd = Odd(serve, answer({"count": 99, "results": [ROW]}), "500")
        rows = odd.calls.analytics(TODAY, TODAY, page_size=1)
        assert next(rows).id == "1"
        with pytest.raises(ManagementError, match="HTTP 500"):
            next(rows)
        odd.calls.close()

    def test_the_same_page_for_ever(self, serve: Serve) -> None:
        odd = Odd(serve, answer({"count": 10**9, "results": [ROW]}))
        with pytest.raises(ManagementError, match="the same rows come again and again"):
            odd.rows()
        assert len(odd.lines) < 50

    def test_a_long_page_is_read_whole(self, serve: Serve) -> None:
        """One larger than any answer to an email."""
        rows = [ROW | {"id": number, "subject": "s" * 700} for number in range(3000)]
        odd = Odd(serve, answer({"count": 3000, "results": rows}), answer(EMPTY))
        assert len(odd.rows(page_size=3000)) == 3000

    def test_a_refusal_has_its_reasons(self, serve: Serve) -> None:
        odd = Odd(serve, answer({"message": "error", "errors": ["nocredit"]}, "400 Bad Request"))
        with pytest.raises(ManagementError, match=r"no word on the validation: nocredit$") as caught:
            odd.calls.validate_address("ana@x.example")
        odd.calls.close()
        assert (caught.value.http_status, caught.value.in_doubt) == (400, False)

    @pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
    def test_refused_credentials_end_it(self, serve: Serve, status: str) -> None:
        odd = Odd(serve, answer({"message": "Account for ana is inactive"}, status))
        with pytest.raises(AuthenticationError, match=f"HTTP {status[:3]}: Account for ana is inactive"):
            odd.rows()
        assert (len(odd.lines), odd.waits) == (1, [])

    @pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "404 Not Found", "500 Oops"])
    def test_what_a_host_repeats_is_masked(self, serve: Serve, status: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        told = {"message": f"no {SECRET}", "errors": [f"{KEY}\r\nX: {SECRET}"], "details": SECRET}
        odd = Odd(serve, answer(told, status, f"X-Key: {SECRET}"))
        with pytest.raises((ManagementError, AuthenticationError)) as caught:
            odd.calls.analytics_of("17")
        odd.calls.close()
        heard = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(odd.calls)
        assert KEY not in heard
        assert SECRET not in heard
        assert "tz=" not in heard
        assert str(caught.value).isprintable()

    def test_a_certificate_of_nobodys_is_refused_at_once(self, serve: Serve, ca: tuple[trustme.CA, str]) -> None:
        def play(peer: Peer) -> None:
            while peer.read_request() is not None:
                peer.answer(json.dumps(PAGE).encode())

        server = serve(play, tls_for(ca[0]))
        waits: list[float] = []
        stranger = Management(server.url, KEY, SECRET, sleep=waits.append)
        with pytest.raises(ManagementError, match="certificate is not valid"):
            list(stranger.analytics(TODAY, TODAY))
        with pytest.raises(ManagementError, match="certificate is not valid"):
            stranger.validate_address("ana@x.example")
        stranger.close()
        assert (server.requests, waits) == ([], [])
        friend = Management(server.url, KEY, SECRET, verify=ca[1])
        assert len(list(friend.analytics(TODAY, TODAY))) == 1
        friend.close()

    def test_the_environment_has_no_say(self, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """No proxy and no .netrc of its own."""
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ana password pw\n")
        odd = Odd(serve, answer(PAGE))
        assert len(odd.rows()) == 1
        assert b"uthorization" not in odd.server.requests[0]


class TestCommand:
    def test_the_command_line_takes_the_same_settings(self) -> None:
        shares = ["--bounce", "50%", "--complain", "0.5", "--open", "0"]
        command = [sys.executable, "-m", "turbobatch", "sandbox", "--port", "0", "--analytics-delay", "0", *shares]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                told = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
                assert told is not None
                client = TurboClient(consumer_key="sandbox", consumer_secret="sandbox", base_url=f"{told[0]}/api/v2")
                for number in range(30):
                    send(client, f"u{number}@x.example")
                assert {row.status for row in client.analytics(*days())} == {"FAIL", "REPORT"}
                client.close()
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=20)
            finally:
                process.kill()
        assert (process.returncode, err) == (0, "")


class TestManyThreads:
    def test_several_ask_at_once(self, client: TurboClient) -> None:
        mids = [send(client, f"u{number}@x.example") for number in range(20)]
        with ThreadPoolExecutor(8) as pool:
            rows = list(pool.map(client.analytics_of, mids))
        assert [row.id for row in rows if row] == mids

    def test_connections_are_kept_until_they_are_closed(self, serve: Serve) -> None:
        odd = Odd(serve, answer({"message": "email_not_found"}, "404 X"))
        for _ in range(3):
            odd.calls.analytics_of("17")
        assert odd.server.connections == 1
        odd.calls.close()
        odd.calls.analytics_of("17")
        assert odd.server.connections == 2
        odd.calls.close()

    def test_one_who_asks_while_it_is_closed_keeps_nothing(self, serve: Serve) -> None:
        def close_and_answer(peer: Peer) -> None:
            odd.calls.close()
            peer.answer(b'{"message": "email_not_found"}', "404 X")

        odd = Odd(serve, close_and_answer)
        for _ in range(2):
            odd.calls.analytics_of("17")
        assert odd.server.connections == 2


class TestTheSandboxsRefusals:
    @pytest.mark.parametrize(
        ("method", "path", "body", "errors"),
        [
            ("GET", "analytics", None, "missing or not valid date (from)"),
            ("GET", "analytics?from=2026-11-01&to=never", None, "missing or not valid date (to)"),
            ("GET", "analytics?from=2026-11-01&to=2026-11-02&tz=CET", None, "not valid time zone (tz)"),
            ("GET", "analytics?from=2026-11-01&to=2026-11-02&tz=%2B99:00", None, "not valid time zone (tz)"),
            ("GET", "analytics?from=2026-11-01&to=2026-11-02&page=0", None, "not valid page"),
            ("GET", "analytics?from=2026-11-01&to=2026-11-02&filter_by=size", None, "not valid filter_by"),
            ("GET", "suppressions?from=2026-11-01&to=2026-11-02&limit=x", None, "not valid limit"),
            ("POST", "suppressions/import", b"{}", "missing or not valid type or content"),
            ("POST", "suppressions/import", b"[", "the body is not a valid JSON object"),
            ("POST", "emailvalidation/validateEmail", b"{}", "missing or not valid email"),
            ("POST", "emailvalidation/upload", b"a=b", "missing or empty file"),
        ],
    )
    def test_what_is_not_understood(
        self, sandbox: Sandbox, method: str, path: str, body: bytes | None, errors: str
    ) -> None:
        headers = {"consumerKey": "sandbox", "consumerSecret": "sandbox"}
        got = requests.request(method, f"{sandbox.base_url('v2')}/{path}", data=body, headers=headers, timeout=10)
        assert (got.status_code, got.json()) == (400, {"message": "error", "errors": [errors]})

    def test_days_begin_where_the_asker_is(self, client: TurboClient, sandbox: Sandbox) -> None:
        """A zone moves both the days and the times."""
        send(client, "ana@x.example")
        headers = {"consumerKey": "sandbox", "consumerSecret": "sandbox"}
        here = sandbox.inbox()["time"].iloc[0].tz_convert("+14:00")
        query = {"from": f"{here:%Y-%m-%d}", "to": f"{here:%Y-%m-%d}", "tz": "+14:00"}
        got = requests.get(f"{sandbox.base_url('v2')}/analytics", params=query, headers=headers, timeout=10).json()
        assert got["count"] == 1
        assert got["results"][0]["send_time"] == f"{here:%Y-%m-%d %H:%M:%S}"
