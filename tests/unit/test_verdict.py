"""What each answer, and each failure to get one, proves about an email."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.addresses import CONTROL
from turbobatch.sendapi import Failure, Response, Verdict, VerdictKind, judge
from turbobatch.sendapi.verdict import RETRY_AFTER_CAP, retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = b'{"message":"OK"}'
HTML = b"<html><h1>502 Bad Gateway</h1></html>"
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def answer(status: int, body: bytes | dict[str, Any] = b"", **headers: str) -> Response:
    text = json.dumps(body).encode() if isinstance(body, dict) else body
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, text)


def error(*errors: Any) -> dict[str, Any]:
    return {"message": "error", "errors": list(errors)}


class TestFailures:
    """Whether any byte of the request was started decides."""

    def test_nothing_started_nothing_sent(self) -> None:
        assert judge(Failure("refused", started=False)) == Verdict(VerdictKind.NOT_SENT, "refused")

    def test_something_started_leaves_a_doubt(self) -> None:
        assert judge(Failure("reset", started=True)) == Verdict(VerdictKind.IN_DOUBT, "reset")

    def test_a_bad_certificate_is_another_host(self) -> None:
        assert judge(Failure("bad", started=False, certificate=True)).kind is VerdictKind.MISDIRECTED


class TestTable:
    """The rows of the API page's table, for answers."""

    @pytest.mark.parametrize("status", [200, 201, 202])
    def test_a_readable_ok_is_sent(self, status: int) -> None:
        assert judge(answer(status, OK)) == Verdict(VerdictKind.SENT, "OK", http_status=status)

    @pytest.mark.parametrize("status", [200, 400, 404, 409, 422, 499])
    def test_a_readable_error_is_rejected_with_its_errors(self, status: int) -> None:
        verdict = judge(answer(status, error("'a' 'to' email not valid", "Invalid Mime")))
        errors = ("'a' 'to' email not valid", "Invalid Mime")
        assert verdict == Verdict(VerdictKind.REJECTED, "error", errors, http_status=status)

    @pytest.mark.parametrize("status", [200, 400])
    def test_no_credit_stops(self, status: int) -> None:
        assert judge(answer(status, error("nocredit"))).kind is VerdictKind.NO_CREDIT

    def test_an_address_that_speaks_of_credit_is_no_lack_of_it(self) -> None:
        assert judge(answer(400, error("'nocredit@@x' 'to' email not valid"))).kind is VerdictKind.REJECTED

    @pytest.mark.parametrize("status", [401, 403])
    @pytest.mark.parametrize("body", [b"", HTML, OK, b'{"errorCode":3,"message":"Wrong credentials specified"}'])
    def test_the_credentials_were_refused(self, status: int, body: bytes) -> None:
        assert judge(answer(status, body)).kind is VerdictKind.CREDENTIALS

    def test_the_refusal_of_credentials_keeps_the_answers_words(self) -> None:
        body = {"errorCode": 3, "message": "Account for ana is inactive", "details": "See the docs"}
        assert judge(answer(401, body)) == Verdict(
            VerdictKind.CREDENTIALS, "HTTP 401: Account for ana is inactive", ("See the docs",), http_status=401
        )

    @pytest.mark.parametrize("body", [b"", HTML, b'{"message":"error","errors":["too many"]}'])
    def test_too_many_requests_ask_for_a_pause(self, body: bytes) -> None:
        verdict = judge(answer(429, body, retry_after="7"))
        assert (verdict.kind, verdict.retry_after, verdict.http_status) == (VerdictKind.THROTTLED, 7.0, 429)
        assert judge(answer(429, body)).retry_after is None

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
    @pytest.mark.parametrize("body", [b"", HTML, OK, b'{"message":"error","errors":["x"]}'])
    def test_a_servers_failure_leaves_a_doubt(self, status: int, body: bytes) -> None:
        assert judge(answer(status, body, retry_after="1")).kind is VerdictKind.IN_DOUBT

    @pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308, 399])
    @pytest.mark.parametrize("body", [b"", OK])
    def test_a_redirect_is_another_host(self, status: int, body: bytes) -> None:
        verdict = judge(answer(status, body, location="https://evil.example/x?authpass=secret#authpass=secret"))
        assert verdict.kind is VerdictKind.MISDIRECTED
        assert verdict.message.endswith("a redirect to https://evil.example/x")

    def test_see_other_answers_what_was_acted_upon(self) -> None:
        assert judge(answer(303, b"", location="/done")).kind is VerdictKind.IN_DOUBT

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(HTML, id="a page"),
            pytest.param(b'{"message":"O', id="half of it"),
            pytest.param(b'"OK"', id="a string"),
            pytest.param(b'[{"message":"OK"}]', id="a list"),
            pytest.param(b"null", id="null"),
            pytest.param(b"1", id="a number"),
            pytest.param(b"{}", id="an empty object"),
            pytest.param(b'{"message":"ok"}', id="another case"),
            pytest.param(b'{"message":true}', id="no text"),
            pytest.param(b'{"message":"queued"}', id="another word"),
            pytest.param(b'{"message":["OK"]}', id="a list with the word"),
            pytest.param(b'{"status":"OK"}', id="another name"),
            pytest.param(b'{"message":"OK","x":"\xff"}', id="no UTF-8"),
            pytest.param(b'{"message":"OK"} trailing', id="more than JSON"),
            pytest.param(b'{"message":' + b"[" * 100_000, id="bottomless"),
            pytest.param(b'{"message":"OK","mid":' + b"9" * 5000 + b"}", id="a number without end"),
            pytest.param(b"\x00\xff\xfe{]}not json", id="garbage"),
        ],
    )
    def test_an_unreadable_success_leaves_a_doubt(self, body: bytes) -> None:
        assert judge(answer(200, body)).kind is VerdictKind.IN_DOUBT

    @pytest.mark.parametrize("status", [201, 204])
    def test_an_error_with_a_strange_success_leaves_a_doubt(self, status: int) -> None:
        assert judge(answer(status, error("x"))).kind is VerdictKind.IN_DOUBT

    def test_yes_and_no_at_once_leaves_a_doubt(self) -> None:
        assert judge(answer(400, OK)).kind is VerdictKind.IN_DOUBT

    @pytest.mark.parametrize("status", [400, 404, 405, 407, 411, 414, 415, 417, 421, 426, 431])
    @pytest.mark.parametrize("body", [b"", HTML, b"{}", b'{"message":"no such path"}'])
    def test_a_request_that_was_not_acted_upon_was_not_accepted(self, status: int, body: bytes) -> None:
        assert judge(answer(status, body)).kind is VerdictKind.NOT_SENT

    @pytest.mark.parametrize("status", [402, 406, 408, 409, 410, 412, 418, 422, 423, 424, 425, 428, 451, 499])
    def test_another_clients_error_without_the_apis_words_leaves_a_doubt(self, status: int) -> None:
        """A proxy may say so of a request that the API has, also as JSON of its own."""
        for body in (b"", HTML, b'{"message":', b"[]", b"{}", b'{"message":"Request Timeout"}'):
            assert judge(answer(status, body)).kind is VerdictKind.IN_DOUBT
        assert judge(answer(status, error("x"))).kind is VerdictKind.REJECTED

    def test_too_large_is_the_emails_own_fault(self) -> None:
        assert judge(answer(413, HTML)).kind is VerdictKind.REJECTED

    @pytest.mark.parametrize("status", [0, 101, 103, 600, 999])
    def test_a_status_from_nowhere_leaves_a_doubt(self, status: int) -> None:
        assert judge(answer(status, OK)).kind is VerdictKind.IN_DOUBT


