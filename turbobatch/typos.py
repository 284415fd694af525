"""What a mistyped address was probably meant to be. People look at a guess: nothing here is applied by itself.

A wrong guess costs more than none, since it sends mail to a stranger. So a domain counts as a slip of a provider's only
if one slip of the hand explains it, or one in the name and one in the ending; a domain in use is nobody's slip.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from turbobatch.addresses import Address, AddressError
from turbobatch.mailboxes import COUNTRIES, DOMAINS, ENDINGS, GENERIC, NEIGHBOURS

_AROUND = " \t\r\n\xa0<>()[]{}\"'`´‘’“”„«»,;:.!?|/\\*"  # noqa: RUF001 - what people copy along
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
_WRITTEN_AT = re.compile(r"\s*[(\[{]\s*at\s*[)\]}]\s*", re.IGNORECASE)
_SCHEME = re.compile(r"mailto:", re.IGNORECASE)
_ATS = re.compile(r"[\s.,]*@[\s@.,]*")
_DOTS = re.compile(r"\s*[.,;\u3002]+\s*|\.{2,}")
_GLUED = re.compile(r"(?P<local>[a-z0-9](?:[a-z0-9._+-]*[a-z0-9])?)(?P<between>[ .#_-]?)", re.IGNORECASE)
_HOSTS = frozenset({"www", "mail", "smtp", "imap", "pop", "webmail", "login"})
_SHORTEST_LOCAL = 3  # characters, before a domain without @
_SHORTEST_NAME = 5  # letters: a shorter name has too many neighbours that are in use
_MOST_EDITS = 2
_FEW = 2  # domains of one provider, of which the wrong one isn't guessed
_FAR_TOO_LONG = 400  # characters

_NAMES: dict[str, list[str]] = {}
for _domain in DOMAINS:
    _NAMES.setdefault(_domain.partition(".")[0], []).append(_domain)
_KNOWN = frozenset(DOMAINS) | NEIGHBOURS

# Where keys lie on the usual keyboards, in key widths; and letters that look or sound alike.
_ROWS = ((0, "1234567890"), (0.5, "qwertyuiop"), (0.75, "asdfghjkl"), (1.25, "zxcvbnm"))
_KEYS = {
    key: (row, place + offset)
    for row, (offset, keys) in enumerate(_ROWS)
    for place, key in enumerate(keys)
}  # fmt: skip
_ALIKE = frozenset(map(frozenset, ("il", "1l", "1i", "0o", "ck", "yz", "ae", "ei", "iy", "ao", "ou", "sz", "eo", "ai")))


def suggest(text: str) -> str | None:
    """Guess what a mistyped address was meant to be; None without a good guess, and for a good address."""
    if len(text) > _FAR_TOO_LONG:
        return None
    given = _parsed(text)
    if given is not None:
        local, _, domain = given.rpartition("@")
        meant = slip_of(domain)
        return _parsed(f"{local}@{meant}") if meant else None
    parts = _mended(text)
    if parts is None:
        return None
    local, domain = parts
    return _parsed(f"{local}@{slip_of(domain) or domain}")


def has_mistyped_domain(text: str) -> bool:
    """Whether the domain of an address, good or broken, is a slip of one that many people have."""
    given = _parsed(text) if len(text) <= _FAR_TOO_LONG else None
    parts = (given.rpartition("@")[0], given.rpartition("@")[2]) if given else _mended(text[:_FAR_TOO_LONG])
    return parts is not None and slip_of(parts[1]) is not None


@lru_cache(maxsize=4096)
def slip_of(domain: str) -> str | None:
    """The domain that this one is a slip of: a provider's, or the same with an ending that exists."""
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    if domain in _KNOWN:
        return None
    if len(named := _NAMES.get(domain, [])) == 1 and len(domain) >= _SHORTEST_NAME:
        return named[0]  # without its ending
    near = process.extract(domain, DOMAINS, scorer=OSA.distance, score_cutoff=_MOST_EDITS, limit=None)
    slips = [(edits, meant) for meant, edits, _ in near if _is_slip(domain, meant)]
    if slips:
        best = [meant for edits, meant in slips if edits == min(slips)[0]]
        return best[0] if len(best) == 1 else None
    name, dot, ending = domain.rpartition(".")
    meant = f"{name}.{ENDINGS[ending]}" if dot and ending in ENDINGS else domain
    return None if meant == domain else meant


