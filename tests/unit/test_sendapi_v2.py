"""v2: a JSON object that decodes back to the same email, two headers, content ids as the server makes them."""

from __future__ import annotations

import base64
import json
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emails import CONTENT_IDS, EMAILS, LINES, email, mailboxes
from turbobatch.addresses import Address
from turbobatch.email import Attachment, Email
from turbobatch.errors import CampaignError, InvalidEmail
from turbobatch.sendapi import V2, v2, wire_fields
from turbobatch.sendapi.v2 import SIZE_LIMIT

URL = "https://api.example/api/v2"
KEY, SECRET = "k3y-of-ana", "s3cret-of-ana"
PNG = b"\x89PNG\r\n\x00\xff"

FILES = st.builds(Attachment, st.binary(), LINES.filter(bool), content_id=st.none() | CONTENT_IDS)


def body(sent: Email) -> dict[str, Any]:
    """Decode the request's JSON as a server does."""
    decoded = json.loads(V2(URL, KEY, SECRET).request(sent).body.decode())
    assert isinstance(decoded, dict)
    return decoded


def html(text: str, *content_ids: str, from_: str = "Acme <shop@acme.example>") -> str:
    """The HTML that travels for this one, with inline images of these ids."""
    images = [Attachment(PNG, f"{number}.png", content_id=item) for number, item in enumerate(content_ids)]
    return str(wire_fields(email(from_=from_, html_content=text, attachments=images), "v2")["html_content"])


class TestMembers:
    def test_they_have_the_names_of_the_api(self) -> None:
        sent = email(
            to="Ana <ana@x.example>, bob@x.example",
            cc="c@x.example",
            bcc=["d@x.example", '"D, E" <e@x.example>'],
            content="Hi",
            html_content="<p>Hi",
            custom_headers={"X-E": "é", "REPLY-TO": "other@x.example"},
            reply_to="Doe, R <r@x.example>",
            attachments=[Attachment(PNG, "a.png"), Attachment(PNG, "l.png", content_id="logo")],
            reference_id="row-1",
            campaign_id="spring",
        )
        encoded = base64.b64encode(PNG).decode()
        assert body(sent) == {
            "from": "Acme <shop@acme.example>",
            "to": "Ana <ana@x.example>,bob@x.example",
            "cc": "c@x.example",
            "bcc": "d@x.example,=?utf-8?b?RCwgRQ==?= <e@x.example>",
            "subject": "Hello",
            "content": "Hi",
            "html_content": "<p>Hi",
            "custom_headers": {"X-E": "é", "reply-to": '"Doe, R" <r@x.example>'},
            "reference_id": "row-1",
            "X-campaign-ID": "spring",
            "attachments": [
                {"content": encoded, "name": "a.png", "type": "image/png"},
                {"content": encoded, "name": "l.png", "type": "image/png", "content_id": "logo"},
            ],
        }

    def test_a_sender_with_a_comma_is_quoted_for_it_is_not_split(self) -> None:
        assert body(email(from_="Acme, Inc. <shop@acme.example>"))["from"] == '"Acme, Inc." <shop@acme.example>'

    def test_a_mime_raw_travels_as_it_is(self) -> None:
        assert body(email(mime_raw="\nHé\r\n"))["mime_raw"] == "\nHé\r\n"

    def test_what_is_empty_does_not_travel(self) -> None:
        assert set(body(email(subject="", reference_id="", campaign_id=""))) == {"from", "to"}

    @pytest.mark.unmeasured
    @given(st.builds(Email.replace, EMAILS, attachments=st.lists(FILES, max_size=3)))
    def test_the_json_decodes_back_to_the_email(self, sent: Email) -> None:
        got = body(sent)
        assert Address.parse(got["from"]) == sent.from_
        for name in ("to", "cc", "bcc"):
            assert (mailboxes(got[name]) if name in got else []) == list(getattr(sent, name))
        for name in ("subject", "content", "reference_id"):
            assert got.get(name, "") == (getattr(sent, name) or "")
        assert re.sub(r"(?<=cid:)([\w.+-]+)@acme.example", r"\1", got.get("html_content", "")) == sent.html_content
        assert got.get("X-campaign-ID", "") == (sent.campaign_id or "")
        assert got.get("custom_headers", {}) == sent.headers
        assert sum(name.lower() == "reply-to" for name in got.get("custom_headers", {})) <= 1
        files = [
            Attachment(
                base64.b64decode(item["content"], validate=True), item["name"], item["type"], item.get("content_id")
            )
            for item in got.get("attachments", [])
        ]
        assert files == list(sent.attachments)


