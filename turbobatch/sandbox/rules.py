"""The vendor's rules: who may send, which messages are taken, and how a refusal is worded (pure).

The wording is that of the Send API; what it doesn't tell (sizes, subjects, headers, attachments) is worded alike.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import json
import re
from dataclasses import dataclass, field
from email.utils import format_datetime, formataddr
from typing import TYPE_CHECKING, Any

from turbobatch.addresses import CONTROL, Address, AddressError
from turbobatch.sandbox import mime

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

APIS = ("v1", "v2")
SIZE_LIMITS = {"v1": 4 * 1024 * 1024, "v2": 24 * 1024 * 1024}
SUBJECT_LIMIT = 700
CREDENTIAL_NAMES = frozenset({"authuser", "authpass", "consumerkey", "consumersecret", "authorization"})

_NOT_VALID = {
    ("v1", "to"): "'{}' recipient email not valid",
    ("v1", "cc"): "'{}' cc email not valid",
    ("v1", "bcc"): "'{}' bcc email not valid",
    ("v2", "to"): "'{}' 'to' email not valid",
    ("v2", "cc"): "'{}' 'cc' email not valid",
    ("v2", "bcc"): "'{}' 'bcc' email not valid",
}
_BAD_SENDER = "missing or not valid sender email (from)"
_ALIASES = {"mime": "mime_raw", "content_html": "html_content"}  # v1's page calls each field by both names

_FLAT = 500  # brackets up to which no nesting is too deep

_DEEPEST = 50  # levels of JSON that are kept of a field

_ENCODED_WORD = re.compile(r"=\?[^?\s]+\?[bq]\?[^?\s]*\?=", re.IGNORECASE)
_NAME = re.compile(r'"(?:[^"\\]|\\.)*"|[^()<>,.:;@\[\]"\\]*')  # RFC 5322: a quoted string, or words without specials


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure
    """The vendor would refuse the message. `errors` is what it would say."""

    def __init__(self, *errors: str) -> None:
        self.errors = errors
        super().__init__(*errors)


@dataclass(frozen=True, slots=True)
class Account:
    """The one account that the sandbox knows."""

    authuser: str = field(default="sandbox", repr=False)
    authpass: str = field(default="sandbox", repr=False)
    consumer_key: str = field(default="sandbox", repr=False)
    consumer_secret: str = field(default="sandbox", repr=False)

    def auth_v1(self, headers: Mapping[str, str], fields: Mapping[str, Any], query: Mapping[str, str]) -> str:
        """Where a v1 request has its credentials: "headers", "fields" or "query".

        Raises:
            Refused: they are missing or wrong.
        """
        for place, given in (("headers", headers), ("fields", fields), ("query", query)):
            if "authuser" in given or "authpass" in given:
                _check(given, ("authuser", self.authuser), ("authpass", self.authpass))
                return place
        raise Refused("Invalid authorization token")

    def auth_v2(self, headers: Mapping[str, str]) -> str:
        """The same for v2, which takes its two headers and never `Authorization`."""
        if "authorization" in headers or "consumerkey" not in headers:
            raise Refused("Invalid authorization token")
        _check(headers, ("consumerkey", self.consumer_key), ("consumersecret", self.consumer_secret))
        return "headers"


@dataclass(frozen=True, slots=True)
class Message:
    """A message that the vendor takes, its encoded words decoded and its MIME taken apart."""

    api: str
    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    subject: str
    content: str
    html_content: str
    custom_headers: dict[str, str]
    reference_id: str | None
    campaign_id: str | None
    attachments: tuple[mime.Attachment, ...]
    mime_raw: str | None

    def summary(self) -> dict[str, Any]:
        """The message as one row of the inbox, without what only the store knows (id, mid, time, size)."""
        return {
            "api": self.api,
            "sender": str(self.sender),
            "to": ", ".join(map(str, self.to)),
            "cc": ", ".join(map(str, self.cc)),
            "bcc": ", ".join(map(str, self.bcc)),
            "subject": self.subject,
            "content": self.content,
            "html_content": self.html_content,
            "custom_headers": self.custom_headers,
            "reference_id": self.reference_id,
            "campaign_id": self.campaign_id,
            "attachments": [item.name for item in self.attachments],
        }

    def detail(self) -> dict[str, Any]:
        """What `summary` leaves out: addresses in parts, attachments with their content, the raw MIME that was sent."""
        lists = {"from": (self.sender,), "to": self.to, "cc": self.cc, "bcc": self.bcc}
        return {
            "addresses": {
                name: [{"name": item.name, "email": item.email} for item in items] for name, items in lists.items()
            },
            "attachments": [item.as_json() for item in self.attachments],
            "mime_raw": self.mime_raw,
        }

    def raw(self, mid: str, time: datetime) -> bytes:
        """The raw MIME source: what was sent as `mime_raw`, byte for byte, else one built from the fields."""
        if self.mime_raw is not None:
            return self.mime_raw.encode()
        headers = [
            ("From", _header([self.sender])),
            ("To", _header(self.to)),
            *([("Cc", _header(self.cc))] if self.cc else []),
            ("Subject", self.subject),
            ("Date", format_datetime(time)),
            ("Message-ID", f"<{mid}@sandbox.invalid>"),
            *self.custom_headers.items(),
        ]
        return mime.write(headers, self.content, self.html_content, self.attachments)


def read(api: str, fields: Mapping[str, Any]) -> Message:
    """Judge the fields of a send request as the vendor does.

    Raises:
        Refused: with every fault that was found, in the order of the fields.
    """
    errors: list[str] = []
    if api == "v1":
        fields = {_ALIASES.get(name, name): value for name, value in fields.items()}
    sender = _sender(fields.get("from"), errors)
    to, cc, bcc = (_recipients(api, name, fields, errors) for name in ("to", "cc", "bcc"))
    text = {name: _text(name, fields, errors) for name in ("subject", "content", "html_content")}
    if len(text["subject"]) > SUBJECT_LIMIT:
        errors.append(f"subject too long (max {SUBJECT_LIMIT} characters)")
    custom_headers = _custom_headers(fields.get("custom_headers"), errors)
    attachments = _attachments(fields.get("attachments"), sender, errors) if api == "v2" else ()
    mime_raw = _text("mime_raw", fields, errors) or None
    parts = _parts(mime_raw, errors)
    if sender is None or errors:
        raise Refused(*errors)
    if parts:
        text = {
            "subject": text["subject"] or parts.subject,
            "content": parts.content,
            "html_content": parts.html_content,
        }
        attachments += parts.attachments
    reference_id, campaign_id = (_label(fields.get(name)) for name in ("reference_id", "X-campaign-ID"))
    return Message(
        api, sender, to, cc, bcc, **text, custom_headers=custom_headers, reference_id=reference_id,
        campaign_id=campaign_id, attachments=attachments, mime_raw=mime_raw,
    )  # fmt: skip


def load_json(text: str | bytes) -> Any:
    """Read JSON that every reader understands: UTF-8, no NaN, no lone surrogate, no bottomless nesting.

    Raises:
        ValueError: it is none.
    """
    if isinstance(text, str):
        text.encode()
    else:
        text = text.decode()
    try:
        value = json.loads(text, parse_constant=_no_constant)
        if "\\ud" in text or "\\uD" in text or text.count("[") + text.count("{") > _FLAT:
            json.dumps(value, ensure_ascii=False).encode()  # written again only where that can fail
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def check_size(api: str, size: int) -> None:
    """Refuse a message of more bytes than the API takes (v1: of all fields, v2: of the JSON body)."""
    if size > SIZE_LIMITS[api]:
        raise Refused(f"message too large (max {SIZE_LIMITS[api] // 1024 // 1024} MB)")


def mailbox(text: str) -> Address:
    """Read one address as the vendor does; a name with specials must be quoted, its encoded words are decoded.

    Raises:
        AddressError: it is none.
    """
    address = Address.parse(text)
    name = text.rpartition("<")[0].strip()
    if not _NAME.fullmatch(_ENCODED_WORD.sub("", name)):
        raise AddressError(text, "the name must be quoted")
    if name.startswith('"'):
        return address
    decoded = mime.decode_words(address.name)
    if CONTROL.search(decoded):
        raise AddressError(text, "the name holds a line break or control character")
    return Address(address.email, decoded)


def blacked_out(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with every credential's value hidden, misspelt ones too: only this form of them is ever kept."""
    hidden = {name: _hidden(name, value) for name, value in fields.items()}
    text = hidden.get("custom_headers")
    if isinstance(text, str):  # as v1 has them
        with contextlib.suppress(ValueError):
            headers = load_json(text)
            if _hidden("", headers) != headers:
                hidden["custom_headers"] = json.dumps(_hidden("", headers), ensure_ascii=False)
    return hidden