def _parsed(text: str) -> str | None:
    try:
        return Address.parse(text).email
    except AddressError:
        return None


def _mended(text: str) -> tuple[str, str] | None:
    """Local part and domain of what is no address, its syntax mended as far as that is plain."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).rpartition("<")[2]
    plain = _WRITTEN_AT.sub("@", _SCHEME.sub("", plain.strip(_AROUND), count=1)).strip(_AROUND)
    local, at, domain = _ATS.sub("@", plain).rpartition("@")
    if not at:
        return _split(plain)
    domain = _DOTS.sub(".", domain.lower()).strip(". ")
    local = re.sub(r"\.{2,}", ".", local.strip(". "))
    return (local, domain) if local and domain else None


def _split(text: str) -> tuple[str, str] | None:
    """Put the missing @ before a provider's domain, where only one place is likely."""
    low = _DOTS.sub(".", text.lower())
    ends = [domain for domain in DOMAINS if low.endswith(domain)]
    if not ends:
        return None
    domain = max(ends, key=len)
    found = _GLUED.fullmatch(low.removesuffix(domain))
    if found is None or found["local"] in _HOSTS or len(found["local"]) < _SHORTEST_LOCAL:
        return None
    name = domain.partition(".")[0]
    if not found["between"] and (len(name) < _SHORTEST_NAME or name in GENERIC):
        return None
    return found["local"], domain


def _is_slip(typed: str, meant: str) -> bool:
    name, _, ending = meant.partition(".")
    typed_name, _, typed_ending = typed.partition(".")
    if typed_name == name:
        return _is_slip_of_ending(typed_ending, ending, name)
    if len(name) < _SHORTEST_NAME or name in GENERIC:
        return False
    if _is_slip_of_hand(typed_name, name):
        return typed_ending == ending or _is_slip_of_ending(typed_ending, ending, name)
    if typed == meant.replace(".", "", 1):
        return True
    is_dot_moved = len(typed) == len(meant) and typed.replace(".", "") == meant.replace(".", "")
    return is_dot_moved and _is_slip_of_hand(typed, meant)


def _is_slip_of_ending(typed: str, ending: str, name: str) -> bool:
    from rapidfuzz.distance import OSA

    last = typed.rpartition(".")[2]
    if last in COUNTRIES and last != ending.rpartition(".")[2]:
        is_long = len(name) >= _SHORTEST_NAME or name in {"aol", "msn"}
        return is_long and ending == "com" and typed in {"co", "cm", "om"}
    if len(ending) <= 2:  # noqa: PLR2004 - a country: nearly everything is near one, and providers are in many
        is_swapped = sorted(typed) == sorted(ending)
        return _is_slip_of_hand(typed, ending) and (is_swapped or len(_NAMES[name]) <= _FEW)
    return bool(OSA.distance(typed, ending) == 1)


def _is_slip_of_hand(typed: str, meant: str) -> bool:
    """Whether one slip makes `typed` of `meant`: a letter left out, two swapped, a neighbouring key or a like letter.

    The first letter is seldom wrong, and domains that differ in it are mostly somebody else's.
    """
    shorter = min(len(typed), len(meant))
    start = next((place for place in range(shorter) if typed[place] != meant[place]), shorter)
    left = shorter - start
    end = next((place for place in range(left) if typed[-1 - place] != meant[-1 - place]), left)
    wrong, right = typed[start : len(typed) - end], meant[start : len(meant) - end]
    if len(wrong) == len(right) == 2:  # noqa: PLR2004 - letters that are swapped
        return wrong == right[::-1]
    if start == 0 or len(wrong) > 1 or len(right) > 1:
        return False
    if not right:  # one too many: it was hit along with one beside it
        beside = typed[start - 1] + typed[start + 1 : start + 2]
        return any(wrong == key or _are_close(wrong, key) for key in beside)
    return not wrong or _are_close(wrong, right) or frozenset(wrong + right) in _ALIKE


def _are_close(one: str, other: str) -> bool:
    if one not in _KEYS or other not in _KEYS:
        return False
    (row, place), (other_row, other_place) = _KEYS[one], _KEYS[other]
    return abs(row - other_row) <= 1 and abs(place - other_place) <= 1