class TestInlineImages:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ('<img src="cid:logo">', '<img src="cid:logo@acme.example">'),
            ("<img src='cid:logo'>", "<img src='cid:logo@acme.example'>"),
            ("<img src=cid:logo>", "<img src=cid:logo@acme.example>"),
            ("<img src=cid:logo alt=x>", "<img src=cid:logo@acme.example alt=x>"),
            ('<img src="CID:logo">', '<img src="cid:logo@acme.example">'),
            ("url(cid:logo)", "url(cid:logo@acme.example)"),
            ("url( 'cid:logo' )", "url( 'cid:logo@acme.example' )"),
            ("url(&quot;cid:logo&quot;)", "url(&quot;cid:logo@acme.example&quot;)"),
            ('srcset="cid:logo, cid:logo 2x"', 'srcset="cid:logo@acme.example, cid:logo@acme.example 2x"'),
            ("cid:logo", "cid:logo@acme.example"),
            ("cid:logo cid:logo", "cid:logo@acme.example cid:logo@acme.example"),
        ],
    )
    def test_every_exact_occurrence_gets_the_senders_domain(self, before: str, after: str) -> None:
        assert html(before, "logo") == after

    @pytest.mark.parametrize(
        "text",
        [
            '"cid:logo2"',
            '"cid:logo.png"',
            '"cid:logo-big"',
            '"cid:logo_big"',
            '"cid:logo+1"',
            '"cid:logo@acme.example"',
            '"cid:logo@other.example"',
            '"cid:LOGO"',
            '"cid:thelogo"',
            '"cid: logo"',
            '"acid:logo"',
            '"x-cid:logo"',
            '"cid:"',
            "logo",
        ],
    )
    def test_nothing_else_is_touched(self, text: str) -> None:
        assert html(text, "logo") == text

    def test_ids_that_begin_alike_are_kept_apart(self) -> None:
        text = '"cid:logo" "cid:logo2" "cid:logo.png" "cid:logo3"'
        assert html(text, "logo", "logo2", "logo.png") == (
            '"cid:logo@acme.example" "cid:logo2@acme.example" "cid:logo.png@acme.example" "cid:logo3"'
        )

    def test_an_id_with_a_domain_stays_as_it_is(self) -> None:
        text = '"cid:logo@mine.example" "cid:logo"'
        assert html(text, "logo@mine.example") == text

    def test_the_domain_is_the_one_that_travels(self) -> None:
        assert html("cid:logo", "logo", from_="a@BÜCHER.example") == "cid:logo@xn--bcher-kva.example"

    def test_without_inline_images_the_html_is_left_alone(self) -> None:
        assert html("cid:logo") == "cid:logo"

    @given(st.text("cid:logo2.\"'()@ ", max_size=40))
    def test_doing_it_again_changes_nothing(self, text: str) -> None:
        if text:
            assert html(html(text, "logo", "o"), "logo", "o") == html(text, "logo", "o")


class TestCredentials:
    def test_they_travel_as_two_headers_and_never_as_authorization(self) -> None:
        request = V2(URL, KEY, SECRET).request(email())
        assert request.url == f"{URL}/mail/send"
        assert request.headers == {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "consumerKey": KEY,
            "consumerSecret": SECRET,
        }
        assert KEY.encode() not in request.body
        assert SECRET.encode() not in request.body

    def test_nothing_shows_them(self) -> None:
        api = V2(URL, KEY, SECRET)
        for text in (repr(api), str(api), repr(api.request(email())), str(api.request(email()))):
            assert KEY not in text
            assert SECRET not in text

    @pytest.mark.parametrize("bad", ["", " s3c", "s3c\n", "s3c\r\nX: y", "s3cé"])
    def test_what_no_header_can_hold_is_refused_and_not_quoted(self, bad: str) -> None:
        for name, credentials in (("consumer_key", (bad, SECRET)), ("consumer_secret", (KEY, bad))):
            with pytest.raises(CampaignError, match=name) as caught:
                V2(URL, *credentials)
            assert "s3c" not in str(caught.value)


class TestSize:
    def test_an_email_may_have_24_mb(self) -> None:
        api = V2(URL, KEY, SECRET)
        fixed = len(api.request(email(content="x")).body) - 1
        api.request(email(content="x" * (SIZE_LIMIT - fixed)))
        with pytest.raises(InvalidEmail, match=r"email of 24\.1 MB is over the 24 MB that v2 takes"):
            api.request(email(content="x" * (SIZE_LIMIT - fixed + 1)))

    def test_attachments_count_as_they_travel(self) -> None:
        with pytest.raises(InvalidEmail, match="over the 24 MB"):
            V2(URL, KEY, SECRET).request(email(attachments=[Attachment(b"x" * (SIZE_LIMIT * 3 // 4), "a.bin")]))


@given(EMAILS)
def test_without_orjson_the_same_bytes_travel(sent: Email) -> None:
    """The standard library stands in for it."""
    api = V2(URL, KEY, SECRET)
    fast = api.request(sent).body
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "orjson", None)
        v2._encoder.cache_clear()
        assert api.request(sent).body == fast
    v2._encoder.cache_clear()
