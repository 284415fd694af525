"""Email and Attachment: frozen data that is valid once it exists, its size and its content digest."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
from dataclasses import dataclass, field, fields
from email import message_from_string
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from turbobatch.addresses import CONTROL, Address, AddressError, holds_control, split_list
from turbobatch.errors import CampaignError, Fault, InvalidEmail
from turbobatch.markup import masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from email.message import Message

SUBJECT_LIMIT = 700
"""Characters, by the API's page."""

_HEADER_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322, 3.6.8: printable ASCII without the colon
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_CONTENT_ID = re.compile(r"[\w.+-]+(@[\w.-]+)?", re.ASCII)
_OWN_FIELDS = frozenset({"from", "to", "cc", "bcc", "subject", "mime-version", "content-type"})
_OWN_FIELDS_PREFIX = "content-"
_CHANGING_HEADERS = frozenset({"date", "message-id", "mime-version", "content-type"})
_SHOWN = 60  # characters of the subject in a repr
_QUOTED = 400  # characters of a malformed address; a good one has at most 254, and a name


@dataclass(frozen=True, slots=True, init=False)
class Attachment:
    """A file that travels with an email.

    Its media `type` is guessed by its `name` unless given. With a `content_id` it is an inline image, shown where the
    HTML says `<img src="cid:…">`.

    Raises:
        InvalidEmail: the name, type or content id could break a header.
    """

    content: bytes = field(repr=False)
    name: str
    type: str
    content_id: str | None = None

    def __init__(self, content: bytes, name: str, type: str | None = None, content_id: str | None = None) -> None:  # noqa: A002 - the API's name
        guessed = type or _guessed_type(name)
        faults = []
        if not name or holds_control(name):
            faults.append(Fault("attachments", f"attachment name {name!r} is empty or holds a control character"))
        if not _MEDIA_TYPE.fullmatch(guessed):
            faults.append(Fault("attachments", f"attachment type {guessed!r} not valid"))
        if content_id is not None and not _CONTENT_ID.fullmatch(content_id):
            faults.append(Fault("attachments", f"attachment content_id {content_id!r} not valid"))
        if faults:
            raise InvalidEmail(faults)
        assign = partial(object.__setattr__, self)  # past the frozen class's own guard
        assign("content", bytes(content))
        assign("name", name)
        assign("type", guessed)
        assign("content_id", content_id)

    @classmethod
    def from_path(
        cls,
        path: str | Path,
        *,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - the API's name
        content_id: str | None = None,
    ) -> Self:
        """Read a file; `name` and `type` come from its path unless given, `content_id` makes it an inline image.

        Raises:
            CampaignError: the file can't be read.
        """
        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CampaignError(f"attachment {path} can't be read: {error.strerror or error}") from error
        return cls(content, name or path.name, type, content_id)


