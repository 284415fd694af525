"""Raw MIME messages, read and written with the standard library's tolerant classes (pure)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from email import encoders, message_from_bytes
from email.charset import QP, Charset
from email.errors import HeaderParseError
from email.header import Header, decode_header, make_header
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import collapse_rfc2231_value
from typing import TYPE_CHECKING, Any

from turbobatch.addresses import CONTROL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from email.message import Message

_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
_HEADER_NAME = re.compile(r"[!-9;-~]+")


class MimeError(ValueError):
    """The text is no whole MIME message."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a message. `content_id` comes without its angle brackets and is empty for one that isn't inline."""

    name: str
    type: str
    content: bytes
    content_id: str = ""

    def as_json(self) -> dict[str, Any]:
        """The attachment as a JSON-able dict, its content in base64."""
        return {
            "name": self.name,
            "type": self.type,
            "content_id": self.content_id,
            "size": len(self.content),
            "content": base64.b64encode(self.content).decode(),
        }


@dataclass(frozen=True, slots=True)
class Parts:
    """What a MIME message shows its reader."""

    subject: str
    content: str
    html_content: str
    attachments: tuple[Attachment, ...]


def read(raw: str) -> Parts:
    """Take a whole MIME message apart. One without headers starts with an empty line.

    Raises:
        MimeError: no empty line ends the headers, or a multipart lacks its boundaries.
    """
    message = message_from_bytes(raw.encode())
    if any(part.defects for part in message.walk()):
        raise MimeError(raw[:80])
    bodies: dict[str, list[str]] = {"text/plain": [], "text/html": []}
    attachments: list[Attachment] = []
    for part in _leaves(message):
        if _is_body(part):
            bodies[part.get_content_type()].append(_text(part))
        else:
            attachments.append(_attachment(part, len(attachments) + 1))
    content, html_content = ("\n".join(texts) for texts in bodies.values())
    return Parts(decode_words(str(message.get("Subject", ""))), content, html_content, tuple(attachments))


def write(
    headers: Iterable[tuple[str, str]], content: str, html_content: str, attachments: Sequence[Attachment]
) -> bytes:
    """Write a message as it could be delivered. Headers that describe the body are this function's own."""
    message = _body(content, html_content, [item for item in attachments if item.content_id])
    files = [item for item in attachments if not item.content_id]
    if files:
        message = _multipart("mixed", [message, *map(_file, files)])
    for name, value in headers:
        if not name.lower().startswith(("content-", "mime-", "bcc")):
            del message[name]
            message[name] = _header_value(value)  # type: ignore[assignment]  # a Header is taken too
    return message.as_bytes(policy=compat32.clone(linesep="\r\n"))


def decode_words(text: str) -> str:
    """Decode RFC 2047 encoded words; a malformed one stays as it is."""
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError):
        return text


def is_header(name: object, value: object) -> bool:
    """Whether both can stand in a message's header (RFC 5322, section 2.2)."""
    is_scalar = value is not None and not isinstance(value, list | dict)
    return is_scalar and bool(_HEADER_NAME.fullmatch(str(name))) and not CONTROL.search(str(value))


def _leaves(part: Message) -> Iterator[Message]:
    # walk() would also enter an attached message (message/rfc822), which is one attachment here.
    payload = part.get_payload()
    if part.get_content_maintype() != "multipart" or not isinstance(payload, list):
        yield part
        return
    for child in payload:
        yield from _leaves(child)  # type: ignore[arg-type]  # the parts of a multipart are messages


def _is_body(part: Message) -> bool:
    is_file = part.get_content_disposition() == "attachment" or part.get_filename() is not None
    return part.get_content_type() in ("text/plain", "text/html") and not is_file


def _text(part: Message) -> str:
    content = _bytes(part)
    try:
        text = content.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        text = content.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")


def _attachment(part: Message, number: int) -> Attachment:
    name = _name(part) or f"part-{number}"
    return Attachment(name, part.get_content_type(), _bytes(part), str(part.get("Content-ID", "")).strip(" <>\r\n\t"))


def _name(part: Message) -> str:
    # get_filename() would also take spaces, angle brackets and quotes off that belong to the name.
    for parameter, header in (("filename", "Content-Disposition"), ("name", "Content-Type")):
        match part.get_param(parameter, header=header):
            case str() as name:
                return decode_words(name)  # not RFC 2047's use of them, but what many mail programs write
            case tuple() as encoded:
                return collapse_rfc2231_value(encoded)
    return ""


def _bytes(part: Message) -> bytes:
    if part.is_multipart():
        return b"\r\n".join(child.as_bytes() for child in part.get_payload())  # type: ignore[union-attr]  # the parts of a multipart are messages
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _body(content: str, html_content: str, inline: Sequence[Attachment]) -> Message:
    if not html_content:
        body: Message = _text_part(content, "plain")
        return _multipart("related", [body, *map(_file, inline)]) if inline else body
    html: Message = _text_part(html_content, "html")
    if inline:
        html = _multipart("related", [html, *map(_file, inline)])
    return _multipart("alternative", [_text_part(content, "plain"), html]) if content else html


def _text_part(text: str, subtype: str) -> MIMEText:
    charset = Charset("utf-8")
    charset.body_encoding = QP  # the default, base64, can't be read in the raw source
    return MIMEText(text, subtype, charset)  # type: ignore[arg-type]  # a Charset is taken too


def _multipart(subtype: str, parts: Sequence[Message]) -> MIMEMultipart:
    return MIMEMultipart(subtype, _subparts=parts)


def _file(item: Attachment) -> MIMEBase:
    main, _, sub = (item.type if _MEDIA_TYPE.fullmatch(item.type) else "application/octet-stream").partition("/")
    part = MIMEBase(*(("application", "octet-stream") if main in ("multipart", "message") else (main, sub)))
    part.set_payload(item.content)
    encoders.encode_base64(part)
    part.add_header("Content-Disposition", "inline" if item.content_id else "attachment", filename=_filename(item.name))
    if item.content_id:
        part["Content-ID"] = f"<{CONTROL.sub('', item.content_id)}>"
    return part


def _filename(name: str) -> str | tuple[str, str, str]:
    name = CONTROL.sub(" ", name)
    return name if name.isascii() else ("utf-8", "", name)


def _header_value(value: str) -> Header | str:
    value = CONTROL.sub(" ", value)
    return value if value.isascii() else Header(value, "utf-8")