class TestWords:
    @pytest.mark.parametrize("mid", [2**63 - 1, 2**53 + 1, 0, "abc-1"])
    def test_the_mid_is_kept_as_exact_text(self, mid: int | str) -> None:
        assert judge(answer(200, {"message": "OK", "mid": mid})).mid == str(mid)

    @pytest.mark.parametrize("body", [{}, {"mid": None}, {"mid": ""}])
    def test_without_a_mid_there_is_none(self, body: dict[str, Any]) -> None:
        assert judge(answer(200, {"message": "OK"} | body)).mid is None

    @pytest.mark.parametrize(
        ("errors", "told"),
        [
            ("one text", ("one text",)),
            (["a", 1, None, {"x": "y"}], ("a", "1", "", "{'x': 'y'}")),
            ({"to": "bad"}, ("{'to': 'bad'}",)),
            (None, ()),
            ("", ()),
            ([], ()),
        ],
    )
    def test_errors_of_any_shape_become_texts(self, errors: Any, told: tuple[str, ...]) -> None:
        verdict = judge(answer(400, {"message": "error", "errors": errors}))
        assert (verdict.kind, verdict.errors) == (VerdictKind.REJECTED, told)

    def test_errors_may_be_missing(self) -> None:
        assert judge(answer(400, b'{"message":"error"}')) == Verdict(VerdictKind.REJECTED, "error", http_status=400)

    @pytest.mark.parametrize("depth", range(880, 1000, 3))
    def test_deep_nesting_is_never_too_deep(self, depth: int) -> None:
        """Around here Python gives up, on reading or on writing."""
        nested = b"[" * depth + b"]" * depth
        assert judge(answer(200, b'{"message":' + nested + b"}")).kind is VerdictKind.IN_DOUBT
        assert judge(answer(400, b'{"message":"error","errors":[' + nested + b"]}")).kind in {
            VerdictKind.REJECTED,
            VerdictKind.NOT_SENT,
        }

    @given(
        st.sampled_from([200, 204, 303, 307, 400, 401, 413, 429, 500]),
        st.binary()
        | st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=600), st.lists
        ).map(lambda value: json.dumps({"message": value, "errors": value, "mid": value, "details": value}).encode())
        | st.text(st.characters()).map(
            lambda text: json.dumps({"message": "error", "errors": [text], "details": text}).encode()
        )
        | st.text(st.characters()).map(lambda text: json.dumps({"message": "OK", "mid": text}).encode()),
        st.text(st.characters(), max_size=30),
    )
    def test_any_answer_has_a_verdict_in_short_clean_lines(self, status: int, body: bytes, header: str) -> None:
        verdict = judge(answer(status, body, retry_after=header, location=header))
        for text in (verdict.message, *verdict.errors, verdict.mid or ""):
            assert len(text) <= 500
            assert not CONTROL.search(text)
            text.encode()
        assert verdict.http_status == status

    def test_a_failures_message_is_one_line(self) -> None:
        assert judge(Failure("a\r\nb\u2028c", started=True)).message == "a  b c"


