"""TurboClient: what it refuses to be made of, and what one call of `send` tells about one email."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pycurl
import pytest

import turbobatch.transport
from turbobatch.client import V1_URL, V2_URLS, SendResult, TurboClient
from turbobatch.email import Attachment, Email
from turbobatch.errors import (
    AuthenticationError,
    CampaignError,
    InDoubtError,
    InvalidEmail,
    NotSentError,
    TurboBatchError,
)
from turbobatch.policy import Status
from turbobatch.sandbox import Sandbox
from turbobatch.transport.curl import CurlTransport
from turbobatch.transport.requests import RequestsTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from turbobatch.sendapi import Request
    from turbobatch.transport import Transport

    Connect = Callable[..., TurboClient]

USER, PASSWORD = "ana@acme.example", "hunter2 &=+%41"
KEY, SECRET = "k3y-of-ana", "s3cret-of-ana"
V1: dict[str, Any] = {"authuser": USER, "authpass": PASSWORD}
V2: dict[str, Any] = {"consumer_key": KEY, "consumer_secret": SECRET}
V1_ENV = {"TURBOSMTP_AUTHUSER": USER, "TURBOSMTP_AUTHPASS": PASSWORD}
V2_ENV = {"TURBOSMTP_CONSUMER_KEY": KEY, "TURBOSMTP_CONSUMER_SECRET": SECRET}
WAYS = [("v1", {"auth_in": "headers"}), ("v1", {"auth_in": "fields"}), ("v1", {"auth_in": "query"}), ("v2", {})]
ways = pytest.mark.parametrize(("api", "options"), WAYS, ids=["v1-headers", "v1-fields", "v1-query", "v2"])


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(**V1, **V2) as running:
        yield running


@pytest.fixture
def connect(sandbox: Sandbox) -> Iterator[Connect]:
    """Makes clients of the sandbox that are closed after the test."""
    sandbox.clear()
    made: list[TurboClient] = []

    def make(api: str = "v2", **options: Any) -> TurboClient:
        made.append(sandbox.client(api, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def email(to: str | list[str] = "ana@x.example", **changes: Any) -> Email:
    return Email(**({"from_": "Acme <shop@acme.example>", "to": to, "subject": "Hello", "content": "Hi"} | changes))


def secrets_in(text: str) -> list[str]:
    return [secret for secret in (PASSWORD, "hunter2", KEY, SECRET) if secret in text]


class TestMaking:
    def test_the_vendors_hosts_are_known(self) -> None:
        assert TurboClient(**V1).base_url == V1_URL
        assert TurboClient(**V2).base_url == V2_URLS["global"]
        assert TurboClient(**V2, region="eu").base_url == V2_URLS["eu"]
        assert TurboClient(**V2, region="eu").host == "api.eu.turbo-smtp.com"

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, r"give authuser and authpass \(v1\), or consumer_key and consumer_secret \(v2\)"),
            (V1 | V2, r"give authuser and authpass \(v1\), or"),
            ({"authuser": USER}, "authpass is missing"),
            ({"authpass": PASSWORD}, "authuser is missing"),
            ({"consumer_key": KEY}, "consumer_secret is missing"),
            ({"consumer_secret": SECRET}, "consumer_key is missing"),
            (V1 | {"consumer_key": KEY}, "consumer_secret is missing"),
            ({"authuser": "", "authpass": ""}, "authuser is empty"),
            (V2 | {"consumer_secret": ""}, "consumer_secret is empty"),
            (V1 | {"authpass": PASSWORD + "\n"}, "authpass holds"),
            (V1 | {"auth_in": "cookie"}, "auth_in is 'cookie'"),
            (V2 | {"region": "mars"}, "there is no region 'mars'"),
            (V2 | {"region": "EU"}, "did you mean 'eu'"),
            (V1 | {"region": "eu"}, "v1 has no region 'eu'"),
            (V2 | {"timeout": 0}, "timeout is 0"),
            (V2 | {"timeout": -1}, "timeout is -1"),
            (V2 | {"timeout": float("nan")}, "timeout is nan"),
            (V2 | {"timeout": float("inf")}, "timeout is inf"),
            (V2 | {"transport": "request"}, "did you mean 'requests'"),
            (V2 | {"transport": "culr"}, "did you mean 'curl'"),
        ],
    )
    def test_what_cannot_work_is_refused_at_once(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(CampaignError, match=message) as caught:
            TurboClient(**given)
        assert not secrets_in(str(caught.value))
        assert len(str(caught.value).splitlines()) == 1

    @pytest.mark.parametrize(
        "url",
        [
            "api.example/api",
            "ftp://api.example",
            "https://",
            "https:///api",
            "http://api.example/api",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "http://10.0.0.1",
            "https://api.example:port",
            "https://api.example:99999",
            "https://[::1",
            "https://api example",
            "https://api.example/a b",
            "https://api.example\\@evil.example",
            "https://api.example/\r\nX: y",
            f"https://ana:{SECRET}@api.example/api",
            f"https://{SECRET}@api.example/api",
            f"ana:{SECRET}@api.example/api",
            f"https://ana:{SECRET}@[::1",
            f"https://api.example/api?authpass={SECRET}",
            f"https://api.example/api#{SECRET}",
        ],
    )
    def test_a_base_url_that_would_not_do(self, url: str) -> None:
        with pytest.raises(CampaignError, match="base_url") as caught:
            TurboClient(**V2, base_url=url)
        assert not secrets_in(str(caught.value))
        assert len(str(caught.value).splitlines()) == 1

    @pytest.mark.parametrize(
        ("url", "kept"),
        [
            ("https://api.example/api", "https://api.example/api"),
            ("https://api.example/api/", "https://api.example/api"),
            ("https://api.example/api/v2/mail/send", "https://api.example/api/v2"),
            ("https://api.example/api/v2/mail/send/", "https://api.example/api/v2"),
            ("HTTPS://api.example:8443", "https://api.example:8443"),
            ("http://127.0.0.1:8025/api", "http://127.0.0.1:8025/api"),
            ("http://localhost/api", "http://localhost/api"),
            ("http://[::1]:8025/api", "http://[::1]:8025/api"),
        ],
    )
    def test_a_base_url_that_does(self, url: str, kept: str) -> None:
        client = TurboClient(**V2, base_url=url)
        assert client.base_url == kept
        assert client.api.request(email()).url == f"{kept}/mail/send"

    def test_nothing_shows_the_credentials(self) -> None:
        for client in (TurboClient(**V1), TurboClient(**V2)):
            for text in (repr(client), str(client), repr(client.api), repr(client.api.request(email()))):
                assert not secrets_in(text)
                assert USER not in text
        assert repr(TurboClient(**V2)) == "<TurboClient v2 at api.turbo-smtp.com>"


class TestEnvironment:
    @pytest.mark.parametrize(
        ("environ", "api", "made"),
        [
            (V1_ENV, None, "v1"),
            (V2_ENV, None, "v2"),
            (V1_ENV | V2_ENV, None, "v2"),
            (V1_ENV | V2_ENV, "v1", "v1"),
            (V1_ENV | V2_ENV, "v2", "v2"),
            (V1_ENV | dict.fromkeys(V2_ENV, ""), None, "v1"),
            (V1_ENV | {"TURBOSMTP_REGION": "eu"}, None, "v1"),
        ],
    )
    def test_which_credentials_are_taken(self, environ: dict[str, str], api: str | None, made: str) -> None:
        client = TurboClient.from_env(api=api, environ=environ)
        assert client.api.name == made
        expected = (USER, PASSWORD) if made == "v1" else (KEY, SECRET)
        headers = client.api.request(email()).headers
        names = ("authuser", "authpass") if made == "v1" else ("consumerKey", "consumerSecret")
        assert tuple(headers[name] for name in names) == expected

    @pytest.mark.parametrize(
        ("environ", "api", "message"),
        [
            ({}, None, "TURBOSMTP_CONSUMER_KEY and TURBOSMTP_CONSUMER_SECRET (v2), or TURBOSMTP_AUTHUSER and"),
            ({"TURBOSMTP_AUTHUSER": USER}, None, "no credentials"),
            ({"TURBOSMTP_CONSUMER_KEY": KEY}, None, "set TURBOSMTP_CONSUMER_KEY and TURBOSMTP_CONSUMER_SECRET in"),
            (V1_ENV | {"TURBOSMTP_CONSUMER_KEY": KEY}, None, "TURBOSMTP_CONSUMER_SECRET"),
            (V2_ENV, "v1", "set TURBOSMTP_AUTHUSER and TURBOSMTP_AUTHPASS in the environment"),
            (V1_ENV, "v2", "set TURBOSMTP_CONSUMER_KEY and TURBOSMTP_CONSUMER_SECRET in the environment"),
            (V1_ENV, "v3", "there is no API 'v3'"),
            (V2_ENV | {"TURBOSMTP_REGION": "mars"}, None, "no region 'mars'"),
            (V2_ENV | {"TURBOSMTP_BASE_URL": "http://api.example"}, None, "in the clear"),
        ],
    )
    def test_what_is_missing_or_wrong_is_named(self, environ: dict[str, str], api: str | None, message: str) -> None:
        with pytest.raises(CampaignError, match=re.escape(message)) as caught:
            TurboClient.from_env(api=api, environ=environ)
        assert not secrets_in(str(caught.value))

    def test_host_and_region(self) -> None:
        assert TurboClient.from_env(environ=V2_ENV | {"TURBOSMTP_REGION": "eu"}).base_url == V2_URLS["eu"]
        own = {"TURBOSMTP_BASE_URL": "https://proxy.example/x/mail/send"}
        for environ in (V1_ENV, V2_ENV):
            assert TurboClient.from_env(environ=environ | own).base_url == "https://proxy.example/x"
            given = TurboClient.from_env(environ=environ | own, base_url="https://other.example")
            assert given.base_url == "https://other.example"

    def test_the_processes_own_environment_is_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (*V1_ENV, *V2_ENV, "TURBOSMTP_REGION", "TURBOSMTP_BASE_URL"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(CampaignError, match="no credentials"):
            TurboClient.from_env()
        for name, value in V1_ENV.items():
            monkeypatch.setenv(name, value)
        assert TurboClient.from_env(timeout=5).timeout == 5


class TestSending:
    @ways
    def test_an_email_that_is_taken(
        self, api: str, options: dict[str, Any], sandbox: Sandbox, connect: Connect
    ) -> None:
        result = connect(api, **options).send(email(['"Doe, Jane" <jane@x.example>'], subject="Grüße, 100 %+&="))
        (message,) = sandbox.messages()
        assert result == SendResult(
            status=Status.SENT, message="OK", mid=message["mid"] if api == "v2" else None, http_status=200
        )
        assert message["auth_in"] == options.get("auth_in", "headers")
        assert (message["subject"], message["content"]) == ("Grüße, 100 %+&=", "Hi")
        assert message["addresses"]["to"] == [{"name": "Doe, Jane", "email": "jane@x.example"}]

    @ways
    def test_all_of_an_email_arrives(
        self, api: str, options: dict[str, Any], sandbox: Sandbox, connect: Connect
    ) -> None:
        sent = email(
            ["Zoë 💌 <zoe@x.example>", 'Jane "J" Doe, PhD <jane@x.example>'],
            cc="c@x.example",
            bcc=["B, C <b@x.example>"],
            html_content='<p>é<img src="cid:logo">',
            custom_headers={"X-Order": "é 1"},
            reply_to="Help, Desk <help@acme.example>",
            attachments=[Attachment(b"\x89PNG", "l.png", content_id="logo"), Attachment(b"%PDF", "Rechnung é.pdf")],
        )
        connect(api, **options).send(sent)
        (message,) = sandbox.messages()
        for name in ("to", "cc", "bcc"):
            got = [(item["name"], item["email"]) for item in message["addresses"][name]]
            assert got == [(item.name, item.email) for item in getattr(sent, name)]
        assert message["html_content"].strip() == '<p>é<img src="cid:logo@acme.example">'
        assert message["custom_headers"] == {"X-Order": "é 1", "reply-to": '"Help, Desk" <help@acme.example>'}
        assert [(item["name"], item["content_id"]) for item in message["attachments"]] == [
            ("l.png", "logo@acme.example"),
            ("Rechnung é.pdf", ""),
        ]

    @ways
    def test_an_email_that_is_refused(self, api: str, options: dict[str, Any], connect: Connect) -> None:
        result = connect(api, **options).send(email("reject@x.example"))
        assert result == SendResult(
            status=Status.REJECTED, message="error", errors=("rejected on demand",), http_status=400
        )

    def test_no_credit_is_a_refusal(self) -> None:
        with Sandbox(nocredit_after=0) as poor:
            client = poor.client()
            result = client.send(email())
            client.close()
        assert (result.status, result.errors) == (Status.REJECTED, ("nocredit",))

    @ways
    def test_wrong_credentials(self, api: str, options: dict[str, Any], sandbox: Sandbox) -> None:
        credentials = {"authuser": USER, "authpass": "other"} if api == "v1" else V2 | {"consumer_secret": "other"}
        client = TurboClient(**credentials, base_url=sandbox.base_url(api), **options)
        with pytest.raises(AuthenticationError, match="refused the credentials: HTTP 401: Wrong credentials"):
            client.send(email())
        client.close()

    @pytest.mark.parametrize("fault", ["429", "429-date", "redirect"])
    def test_what_was_surely_not_accepted(self, fault: str, sandbox: Sandbox, connect: Connect) -> None:
        with pytest.raises(NotSentError, match="nothing was sent") as caught:
            connect().send(email(f"{fault}@x.example"))
        assert (caught.value.retry_after is not None) == fault.startswith("429")
        assert (sandbox.requests_seen(), len(sandbox.messages())) == (1, 0)

    @pytest.mark.parametrize(
        ("fault", "accepted"),
        [
            ("500", 0), ("502", 0), ("503", 0), ("reset-before", 0), ("hang", 0),
            ("reset-after", 1), ("close-after", 1), ("garbage", 1), ("truncated", 1),
        ],
    )  # fmt: skip
    def test_what_nobody_knows_is_posted_once(
        self, fault: str, accepted: int, sandbox: Sandbox, connect: Connect
    ) -> None:
        with pytest.raises(InDoubtError, match="may have been accepted"):
            connect(timeout=0.5 if fault == "hang" else 10).send(email(f"{fault}@x.example"))
        assert (sandbox.requests_seen(), len(sandbox.messages())) == (1, accepted)

    def test_nobody_there(self) -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            client = TurboClient(**V2, base_url=f"http://127.0.0.1:{held.getsockname()[1]}")
            with pytest.raises(NotSentError, match=r"127\.0\.0\.1:\d+: no connection \(refused\); nothing was sent"):
                client.send(email())
            client.close()

    @ways
    def test_an_email_over_the_size_limit_is_not_posted(
        self, api: str, options: dict[str, Any], sandbox: Sandbox, connect: Connect
    ) -> None:
        with pytest.raises(InvalidEmail, match="MB"):
            connect(api, **options).send(email(content="x" * 25 * 1024 * 1024))
        assert sandbox.requests_seen() == 0

    def test_it_goes_on_after_any_failure_and_after_close(self, connect: Connect) -> None:
        client = connect()
        for fault in ("reset-after", "truncated", "redirect", "garbage"):
            with pytest.raises(TurboBatchError):
                client.send(email(f"{fault}@x.example"))
            assert client.send(email()).status is Status.SENT
        client.close()
        client.close()
        assert client.send(email()).status is Status.SENT

    def test_several_threads_may_share_it(self, sandbox: Sandbox, connect: Connect) -> None:
        """Each gets the answer to its own email."""
        client = connect()
        together = threading.Barrier(8)

        def send(number: int) -> tuple[int, str | None]:
            together.wait()
            return number, client.send(email(subject=f"number {number}")).mid

        with ThreadPoolExecutor(8) as pool:
            mids = dict(pool.map(send, range(16)))
        arrived = {message["subject"]: message["mid"] for message in sandbox.messages()}
        assert arrived == {f"number {number}": mid for number, mid in mids.items()}


class TestTransports:
    def test_a_function_makes_the_transport(self, connect: Connect) -> None:
        asked: list[int] = []

        def make(concurrency: int) -> Transport:
            asked.append(concurrency)
            return RequestsTransport(concurrency=concurrency, timeout=10)

        client = connect(transport=make)
        assert client.send(email()).status is Status.SENT
        client.open_transport(5).close()
        assert asked == [1, 5]

    @pytest.mark.parametrize(("name", "kind"), [("requests", RequestsTransport), ("curl", CurlTransport)])
    def test_the_name_makes_it_and_the_timeout_reaches_it(self, name: str, kind: type, connect: Connect) -> None:
        client = connect(timeout=3.5, transport=name)
        assert client.send(email()).status is Status.SENT
        transport = client.open_transport(2)
        assert isinstance(transport, RequestsTransport | CurlTransport)
        assert type(transport) is kind
        assert (transport._timeout, transport._concurrency) == (3.5, 2)
        transport.close()

    def test_curl_is_the_usual_one_where_pycurl_is_installed(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usual = connect().open_transport(1)
        usual.close()
        monkeypatch.setitem(sys.modules, "pycurl", None)  # as if it weren't there
        monkeypatch.delitem(sys.modules, "turbobatch.transport.curl")
        monkeypatch.delattr(turbobatch.transport, "curl")
        other = connect().open_transport(1)
        other.close()
        assert (type(usual), type(other)) == (CurlTransport, RequestsTransport)
        with pytest.raises(CampaignError, match=r'pip install "turbobatch-mail\[fast\]"'):
            connect(transport="curl")

    def test_a_libcurl_that_is_too_old_is_not_used(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pycurl, "version_info", lambda: (9, "8.3.0-DEV"))
        transport = connect().open_transport(1)
        transport.close()
        assert type(transport) is RequestsTransport
        with pytest.raises(CampaignError, match=r"libcurl 8\.4"):
            connect(transport="curl")
        with pytest.raises(CampaignError, match="too old"):
            CurlTransport(concurrency=1, timeout=1)

    def test_answers_to_calls_that_were_given_up_are_nobodys(self, connect: Connect) -> None:
        """A Ctrl-C leaves its POST in flight; the next call must not take that one's answer."""

        class Impatient(RequestsTransport):
            given_up = False

            def poll(self, timeout: float) -> Any:
                if not self.given_up:
                    self.given_up = True
                    raise KeyboardInterrupt
                return super().poll(timeout)

        client = connect(transport=lambda count: Impatient(concurrency=count, timeout=10))
        with pytest.raises(KeyboardInterrupt):
            client.send(email("reject@x.example"))
        assert client.send(email()).status is Status.SENT


