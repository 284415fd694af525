"""What the vendor understands is what was meant: emails of every kind, sent over a socket and read in the sandbox."""

from __future__ import annotations

import base64
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.emails import BODIES, CONTENT_IDS, EMAILS, LINES, lines
from turbobatch.addresses import Address
from turbobatch.email import Attachment
from turbobatch.policy import Status
from turbobatch.sandbox import Sandbox
from turbobatch.sandbox.rules import mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turbobatch.client import TurboClient
    from turbobatch.email import Email

EXAMPLES = 200
PLACES = ("headers", "fields", "query")  # where v1's credentials may stand


class Seen(NamedTuple):
    """A file as its reader sees it."""

    name: str
    type: str
    content: bytes
    content_id: str


class Vendor:
    """One sandbox, and a client for each way to it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.clients: dict[str, TurboClient] = {"v2": sandbox.client("v2")} | {
            place: sandbox.client("v1", auth_in=place) for place in PLACES
        }

    def receive(self, sent: Email, way: str) -> dict[str, Any]:
        """Send an email, and tell what the sandbox understood."""
        self.sandbox.clear()
        assert self.clients[way].send(sent).status is Status.SENT
        (message,) = self.sandbox.messages()
        assert (message["api"], message["auth_in"]) == (("v2", "headers") if way == "v2" else ("v1", way))
        return message


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    with Sandbox() as sandbox:
        vendor = Vendor(sandbox)
        yield vendor
        for client in vendor.clients.values():
            client.close()


# What is sent

FILE_NAMES = LINES.filter(bool) | st.text(" \"'<>;=?*%\\/.aé", min_size=1, max_size=12)
TYPES = st.none() | st.sampled_from(
    ["text/plain", "text/html", "text/csv", "message/rfc822", "multipart/mixed", "Image/PNG", "application/x-odd.a+xml"]
)
FILES = st.builds(Attachment, st.binary(max_size=200), FILE_NAMES, TYPES)
IDS = st.sampled_from(["logo", "logo2", "logo.png", "LOGO", "own@mine.example"]) | CONTENT_IDS
IMAGES = st.builds(Attachment, st.binary(max_size=50), FILE_NAMES, TYPES, content_id=IDS)
WITHOUT_LINKS = EMAILS.filter(lambda given: "cid:" not in given.html_content.lower())


@st.composite
def with_files(draw: st.DrawFn) -> tuple[Email, str]:
    """An email with files and images, and its HTML as it should arrive: each image's link has the server's id."""
    given = draw(WITHOUT_LINKS)
    files = draw(st.lists(FILES | IMAGES, min_size=1, max_size=4))
    written = arriving = given.html_content
    bare = {item.content_id for item in files if item.content_id and "@" not in item.content_id}
    for content_id in draw(st.lists(IDS, max_size=4)):
        full = f"{content_id}@{given.from_.domain}" if content_id in bare else content_id
        written += f'<img src="cid:{content_id}">'
        arriving += f'<img src="cid:{full}">'
    return given.replace(html_content=written, attachments=files), arriving


@st.composite
def with_mime(draw: st.DrawFn) -> tuple[Email, str, list[Seen]]:
    """An email whose message another program has written, the text in that, and its files."""
    text = draw(BODIES)
    if draw(st.booleans()):
        return draw(EMAILS).replace(mime_raw=f"\n{text}"), text, []  # a message without headers
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message.set_content(text)
    names = FILE_NAMES.filter(can_be_written)
    images = st.builds(Seen, names, st.just("image/png"), st.binary(max_size=50), st.just(""))
    files = draw(st.lists(images, max_size=2))
    for item in files:
        message.add_attachment(item.content, "image", "png", filename=item.name)
    if files:
        message.set_boundary("=_between")  # the library's own would be drawn at random
    return draw(EMAILS).replace(mime_raw=message.as_bytes().decode("ascii")), text, files


def can_be_written(name: str) -> bool:
    """Whether the standard library keeps a file's name: one that looks like an encoded word is decoded."""
    return "=?" not in name


# What was understood


def files_in(message: dict[str, Any]) -> list[Seen]:
    return [
        Seen(item["name"], item["type"], base64.b64decode(item["content"]), item["content_id"])
        for item in message["attachments"]
    ]


