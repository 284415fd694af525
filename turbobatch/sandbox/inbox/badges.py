"""Badges: what a merge is likely to have got wrong, seen in the message that came of it (pure).

They are cheap, since every message that arrives is looked at: a plain search for the few characters without which a
defect can't be there comes before anything that reads markup. Every search here takes time in proportion to the text.
"""

from __future__ import annotations

import html
import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from turbobatch.sandbox.rules import Message


class Badge(StrEnum):
    """What to look at twice: `SECOND` is a defect of the sending, all others are defects of the merge."""

    TEMPLATE = "template"
    MISSING = "missing value"
    GREETING = "empty greeting"
    ENCODING = "wrong encoding"
    SUBJECT = "no subject"
    TEXT = "no text part"
    EMPTY = "empty"
    CID = "broken image"
    LINK = "empty link"
    TWICE = "same address twice"
    FILE = "empty file"
    LONG = "clipped"
    SECOND = "second message"

    @property
    def meaning(self) -> str:
        """What it says, in one sentence."""
        return _MEANINGS[self]


_MEANINGS = {
    Badge.TEMPLATE: "A piece of a template is left over: {{, {% or *|.",
    Badge.MISSING: "nan, None, NaT, null, undefined or <NA> is printed as a word.",
    Badge.GREETING: "A comma stands behind a greeting without a name: “Hi ,”.",
    Badge.ENCODING: "Text was read in the wrong encoding: “Ã¼” for “ü”, or a replacement character.",
    Badge.SUBJECT: "The subject is empty.",
    Badge.TEXT: "There is HTML and no text part beside it.",
    Badge.EMPTY: "Neither the text nor the HTML shows anything.",
    Badge.CID: "The HTML shows an inline image (cid:) that isn't attached.",
    Badge.LINK: "A link or a picture has no address.",
    Badge.TWICE: "An address stands twice among the recipients.",
    Badge.FILE: "An attachment has no content.",
    Badge.LONG: "The HTML has more than 102 KB: some readers cut it off there.",
    Badge.SECOND: "An earlier message has the same campaign and reference, or else the same recipients and content.",
}

_TEMPLATE = re.compile(r"\{[{%]")
_LARGE_WORDS = ("NaN", "None", "NaT", "NA>", "NA&gt;")  # a single N is soon found missing
_MISSING = re.compile(r"(?<![\w./@#&-])(?:nan|NaN|None|NaT|null|undefined|<NA>)(?![\w@/-])(?!\.\w)")
_SENTENCE = re.compile(r" [^\W\d_A-Z]")  # a word in small letters goes on: "None of the …"
_BEGINS = re.compile(r"(?:\A|[.!?:;\n\"“(])\s*\Z")
_MARKUP = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|title)\b.*?(?:</\1\s*>|\Z)|<[^>]*(?:>|\Z)", re.DOTALL | re.IGNORECASE
)
_BLANK_COMMA = re.compile(r",(?<=[^\S\n],)")  # the comma first: a single character is searched for at memory's speed
_COMMA = re.compile(r",(?<=[\s>;],)")
_GREETING = re.compile(
    r"(?<!\w)(?:hi|hello|hey|dear|good (?:morning|day|evening)|hallo|guten tag|liebe[rs]?|sehr geehrte[rs]?|ciao|"
    r"car[oai]|gentile|salve|buongiorno|bonjour|salut|ch[eè]re?|hola|querid[oa]|estimad[oa]|ol[aá]|prezad[oa])"
    r"(?: (?:mr|mrs|ms|dr|herr|frau|sig)\.?)?[^\S\n]+\Z",
    re.IGNORECASE,
)
_CID = re.compile(r"""\bcid:([^\s"'<>()]+)""", re.IGNORECASE)
_EMPTY_VALUE = re.compile(r"""=(["'])\s*(?:https?://|mailto:)?\s*\1""", re.IGNORECASE)
_MOJIBAKE = re.compile(
    "Ã[\x80-\xbf\u0152-\u0192\u02c6\u02dc\u2013-\u2122]|â€|Â[\xa0-\xbf]|\ufffd"
)  # UTF-8 read as cp1252
_MOJIBAKE_SIGNS = ("Ã", "â€", "Â", "\ufffd")
_READ = 500_000  # characters of a text that are looked at
_GREETING_LENGTH = 60
_CLIPPED = 102 * 1024


def badges_of(message: Message) -> tuple[Badge, ...]:
    """The badges of a message by itself, in the order of the enum; SECOND is for who knows the others."""
    return badges_in(
        subject=message.subject,
        content=message.content,
        html_content=message.html_content,
        names=[item.name for item in (message.sender, *message.to, *message.cc, *message.bcc)],
        emails=[item.email for item in (*message.to, *message.cc, *message.bcc)],
        headers=message.custom_headers.values(),
        files=[(item.content_id, len(item.content)) for item in message.attachments],
    )


