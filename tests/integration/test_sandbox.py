"""The sandbox as its clients meet it: real sockets, its answers, its faults, its ledger."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
import requests

from turbobatch.errors import CampaignError
from turbobatch.sandbox import Fault, FaultKind, Sandbox
from turbobatch.sandbox.faults import FaultPlan, read_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

V1 = {"authuser": "sandbox", "authpass": "sandbox"}
V2 = {"consumerKey": "sandbox", "consumerSecret": "sandbox"}
MESSAGE = {"from": "Acme <shop@acme.example>", "to": "ana@x.example", "subject": "Hello", "content": "Hi"}


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def send(http: requests.Session, sandbox: Sandbox, api: str = "v2", **changes: Any) -> requests.Response:
    """Send MESSAGE with changes (None leaves a field out)."""
    message = {name: value for name, value in (MESSAGE | changes).items() if value is not None}
    url = f"{sandbox.base_url(api)}/mail/send"
    if api == "v1":
        return http.post(url, data=message, headers=V1, timeout=10)
    return http.post(url, json=message, headers=V2, timeout=10)


def get(http: requests.Session, sandbox: Sandbox, path: str) -> Any:
    return http.get(sandbox.url + path, timeout=10).json()


class TestAnswers:
    def test_v2_answers_ok_with_a_64_bit_mid(self, sandbox: Sandbox, http: requests.Session) -> None:
        answer = send(http, sandbox)
        body = answer.json()
        assert (answer.status_code, body["message"]) == (200, "OK")
        assert body["mid"] > 2**53
        assert sandbox.inbox()["mid"].tolist() == [str(body["mid"])]

    def test_v1_answers_ok_and_nothing_else(self, sandbox: Sandbox, http: requests.Session) -> None:
        assert send(http, sandbox, "v1").json() == {"message": "OK"}

    @pytest.mark.parametrize(
        ("changes", "errors"),
        [
            ({"to": "broken@@@A.@@"}, ["'broken@@@A.@@' recipient email not valid"]),
            ({"cc": "broken"}, ["'broken' cc email not valid"]),
            ({"bcc": "a@x.example, broken2@"}, ["'broken2@' bcc email not valid"]),
            ({"to": "x", "bcc": "y"}, ["'x' recipient email not valid", "'y' bcc email not valid"]),
            ({"from": "nobody"}, ["missing or not valid sender email (from)"]),
            ({"mime_raw": "no headers and no empty line"}, ["Invalid Mime"]),
            ({"custom_headers": "{"}, ["custom_headers is not a valid JSON object"]),
            ({"custom_headers": '{"X-A": NaN}'}, ["custom_headers is not a valid JSON object"]),
            ({"custom_headers": "[" * 100_000}, ["custom_headers is not a valid JSON object"]),
            ({"subject": "s" * 701}, ["subject too long (max 700 characters)"]),
        ],
    )
    def test_v1_words_its_refusals(
        self, sandbox: Sandbox, http: requests.Session, changes: dict[str, str], errors: list[str]
    ) -> None:
        answer = send(http, sandbox, "v1", **changes)
        assert (answer.status_code, answer.json()) == (400, {"message": "error", "errors": errors})
        assert sandbox.inbox().empty

    @pytest.mark.parametrize(
        ("changes", "errors"),
        [
            ({"to": "abc"}, ["'abc' 'to' email not valid"]),
            ({"cc": "cc_@ab1"}, ["'cc_@ab1' 'cc' email not valid"]),
            ({"bcc": "<>"}, ["'<>' 'bcc' email not valid"]),
            ({"to": None}, ["missing recipients (to)"]),
            ({"to": " , "}, ["missing recipients (to)"]),
            ({"from": None}, ["missing or not valid sender email (from)"]),
            ({"from": "Doe, Jane <a@x.example>"}, ["missing or not valid sender email (from)"]),
            ({"mime_raw": "Content-Type: multipart/mixed\n\nx"}, ["Invalid Mime"]),
            ({"to": ["a@x.example"]}, ["'to' must be a string", "missing recipients (to)"]),
            ({"subject": "s" * 701}, ["subject too long (max 700 characters)"]),
            ({"custom_headers": ["X-A"]}, ["custom_headers is not a valid JSON object"]),
            ({"custom_headers": {"X A": "1"}}, ["'X A' custom header not valid"]),
            ({"custom_headers": {"X-A": "1\r\nBcc: spy@x.example"}}, ["'X-A' custom header not valid"]),
            ({"custom_headers": {"X-A": {}}}, ["'X-A' custom header not valid"]),
            ({"attachments": {}}, ["attachments must be a list of objects"]),
            ({"attachments": [{"content": "aGk="}]}, ["attachments[0]: missing or not valid name"]),
            ({"attachments": [{"name": "a", "content": "!"}]}, ["attachments[0]: content is not valid base64"]),
            ({"attachments": [{"name": "a", "content": "é"}]}, ["attachments[0]: content is not valid base64"]),
        ],
    )
    def test_v2_words_its_refusals(
        self, sandbox: Sandbox, http: requests.Session, changes: dict[str, Any], errors: list[str]
    ) -> None:
        answer = send(http, sandbox, **changes)
        assert (answer.status_code, answer.json()) == (400, {"message": "error", "errors": errors})
        assert sandbox.inbox().empty

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"to": NaN}', b'{"to": "\\ud800"}', b"\xff", b"[" * 100_000])
    def test_v2_refuses_what_is_no_json_object(self, sandbox: Sandbox, http: requests.Session, body: bytes) -> None:
        answer = http.post(f"{sandbox.base_url('v2')}/mail/send", data=body, headers=V2, timeout=10)
        assert (answer.status_code, answer.json()["errors"]) == (400, ["the body is not a valid JSON object"])

    def test_a_v1_error_can_answer_200(self, http: requests.Session) -> None:
        with Sandbox(v1_error_status=200) as sandbox:
            assert send(http, sandbox, "v1", to="x").status_code == 200
            assert send(http, sandbox, "v2", to="x").status_code == 400
            assert sandbox.inbox().empty

    @pytest.mark.parametrize(("api", "limit"), [("v1", 4), ("v2", 24)])
    def test_a_message_over_the_size_limit_is_refused(
        self, sandbox: Sandbox, http: requests.Session, api: str, limit: int
    ) -> None:
        fits = send(http, sandbox, api, content="x" * (limit * 1024 * 1024 - 1000))
        over = send(http, sandbox, api, content="x" * (limit * 1024 * 1024))
        far_over = send(http, sandbox, api, content="x" * (limit * 1024 * 1024 * 5))
        assert fits.status_code == 200
        for answer in (over, far_over):
            assert answer.status_code == 400
            assert answer.json()["errors"] == [f"message too large (max {limit} MB)"]
        assert len(sandbox.inbox()) == 1

    def test_credit_runs_out_after_the_messages_it_covers(self, http: requests.Session) -> None:
        with Sandbox(nocredit_after=2) as sandbox:
            codes = [send(http, sandbox, api).status_code for api in ("v1", "v2", "v1", "v2")]
            assert codes == [200, 200, 400, 400]
            assert send(http, sandbox).json() == {"message": "error", "errors": ["nocredit"]}
            assert len(sandbox.inbox()) == 2

    def test_latency_delays_no_stop(self, http: requests.Session) -> None:
        """A stop ends the wait of a request in flight, which is still answered and kept."""
        with Sandbox(latency=3600) as sandbox:
            answers: list[requests.Response] = []
            sender = threading.Thread(target=lambda: answers.append(send(http, sandbox)))
            sender.start()
            while sandbox.requests_seen() == 0:
                sender.join(0.01)
        sender.join(10)
        assert [answer.status_code for answer in answers] == [200]
        assert len(sandbox.inbox()) == 1

    def test_a_short_latency_only_delays(self, http: requests.Session) -> None:
        with Sandbox(latency=0.01) as sandbox:
            assert send(http, sandbox).status_code == 200

    def test_a_client_that_leaves_before_its_body_is_complete_is_counted_and_not_accepted(
        self, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
    ) -> None:
        with socket.create_connection(_address(sandbox)) as client:
            client.sendall(b"POST /api/v2/mail/send HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
        assert (sandbox.requests_seen(), len(sandbox.inbox())) == (1, 0)
        assert not caplog.records

    def test_a_stop_cuts_off_a_client_that_never_completes_its_body(self) -> None:
        with Sandbox() as sandbox, socket.create_connection(_address(sandbox)) as client:
            client.sendall(b"POST /api/mail/send HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{")
            while sandbox.requests_seen() == 0:
                threading.Event().wait(0.01)
            sandbox.stop()
            assert client.recv(100) == b""

    def test_a_stop_waits_for_a_request_whose_body_still_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is answered, while connections that ask for nothing are closed."""
        monkeypatch.setattr("turbobatch.sandbox.server._GRACE", 60.0)
        with Sandbox() as sandbox, contextlib.ExitStack() as stack:
            idle, busy = (stack.enter_context(socket.create_connection(_address(sandbox))) for _ in range(2))
            idle.sendall(b"GET /count HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert idle.recv(1000).startswith(b"HTTP/1.1 200 ")
            busy.sendall(b"POST /api/mail/send HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{")
            while sandbox.requests_seen() == 0:
                threading.Event().wait(0.01)
            stopping = threading.Thread(target=sandbox.stop)
            stopping.start()
            while idle.recv(1000):
                pass
            busy.sendall(b"}")
            assert busy.recv(1000).startswith(b"HTTP/1.1 4")
            stopping.join()


class TestCredentials:
    @pytest.mark.parametrize("place", ["headers", "fields", "query"])
    def test_v1_takes_them_in_three_places(self, sandbox: Sandbox, http: requests.Session, place: str) -> None:
        where: dict[str, Any] = {"headers": {"headers": V1}, "fields": {}, "query": {"params": V1}}[place]
        data = MESSAGE | (V1 if place == "fields" else {})
        answer = http.post(f"{sandbox.base_url('v1')}/mail/send", data=data, timeout=10, **where)
        assert answer.json() == {"message": "OK"}
        assert sandbox.messages()[0]["auth_in"] == place

    @pytest.mark.parametrize(
        ("api", "headers", "message"),
        [
            ("v1", {}, "Invalid authorization token"),
            ("v1", V1 | {"authpass": "wrong"}, "Wrong credentials specified"),
            ("v1", {"authuser": "sandbox"}, "Wrong credentials specified"),
            ("v2", {}, "Invalid authorization token"),
            ("v2", V2 | {"consumerSecret": "wrong"}, "Wrong credentials specified"),
            ("v2", V2 | {"consumerKey": "wrong"}, "Wrong credentials specified"),
            ("v2", V2 | {"Authorization": "Bearer x"}, "Invalid authorization token"),
            ("v2", V1, "Invalid authorization token"),
        ],
    )
    def test_missing_or_wrong_ones_are_answered_401(
        self, sandbox: Sandbox, http: requests.Session, api: str, headers: dict[str, str], message: str
    ) -> None:
        body: dict[str, Any] = {"data": MESSAGE} if api == "v1" else {"json": MESSAGE}
        answer = http.post(f"{sandbox.base_url(api)}/mail/send", headers=headers, timeout=10, **body)
        assert answer.status_code == 401
        assert {"errorCode": 3, "message": message}.items() <= answer.json().items()
        assert answer.json()["details"]
        assert (len(sandbox.inbox()), sandbox.requests_seen()) == (0, 1)

    def test_an_account_of_ones_own_is_the_only_one(self, http: requests.Session) -> None:
        with Sandbox(consumer_key="k", consumer_secret="s") as sandbox:
            assert send(http, sandbox).status_code == 401
            url = f"{sandbox.base_url('v2')}/mail/send"
            own = {"consumerKey": "k", "consumerSecret": "s"}
            assert http.post(url, json=MESSAGE, headers=own, timeout=10).status_code == 200

    def test_they_are_never_kept(self, http: requests.Session, tmp_path: Path) -> None:
        file = tmp_path / "inbox.db"
        with Sandbox(authuser="user-71", authpass="pass-72", consumer_secret="secret-73", path=file) as sandbox:
            given = {"authuser": "user-71", "authpass": "pass-72"}
            url = f"{sandbox.base_url('v1')}/mail/send"
            for where in ({"data": MESSAGE | given}, {"data": MESSAGE, "params": given}):
                assert http.post(url, **cast("Any", where), timeout=10).ok
            url, headers = f"{sandbox.base_url('v2')}/mail/send", V2 | {"consumerSecret": "secret-73"}
            assert http.post(url, json=MESSAGE | {"consumerSecret": "secret-73"}, headers=headers, timeout=10).ok
            kept = json.dumps(sandbox.messages())
            assert sandbox.messages()[0]["fields"] == MESSAGE | dict.fromkeys(given, "•••")
        kept += "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())
        assert "Hello" in kept
        for secret in ("user-71", "pass-72", "secret-73"):
            assert secret not in kept

    def test_they_are_not_in_the_sandboxs_repr(self) -> None:
        sandbox = Sandbox(authpass="pass-72", consumer_secret="secret-73")
        assert not {"pass-72", "secret-73"} & set(repr(sandbox._account).split("'"))


class TestAddresses:
    def test_lists_are_split_on_every_comma_even_in_quotes(self, sandbox: Sandbox, http: requests.Session) -> None:
        errors = send(http, sandbox, to='"Doe, Jane" <a@x.example>').json()["errors"]
        assert errors == ["'\"Doe' 'to' email not valid", "'Jane\" <a@x.example>' 'to' email not valid"]

    def test_the_sender_is_not_split(self, sandbox: Sandbox, http: requests.Session) -> None:
        assert send(http, sandbox, **{"from": '"Doe, Jane" <a@x.example>'}).status_code == 200
        assert sandbox.messages()[0]["addresses"]["from"] == [{"name": "Doe, Jane", "email": "a@x.example"}]

    def test_encoded_words_are_decoded(self, sandbox: Sandbox, http: requests.Session) -> None:
        name = base64.b64encode(b"Doe, Jane").decode()
        assert send(http, sandbox, to=f"=?utf-8?b?{name}?= <a@x.example>, =?utf-8?q?Zo=C3=AB?= <z@x.example>").ok
        assert sandbox.inbox()["to"].tolist() == ['"Doe, Jane" <a@x.example>, Zoë <z@x.example>']

    @pytest.mark.parametrize("name", ["Acme Inc.", "A@B", 'half "quoted', "=?utf-8?b?DQpCY2M6?="])
    def test_a_name_that_must_be_quoted_and_is_not_is_refused(
        self, sandbox: Sandbox, http: requests.Session, name: str
    ) -> None:
        """The last one decodes to a line break, which could start a header."""
        assert send(http, sandbox, to=f"{name} <a@x.example>").status_code == 400

    @pytest.mark.parametrize("name", ["", "Ana", '"Acme Inc."', r'"a \"b\" \\"', "=?no-such?b?QQ==?=", "=?utf-8?b?A?="])
    def test_any_other_name_is_taken(self, sandbox: Sandbox, http: requests.Session, name: str) -> None:
        assert send(http, sandbox, to=f"{name} <a@x.example>").status_code == 200


class TestInbox:
    def test_a_row_holds_what_was_sent(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(
            http,
            sandbox,
            cc="c@x.example",
            bcc="b@x.example",
            html_content="<p>Hi",
            custom_headers={"X-Order": 1},
            reference_id="r-1",
            **{"X-campaign-ID": "spring"},
        )
        row = sandbox.inbox().iloc[0]
        assert row.drop(["mid", "time", "size"]).to_dict() == {
            "id": 1,
            "api": "v2",
            "sender": "Acme <shop@acme.example>",
            "to": "ana@x.example",
            "cc": "c@x.example",
            "bcc": "b@x.example",
            "subject": "Hello",
            "content": "Hi",
            "html_content": "<p>Hi",
            "custom_headers": {"X-Order": "1"},
            "reference_id": "r-1",
            "campaign_id": "spring",
            "attachments": [],
        }
        assert str(row["time"].tzinfo) == "UTC"
        assert row["size"] > 100

    def test_it_has_its_columns_and_types_when_it_is_empty(self, sandbox: Sandbox) -> None:
        frame = sandbox.inbox()
        assert list(frame.columns) == [
            "id", "mid", "time", "api", "sender", "to", "cc", "bcc", "subject", "content", "html_content",
            "custom_headers", "reference_id", "campaign_id", "attachments", "size",
        ]  # fmt: skip
        assert str(frame.dtypes["time"]).endswith("UTC]")
        assert str(frame.dtypes["size"]) == "int64"

    def test_duplicates_are_kept(self, sandbox: Sandbox, http: requests.Session) -> None:
        for _ in range(2):
            send(http, sandbox)
        assert sandbox.inbox()["id"].tolist() == [1, 2]
        assert sandbox.inbox()["mid"].nunique() == 2

    def test_clear_forgets_messages_counts_and_used_credit(self, http: requests.Session) -> None:
        with Sandbox(nocredit_after=1) as sandbox:
            send(http, sandbox)
            sandbox.clear()
            assert (len(sandbox.inbox()), sandbox.requests_seen()) == (0, 0)
            assert send(http, sandbox).status_code == 200
            assert sandbox.inbox()["id"].tolist() == [2]

    def test_any_text_survives(self, sandbox: Sandbox, http: requests.Session) -> None:
        text = 'Ünï "quoted" 日本 🦉 \u2028 <script> \\ \x01'
        assert send(http, sandbox, subject=text, content=text).ok
        row = sandbox.inbox().iloc[0]
        assert (row["subject"], row["content"]) == (text, text)
        assert get(http, sandbox, "/messages/1")["subject"] == text

    def test_it_can_be_read_after_the_sandbox_stopped(self, http: requests.Session) -> None:
        with Sandbox() as sandbox:
            send(http, sandbox)
        assert len(sandbox.inbox()) == len(sandbox.messages()) == 1


class TestV1Form:
    def test_multipart_fields_and_files_are_taken(self, sandbox: Sandbox, http: requests.Session) -> None:
        files: dict[str, Any] = {name: (None, text) for name, text in MESSAGE.items()}
        files["content"] = ("content.txt", "Grüße".encode())
        answer = http.post(f"{sandbox.base_url('v1')}/mail/send", files=files, headers=V1, timeout=10)
        assert answer.json() == {"message": "OK"}
        row = sandbox.inbox().iloc[0]
        assert (row["subject"], row["content"]) == ("Hello", "Grüße")

    def test_broken_multipart_is_refused(self, sandbox: Sandbox, http: requests.Session) -> None:
        headers = V1 | {"Content-Type": "multipart/form-data"}
        answer = http.post(f"{sandbox.base_url('v1')}/mail/send", data=b"x", headers=headers, timeout=10)
        assert (answer.status_code, answer.json()["message"]) == (400, "error")

    def test_both_names_of_a_field_are_taken(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox, "v1", content_html="<p>one")
        send(http, sandbox, "v1", mime="\nbody")
        assert sandbox.inbox()["html_content"].tolist() == ["<p>one", ""]
        assert sandbox.inbox()["content"].tolist() == ["Hi", "body"]

    def test_custom_headers_travel_as_json_text(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox, "v1", custom_headers='{"X-A": "1", "reply-to": "r@x.example"}')
        assert sandbox.inbox().loc[0, "custom_headers"] == {"X-A": "1", "reply-to": "r@x.example"}


def mime_message() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message.set_content("plain ü\n")
    message.add_alternative('<img src="cid:logo@acme.example">', subtype="html")
    html = cast("list[EmailMessage]", message.get_payload())[1]
    html.add_related(b"\x89PNG", "image", "png", cid="<logo@acme.example>", filename="logo.png")
    message.add_attachment(b"%PDF\x00", maintype="application", subtype="pdf", filename="Rechnung Nr. ü.pdf")
    inner = EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("inside")
    message.add_attachment(inner)
    return message


class TestMime:
    @pytest.mark.parametrize("api", ["v1", "v2"])
    def test_a_mime_message_is_taken_apart_and_its_source_kept(
        self, sandbox: Sandbox, http: requests.Session, api: str
    ) -> None:
        raw = mime_message().as_string(policy=policy.SMTP)
        assert send(http, sandbox, api, mime_raw=raw, subject=None, content="replaced").ok
        message = sandbox.messages()[0]
        assert message["subject"] == "Grüße"
        assert message["content"] == "plain ü\n"
        assert message["html_content"] == '<img src="cid:logo@acme.example">\n'
        assert message["mime_raw"] == raw
        assert sandbox.raw(1) == raw.encode()
        logo, pdf, inner = message["attachments"]
        assert logo == {
            "name": "logo.png", "type": "image/png", "content_id": "logo@acme.example", "size": 4,
            "content": base64.b64encode(b"\x89PNG").decode(),
        }  # fmt: skip
        assert (pdf["name"], base64.b64decode(pdf["content"])) == ("Rechnung Nr. ü.pdf", b"%PDF\x00")
        assert (inner["name"], inner["type"]) == ("part-3", "message/rfc822")
        assert b"inside" in base64.b64decode(inner["content"])

    @pytest.mark.parametrize("name", [" a b ", '"a"', "<a>", "a;b", "../a", " "])
    def test_a_files_name_is_kept_to_its_ends(self, sandbox: Sandbox, http: requests.Session, name: str) -> None:
        message = EmailMessage()
        message.add_attachment(b"", "image", "png", filename=name)
        send(http, sandbox, mime_raw=message.as_string())
        assert sandbox.inbox().loc[0, "attachments"] == [name]

    def test_a_files_name_in_encoded_words_or_beside_the_type_is_read(
        self, sandbox: Sandbox, http: requests.Session
    ) -> None:
        send(http, sandbox, mime_raw='Content-Type: image/png; name="=?utf-8?q?gr=C3=BCn=2Epng?="\n\n')
        send(http, sandbox, mime_raw="Content-Type: image/png\n\n")
        assert sandbox.inbox()["attachments"].tolist() == [["grün.png"], ["part-1"]]

    def test_a_body_in_an_unknown_charset_is_still_shown(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox, mime_raw="Content-Type: text/plain; charset=no-such\n\nbody")
        assert sandbox.inbox().loc[0, "content"] == "body"

    def test_attachments_are_kept_with_the_servers_content_ids(self, sandbox: Sandbox, http: requests.Session) -> None:
        png = base64.b64encode(b"\x89PNG").decode()
        attachments = [
            {"content": png, "name": "logo.png", "type": "image/png", "content_id": "logo"},
            {"content": png, "name": "other.png", "type": "image/png", "content_id": "own@x.example"},
            {"content": "", "name": "größe.bin"},
        ]
        assert send(http, sandbox, attachments=attachments, html_content="<p>").ok
        assert sandbox.inbox().loc[0, "attachments"] == ["logo.png", "other.png", "größe.bin"]
        kept = sandbox.messages()[0]["attachments"]
        assert [item["content_id"] for item in kept] == ["logo@acme.example", "own@x.example", ""]
        assert [item["type"] for item in kept] == ["image/png", "image/png", "application/octet-stream"]
        assert kept[0]["content"] == png

    @pytest.mark.parametrize("content", ["text", ""])
    @pytest.mark.parametrize("html_content", ["<p>html", ""])
    @pytest.mark.parametrize("content_id", ["logo", ""])
    def test_a_source_is_made_of_the_fields(
        self, sandbox: Sandbox, http: requests.Session, content: str, html_content: str, content_id: str
    ) -> None:
        inline = {"content": "iVBORw==", "name": "lögo.png", "type": "multipart/odd", "content_id": content_id}
        file = {"content": "JVBERg==", "name": "a.pdf", "type": "no type"}
        headers = {"reply-to": "r@x.example", "Content-Type": "text/evil"}
        send(
            http, sandbox, cc="Zoë <z@x.example>", bcc="b@x.example", subject="Grüße\r\nBcc: spy@x.example",
            content=content, html_content=html_content, attachments=[inline, file], custom_headers=headers,
        )  # fmt: skip
        message = message_from_bytes(sandbox.raw(1), policy=policy.default)
        assert message["From"] == "Acme <shop@acme.example>"
        assert message["Cc"] == "Zoë <z@x.example>"
        assert message["Subject"] == "Grüße  Bcc: spy@x.example"
        assert message["Reply-To"] == "r@x.example"
        assert message["Bcc"] is None
        assert message.get_content_type() == "multipart/mixed"
        names = [part.get_filename() for part in message.walk() if part.get_filename()]
        assert names == ["lögo.png", "a.pdf"]
        bodies = [part.get_content() for part in message.walk() if part.get_content_maintype() == "text"]
        assert bodies == ([content] if content or not html_content else []) + ([html_content] if html_content else [])
        ids = [part["Content-ID"] for part in message.walk() if part["Content-ID"]]
        assert ids == (["<logo@acme.example>"] if content_id else [])

    def test_the_source_of_no_message_is_one_clear_error(self, sandbox: Sandbox) -> None:
        with pytest.raises(CampaignError, match="no message 7"):
            sandbox.raw(7)


class TestHttpApi:
    def test_messages_are_listed_newest_last_in_pages(self, sandbox: Sandbox, http: requests.Session) -> None:
        for number in range(5):
            send(http, sandbox, subject=f"Nr. {number}")
        page = get(http, sandbox, "/messages?limit=2&offset=1")
        assert page["count"] == 5
        assert [row["subject"] for row in page["results"]] == ["Nr. 1", "Nr. 2"]
        assert get(http, sandbox, "/messages")["results"] == [
            {name: value for name, value in row.items() if name in page["results"][0]} | {"attachments": []}
            for row in sandbox.messages()
        ]

    def test_messages_are_found_by_recipient_and_subject(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox, to="Zoë <zoe@x.example>", subject="100% ÄRGER")
        send(http, sandbox, subject="1000 others")
        for query, ids in (("to=ZOË", [1]), ("to=x.example", [1, 2]), ("subject=100%25", [1]), ("subject=är", [1])):
            found = get(http, sandbox, f"/messages?{query}")
            assert ([row["id"] for row in found["results"]], found["count"]) == (ids, len(ids))
        assert get(http, sandbox, "/messages?to=zoe&subject=others") == {"count": 0, "results": []}

    @pytest.mark.parametrize("query", ["limit=x", "limit=-1", "offset=1.5", "limit=", "offset=99999999999999999999"])
    def test_a_bad_page_is_refused(self, sandbox: Sandbox, http: requests.Session, query: str) -> None:
        answer = http.get(f"{sandbox.url}/messages?{query}", timeout=10)
        assert answer.status_code == 400
        assert answer.json()["errors"] == [f"{query.partition('=')[0]} is not a whole number"]

    def test_one_message_is_shown_in_full(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox, attachments=[{"content": "aGk=", "name": "a.txt", "type": "text/plain"}])
        assert get(http, sandbox, "/messages/1") == sandbox.messages()[0]

    def test_a_source_is_shown_as_text_that_no_browser_runs(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox, mime_raw="Content-Type: text/html\n\n<script>alert(1)</script>")
        answer = http.get(f"{sandbox.url}/messages/1/raw", timeout=10)
        assert answer.content == sandbox.raw(1)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize("path", ["/messages/9", "/messages/9/raw", "/messages/x", "/nowhere"])
    def test_what_is_not_there_is_a_json_404(self, sandbox: Sandbox, http: requests.Session, path: str) -> None:
        answer = http.get(sandbox.url + path, timeout=10)
        assert (answer.status_code, answer.json()["message"]) == (404, "error")

    def test_counts_tell_accepted_and_seen(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox)
        send(http, sandbox, to="x")
        assert get(http, sandbox, "/count") == {"accepted": 1, "requests": 2}

    def test_delete_clears(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox)
        assert http.delete(f"{sandbox.url}/messages", timeout=10).ok
        assert get(http, sandbox, "/count") == {"accepted": 0, "requests": 0}

    def test_the_root_is_the_inbox_page(self, sandbox: Sandbox, http: requests.Session) -> None:
        answer = http.get(sandbox.url, timeout=10)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert sandbox.base_url("v2") in answer.text

    @pytest.mark.parametrize("path", ["/", "/messages", "/count", "/messages/1", "/messages/1/raw"])
    def test_a_host_that_is_not_loopback_is_refused(self, sandbox: Sandbox, http: requests.Session, path: str) -> None:
        send(http, sandbox)
        answer = http.get(sandbox.url + path, headers={"Host": "evil.example"}, timeout=10)
        assert (answer.status_code, answer.text) == (400, "Invalid host header")

    def test_a_send_to_another_host_is_not_accepted(self, sandbox: Sandbox, http: requests.Session) -> None:
        headers = V2 | {"Host": "evil.example"}
        assert http.post(f"{sandbox.base_url('v2')}/mail/send", json=MESSAGE, headers=headers, timeout=10).status_code
        assert sandbox.inbox().empty

    def test_localhost_is_loopback_too(self, sandbox: Sandbox, http: requests.Session) -> None:
        assert http.get(f"{sandbox.url}/count", headers={"Host": "LOCALHOST:1"}, timeout=10).ok


class TestFaults:
    @pytest.mark.parametrize(
        ("kind", "status"), [("429", 429), ("429-date", 429), ("500", 500), ("502", 502), ("503", 503), ("reject", 400)]
    )
    def test_a_failing_status_accepts_nothing(
        self, sandbox: Sandbox, http: requests.Session, kind: str, status: int
    ) -> None:
        assert send(http, sandbox, to=f"{kind}@x.example").status_code == status
        assert (len(sandbox.inbox()), sandbox.requests_seen()) == (0, 1)

    def test_each_failing_status_has_its_own_form(self, sandbox: Sandbox, http: requests.Session) -> None:
        answers = {kind: send(http, sandbox, to=f"{kind}@x.example") for kind in ("429", "429-date", "502", "503")}
        assert answers["429"].headers["Retry-After"] == answers["503"].headers["Retry-After"] == "1"
        later = parsedate_to_datetime(answers["429-date"].headers["Retry-After"])
        wait = later - parsedate_to_datetime(answers["429-date"].headers["Date"])
        assert 0 <= wait.total_seconds() <= 4
        assert answers["502"].headers["Content-Type"].startswith("text/html")
        assert send(http, sandbox, to="reject@x.example").json()["errors"] == ["rejected on demand"]

    @pytest.mark.parametrize(
        ("kind", "reason", "accepted"),
        [
            ("reset-before", "ConnectionResetError", 0),
            ("reset-after", "ConnectionResetError", 1),
            ("close-after", "RemoteDisconnected", 1),
        ],
    )
    def test_a_cut_connection_gives_no_answer(
        self, sandbox: Sandbox, http: requests.Session, kind: str, reason: str, accepted: int
    ) -> None:
        with pytest.raises(requests.ConnectionError, match=reason):
            send(http, sandbox, to=f"{kind}@x.example")
        assert len(sandbox.inbox()) == accepted

    def test_a_client_that_leaves_before_its_connection_is_reset_is_no_failure(
        self, http: requests.Session, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Sandbox(latency=0.3) as sandbox:
            with pytest.raises(requests.ReadTimeout):
                http.post(
                    f"{sandbox.base_url('v2')}/mail/send",
                    json=MESSAGE | {"to": "reset-after@x.example"},
                    headers=V2,
                    timeout=(10, 0.05),
                )
            while sandbox.inbox().empty:
                threading.Event().wait(0.01)
        assert not caplog.records

    def test_a_truncated_answer_ends_before_its_length(self, sandbox: Sandbox, http: requests.Session) -> None:
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            send(http, sandbox, to="truncated@x.example")
        assert len(sandbox.inbox()) == 1

    def test_garbage_is_a_200_that_is_no_json(self, sandbox: Sandbox, http: requests.Session) -> None:
        answer = send(http, sandbox, to="garbage@x.example")
        assert answer.status_code == 200
        with pytest.raises(requests.exceptions.JSONDecodeError):
            answer.json()
        assert len(sandbox.inbox()) == 1

    def test_hang_never_answers(self, sandbox: Sandbox, http: requests.Session) -> None:
        with pytest.raises(requests.ReadTimeout):
            http.post(
                f"{sandbox.base_url('v2')}/mail/send",
                json=MESSAGE | {"to": "hang@x.example"},
                headers=V2,
                timeout=(10, 0.2),
            )
        while sandbox.requests_seen() == 0:
            threading.Event().wait(0.01)
        assert sandbox.inbox().empty

    def test_a_stop_ends_what_hangs(self, http: requests.Session) -> None:
        failures: list[Exception] = []

        def hang(running: Sandbox) -> None:
            try:
                send(http, running, to="hang@x.example")
            except requests.ConnectionError as error:
                failures.append(error)

        with Sandbox() as sandbox:
            client = threading.Thread(target=hang, args=[sandbox])
            client.start()
            while sandbox.requests_seen() == 0:
                client.join(0.01)
        client.join(10)
        assert len(failures) == 1

    def test_a_redirect_points_to_another_host_on_this_machine(self, sandbox: Sandbox, http: requests.Session) -> None:
        url = f"{sandbox.base_url('v1')}/mail/send"
        data = MESSAGE | {"to": "redirect@x.example"}
        answer = http.post(url, params=V1, data=data, timeout=10, allow_redirects=False)
        assert answer.status_code == 307
        assert answer.headers["Location"] == url.replace("127.0.0.1", "localhost")
        assert sandbox.inbox().empty

    def test_a_redirect_points_where_it_is_told(self, http: requests.Session) -> None:
        with Sandbox(faults=[Fault(FaultKind.REDIRECT, 0, url="https://other.example/send")]) as sandbox:
            url = f"{sandbox.base_url('v2')}/mail/send"
            body = MESSAGE | {"to": "redirect@x.example"}
            answer = http.post(url, json=body, headers=V2, timeout=10, allow_redirects=False)
            assert answer.headers["Location"] == "https://other.example/send"

    @pytest.mark.parametrize("kind", ["429", "429-date"])
    def test_a_magic_address_that_asks_for_a_retry_fires_once(
        self, sandbox: Sandbox, http: requests.Session, kind: str
    ) -> None:
        to = f"Ana <{kind}+ana@x.example>"
        assert [send(http, sandbox, to=to).status_code for _ in range(3)] == [429, 200, 200]
        assert send(http, sandbox, to=f"{kind}+bo@x.example").status_code == 429

    def test_any_recipient_can_be_magic_and_a_mere_likeness_is_not(
        self, sandbox: Sandbox, http: requests.Session
    ) -> None:
        assert send(http, sandbox, to="ana@x.example, B <500+b@x.example>").status_code == 500
        assert send(http, sandbox, to="500b@x.example, x500@x.example").status_code == 200

    def test_a_bad_message_is_refused_whatever_should_follow_its_acceptance(
        self, sandbox: Sandbox, http: requests.Session
    ) -> None:
        assert send(http, sandbox, to="reset-after@x.example, x").status_code == 400

    def test_dice_strike_in_the_same_order_for_the_same_seed(self, http: requests.Session) -> None:
        def codes(seed: int) -> list[int]:
            with Sandbox(faults={"500": 0.3, "429": 0.2}, seed=seed) as sandbox:
                return [send(http, sandbox).status_code for _ in range(40)]

        assert codes(1) == codes(1) != codes(2)
        assert set(codes(1)) == {200, 429, 500}

    def test_clear_starts_the_dice_and_the_magic_again(self) -> None:
        plan = FaultPlan(read_faults({"500": 0.5}), seed=3)
        first = [plan.next("429@x.example") for _ in range(20)]
        plan.reset()
        assert [plan.next("429@x.example") for _ in range(20)] == first

    def test_a_share_is_met_on_the_whole(self) -> None:
        plan = FaultPlan(read_faults(["hang:3%", "429:0.1"]))
        met = [plan.next(None) for _ in range(10_000)]
        kinds = [fault.kind for fault in met if fault]
        assert 200 < kinds.count(FaultKind.HANG) < 400
        assert 850 < kinds.count(FaultKind.TOO_MANY) < 1150

    @pytest.mark.parametrize(
        ("faults", "message"),
        [
            ({"reset-aftr": 0.1}, "did you mean 'reset-after'"),
            (["zzz:1%"], "unknown fault 'zzz'"),
            ({"429": 3}, "fault 429: the share '3' is not between 0 and 1"),
            ({"429": "x%"}, "fault 429: the share 'x%'"),
            (["429:"], "fault 429: the share ''"),
            ({"429": float("nan")}, "fault 429: the share 'nan'"),
            ({"429": 0.6, "500": 0.6}, "add up to 1.2"),
        ],
    )
    def test_a_bad_fault_is_one_clear_error(self, faults: Mapping[str, float], message: str) -> None:
        with pytest.raises(CampaignError, match=message):
            Sandbox(faults=faults)

    def test_a_fault_without_a_share_meets_every_post(self) -> None:
        assert Fault.parse("hang") == Fault(FaultKind.HANG, 1.0)


class TestLife:
    def test_two_sandboxes_keep_apart(self, http: requests.Session) -> None:
        with Sandbox() as one, Sandbox() as two:
            assert one.url != two.url
            send(http, one)
            assert (len(one.inbox()), len(two.inbox())) == (1, 0)

    def test_a_stopped_sandbox_refuses_connections_and_comes_back_on_its_port(self, http: requests.Session) -> None:
        with Sandbox() as sandbox:
            url = sandbox.url
            send(http, sandbox)
            sandbox.stop()
            sandbox.stop()
            with pytest.raises(requests.ConnectionError):
                send(http, sandbox)
            sandbox.start()
            sandbox.start()
            assert sandbox.url == url
            assert send(http, sandbox).ok
            assert len(sandbox.inbox()) == 2

    def test_a_taken_port_is_one_clear_error(self, sandbox: Sandbox) -> None:
        port = int(sandbox.url.rpartition(":")[2])
        with pytest.raises(CampaignError, match=rf"can't listen on port {port}: .*; choose another, or 0"):
            Sandbox(port=port).start()

    @pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "localhost", ""])  # noqa: S104 - it is refused
    def test_any_host_but_the_loopback_address_is_refused(self, host: str) -> None:
        with pytest.raises(CampaignError, match=r"listens on 127\.0\.0\.1 only"):
            Sandbox(host=host)

    def test_it_listens_on_loopback_only(self, sandbox: Sandbox) -> None:
        assert sandbox._thread is not None
        assert sandbox._thread._listener.getsockname()[0] == "127.0.0.1"

    @pytest.mark.parametrize(
        "settings",
        [{"port": 65536}, {"port": -1}, {"latency": -1}, {"latency": float("nan")}, {"v1_error_status": 418}],
    )
    def test_a_bad_setting_is_one_clear_error(self, settings: dict[str, Any]) -> None:
        with pytest.raises(CampaignError, match=next(iter(settings))):
            Sandbox(**settings)

    def test_urls_need_a_start_and_a_known_api(self) -> None:
        sandbox = Sandbox()
        with pytest.raises(CampaignError, match=r"call start\(\)"):
            sandbox.base_url("v2")
        with pytest.raises(CampaignError, match="'v3'"):
            sandbox.base_url("v3")

    def test_it_logs_nothing_and_leaves_logging_alone(
        self, http: requests.Session, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="turbobatch")
        before = logging.getLogger("uvicorn.access").handlers, logging.getLogger("uvicorn.error").level
        with Sandbox() as sandbox:
            for kind in ("ana", "reset-after", "close-after", "truncated", "500"):
                try:
                    send(http, sandbox, to=f"{kind}@x.example")
                except requests.RequestException:
                    continue
        assert (logging.getLogger("uvicorn.access").handlers, logging.getLogger("uvicorn.error").level) == before
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert not [record for record in caplog.records if record.name == "uvicorn.access"]

    def test_signal_handlers_stay_as_they_were(self) -> None:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        with Sandbox():
            assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    def test_many_clients_at_once_are_all_kept(self, sandbox: Sandbox) -> None:
        def work() -> None:
            with requests.Session() as session:
                session.trust_env = False
                for _ in range(25):
                    assert send(session, sandbox).ok

        clients = [threading.Thread(target=work) for _ in range(8)]
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            sandbox.inbox()
        assert len(sandbox.inbox()) == sandbox.requests_seen() == 200
        assert sandbox.inbox()["mid"].is_unique

    def test_the_turbobatch_client_can_send_to_it(self, sandbox: Sandbox) -> None:
        from turbobatch.email import Email

        email = Email(from_="shop@acme.example", to=["ana@x.example"], subject="Hello", content="Hi")
        results = [sandbox.client(api).send(email) for api in ("v1", "v2")]
        assert [result.status for result in results] == ["sent", "sent"]
        assert sandbox.inbox()["api"].tolist() == ["v1", "v2"]


class TestFile:
    def test_messages_outlive_the_sandbox_in_a_private_file(self, http: requests.Session, tmp_path: Path) -> None:
        file = tmp_path / "inbox.db"
        for _ in range(2):
            with Sandbox(path=file) as sandbox:
                send(http, sandbox)
        assert sandbox.inbox()["id"].tolist() == [1, 2]
        assert Sandbox(path=file).messages() == sandbox.messages()
        assert file.stat().st_mode & 0o077 == 0

    def test_a_file_that_another_sandbox_holds_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "inbox.db"
        with Sandbox(path=file), pytest.raises(CampaignError, match="another sandbox holds it"):
            Sandbox(path=file).start()

    def test_a_file_that_is_no_database_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        file = tmp_path / "notes.txt"
        file.write_text("not a database " * 100)
        with pytest.raises(CampaignError, match=r"notes\.txt: can't be used as the sandbox's message store"):
            Sandbox(path=file).start()
        assert file.read_text() == "not a database " * 100

    def test_a_folder_that_does_not_exist_is_one_clear_error(self, tmp_path: Path) -> None:
        with pytest.raises(CampaignError, match="No such file"):
            Sandbox(path=tmp_path / "none" / "inbox.db").start()

    def test_a_taken_port_lets_go_of_the_file(self, sandbox: Sandbox, tmp_path: Path) -> None:
        port = int(sandbox.url.rpartition(":")[2])
        with pytest.raises(CampaignError, match="can't listen"):
            Sandbox(port=port, path=tmp_path / "inbox.db").start()
        with Sandbox(path=tmp_path / "inbox.db"):
            pass

    def test_clear_empties_it(self, http: requests.Session, tmp_path: Path) -> None:
        with Sandbox(path=tmp_path / "inbox.db") as sandbox:
            send(http, sandbox)
        sandbox.clear()
        assert Sandbox(path=tmp_path / "inbox.db").inbox().empty


class TestServe:
    def test_it_serves_until_ctrl_c(self, http: requests.Session, tmp_path: Path) -> None:
        code = """
            from pathlib import Path
            from turbobatch.sandbox import serve
            serve(port=0, latency_ms=1, faults=["500:0%"], path=Path("inbox.db"), seed=1,
                  on_ready=lambda sandbox: print(sandbox.url, flush=True))
            print("ended")
        """
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert http.post(f"{url}/api/mail/send", data=MESSAGE | V1, timeout=10).json() == {"message": "OK"}
            assert http.get(f"{url}/count", timeout=10).json() == {"accepted": 1, "requests": 1}
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "ended\n", "")
        assert len(Sandbox(path=tmp_path / "inbox.db").inbox()) == 1

    def test_a_program_that_ends_without_a_stop_ends_quietly(self) -> None:
        code = """
            import requests
            from turbobatch.sandbox import Sandbox
            sandbox = Sandbox()
            sandbox.start()
            requests.get(sandbox.url, timeout=10)
        """
        command = [sys.executable, "-X", "dev", "-c", textwrap.dedent(code)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")

    @pytest.mark.parametrize("package", ["starlette", "uvicorn", "python_multipart"])
    def test_a_missing_package_is_one_clear_error(self, package: str) -> None:
        code = f"""
            import sys
            sys.modules[{package!r}] = None
            from turbobatch.errors import CampaignError
            from turbobatch.sandbox import Sandbox
            try:
                Sandbox().start()
            except CampaignError as error:
                print(error)
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert ended.stdout.strip() == f'the sandbox needs {package}: pip install "turbobatch-mail[sandbox]"'

    def test_importing_it_imports_no_server_and_no_pandas(self) -> None:
        code = (
            "import sys, turbobatch.sandbox; print({'pandas', 'starlette', 'uvicorn', 'requests'} & set(sys.modules))"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert ended.stdout.strip() == "set()"


def _address(sandbox: Sandbox) -> tuple[str, int]:
    return "127.0.0.1", int(sandbox.url.rpartition(":")[2])
