"""v1: a form that decodes back to the same email, credentials in three places, MIME where there are attachments."""

from __future__ import annotations

import json
from email import message_from_string, policy
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote_plus, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.emails import BODIES, EMAILS, LINES, email, lines, mailboxes
from turbobatch.addresses import Address
from turbobatch.email import Attachment
from turbobatch.errors import CampaignError, InvalidEmail
from turbobatch.sendapi import V1, wire_fields
from turbobatch.sendapi.v1 import SIZE_LIMIT, quoted

if TYPE_CHECKING:
    from email.message import EmailMessage

    from turbobatch.email import Email
    from turbobatch.sendapi import Request

URL = "https://api.example/api"
USER, PASSWORD = "ana@x.example", "p&ss=w+rd %41"
PNG = b"\x89PNG\r\n\x00\xff"


def api(auth_in: Any = "headers") -> V1:
    return V1(URL, USER, PASSWORD, auth_in)


def form(request: Request) -> dict[str, str]:
    """Decode a form as a server does; a field that comes twice is a mistake."""
    pairs = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def parsed(mime: str) -> EmailMessage:
    message: EmailMessage = message_from_string(mime, policy=policy.SMTP)
    assert not [defect for part in message.walk() for defect in part.defects]
    return message


def bodies(message: EmailMessage) -> dict[str, list[str]]:
    return {
        part.get_content_type(): lines(part.get_content())
        for part in message.walk()
        if part.get_content_maintype() == "text" and not part.get_filename()
    }


def file_name(part: Any) -> str:
    # get_filename() would take quotes and angle brackets off once more
    return str(part["Content-Disposition"].params["filename"])


class TestFields:
    def test_they_have_the_names_of_the_api(self) -> None:
        fields = wire_fields(
            email(
                to="Ana <ana@x.example>, bob@x.example",
                cc="c@x.example",
                bcc=["d@x.example", '"D, E" <e@x.example>'],
                content="Hi",
                html_content="<p>Hi",
                custom_headers={"X-E": "é"},
                reply_to="r@x.example",
                reference_id="1",
                campaign_id="spring",
            ),
            "v1",
        )
        assert fields == {
            "from": "Acme <shop@acme.example>",
            "to": "Ana <ana@x.example>,bob@x.example",
            "cc": "c@x.example",
            "bcc": "d@x.example,=?utf-8?b?RCwgRQ==?= <e@x.example>",
            "subject": "Hello",
            "content": "Hi",
            "html_content": "<p>Hi",
            "custom_headers": '{"X-E": "é", "reply-to": "r@x.example"}',
        }

    def test_a_mime_raw_replaces_the_bodies(self) -> None:
        fields = wire_fields(email(content="a", html_content="b", mime_raw="\nHi"), "v1")
        assert (fields["mime_raw"], "content" in fields, "html_content" in fields) == ("\nHi", False, False)

    def test_what_is_empty_does_not_travel(self) -> None:
        assert set(wire_fields(email(subject=""), "v1")) == {"from", "to"}

    @given(
        EMAILS,
        st.sampled_from(["headers", "fields", "query"]),
    )
    def test_the_form_decodes_back_to_the_email(self, sent: Email, auth_in: str) -> None:
        got = form(api(auth_in).request(sent))
        assert Address.parse(got["from"]) == sent.from_
        for name in ("to", "cc", "bcc"):
            assert (mailboxes(got[name]) if name in got else []) == list(getattr(sent, name))
        for name in ("subject", "content", "html_content"):
            assert got.get(name, "") == getattr(sent, name)
        headers = json.loads(got.get("custom_headers", "{}"))
        assert headers == sent.headers
        assert sum(name.lower() == "reply-to" for name in headers) <= 1