def badges_in(
    *,
    subject: str = "",
    content: str = "",
    html_content: str = "",
    names: Iterable[str] = (),
    emails: Iterable[str] = (),
    headers: Iterable[str] = (),
    files: Iterable[tuple[str, int]] = (),
) -> tuple[Badge, ...]:
    """The badges of a message in its parts.

    Args:
        subject: decoded.
        content: the text part.
        html_content: the HTML part.
        names: of the sender and of all recipients.
        emails: of all recipients.
        headers: the custom headers' values.
        files: content id (without brackets, empty for none) and size in bytes of each attachment.
    """
    # One text instead of many small ones: each search has its price, however little there is to search.
    markup, text = html_content[:_READ], "\n".join((subject, *names, "", content[:_READ]))
    found = {
        Badge.TEMPLATE: any(map(_has_template, (text, markup, *headers))),
        Badge.MISSING: _has_missing(text) or _has_missing_markup(markup),
        Badge.GREETING: _has_empty_greeting(text) or _has_empty_greeting_markup(markup),
        Badge.ENCODING: _has_mojibake(text) or _has_mojibake(markup),
        Badge.SUBJECT: not subject.strip(),
    }
    files = list(files)
    found |= _body_badges(content, html_content, markup, files)
    addresses = [item.lower() for item in emails]
    found[Badge.TWICE] = len(set(addresses)) < len(addresses)
    return tuple(badge for badge in Badge if found.get(badge))


def visible_text(markup: str) -> str:
    """What HTML shows of its text, nearly: without tags, comments, scripts and styles, character references read."""
    return html.unescape(_MARKUP.sub(_gap, markup))


def cids_in(markup: str) -> Iterator[str]:
    """The content ids that HTML refers to, as often as it does."""
    for match in _CID.finditer(markup):
        yield match[1]


def _body_badges(content: str, html_content: str, markup: str, files: list[tuple[str, int]]) -> dict[Badge, bool]:
    attached = {content_id for content_id, _ in files}
    return {
        Badge.TEXT: bool(html_content.strip()) and not content.strip(),
        Badge.EMPTY: not content.strip() and not _shows_something(markup),
        Badge.CID: "cid:" in markup and any(name not in attached for name in cids_in(markup)),
        Badge.LINK: _has_empty_link(markup),
        Badge.FILE: any(size == 0 for _, size in files),
        Badge.LONG: len(html_content) > _CLIPPED,
    }


def _gap(match: re.Match[str]) -> str:
    # Tags of lines and blocks part what stands around them; those of letters (<b>, <span>) don't.
    return "\n" if re.match(r"</?(?:p|div|br|t[dhr]|table|h\d|li|[uo]l|title)\b", match[0], re.IGNORECASE) else ""


def _shows_something(markup: str) -> bool:
    return "<img" in markup.lower() or bool(visible_text(markup).strip())


def _has_empty_link(markup: str) -> bool:
    return any(
        markup[max(0, match.start() - 4) : match.start()].lower().endswith(("href", "src"))
        for match in _EMPTY_VALUE.finditer(markup)
    )


def _has_template(text: str) -> bool:
    return bool(_TEMPLATE.search(text)) or ("|" in text and "*|" in text) or ("%" in text and "%7B%7B" in text)


def _has_missing_markup(markup: str) -> bool:
    return _may_miss(markup) and _has_missing(visible_text(markup))


def _has_missing(text: str) -> bool:
    return _may_miss(text) and any(not _is_prose(text, match) for match in _MISSING.finditer(text))


def _may_miss(text: str) -> bool:
    return (
        "nan" in text
        or "null" in text
        or "undefined" in text
        or ("N" in text and any(word in text for word in _LARGE_WORDS))
    )


def _is_prose(text: str, match: re.Match[str]) -> bool:
    """Whether it is the English word that begins a sentence: "None of these is …"."""
    if match[0] != "None" or not _SENTENCE.match(text, match.end()):
        return False
    return bool(_BEGINS.search(text, max(0, match.start() - 8), match.start())) or text.startswith(" of ", match.end())


def _has_empty_greeting_markup(markup: str) -> bool:
    return bool(_COMMA.search(markup)) and _has_empty_greeting(visible_text(markup))


def _has_empty_greeting(text: str) -> bool:
    return any(
        _GREETING.search(text, max(0, match.end() - 1 - _GREETING_LENGTH), match.end() - 1)
        for match in _BLANK_COMMA.finditer(text)
    )


def _has_mojibake(text: str) -> bool:
    return any(sign in text for sign in _MOJIBAKE_SIGNS) and bool(_MOJIBAKE.search(text))