def _hidden(name: str, value: Any, depth: int = 0) -> Any:
    if re.sub(r"[\W_]", "", name.lower()) in CREDENTIAL_NAMES:
        return "•••"
    if not isinstance(value, dict | list):
        return value
    if depth > _DEEPEST:
        return "(nested too deeply to be kept)"
    if isinstance(value, list):
        return [_hidden("", item, depth + 1) for item in value]
    return {key: _hidden(key, item, depth + 1) for key, item in value.items()}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _check(given: Mapping[str, Any], *wanted: tuple[str, str]) -> None:
    for name, value in wanted:
        if not hmac.compare_digest(str(given.get(name, "")).encode(), value.encode()):
            raise Refused("Wrong credentials specified")


def _sender(value: object, errors: list[str]) -> Address | None:
    try:
        return mailbox(value if isinstance(value, str) else "")
    except AddressError:
        errors.append(_BAD_SENDER)
        return None


def _recipients(api: str, name: str, fields: Mapping[str, Any], errors: list[str]) -> tuple[Address, ...]:
    text = _text(name, fields, errors)
    # The vendor splits on every comma before it reads quotes: `"Doe, Jane" <a@x.example>` is torn apart.
    items = [item.strip() for item in text.split(",") if item.strip()]
    found = []
    for item in items:
        try:
            found.append(mailbox(item))
        except AddressError:
            errors.append(_NOT_VALID[api, name].format(item))
    if name == "to" and not items:
        errors.append("missing recipients (to)")
    return tuple(found)