class TestCredentials:
    def test_as_headers(self) -> None:
        request = api().request(email())
        assert request.url == f"{URL}/mail/send"
        assert request.headers["authuser"] == USER
        assert request.headers["authpass"] == PASSWORD
        assert not {"authuser", "authpass"} & set(form(request))
        assert "authorization" not in {name.lower() for name in request.headers}

    def test_as_fields(self) -> None:
        request = api("fields").request(email())
        got = form(request)
        assert (request.url, got["authuser"], got["authpass"]) == (f"{URL}/mail/send", USER, PASSWORD)
        assert not {"authuser", "authpass"} & set(request.headers)

    def test_as_the_query(self) -> None:
        request = api("query").request(email())
        assert dict(parse_qsl(urlsplit(request.url).query)) == {"authuser": USER, "authpass": PASSWORD}
        assert urlsplit(request.url).path == "/api/mail/send"
        assert not {"authuser", "authpass"} & (set(request.headers) | set(form(request)))

    def test_the_content_type_is_a_form(self) -> None:
        assert api().request(email()).headers["Content-Type"] == "application/x-www-form-urlencoded"

    @pytest.mark.parametrize("auth_in", ["headers", "fields", "query"])
    def test_nothing_shows_them(self, auth_in: str) -> None:
        one = api(auth_in)
        for text in (repr(one), str(one), f"{one}", repr(one.request(email())), str(one.request(email()))):
            assert USER not in text
            assert PASSWORD not in text

    def test_another_place_is_refused(self) -> None:
        with pytest.raises(CampaignError, match='"headers", "fields" or "query"'):
            api("cookie")

    @pytest.mark.parametrize("bad", ["", " s3cret", "s3cret ", "s3cret\r\nX: y", "s3cret\0", "s3crét", "s3cret\u2028"])
    def test_what_no_header_can_hold_is_refused_and_not_quoted(self, bad: str) -> None:
        for credentials in ((USER, bad), (bad, PASSWORD)):
            with pytest.raises(CampaignError) as caught:
                V1(URL, *credentials)
            assert "s3c" not in str(caught.value)


