"""An account's secrets in foreign texts, in whatever spelling, become `***`: a host may repeat what it was sent."""

from __future__ import annotations

import base64
import functools
import html
import re
from urllib.parse import quote_plus

_MASK = "***"
_LEAST_BASE64 = 6  # characters of a secret's base64 that tell it from a coincidence


def redacted(text: str, secrets: tuple[str, ...]) -> str:
    """The text with `***` for each of the secrets: as it is, percent-encoded, escaped for JSON or HTML, in base64, hex.

    Upper and lower case aren't told apart.
    """
    if not secrets:
        return text
    pattern, shortest = _pattern(secrets)
    return text if len(text) < shortest else pattern.sub(_MASK, text)


@functools.lru_cache(maxsize=8)
def _pattern(secrets: tuple[str, ...]) -> tuple[re.Pattern[str], int]:
    """What finds them, and the least number of characters that it can find."""
    patterns: list[str] = []
    lengths: list[int] = []
    for secret in sorted(secrets, key=len, reverse=True):  # the longest first: one may be the beginning of another
        encoded = _encoded(secret)
        patterns.append("".join(map(_spelled, secret)))
        patterns += ["".join(char if char.isalnum() else _spelled(char) for char in form) for form in encoded]
        lengths += map(len, (secret, *encoded))
    return re.compile("|".join(patterns), re.IGNORECASE), min(lengths)


def _encoded(secret: str) -> list[str]:
    """The secret in hex and in base64, by itself and as it travels in a form or query."""
    forms = []
    for raw in {secret.encode(), quote_plus(secret).encode()}:
        forms.append(raw.hex())
        for before in range(3):  # its base64 inside a longer text's depends on the place where it begins there
            encoded = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
            # At both ends a character can hold bits of a neighbour too.
            core = encoded[(0, 2, 3)[before] : len(encoded) - bool((before + len(raw)) % 3)]
            if len(core) >= _LEAST_BASE64:
                forms += {core, core.translate(str.maketrans("+/", "-_"))}
    return forms


def _spelled(char: str) -> str:
    """A pattern of all the ways to write a character; each is bounded, so that no text makes the search slow."""
    code = ord(char)
    ways = [
        rf"%(?:25){{0,2}}{code:02x}",
        rf"\\{{1,4}}u00{code:02x}",
        rf"&#(?:0{{0,4}}{code}|x0{{0,4}}{code:x});",
        rf"\\{{0,4}}{re.escape(char)}",
    ]
    if (escaped := html.escape(char)) != char:
        ways.append(re.escape(escaped))
    if char == " ":
        ways.append(r"\+")
    return f"(?:{'|'.join(ways)})"
