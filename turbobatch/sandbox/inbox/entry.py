"""What the inbox's list knows of a message: made once, when it arrives (pure)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turbobatch.markup import shortened
from turbobatch.sandbox.inbox.badges import Badge, badges_in, badges_of, visible_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from turbobatch.sandbox.rules import Message

_LINE = 300  # characters of an address list or a subject that the list keeps
_WORDS = 20_000  # characters of a body that can be searched
_KEPT = 20_000  # characters of each text of a refused request that are kept
_SEEN_IN_TEXT = frozenset({Badge.TEMPLATE, Badge.MISSING, Badge.GREETING, Badge.ENCODING})
_KEPT_IN_ALL = 200_000  # of its JSON


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list, and what it is found by.

    `campaign` is empty for none. `fault` is the kind that spoiled the answer, or kept the message from being accepted;
    empty for none. `key` is the same for messages that a row may not cause twice. `line` is JSON-able; `words` are
    folded for a search in any letter case.
    """

    campaign: str
    fault: str
    badges: tuple[Badge, ...]
    key: bytes
    line: dict[str, Any]
    words: str


def entry_of(message: Message, *, mid: str, time: str, size: int, fault: str = "") -> Entry:
    """The entry of an accepted message.

    Args:
        message: as the vendor read it.
        mid: its id at the vendor.
        time: when it came, ISO 8601.
        size: of its request, in bytes.
        fault: the kind that spoiled its answer, if any.
    """
    to, cc, bcc = (", ".join(map(str, found)) for found in (message.to, message.cc, message.bcc))
    line = {
        "time": time,
        "api": message.api,
        "sender": str(message.sender)[:_LINE],
        "to": shortened(to, _LINE),
        "others": len(message.cc) + len(message.bcc),
        "subject": shortened(message.subject, _LINE),
        "reference_id": shortened(message.reference_id or "", _LINE),
        "files": len(message.attachments),
        "size": size,
    }
    body = message.content or visible_text(message.html_content[:_WORDS])
    labels = (message.reference_id or "", message.campaign_id or "", mid)
    words = "\n".join((str(message.sender), to, cc, bcc, message.subject, *labels, body[:_WORDS])).casefold()
    return Entry(message.campaign_id or "", fault, badges_of(message), key_of(message), line, words)


def refusal_entry(
    api: str, fields: Mapping[str, Any], *, time: str, size: int, fault: str, status: int, errors: Iterable[str]
) -> Entry:
    """The entry of a request that was not accepted, of whatever its fields hold.

    Args:
        api: "v1" or "v2".
        fields: as received; texts, or anything that JSON can hold.
        time: when it came, ISO 8601.
        size: of its request, in bytes.
        fault: the kind that kept it from being accepted; empty where the API refused it.
        status: the HTTP status of the answer; 0 where there was none.
        errors: what the API answered.
    """
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    sender, to, cc, bcc, subject = (texts.get(name, "") for name in ("from", "to", "cc", "bcc", "subject"))
    content, html_content = texts.get("content", ""), texts.get("html_content", "")
    said = [shortened(item, 1000) for item in errors][:100]
    labels = [shortened(str(fields.get(name) or ""), _LINE) for name in ("reference_id", "X-campaign-ID")]
    line = {
        "time": time, "api": api, "sender": sender[:_LINE], "to": shortened(to, _LINE), "others": 0,
        "subject": shortened(subject, _LINE), "reference_id": labels[0],
        "files": 0, "size": size, "status": status, "errors": said,
    }  # fmt: skip
    words = "\n".join((sender, to, cc, bcc, subject, *labels, *said, content[:_WORDS])).casefold()
    seen = badges_in(subject=subject, content=content, html_content=html_content)
    found = tuple(badge for badge in seen if badge in _SEEN_IN_TEXT)
    return Entry(labels[1], fault, found, b"", line, words)


def key_of(message: Message) -> bytes:
    """What tells two messages to be one row's: campaign and reference, else recipients and content."""
    if message.reference_id:
        parts: list[Any] = [message.campaign_id, message.reference_id]
    else:
        lists = (message.to, message.cc, message.bcc)
        files = [(item.name, hashlib.blake2b(item.content, digest_size=16).hexdigest()) for item in message.attachments]
        emails = [sorted(item.email.lower() for item in found) for found in lists]
        parts = [emails, message.subject, message.content, message.html_content, files]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def cut(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a refused request, its long texts shortened: many of them are kept, and they may be huge."""
    short = {name[:_LINE]: _cut(value) for name, value in fields.items()}
    if len(json.dumps(short)) <= _KEPT_IN_ALL:
        return short
    return {"(too much to keep)": f"{len(fields):,} fields"}


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return shortened(value, _KEPT)
    if isinstance(value, list):
        return [_cut(item) for item in value]
    if isinstance(value, dict):
        return {name: _cut(item) for name, item in value.items()}
    return value
