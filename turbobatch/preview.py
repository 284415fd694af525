"""Preview: one row's email as it will leave, or what keeps it from leaving."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError, did_you_mean
from turbobatch.sendapi import wire_fields
from turbobatch.sendapi.v1 import mime

if TYPE_CHECKING:
    from turbobatch.email import Email

FORMATS = ("text", "html", "eml", "wire")

_SHOWN_BASE64 = 60  # characters of an attachment that the wire form shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One row's email. `email` is None where the row is invalid; `message` says why then."""

    row: int
    key: str | None
    email: Email | None
    message: str = ""

    def render(self, form: str, *, api: str = "v2") -> str:
        """The email as text (headers and text part), html, eml (a file that mail programs open) or wire fields.

        Raises:
            CampaignError: the row is invalid, or there is no such form.
        """
        if self.email is None:
            raise CampaignError(self.message)
        match form:
            case "text":
                return as_text(self.email)
            case "html":
                return self.email.html_content
            case "eml":
                return as_eml(self.email)
            case "wire":
                return json.dumps(_shortened(wire_fields(self.email, api)), ensure_ascii=False, indent=2)
        raise CampaignError(f"there is no format {form!r}: {did_you_mean(form, FORMATS)}")

    def __repr__(self) -> str:
        return as_text(self.email) if self.email is not None else self.message


def as_text(email: Email) -> str:
    """Headers, text part and the attachments' names."""
    lines = [f"{name}: {value}" for name, value in _envelope(email).items()]
    lines += [f"{name}: {value}" for name, value in email.headers.items()]
    lines += [f"Attachment: {item.name} ({item.type}, {len(item.content)} bytes)" for item in email.attachments]
    return "\n".join([*lines, "", email.content or email.mime_raw or "(no text part)"])


def as_eml(email: Email) -> str:
    """A whole message with headers, for a mail program to open."""
    envelope = {name: value for name, value in _envelope(email).items() if name != "Bcc"}
    headers = "".join(f"{name}: {value}\r\n" for name, value in (envelope | email.headers).items())
    return headers + (email.mime_raw if email.mime_raw is not None else mime(email))


def _envelope(email: Email) -> dict[str, str]:
    fields = {
        "From": email.from_.header(),
        "To": ", ".join(map(str, email.to)),
        "Cc": ", ".join(map(str, email.cc)),
        "Bcc": ", ".join(map(str, email.bcc)),
        "Subject": email.subject,
    }
    return {name: value for name, value in fields.items() if value}


def _shortened(fields: dict[str, Any]) -> dict[str, Any]:
    attachments = [
        {**item, "content": f"{item['content'][:_SHOWN_BASE64]}… ({len(item['content'])} characters of base64)"}
        if len(item["content"]) > _SHOWN_BASE64
        else item
        for item in fields.get("attachments", [])
    ]
    return fields | ({"attachments": attachments} if attachments else {})