class TestMime:
    def test_attachments_travel_with_both_bodies(self) -> None:
        sent = email(
            content="Grüße\n\nzwei",
            html_content="<p>Grüße</p>",
            attachments=[Attachment(PNG, "a.png"), Attachment(b"%PDF", "Rechnung für Ana; 1.pdf")],
        )
        fields = wire_fields(sent, "v1")
        assert not {"content", "html_content"} & set(fields)
        message = parsed(fields["mime_raw"])
        assert message.get_content_type() == "multipart/mixed"
        assert bodies(message) == {"text/plain": ["Grüße", "", "zwei"], "text/html": ["<p>Grüße</p>"]}
        assert [
            (part.get_filename(), part.get_content_type(), part.get_content()) for part in message.iter_attachments()
        ] == [
            ("a.png", "image/png", PNG),
            ("Rechnung für Ana; 1.pdf", "application/pdf", b"%PDF"),
        ]

    def test_an_inline_image_is_found_by_the_html(self) -> None:
        sent = email(
            content="Hi",
            html_content='<img src="cid:logo"><img src="cid:logo2">',
            attachments=[Attachment(PNG, "l.png", content_id="logo"), Attachment(PNG, "m.png", content_id="m@own")],
        )
        message = parsed(wire_fields(sent, "v1")["mime_raw"])
        assert bodies(message)["text/html"] == ['<img src="cid:logo@acme.example"><img src="cid:logo2">']
        images = [part for part in message.walk() if part.get_content_maintype() == "image"]
        assert [(part["Content-ID"], part.get_content_disposition(), part.get_content()) for part in images] == [
            ("<logo@acme.example>", "inline", PNG),
            ("<m@own>", "inline", PNG),
        ]
        related = next(part for part in message.walk() if part.get_content_type() == "multipart/related")
        assert [part.get_content_type() for part in related.iter_parts()] == ["text/html", "image/png", "image/png"]

    @pytest.mark.parametrize("content", ["", "Hi"])
    @pytest.mark.parametrize("content_id", [None, "logo"])
    def test_no_attachment_is_lost_without_html(self, content: str, content_id: str | None) -> None:
        sent = email(content=content, attachments=[Attachment(PNG, "l.png", content_id=content_id)])
        message = parsed(wire_fields(sent, "v1")["mime_raw"])
        assert [part.get_filename() for part in message.iter_attachments()] == ["l.png"]
        assert bodies(message) == {"text/plain": lines(content)}

    def test_without_text_the_html_stands_alone(self) -> None:
        sent = email(
            html_content="<p>é", attachments=[Attachment(PNG, "l.png", content_id="l"), Attachment(PNG, "a.png")]
        )
        message = parsed(wire_fields(sent, "v1")["mime_raw"])
        assert [part.get_content_type() for part in message.walk()] == [
            "multipart/mixed", "multipart/related", "text/html", "image/png", "image/png",
        ]  # fmt: skip

    def test_nobody_is_named_in_it(self) -> None:
        sent = email(bcc="secret@x.example", attachments=[Attachment(PNG, "a.png")], custom_headers={"X-A": "1"})
        mime = wire_fields(sent, "v1")["mime_raw"]
        assert "secret@x.example" not in mime
        assert {name.lower() for name in parsed(mime)} == {"content-type", "mime-version"}

    def test_the_same_email_is_the_same_text(self) -> None:
        def write(content: str) -> str:
            images = [Attachment(PNG, "l.png", content_id="l"), Attachment(PNG, "é.png")]
            made = email(content=content, html_content="<p>é", attachments=images)
            return str(wire_fields(made, "v1")["mime_raw"])

        assert write("é") == write("é")
        assert write("é") != write("ä")

    @pytest.mark.parametrize("kind", ["message/rfc822", "multipart/mixed", "text/csv", "text/html"])
    def test_a_file_is_a_file_whatever_its_type(self, kind: str) -> None:
        content = b"Subject: x\r\n\r\na\xe9;b\r\n"
        mime = wire_fields(email(content="Hi", attachments=[Attachment(content, "a.dat", kind)]), "v1")["mime_raw"]
        (part,) = parsed(mime).iter_attachments()
        assert part.get_filename() == "a.dat"
        assert part.get_payload(decode=True) == content

    @pytest.mark.unmeasured
    @given(
        content=BODIES,
        html=BODIES,
        files=st.lists(
            st.builds(Attachment, st.binary(max_size=200), LINES.map(str.strip).filter(bool)),
            min_size=1,
            max_size=3,
        ),
    )
    @example(content="é", html="", files=[Attachment(b"", "a.txt")])
    def test_it_decodes_back_to_the_email(self, content: str, html: str, files: list[Attachment]) -> None:
        sent = email(content=content, html_content=html, attachments=files)
        message = parsed(form(api().request(sent))["mime_raw"])
        wanted = ({"text/plain": lines(content)} if content or not html else {}) | (
            {"text/html": lines(html)} if html else {}
        )
        assert bodies(message) == wanted
        found = [(file_name(part), part.get_payload(decode=True)) for part in message.iter_attachments()]
        assert found == [(item.name, item.content) for item in files]


class TestSize:
    def test_an_email_may_have_4_mb(self) -> None:
        fixed = sum(len(value) for value in wire_fields(email(), "v1").values())
        api().request(email(content="x" * (SIZE_LIMIT - fixed)))
        with pytest.raises(InvalidEmail, match=r"email of 4\.1 MB is over the 4 MB that v1 takes"):
            api().request(email(content="x" * (SIZE_LIMIT - fixed + 1)))

    def test_bytes_count_not_characters(self) -> None:
        with pytest.raises(InvalidEmail):
            api().request(email(content="é" * (SIZE_LIMIT // 2)))

    def test_attachments_count_as_they_travel(self) -> None:
        with pytest.raises(InvalidEmail):
            api().request(email(attachments=[Attachment(b"x" * (SIZE_LIMIT * 3 // 4), "a.bin")]))


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("%+ &=2B5é中", max_size=60))
@example("".join(map(chr, range(256))))
@example("".join(map(chr, range(0x4E00, 0x4E80))) + "%2B + %20")
def test_a_value_is_quoted_as_by_urllib(value: str) -> None:
    """Byte for byte, in both ways that it can be done."""
    assert quoted(value) == quote_plus(value).encode("ascii")
