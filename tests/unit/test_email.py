"""An Email is valid once it exists, tells every fault at once, and has a fingerprint that outlives the process."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
import subprocess
import sys
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emails import email
from turbobatch.addresses import CONTROL, Address
from turbobatch.email import Attachment, Email
from turbobatch.errors import CampaignError, Fault, InvalidEmail

if TYPE_CHECKING:
    from pathlib import Path

CONTROLS = ["\r", "\n", "\r\n", "\0", "\x0b", "\x1f", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"]
PDF = Attachment(b"%PDF", name="a.pdf")
LOGO = Attachment(b"png", name="logo.png", content_id="logo")


def faults(**changes: Any) -> tuple[Fault, ...]:
    with pytest.raises(InvalidEmail) as caught:
        email(**changes)
    assert caught.value.errors == tuple(fault.text for fault in caught.value.faults)
    return caught.value.faults


class TestFields:
    def test_addresses_come_as_text_lists_or_addresses(self) -> None:
        ana, bob = Address("ana@x.example", "Ana"), Address("bob@x.example")
        for given_to in (
            "Ana <ana@x.example>, bob@x.example",
            ["Ana <ana@x.example>", bob],
            (ana, bob),
            iter([ana, bob]),
        ):
            assert email(to=given_to).to == (ana, bob)
        made = email(cc=[ana], bcc="bob@x.example", reply_to=bob, from_=ana)
        assert (made.from_, made.cc, made.bcc, made.reply_to) == (ana, (ana,), (bob,), bob)
        assert made.recipients == (Address("ana@x.example"), ana, bob)

    def test_a_name_with_an_unquoted_comma_is_kept_in_a_list_of_addresses(self) -> None:
        assert email(to=["Doe, Jane <jane@x.example>"]).to == (Address("jane@x.example", "Doe, Jane"),)

    def test_an_empty_mime_raw_is_none(self) -> None:
        assert email(mime_raw="", attachments=[PDF]).mime_raw is None

    def test_replace_makes_a_checked_copy(self) -> None:
        first = email(custom_headers={"X-A": "1"}, attachments=[PDF], reply_to="r@x.example")
        second = first.replace(subject="Other", to=["bob@x.example"])
        assert (second.subject, second.to[0].email) == ("Other", "bob@x.example")
        assert (second.custom_headers, second.attachments, second.reply_to) == (
            first.custom_headers,
            first.attachments,
            first.reply_to,
        )
        assert first.subject == "Hello"
        with pytest.raises(InvalidEmail, match="line break"):
            first.replace(subject="a\nb")

    def test_labelled_fills_in_only_what_is_missing(self) -> None:
        labelled = email().labelled(reference_id="row-1", campaign_id="spring")
        assert (labelled.reference_id, labelled.campaign_id) == ("row-1", "spring")
        kept = email(reference_id="mine", campaign_id="own").labelled(reference_id="row-1", campaign_id="spring")
        assert (kept.reference_id, kept.campaign_id) == ("mine", "own")
        with pytest.raises(InvalidEmail, match="reference_id"):
            email().labelled(reference_id="a\nb", campaign_id="spring")

    def test_nothing_of_it_can_be_changed(self) -> None:
        source = {"X-A": "1"}
        made = email(custom_headers=source, attachments=[PDF])
        source["X-A"] = "1\r\nBcc: eve@x.example"
        assert made.custom_headers == {"X-A": "1"}
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.subject = "x"  # type: ignore[misc] # it is what must fail
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.attachments[0].name = "x"  # type: ignore[misc] # it is what must fail
        with pytest.raises(TypeError):
            cast("dict[str, str]", made.custom_headers)["X-A"] = "\n"
        made.headers["X-A"] = "2"
        assert made.headers == {"X-A": "1"}

    def test_equal_emails_are_equal(self) -> None:
        assert email(custom_headers={"X-A": "1"}) == email(custom_headers={"X-A": "1"})
        assert email(subject="a") != email(subject="b")


class TestFaults:
    def test_all_of_them_are_told_at_once_in_the_order_of_the_fields(self) -> None:
        found = faults(
            from_="nobody",
            to=[],
            cc="broken@@@A.@@, c@x.example",
            bcc=["b", "b2"],
            subject="x" * 701,
            content="\0",
            reply_to="r",
            custom_headers={"X A": "1", "Subject": "2", "X-B": "a\nb"},
            attachments=[PDF],
            mime_raw="\nbody",
            reference_id="a\nb",
        )
        assert [fault.field for fault in found] == [
            "from", "to", "cc", "bcc", "bcc", "reply_to", "subject", "reference_id", "content",
            "custom_headers", "custom_headers", "custom_headers", "mime_raw",
        ]  # fmt: skip
        assert [fault.text for fault in found[:5]] == [
            "missing or not valid sender email (from): 'nobody'",
            "missing recipients (to)",
            "'broken@@@A.@@' 'cc' email not valid",
            "'b' 'bcc' email not valid",
            "'b2' 'bcc' email not valid",
        ]

    def test_a_list_of_bad_recipients_is_not_called_empty(self) -> None:
        assert [fault.text for fault in faults(to="a, b")] == ["'a' 'to' email not valid", "'b' 'to' email not valid"]

    @pytest.mark.parametrize("field", ["from_", "to", "cc", "bcc", "reply_to"])
    @pytest.mark.parametrize(
        "address", [Address("a@x.example", "A\r\nBcc: eve@x.example"), Address("a@x.example\r\nBcc: e@x.example")]
    )
    def test_an_address_made_without_a_check_is_checked(self, field: str, address: Address) -> None:
        given_address = address if field in ("from_", "reply_to") else [address]
        (fault,) = faults(**{field: given_address})
        assert fault.field == field.rstrip("_")
        assert not CONTROL.search(fault.text)

    def test_the_subject_may_have_700_characters(self) -> None:
        assert len(email(subject="é" * 700).subject) == 700
        assert faults(subject="é" * 701) == (Fault("subject", "subject of 701 characters is longer than 700"),)

    @pytest.mark.parametrize("char", CONTROLS)
    @pytest.mark.parametrize("field", ["subject", "reference_id", "campaign_id"])
    def test_no_line_of_text_holds_a_control_character(self, field: str, char: str) -> None:
        assert [fault.field for fault in faults(**{field: f"a{char}Bcc: eve@x.example"})] == [field]

    @pytest.mark.parametrize("field", ["content", "html_content", "mime_raw"])
    def test_a_body_holds_line_breaks_but_no_nul_or_half_a_character(self, field: str) -> None:
        text = "\r\nline\u2028line\tline\n"
        assert getattr(email(**{field: text}), field) == text
        for char in ("\0", "\ud800"):
            assert [fault.field for fault in faults(**{field: f"a{char}"})] == [field]

    @pytest.mark.parametrize("char", CONTROLS)
    def test_a_header_cannot_begin_another(self, char: str) -> None:
        assert [f.field for f in faults(custom_headers={"X-A": f"1{char}Bcc: eve@x.example"})] == ["custom_headers"]
        assert [f.field for f in faults(custom_headers={f"X-A{char}Bcc": "1"})] == ["custom_headers"]

    @pytest.mark.parametrize("name", ["", " ", "X A", "X:", "Xé", ":"])
    def test_a_header_name_is_printable_ascii(self, name: str) -> None:
        assert faults(custom_headers={name: "1"}) == (Fault("custom_headers", f"header name {name!r} not valid"),)

    @pytest.mark.parametrize(
        "name", ["From", "TO", "cc", "bCC", "Subject", "MIME-Version", "Content-Type", "content-id", "Content-Language"]
    )
    def test_the_own_fields_are_no_custom_headers(self, name: str) -> None:
        (fault,) = faults(custom_headers={name: "1"})
        assert fault.text == f"header {name} belongs to the email's own fields"

    @given(st.text(), st.text())
    def test_a_header_that_is_taken_is_one_header(self, name: str, value: str) -> None:
        try:
            made = email(custom_headers={name: value})
        except InvalidEmail:
            return
        ((taken, text),) = made.headers.items()
        assert f"{taken}: {text}".splitlines() == [f"{taken}: {text}"]
        f"{taken}: {text}".encode()


class TestReplyTo:
    @pytest.mark.parametrize("name", ["Reply-To", "reply-to", "REPLY-TO", "rEPLY-tO"])
    def test_the_field_goes_before_a_header_of_any_letter_case(self, name: str) -> None:
        made = email(reply_to="R, S <r@x.example>", custom_headers={name: "other@x.example", "X-A": "1"})
        assert made.headers == {"X-A": "1", "reply-to": '"R, S" <r@x.example>'}

    def test_of_several_headers_one_travels(self) -> None:
        made = email(custom_headers={"Reply-To": "a@x.example", "reply-to": "b@x.example"})
        assert made.headers == {"reply-to": "b@x.example"}

    def test_without_any_there_is_none(self) -> None:
        assert email().headers == {}


class TestAttachment:
    def test_from_path_takes_name_and_type_from_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "invoice é.pdf"
        path.write_bytes(b"%PDF")
        assert Attachment.from_path(path) == Attachment(b"%PDF", name="invoice é.pdf", type="application/pdf")
        named = Attachment.from_path(str(path), name="a.bin", type="x/y", content_id="c")
        assert named == Attachment(b"%PDF", "a.bin", "x/y", "c")

    @pytest.mark.parametrize("name", ["missing.pdf", ".", "missing/a.pdf"])
    def test_from_path_tells_what_cannot_be_read(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(CampaignError, match=r"attachment .* can't be read: ") as caught:
            Attachment.from_path(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("a.pdf", "application/pdf"),
            ("a.PNG", "image/png"),
            ("a.nothing-known", "application/octet-stream"),
            ("a", "application/octet-stream"),
            ("rows.csv.gz", "application/octet-stream"),
        ],
    )
    def test_the_type_is_guessed_from_the_name(self, name: str, kind: str) -> None:
        assert Attachment(b"", name=name).type == kind

    @pytest.mark.parametrize(
        "bad",
        [
            {"name": ""},
            {"name": "a\r\nb"},
            {"name": "a\u2028"},
            {"name": "\udcff"},
            {"type": "pdf"},
            {"type": "a/b; c=d"},
            {"type": "a/b\n"},
            {"content_id": ""},
            {"content_id": "a b"},
            {"content_id": "a>"},
            {"content_id": "a@b@c"},
            {"content_id": "a\n"},
            {"content_id": "é"},
        ],
    )
    def test_what_could_break_a_header_is_refused(self, bad: dict[str, str]) -> None:
        with pytest.raises(InvalidEmail, match="attachment"):
            Attachment(b"", **({"name": "a.pdf"} | bad))

    def test_all_faults_are_told_at_once(self) -> None:
        with pytest.raises(InvalidEmail) as caught:
            Attachment(b"", name="", type="x", content_id=" ")
        assert len(caught.value.faults) == 3

    def test_its_content_is_not_shown(self) -> None:
        assert "secret" not in repr(Attachment(b"secret", name="a.txt"))


MIME = "Subject: A\r\nDate: {}\r\nMessage-ID: <{}@x>\r\nContent-Type: multipart/mixed; boundary={}\r\n\r\n"
MIME += "--{}\r\nContent-Type: text/plain\r\n\r\n{}\r\n--{}--\r\n"


def mime(boundary: str = "b", *, date: str = "today", number: str = "1", body: str = "Hi") -> str:
    return MIME.format(date, number, boundary, boundary, body, boundary)


class TestDigest:
    def test_it_is_the_same_in_every_process(self) -> None:
        code = (
            "from turbobatch.email import *\n"
            "print(Email(from_='a@x.example', to='b@x.example', subject='é', content='c', html_content='<p>',"
            " custom_headers={'X-B': '1', 'X-A': '2'}, reply_to='r@x.example',"
            " attachments=[Attachment(b'a', 'a.pdf'), Attachment(b'l', 'l.png', content_id='l')]).digest)\n"
            f"print(Email(from_='a@x.example', to='b@x.example', mime_raw={mime()!r}).digest)"
        )
        seen = {
            subprocess.run(
                [sys.executable, "-c", code],
                env=os.environ | {"PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("0", "1", "2")
        }
        (lines,) = seen
        assert all(len(line) == 32 and int(line, 16) >= 0 for line in lines.split())
        assert len(set(lines.split())) == 2

    def test_every_field_of_the_content_changes_it(self) -> None:
        variants: list[dict[str, Any]] = [
            {},
            {"from_": "Acme <sales@acme.example>"},
            {"from_": "Other <shop@acme.example>"},
            {"to": "bob@x.example"},
            {"to": "Ana <ana@x.example>"},
            {"to": "ana@x.example, bob@x.example"},
            {"cc": "bob@x.example"},
            {"bcc": "bob@x.example"},
            {"subject": "Other"},
            {"content": "a"},
            {"html_content": "a"},
            {"mime_raw": "\na"},
            {"custom_headers": {"X-A": "1"}},
            {"custom_headers": {"X-A": "2"}},
            {"custom_headers": {"X-B": "1"}},
            {"reply_to": "r@x.example"},
            {"attachments": [Attachment(b"a", "a.pdf")]},
            {"attachments": [Attachment(b"b", "a.pdf")]},
            {"attachments": [Attachment(b"a", "b.pdf")]},
            {"attachments": [Attachment(b"a", "a.pdf", "x/y")]},
            {"attachments": [Attachment(b"a", "a.pdf", content_id="a")]},
            {"attachments": [Attachment(b"a", "a.pdf"), Attachment(b"a", "a.pdf")]},
        ]
        assert len({email(**variant).digest for variant in variants}) == len(variants)

    def test_text_that_moves_from_field_to_field_changes_it(self) -> None:
        assert email(content="ab", html_content="c").digest != email(content="a", html_content="bc").digest
        assert email(to="a@x.example,b@x.example", cc="c@x.example").digest != (
            email(to="a@x.example", cc="b@x.example,c@x.example").digest
        )

    def test_what_changes_by_itself_leaves_it_alone(self) -> None:
        plain = email().digest
        assert email(reference_id="1", campaign_id="c").digest == plain
        assert email().labelled(reference_id="1", campaign_id="c").digest == plain
        for name in ("Date", "date", "Message-ID", "message-id"):
            assert email(custom_headers={name: "1"}).digest == plain
        assert (
            email(custom_headers={"X-A": "1", "X-B": "2"}).digest
            == email(custom_headers={"x-b": "2", "x-a": "1"}).digest
        )

    def test_mime_counts_by_its_content(self) -> None:
        same = {email(mime_raw=text).digest for text in (mime(), mime("other", date="tomorrow", number="2"))}
        assert len(same) == 1
        assert email(mime_raw=mime(body="Bye")).digest not in same
        assert email(mime_raw=mime().replace("Subject: A", "Subject: B")).digest not in same
        assert email(mime_raw=mime().replace("text/plain", "text/html")).digest not in same

    def test_nested_mime_of_the_standard_library_counts_by_its_content(self) -> None:
        def write(boundary: str) -> str:
            message = EmailMessage()
            message.set_content("é")
            message.add_alternative("<p>é", subtype="html")
            message.add_attachment(b"a", "application", "pdf", filename="é.pdf")
            for number, part in enumerate(message.walk()):
                if part.is_multipart():
                    part.set_boundary(f"{boundary}{number}")
            return message.as_string()

        assert email(mime_raw=write("a")).digest == email(mime_raw=write("b")).digest

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("\nHi", id="no headers"),
            pytest.param("Content-Type: message/rfc822\n\nSubject: inner\n\nHi", id="a forwarded message"),
            pytest.param("Content-Type: multipart/mixed\n\nHi", id="no boundary"),
            pytest.param("Content-Type: text/plain; x*=utf-8''a; x=b\n\nHi", id="a parameter twice"),
            pytest.param("Content-Type: text/plain; x*=utf-8''a; x*0=c\n\nHi", id="what the library can't read"),
            pytest.param("Content-Type: message/rfc822\n\n" * 2000 + "\nHi", id="deep nesting"),
        ],
    )
    def test_odd_mime_counts_too(self, text: str) -> None:
        digest = email(mime_raw=text).digest
        assert digest == email(mime_raw=text).digest
        assert digest != email(mime_raw=text.replace("Hi", "Ho")).digest


class TestWire:
    def test_it_is_what_travels_without_credentials(self) -> None:
        made = email(content="Hi", reference_id="1")
        assert made.to_wire() == made.to_wire("v2")
        assert made.to_wire() == {
            "from": "Acme <shop@acme.example>",
            "to": "ana@x.example",
            "subject": "Hello",
            "content": "Hi",
            "reference_id": "1",
        }
        assert "reference_id" not in made.to_wire(api="v1")

    def test_an_unknown_api_is_refused(self) -> None:
        with pytest.raises(CampaignError, match="no API 'v3'"):
            email().to_wire("v3")


def test_an_email_can_be_copied_pickled_and_hashed() -> None:
    """Frozen data travels between processes and into sets."""
    given = Email(from_="a@acme.example", to="b@example.org", custom_headers={"X-A": "1"})
    assert pickle.loads(pickle.dumps(given)) == copy.deepcopy(given) == given  # noqa: S301 - our own bytes
    assert len({given, copy.copy(given)}) == 1
