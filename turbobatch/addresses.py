"""Address lists: parse, validate, format.

Syntax is judged by email-validator without DNS: the API itself only judges syntax when it takes an email
(bounces show later), and a batch must not depend on a resolver.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from email_validator import EmailNotValidError, validate_email

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# RFC 5322 "specials": a display name with one of them must be quoted.
_SPECIALS = re.compile(r'[(),.:;<>@\[\]"\\]')
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What no header-bound text may hold: a line break could start a header of its own, a lone surrogate can't travel."""

# What most addresses look like, in a form that email-validator leaves as it is; it has rules for capitals (RFC 2142).
_PLAIN_LOCAL_PART = re.compile(r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*")
_LOCAL_PART_LIMIT = 64  # RFC 5321, 4.5.3.1.1
_ADDRESS_LIMIT = 254  # RFC 3696, erratum 1690
_FAR_TOO_LONG = 1000  # characters, also of one that normalisation shortens

_ENCODED_WORD_BYTES = 45  # RFC 2047 allows 75 characters a word: 12 of frame, 60 of base64, 45 bytes before it


class AddressError(ValueError):
    """A text is no email address. `text` is what was given, `reason` one sentence about it."""

    def __init__(self, text: str, reason: str) -> None:
        self.text = text
        self.reason = reason
        super().__init__(f"{text!r}: {reason}")


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox: `email` normalised (domain lower-case and in ASCII), `name` as people write it, maybe empty.

    Make it with `parse` or `of`: they check and normalise, the bare constructor takes what it is given.
    """

    email: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `a@b.example`, `Name <a@b.example>` or `"Last, First" <a@b.example>`.

        All that stands before the last `<` is the name, so an unquoted comma in it does no harm here.

        Raises:
            AddressError: the text is no single address.
        """
        text = text.strip()
        if not text.endswith(">"):
            return cls.of("", text)
        name, bracket, email = text[:-1].rpartition("<")
        if not bracket:
            raise AddressError(text, "a `<` is missing before the address")
        return cls.of(_unquote(name.strip()), email.strip(), text)

    @classmethod
    def of(cls, name: str, email: str, text: str = "") -> Self:
        """Build an address from its parts; `name` may be empty. `text` is what an error quotes (`email`, if not given).

        Raises:
            AddressError: the name holds a control character or the address is malformed.
        """
        return cls(*_parts(name, email, text or email))

    @property
    def domain(self) -> str:
        """What follows the `@`."""
        return self.email.rpartition("@")[2]

    def header(self) -> str:
        """Write the address for a field that isn't split on commas (`from`, `reply-to`)."""
        if not self.name:
            return self.email
        name = self.name
        if _SPECIALS.search(name) or "=?" in name:  # else it could be taken for an encoded word
            name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{name} <{self.email}>"

    def list_item(self) -> str:
        """Write the address for `to`, `cc` or `bcc`.

        The server splits these on every comma before it reads quotes, so a name with a comma travels as
        an RFC 2047 encoded word, which has none. So does a name that itself looks like one: readers that don't
        mind the quotes would decode it.
        """
        if "," not in self.name and "=?" not in self.name:
            return self.header()
        return f"{encoded_word(self.name)} <{self.email}>"

    def __str__(self) -> str:
        return self.header()


def digest_of(addresses: Iterable[Address]) -> str:
    """A digest of whom an email goes to, 16 hex digits: without names, the same in any order and any case."""
    emails = sorted({item.email.lower() for item in addresses})
    return hashlib.sha256("\n".join(emails).encode()).hexdigest()[:16]


def holds_control(text: str) -> bool:
    """Whether `text` holds what no header may. `isprintable` settles nearly every text, in a fraction of the time."""
    return not text.isprintable() and CONTROL.search(text) is not None


def parse_list(text: str) -> list[Address]:
    """Read a comma-separated list; commas in quotes or angle brackets don't separate, empty items don't count.

    Raises:
        AddressError: the first item that is no address.
    """
    return [Address.parse(item) for item in split_list(text)]


def split_list(text: str) -> Iterator[str]:
    """Split an address list at its separating commas; items come stripped and never empty."""
    item: list[str] = []
    quoted = escaped = bracketed = False
    for char in text:
        if char == "," and not quoted and not bracketed:
            yield from _nonempty(item)
            item = []
            continue
        if quoted:
            quoted = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in "<>":
            bracketed = char == "<"
        item.append(char)
    yield from _nonempty(item)


def format_list(addresses: Iterable[Address]) -> str:
    """Write `to`, `cc` or `bcc` as the API takes it."""
    return ",".join(address.list_item() for address in addresses)


def encoded_word(text: str) -> str:
    """Write text as RFC 2047 encoded words (UTF-8, base64): ASCII, without a comma, split between characters."""
    pieces: list[bytes] = [b""]
    for char in text:
        encoded = char.encode()
        if len(pieces[-1]) + len(encoded) > _ENCODED_WORD_BYTES:
            pieces.append(b"")
        pieces[-1] += encoded
    return " ".join(f"=?utf-8?b?{base64.b64encode(piece).decode()}?=" for piece in pieces)


def _nonempty(chars: list[str]) -> Iterator[str]:
    item = "".join(chars).strip()
    if item:
        yield item


def _unquote(name: str) -> str:
    if len(name) >= 2 and name[0] == name[-1] == '"':  # noqa: PLR2004 - a pair of quotes
        return re.sub(r"\\(.)", r"\1", name[1:-1])
    return name


@lru_cache(maxsize=64)  # an address is checked where it is read, and soon after in the email that goes to it
def _parts(name: str, email: str, text: str) -> tuple[str, str]:
    if holds_control(name):
        raise AddressError(text, "the name holds a line break or control character")
    return _normalised(email, text), name.strip()


def _normalised(email: str, text: str) -> str:
    # A list has many addresses and few domains: for a plain local part only the domain is worth validating, once.
    local, at, domain = email.rpartition("@")
    if at and len(local) <= _LOCAL_PART_LIMIT and _PLAIN_LOCAL_PART.fullmatch(local):
        found = _ascii_domain(domain)
        if found is not None and len(local) + 1 + max(len(found), len(domain)) <= _ADDRESS_LIMIT:
            return f"{local}@{found}"
    return _validated(email, text)


@lru_cache(maxsize=4096)
def _ascii_domain(domain: str) -> str | None:
    try:
        return _validated(f"a@{domain}", "").rpartition("@")[2]
    except AddressError:
        return None  # the whole address says better what is wrong


@lru_cache(maxsize=4096)
def _validated(email: str, text: str) -> str:
    if len(email) > _FAR_TOO_LONG:  # the library would take a minute for a text of a megabyte
        raise AddressError(text, f"an address has at most {_ADDRESS_LIMIT} characters")
    try:
        found = validate_email(email, check_deliverability=False, allow_smtputf8=False, allow_quoted_local=False)
    except EmailNotValidError as error:
        raise AddressError(text, _one_line(str(error))) from None
    return f"{found.local_part}@{found.ascii_domain}"


def _one_line(text: str) -> str:
    return CONTROL.sub(" ", text)