class TestRetryAfter:
    @pytest.fixture(autouse=True, params=["UTC", "America/New_York"])
    def zone(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """The machine's own time zone has no say."""
        before = os.environ.get("TZ")
        monkeypatch.setenv("TZ", request.param)
        time.tzset()
        yield
        monkeypatch.undo()
        assert os.environ.get("TZ") == before
        time.tzset()

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0.0),
            ("7", 7.0),
            (" 7 ", 7.0),
            ("3601", RETRY_AFTER_CAP),
            ("9" * 500, RETRY_AFTER_CAP),
            (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
            (format_datetime(NOW + timedelta(days=30), usegmt=True), RETRY_AFTER_CAP),
            (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0.0),
            ("Monday, 23-Nov-26 12:00:30 GMT", 30.0),
            ("Mon Nov 23 12:00:30 2026", 30.0),
            ("Mon, 23 Nov 2026 12:00:30 -0000", 30.0),
            ("Mon, 23 Nov 2026 13:00:30 +0100", 30.0),
            ("Thu, 01 Jan 0001 00:00:00 GMT", 0.0),
        ],
    )
    def test_seconds_and_dates(self, value: str, seconds: float) -> None:
        assert retry_after(value, NOW.timestamp()) == seconds

    @pytest.mark.parametrize(
        "value",
        [None, "", " ", "-5", "1.5", "soon", "nan", "inf", "1e3", "²", "Mon, 99 Nov 2026 12:00:30 GMT", "0x10", "7, 8"],
    )
    def test_what_cannot_be_read_says_nothing(self, value: str | None) -> None:
        assert retry_after(value, NOW.timestamp()) is None

    @given(st.text() | st.text("MonNov GMT0123456789:,+-", max_size=40))
    def test_any_text_is_a_pause_within_bounds_or_none(self, value: str) -> None:
        seconds = retry_after(value, NOW.timestamp())
        assert seconds is None or 0 <= seconds <= RETRY_AFTER_CAP
