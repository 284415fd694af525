"""Preview: one row's email as it will leave, or what keeps it from leaving."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turbobatch.addresses import encoded_word
from turbobatch.errors import CampaignError, did_you_mean
from turbobatch.markup import Html, badge, box, escaped, facts, fold, line, masked, preformatted
from turbobatch.sendapi import wire_fields
from turbobatch.sendapi.v1 import mime
from turbobatch.units import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turbobatch.addresses import Address
    from turbobatch.email import Email
    from turbobatch.merge import Merger
    from turbobatch.units import Finding

FORMATS = ("text", "html", "eml", "wire")

SHOWN_HTML = 500_000
"""Characters of HTML, inline images included, that a notebook is to keep."""

_SHOWN_BASE64 = 60  # characters of an attachment that the wire form shows

_CID = re.compile(r"""\bcid:([^\s"'<>()]+)""")

# In a notebook nothing of the email runs or is fetched: a remote picture would tell its sender that it was looked at,
# and a click on "unsubscribe" would unsubscribe the customer. Links want new windows, which the frame may not open;
# those that name another target take no clicks.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_GUARD = (
    f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    '<base target="_blank"><style>:any-link { pointer-events: none !important }</style>'
)
_FRAME = (
    '<iframe sandbox="" style="width:100%;height:{};border:0;box-sizing:border-box;background:white" srcdoc="{}">'
    "</iframe>"
)
_SHOWN_LINES = 100  # of a preview in a terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One row's email. `email` is None where the row is invalid; `message` says why then."""

    row: int
    key: str | None
    email: Email | None
    message: str = ""

    def render(self, form: str, *, api: str = "v2") -> str:
        """The email as text (headers and text part), html (a page), eml (a file for mail programs) or wire fields.

        Raises:
            CampaignError: the row is invalid, or there is no such form.
        """
        if self.email is None:
            raise CampaignError(self.message)
        match form:
            case "text":
                return as_text(self.email)
            case "html":
                return as_html(self.email)
            case "eml":
                return as_eml(self.email)
            case "wire":
                return json.dumps(_shortened(wire_fields(self.email, api)), ensure_ascii=False, indent=2)
        raise CampaignError(f"there is no format {form!r}: {did_you_mean(form, FORMATS)}")

    def __repr__(self) -> str:
        lines = masked(as_text(self.email) if self.email is not None else self.message).splitlines()
        more = [f"… ({len(lines) - _SHOWN_LINES} more lines)"] if len(lines) > _SHOWN_LINES else []
        return "\n".join([*lines[:_SHOWN_LINES], *more])

    def _repr_html_(self) -> str:
        if self.email is None:
            return box(line(badge("invalid"), self.message))
        return email_markup(self.email, title=f"Row {self.row}, key {self.key}")


def preview_row(findings: Iterator[Finding], merger: Merger, row: int, campaign: str) -> Preview | None:
    """What the unit that begins with this row becomes in the campaign of this name; None if none does."""
    finding = next((item for item in findings if item.unit.number == row), None)
    if finding is None:
        return None
    merged = finding.merged_by(merger)
    if merged.email is None:
        return Preview(row=row, key=finding.key, email=None, message=invalid(finding.unit, None, merged).message)
    if finding.key is None:
        return Preview(row=row, key=None, email=None, message=finding.message)
    email = merged.email.labelled(reference_id=finding.key, campaign_id=campaign)
    return Preview(row=row, key=finding.key, email=email)


def as_text(email: Email) -> str:
    """Headers, text part and the attachments' names."""
    return f"{_head(email)}\n\n{email.content or email.mime_raw or '(no text part)'}"


def as_html(email: Email) -> str:
    """The HTML part with its inline images in it, for a browser."""
    images = {item.content_id: item for item in email.attachments if item.content_id}

    def embedded(match: re.Match[str]) -> str:
        image = images.get(match[1])
        return f"data:{image.type};base64,{base64.b64encode(image.content).decode()}" if image else match[0]

    return _CID.sub(embedded, email.html_content)


def email_markup(email: Email, *, title: str = "") -> Html:
    """An email for a notebook: its head, its text, and its HTML in a frame that runs and fetches nothing.

    Where nobody has declared the notebook trusted, the frame alone is stripped.
    """
    parts = [fold("Text", preformatted(email.content or email.mime_raw or "(no text part)"))]
    if email.html_content:
        size = f"{len(email.html_content):,} characters"
        frame = framed(email)
        if len(frame) > SHOWN_HTML:
            parts.append(line(f"HTML, {size}: with its images too much for a notebook to keep"))
        else:
            parts.append(fold(f"HTML, {size} (shown in trusted notebooks)", frame))
    return box(*([line(title)] if title else []), facts(_facts(email)), *parts)


def framed(email: Email, *, height: str = "30em") -> Html:
    """The HTML part in a frame of so much height (CSS), to stand in another page: it runs and loads nothing."""
    return Html(_FRAME.format(height, escaped(_GUARD + as_html(email))))


def as_eml(email: Email) -> str:
    """A whole message with headers, for a mail program to open."""
    lists = {"To": email.to, "Cc": email.cc}
    envelope = {
        "From": _ascii_address(email.from_),
        **{name: ", ".join(map(_ascii_address, found)) for name, found in lists.items() if found},
        "Subject": _ascii(email.subject),
        **{name: _ascii(value) for name, value in email.headers.items()},
    }
    headers = "".join(f"{name}: {value}\r\n" for name, value in envelope.items())
    return headers + (email.mime_raw if email.mime_raw is not None else mime(email))


def _head(email: Email) -> str:
    return "\n".join(f"{name}: {value}" for name, value in _facts(email))


def _facts(email: Email) -> Iterator[tuple[str, str]]:
    lists = {"To": email.to, "Cc": email.cc, "Bcc": email.bcc}
    yield "From", str(email.from_)
    yield from ((name, ", ".join(map(str, found))) for name, found in lists.items() if found)
    yield "Subject", email.subject
    yield from email.headers.items()
    for item in email.attachments:
        yield "Attachment", f"{item.name} ({item.type}, {len(item.content)} bytes)"


def _ascii_address(address: Address) -> str:
    return str(address) if address.name.isascii() else f"{encoded_word(address.name)} <{address.email}>"


def _ascii(text: str) -> str:
    return text if text.isascii() else encoded_word(text)


def _shortened(fields: dict[str, Any]) -> dict[str, Any]:
    attachments = [
        {**item, "content": f"{item['content'][:_SHOWN_BASE64]}… ({len(item['content'])} characters of base64)"}
        if len(item["content"]) > _SHOWN_BASE64
        else item
        for item in fields.get("attachments", [])
    ]
    return fields | ({"attachments": attachments} if attachments else {})