class TestSecrets:
    @ways
    @pytest.mark.parametrize(
        "to", ["429@x.example", "redirect@x.example", "500@x.example", "reset-before@x.example", "truncated@x.example"]
    )
    def test_no_error_tells_them(
        self, api: str, options: dict[str, Any], to: str, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not in its text, its repr, its whole traceback with what it came from, nor in any library's log."""
        caplog.set_level("DEBUG")
        with pytest.raises(TurboBatchError) as caught:
            connect(api, **options).send(email(to))
        whole = "".join(traceback.format_exception(caught.value))
        assert not secrets_in(whole + str(caught.value) + repr(caught.value) + json.dumps(caught.value.args))
        assert not secrets_in(caplog.text)

    @ways
    def test_no_frame_of_ours_shows_them_among_its_variables(
        self, api: str, options: dict[str, Any], connect: Connect
    ) -> None:
        """As notebooks and error reporters print tracebacks."""
        client = connect(api, **options)
        for bad in (
            email("reset-before@x.example"),
            email("redirect@x.example"),
            email(content="x" * 25 * 1024 * 1024),
        ):
            with pytest.raises(TurboBatchError) as caught:
                client.send(bad)
            stack = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
            ours = [frame for frame in stack.stack if "/turbobatch/" in frame.filename]
            assert ours
            assert not secrets_in(repr([frame.locals for frame in ours]))

    @ways
    def test_no_log_of_a_success_has_them(
        self, api: str, options: dict[str, Any], connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        assert connect(api, **options).send(email()).status is Status.SENT
        assert not secrets_in(caplog.text)

    @ways
    def test_the_request_still_has_them(self, api: str, options: dict[str, Any], connect: Connect) -> None:
        """So that the tests above look for what is really there."""
        request: Request = connect(api, **options).api.request(email())
        everything = f"{request.url} {dict(request.headers)} {request.body!r}"
        assert "hunter2" in everything or SECRET in everything