def assert_envelope(message: dict[str, Any], sent: Email) -> None:
    """Who it is from and for, its subject and headers; one reply-to at most, the explicit one before a header."""
    lists = {"from": (sent.from_,), "to": sent.to, "cc": sent.cc, "bcc": sent.bcc}
    found = {name: tuple(Address(**item) for item in items) for name, items in message["addresses"].items()}
    assert found == lists
    assert message["subject"] == sent.subject
    headers, meant = message["custom_headers"], sent.custom_headers
    replies = [headers.pop(name) for name in list(headers) if name.lower() == "reply-to"]
    assert headers == {name: value for name, value in meant.items() if name.lower() != "reply-to"}
    if sent.reply_to is not None:
        assert list(map(mailbox, replies)) == [sent.reply_to]
    else:
        given = [value for name, value in meant.items() if name.lower() == "reply-to"]
        assert replies == given[-1:]


def assert_labels(message: dict[str, Any], sent: Email) -> None:
    """The ids for the analytics, which v1 hasn't."""
    labels = (sent.reference_id or None, sent.campaign_id or None) if message["api"] == "v2" else (None, None)
    assert (message["reference_id"], message["campaign_id"]) == labels


def server_id(item: Attachment, sent: Email) -> str:
    """The Content-ID as the server makes it."""
    if not item.content_id or "@" in item.content_id:
        return item.content_id or ""
    return f"{item.content_id}@{sent.from_.domain}"


def mime_type(item: Attachment) -> str:
    """A file's type in a MIME message; a message or a multipart can't be in base64 there, so it is just a file."""
    kind = item.type.lower()
    return "application/octet-stream" if kind.startswith(("message/", "multipart/")) else kind


# Tests


@pytest.mark.unmeasured
@settings(max_examples=EXAMPLES)
@given(sent=EMAILS, way=st.sampled_from(["v2", *PLACES]))
def test_an_email_without_files_arrives_as_it_was_meant(vendor: Vendor, sent: Email, way: str) -> None:
    message = vendor.receive(sent, way)
    assert_envelope(message, sent)
    assert_labels(message, sent)
    assert (message["content"], message["html_content"]) == (sent.content, sent.html_content)
    assert message["attachments"] == []
    source = message_from_bytes(vendor.sandbox.raw(message["id"]))
    wants_reply = sent.reply_to is not None or any(name.lower() == "reply-to" for name in sent.custom_headers)
    assert len(source.get_all("Reply-To", [])) == int(wants_reply)


@pytest.mark.unmeasured
@settings(max_examples=EXAMPLES)
@given(pair=with_files())
def test_files_and_images_arrive_through_v2(vendor: Vendor, pair: tuple[Email, str]) -> None:
    sent, html = pair
    message = vendor.receive(sent, "v2")
    assert_envelope(message, sent)
    assert_labels(message, sent)
    assert (message["content"], message["html_content"]) == (sent.content, html)
    assert files_in(message) == [
        Seen(item.name, item.type, item.content, server_id(item, sent)) for item in sent.attachments
    ]


@pytest.mark.unmeasured
@settings(max_examples=EXAMPLES)
@given(pair=with_files(), way=st.sampled_from(PLACES))
def test_files_and_images_arrive_through_v1(vendor: Vendor, pair: tuple[Email, str], way: str) -> None:
    """They travel as a MIME message, where a text is its lines, images stand beside the HTML that shows them."""
    sent, html = pair
    assume(all(can_be_written(item.name) for item in sent.attachments))
    message = vendor.receive(sent, way)
    assert_envelope(message, sent)
    assert_labels(message, sent)
    assert lines(message["content"]) == lines(sent.content)
    assert lines(message["html_content"]) == lines(html)
    shown = [item for item in sent.attachments if item.content_id and html]
    others = [item for item in sent.attachments if item not in shown]
    assert files_in(message) == [
        *(Seen(item.name, mime_type(item), item.content, server_id(item, sent)) for item in shown),
        *(Seen(item.name, mime_type(item), item.content, "") for item in others),
    ]


@pytest.mark.unmeasured
@settings(max_examples=EXAMPLES)
@given(written=with_mime(), way=st.sampled_from(["v2", *PLACES]))
def test_a_message_of_another_program_arrives_as_it_is(
    vendor: Vendor, written: tuple[Email, str, list[Seen]], way: str
) -> None:
    """It replaces the bodies; addresses, subject and headers stay the email's own."""
    sent, text, files = written
    message = vendor.receive(sent, way)
    assert_envelope(message, sent)
    assert_labels(message, sent)
    assert message["mime_raw"] == sent.mime_raw
    assert vendor.sandbox.raw(message["id"]).decode() == sent.mime_raw
    assert (lines(message["content"]), message["html_content"]) == (lines(text), "")
    assert files_in(message) == files