# No slots: all of a table's emails are made and copied, at a fifth of the cost.
@dataclass(frozen=True, init=False, repr=False)
class Email:
    """One email, checked when it is made. Fields carry the API's names; `from_` is its `from`.

    Addresses, `reply_to` among them, are given as text or as `Address`; `to`, `cc` and `bcc` also as one
    comma-separated text. `subject` is one line, `custom_headers` are texts by name, `attachments` `Attachment`s.
    `mime_raw` is a whole MIME message that replaces `content` and `html_content`; without headers it starts
    with an empty line. `reference_id` and `campaign_id` exist on v2 only.

    Raises:
        InvalidEmail: with every fault that was found.
    """

    from_: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    subject: str
    content: str
    html_content: str
    custom_headers: Mapping[str, str]
    reply_to: Address | None
    attachments: tuple[Attachment, ...]
    mime_raw: str | None
    reference_id: str | None
    campaign_id: str | None

    def __init__(
        self,
        *,
        from_: str | Address,
        to: str | Iterable[str | Address],
        cc: str | Iterable[str | Address] = (),
        bcc: str | Iterable[str | Address] = (),
        subject: str = "",
        content: str = "",
        html_content: str = "",
        custom_headers: Mapping[str, str] | None = None,
        reply_to: str | Address | None = None,
        attachments: Iterable[Attachment] = (),
        mime_raw: str | None = None,
        reference_id: str | None = None,
        campaign_id: str | None = None,
    ) -> None:
        faults: list[Fault] = []
        vars(self).update(
            from_=_sender(from_, faults),
            to=_recipients("to", to, faults),
            cc=_recipients("cc", cc, faults),
            bcc=_recipients("bcc", bcc, faults),
            subject=subject,
            content=content,
            html_content=html_content,
            custom_headers=MappingProxyType(dict(custom_headers or {})),
            reply_to=_reply_to(reply_to, faults),
            attachments=tuple(attachments),
            mime_raw=mime_raw or None,
            reference_id=reference_id,
            campaign_id=campaign_id,
        )
        faults += _text_faults(self)
        faults += _header_faults(self.custom_headers)
        if self.mime_raw is not None and self.attachments:
            faults.append(Fault("mime_raw", "mime_raw holds the whole message: put the attachments into it"))
        if faults:
            raise InvalidEmail(faults)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self._fields() | {"custom_headers": dict(self.custom_headers)},)

    def __hash__(self) -> int:
        return hash((self.from_, self.recipients, self.subject, self.content, self.html_content))

    def replace(self, **changes: Any) -> Email:
        """Copy the email with some fields changed; the copy is checked like a new one."""
        return Email(**self._fields() | changes)

    def labelled(self, *, reference_id: str, campaign_id: str) -> Email:
        """Copy the email with `reference_id` and `campaign_id` (v2) where it has none of its own.

        Raises:
            InvalidEmail: an id holds a control character.
        """
        copy = object.__new__(Email)
        vars(copy).update(vars(self))
        vars(copy).update(reference_id=self.reference_id or reference_id, campaign_id=self.campaign_id or campaign_id)
        if faults := _line_faults(copy, "reference_id", "campaign_id"):
            raise InvalidEmail(faults)
        return copy

    def _fields(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(Email)}

    @property
    def recipients(self) -> tuple[Address, ...]:
        """Everyone who gets it: to, cc and bcc."""
        return self.to + self.cc + self.bcc

    @property
    def headers(self) -> dict[str, str]:
        """The custom headers as they travel: an explicit `reply_to` replaces any header of that name."""
        headers = dict(self.custom_headers)
        replies = [name for name in headers if name.lower() == "reply-to"]
        written = [headers.pop(name) for name in replies]
        if self.reply_to is not None:
            headers["reply-to"] = self.reply_to.header()
        elif written:
            headers["reply-to"] = written[-1]
        return headers

    @property
    def digest(self) -> str:
        """A fingerprint of the content, 32 hex digits, the same in every run.

        What changes by itself stays out: MIME boundaries, dates, message ids, and the ids for the vendor's analytics.
        """
        content = [
            [str(self.from_), *map(str, self.recipients), len(self.to), len(self.cc)],
            [self.subject, self.content, self.html_content],
            sorted(
                (name.lower(), value) for name, value in self.headers.items() if name.lower() not in _CHANGING_HEADERS
            ),
            [
                [item.name, item.type, item.content_id, hashlib.sha256(item.content).hexdigest()]
                for item in self.attachments
            ],
            _mime_fingerprint(self.mime_raw) if self.mime_raw is not None else None,
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    def to_wire(self, api: str = "v2") -> dict[str, Any]:
        """The exact fields that will travel through `api` ("v1" or "v2"), without credentials."""
        from turbobatch.sendapi import wire_fields

        return wire_fields(self, api)

    def __repr__(self) -> str:
        subject = self.subject if len(self.subject) <= _SHOWN else f"{self.subject[: _SHOWN - 1]}…"
        others = len(self.recipients) - 1
        to = f"{self.recipients[0].email}{f' and {others} more' if others else ''}"
        files = len(self.attachments)
        attached = f", {files} {'attachment' if files == 1 else 'attachments'}" if files else ""
        return masked(f"<Email {subject!r} from {self.from_.email} to {to}{attached}>")

    def _repr_html_(self) -> str:
        from turbobatch.preview import email_markup

        return email_markup(self)


def _remade(given: dict[str, Any]) -> Email:
    return Email(**given)


def _guessed_type(name: str) -> str:
    kind, encoding = mimetypes.guess_type(name)
    # For "rows.csv.gz" the guess is the type of what is inside the gzip: the file itself is no CSV.
    return kind if kind and not encoding else "application/octet-stream"


def _address(given: str | Address) -> Address:
    # An Address made by its bare constructor has been checked by nobody.
    return Address.of(given.name, given.email) if isinstance(given, Address) else Address.parse(given)


def _sender(given: str | Address, faults: list[Fault]) -> Address:
    try:
        return _address(given)
    except AddressError:
        faults.append(Fault("from", f"missing or not valid sender email (from): {str(given)!r}"))
        return Address("")


def _reply_to(given: str | Address | None, faults: list[Fault]) -> Address | None:
    if given is None:
        return None
    try:
        return _address(given)
    except AddressError:
        faults.append(Fault("reply_to", invalid_address(str(given), "reply-to")))
        return None


def _recipients(name: str, given: str | Iterable[str | Address], faults: list[Fault]) -> tuple[Address, ...]:
    found = []
    missing = name == "to"
    for item in split_list(given) if isinstance(given, str) else given:
        missing = False
        try:
            found.append(_address(item))
        except AddressError:
            faults.append(Fault(name, invalid_address(str(item), name)))
    if missing:
        faults.append(Fault("to", "missing recipients (to)"))
    return tuple(found)


def is_body(text: str) -> bool:
    """Whether a body can hold `text`: it has no NUL and no lone surrogate, which is half a character."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def invalid_address(text: str, name: str) -> str:
    """Word a malformed address as v2 does; of a text that is far too long for one, its beginning."""
    shown = text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"
    return f"'{CONTROL.sub(' ', shown)}' '{name}' email not valid"


def _text_faults(email: Email) -> list[Fault]:
    faults = []
    if len(email.subject) > SUBJECT_LIMIT:
        faults.append(Fault("subject", f"subject of {len(email.subject)} characters is longer than {SUBJECT_LIMIT}"))
    faults += _line_faults(email, "subject", "reference_id", "campaign_id")
    for name in ("content", "html_content", "mime_raw"):
        text = getattr(email, name)
        if text and not is_body(text):
            faults.append(Fault(name, f"{name} holds a NUL or half a character"))
    return faults


def _line_faults(email: Email, *names: str) -> list[Fault]:
    faults = []
    for name in names:
        text = getattr(email, name)
        if text and holds_control(text):
            faults.append(Fault(name, f"{name} holds a line break or control character"))
    return faults


def _header_faults(headers: Mapping[str, str]) -> Iterable[Fault]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield Fault("custom_headers", f"header name {name!r} not valid")
        elif name.lower() in _OWN_FIELDS or name.lower().startswith(_OWN_FIELDS_PREFIX):
            yield Fault("custom_headers", f"header {name} belongs to the email's own fields")
        if holds_control(value):
            yield Fault("custom_headers", f"header {name!r} holds a line break or control character")


def _mime_fingerprint(text: str) -> str:
    try:
        return json.dumps(_mime_content(message_from_string(text)))
    except Exception:  # noqa: BLE001 - the library trips over odd parameters and deep nesting in many ways
        return text


def _mime_content(message: Message) -> list[Any]:
    headers = sorted(
        (name.lower(), str(value)) for name, value in message.items() if name.lower() not in _CHANGING_HEADERS
    )
    kind = sorted((item for item in message.get_params([]) if item[0].lower() != "boundary"), key=str)
    if message.is_multipart():
        return [headers, kind, [_mime_content(part) for part in message.get_payload()]]  # type: ignore[arg-type]  # the parts of a multipart are messages
    return [headers, kind, message.get_payload()]
