"""The List-Unsubscribe headers (RFC 2369), with one-click (RFC 8058) where there is an https link."""

from __future__ import annotations

import re

from turbobatch.merge.addressing import Malformed, Value, split_items

_SAFE = re.compile(r"[!-;=?-~]+")  # printable ASCII but for blanks and angle brackets
_HTTPS = re.compile(r"https://[^/?#]+", re.IGNORECASE)
_MAILTO = re.compile(r"mailto:[^@?]+@[^@?]+", re.IGNORECASE)
_BETWEEN_LINKS = re.compile(r",\s*(?=https?:|mailto:)", re.IGNORECASE)


def read_links(rendered: str) -> tuple[dict[str, str], list[Malformed]]:
    """Turn the rendering, links separated by commas, into headers; without a link there are none."""
    links: list[str] = []
    malformed: list[Malformed] = []
    for item in split_items(rendered):
        pieces = [piece for piece in (*item.before, *(item.inside or ()), *item.after) if piece.strip()]
        whole = "".join(pieces)
        alone = len(pieces) == 1 and isinstance(pieces[0], Value)
        for link in map(str.strip, _BETWEEN_LINKS.split(whole) if alone else [whole]):
            fault = _fault(link)
            if fault:
                malformed.append(fault)
            else:
                links.append(link)
    headers = {"List-Unsubscribe": ", ".join(f"<{link}>" for link in links)} if links else {}
    if any(_HTTPS.match(link) for link in links):
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers, malformed


def _fault(link: str) -> Malformed | None:
    if not _SAFE.fullmatch(link):
        error = f"unsubscribe link {link!r} holds a blank or a character that no link may hold"
        return Malformed(link, error, "print values with | urlencode")
    if not (_HTTPS.match(link) or _MAILTO.match(link)):
        error = f"unsubscribe link {link!r} is neither https nor mailto"
        return Malformed(link, error, "give an https:// or mailto: link")
    return None
