"""The links of a message and what is wrong with them, without asking anybody (pure)."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_READ = 500_000  # characters of a body that are looked at
_MOST = 500  # links that are listed
_TEMPLATE = re.compile(r"\{\{|\{%|\*\|")
_URL = re.compile(r"\bhttps?://[^\s<>\"')\]]+", re.IGNORECASE)
_HOST = re.compile(r"(?:[\w-]+\.)*[\w-]+\.?|[\da-f:.]+", re.IGNORECASE)
_DOUBLE = re.compile(r"https?:/*https?:", re.IGNORECASE)
_ADDRESSES = {"a": "href", "area": "href", "img": "src", "form": "action", "link": "href", "video": "src"}
_KINDS = {"img": "picture", "video": "film", "form": "form", "link": "style"}
_SCRIPTS = ("javascript", "vbscript")
_FINE = ("mailto", "tel", "sms", "cid", "data")


class Link(NamedTuple):
    """Where a link stands, where it leads, the text that is clicked, and what is wrong with it."""

    place: str
    url: str
    text: str
    problems: tuple[str, ...]


def links_in(content: str, html_content: str) -> list[Link]:
    """The links and pictures of the HTML, then the links of the text, each in its order."""
    reader = _Reader()
    reader.feed(html_content[:_READ])
    reader.close()
    texts = (Link("text", match[0].rstrip(".,;:!?"), "", ()) for match in _URL.finditer(content[:_READ]))
    found = [*reader.links, *texts][:_MOST]
    return [link._replace(problems=problems_of(link.url, is_picture=link.place == "picture")) for link in found]


def unsubscribe_links(headers: list[tuple[str, str]]) -> list[Link]:
    """What the header List-Unsubscribe offers (RFC 2369), and whether one click does it (RFC 8058)."""
    values = {name.lower(): value for name, value in headers}
    given = values.get("list-unsubscribe", "")
    urls = re.findall(r"<([^<>]*)>", given) or [item.strip() for item in given.split(",") if item.strip()]
    has_post = values.get("list-unsubscribe-post", "").replace(" ", "").lower() == "list-unsubscribe=one-click"
    links = []
    for url in urls:
        problems = list(problems_of(url.strip()))
        if f"<{url}>" not in given:
            problems.append("not in angle brackets")
        is_web = url.strip().lower().startswith("http")
        if is_web and not has_post:
            problems.append("no List-Unsubscribe-Post: one click doesn't do")
        links.append(Link("List-Unsubscribe", url.strip(), "", tuple(problems)))
    return links


def problems_of(url: str, *, is_picture: bool = False) -> tuple[str, ...]:
    """What is wrong with an address, as far as it can be seen.

    Args:
        url: as it stands in the message, character references read.
        is_picture: whether it is fetched without a click.
    """
    text = url.strip()
    if not text:
        return ("empty",)
    problems = []
    if _TEMPLATE.search(unquote(text)):
        problems.append("a piece of a template is left over")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - reading it is the check
    except ValueError:
        return (*problems, "malformed")
    scheme = parts.scheme.lower()
    if scheme in ("http", "https"):
        problems += _web_problems(text, scheme, parts.hostname or "")
    elif scheme in _SCRIPTS:
        problems.append("no mail program runs scripts")
    elif not scheme:
        problems.append(_relative(text, is_picture=is_picture))
    elif scheme not in _FINE:
        problems.append(f"unusual: {scheme}:")
    if scheme == "mailto" and "@" not in parts.path and "to=" not in parts.query:
        problems.append("malformed")
    return tuple(filter(None, problems))


def _web_problems(text: str, scheme: str, host: str) -> list[str]:
    problems = []
    if not _HOST.fullmatch(host) or ".." in host or re.search(r"\s", text) or _DOUBLE.match(text):
        problems.append("malformed")
    elif "." not in host and ":" not in host:
        problems.append("the host has no dot: it is no name on the internet")
    if scheme == "http":
        problems.append("not encrypted: http")
    return problems


def _relative(text: str, *, is_picture: bool) -> str:
    if text.startswith("#") and not is_picture:
        return "leads nowhere" if text == "#" else ""  # a place in the message itself
    return "relative: an email has no place to begin from"


class _Reader(HTMLParser):
    """Collects links and pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[Link] = []
        self._open: int | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = _ADDRESSES.get(tag)
        given = dict(attrs)
        if name is None or name not in given or len(self.links) >= _MOST:
            return
        self.links.append(Link(_KINDS.get(tag, "link"), given[name] or "", given.get("alt") or "", ()))
        self._open = len(self.links) - 1 if tag == "a" else self._open

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None and len(self.links[self._open].text) < 200:  # noqa: PLR2004 - enough to know it by
            link = self.links[self._open]
            self.links[self._open] = link._replace(text=" ".join(f"{link.text} {data}".split()))
