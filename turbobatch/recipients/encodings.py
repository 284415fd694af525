"""Which encoding a text file has: named by the user, told by a byte order mark, or found out."""

from __future__ import annotations

import codecs
import io
from contextlib import suppress
from typing import TYPE_CHECKING

from turbobatch.errors import CampaignError
from turbobatch.recipients.table import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# UTF-32's little-endian mark begins with UTF-16's, so it is looked for first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_HEAD = 4096
_BLOCK = 2**20


def find_encoding(path: Path, encoding: str | None = None) -> tuple[str, tuple[str, ...]]:
    """Return the encoding as which the whole file decodes, and a warning if it is only a guess.

    Named, else by the byte order mark, else UTF-16 if many of every other byte at the beginning are NUL (Latin
    letters are), else UTF-8, else cp1252. A named one that leaves it to the mark is made definite: utf-16 is utf-16-le.

    Raises:
        CampaignError: the file doesn't decode or holds a NUL character, or there is no such encoding.
        OSError: the file can't be read.
    """
    name = one_line(path.name)
    certain = _known(encoding) if encoding is not None else _by_first_bytes(path)
    if certain is not None:
        line = _undecodable_line(path, certain)
        if line is not None:
            raise CampaignError(f"{name}, line {line} is not valid {certain}: name the right encoding")
        return _definite(path, certain), ()
    if _undecodable_line(path, "utf-8") is None:
        return "utf-8", ()
    line = _undecodable_line(path, "cp1252")
    if line is not None:
        raise CampaignError(f"{name}, line {line} is neither UTF-8 nor cp1252: name the encoding with encoding = …")
    return "cp1252", (f"{name} is not UTF-8: read as cp1252; name the right encoding with encoding = …",)


def octets_in(encoding: str) -> Callable[[str], int] | None:
    """Return what tells how many octets a text took in this encoding, if a file may be read from any character on.

    None of an encoding that shifts (utf-7, iso2022_jp), has a mark (utf-16), or might write what was read in another
    length (gb18030).
    """
    name = codecs.lookup(encoding).name
    if name in {definite for _, definite in _MARKS}:
        return lambda text: len(text.encode(name))
    return len if _is_octet_each(encoding) else None


def _is_octet_each(encoding: str) -> bool:
    # Where characters take several octets, or depend on some before, a decoder keeps one of these octets to itself.
    for octet in range(256):
        with suppress(UnicodeError):  # it is no character
            if len(codecs.getincrementaldecoder(encoding)().decode(bytes((octet,)))) != 1:
                return False
    return True


def _definite(path: Path, encoding: str) -> str:
    name = codecs.lookup(encoding).name
    if name not in {"utf-8-sig", "utf-16", "utf-32"}:
        return encoding
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for mark, definite in _MARKS:
        if head.startswith(mark) and definite.startswith(name.removesuffix("-sig")):
            return encoding if head.startswith(mark * 2) else definite  # the second mark would become a character
    return "utf-8" if name == "utf-8-sig" else encoding


def _known(encoding: str) -> str:
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    except (LookupError, ValueError):
        raise CampaignError(f"there is no text encoding named {encoding!r}: try utf-8, cp1252 or utf-16") from None
    return encoding


def _by_first_bytes(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) <= max(len(head) // 4, 2 * min(even, odd)):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _undecodable_line(path: Path, encoding: str) -> int | None:
    """Return the line of the first byte that doesn't decode, from 1; None if all do.

    Raises:
        CampaignError: a NUL character comes before it; the CSV reader would take it for text.
    """
    decoder, line = _decoder(encoding), 1
    with path.open("rb") as file:
        try:
            while block := file.read(_BLOCK):
                text = decoder.decode(block)
                if "\0" in text:
                    line += text.partition("\0")[0].count("\n")
                    raise CampaignError(
                        f"{one_line(path.name)}, line {line} holds a NUL character: "
                        "this is no text, or in another encoding (UTF-16?)"
                    )
                line += text.count("\n")
            decoder.decode(b"", final=True)
        except UnicodeError as error:
            if isinstance(error, UnicodeDecodeError):
                with suppress(UnicodeError):  # some codecs, such as idna, don't say where
                    line += _decoder(encoding).decode(bytes(error.object[: error.start]), final=True).count("\n")
            return line
    return None


def _decoder(encoding: str) -> io.IncrementalNewlineDecoder:
    return io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