def _text(name: str, fields: Mapping[str, Any], errors: list[str]) -> str:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    errors.append(f"'{name}' must be a string")
    return ""


def _label(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _custom_headers(value: object, errors: list[str]) -> dict[str, str]:
    if value is None or value == "":
        return {}
    try:
        headers = load_json(value) if isinstance(value, str) else value
    except ValueError:
        headers = None
    if not isinstance(headers, dict):
        errors.append("custom_headers is not a valid JSON object")
        return {}
    errors += [f"'{name}' custom header not valid" for name, text in headers.items() if not mime.is_header(name, text)]
    return {name: str(text) for name, text in headers.items()}


def _attachments(value: object, sender: Address | None, errors: list[str]) -> tuple[mime.Attachment, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        errors.append("attachments must be a list of objects")
        return ()
    found = [_attachment(number, item, sender.domain if sender else "", errors) for number, item in enumerate(value)]
    return tuple(item for item in found if item)


def _attachment(number: int, item: Mapping[str, Any], domain: str, errors: list[str]) -> mime.Attachment | None:
    texts = {name: item.get(name) or "" for name in ("content", "name", "type", "content_id")}
    wrong = [name for name, text in texts.items() if not isinstance(text, str) or (name == "name" and not text)]
    if wrong:
        errors.append(f"attachments[{number}]: missing or not valid {', '.join(wrong)}")
        return None
    try:
        content = base64.b64decode(texts["content"], validate=True)
    except (binascii.Error, ValueError):
        errors.append(f"attachments[{number}]: content is not valid base64")
        return None
    content_id = texts["content_id"]
    if content_id and "@" not in content_id:
        content_id += f"@{domain}"  # as the server does: HTML must say cid:ID@SENDER-DOMAIN
    return mime.Attachment(texts["name"], texts["type"] or "application/octet-stream", content, content_id)


def _parts(mime_raw: str | None, errors: list[str]) -> mime.Parts | None:
    try:
        return mime.read(mime_raw) if mime_raw is not None else None
    except mime.MimeError:
        errors.append("Invalid Mime")
        return None


def _header(addresses: tuple[Address, ...] | list[Address]) -> str:
    return ", ".join(formataddr((item.name, item.email)) for item in addresses)
