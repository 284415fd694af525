"""What a page of the inbox shows, taken from the vendor: data for the templates, no HTTP."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from turbobatch.markup import shortened
from turbobatch.sandbox.events import EventKind
from turbobatch.sandbox.faults import FaultKind
from turbobatch.sandbox.inbox.badges import Badge
from turbobatch.sandbox.inbox.catalogue import PAGE, Filter, Line, Show
from turbobatch.sandbox.inbox.harmless import harmless
from turbobatch.sandbox.inbox.links import links_in, unsubscribe_links
from turbobatch.sandbox.store import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from turbobatch.sandbox.inbox.catalogue import Catalogue
    from turbobatch.sandbox.vendor import Vendor

FOLDER = Path(__file__).parent
TABS = ("html", "text", "headers", "source", "attachments", "request", "links")
_TITLES = {
    Show.ACCEPTED: "Accepted",
    Show.SPOILED: "Answer spoiled",
    Show.REFUSED: "Refused",
    Show.FAILED: "Met a fault",
}
_DELIVERIES = {
    "SUCCESS": "delivered",
    "DEFER": "queued",
    "FAIL": "bounced",
    "SYSFAIL": "dropped",
    "OPEN": "opened",
    "CLICK": "clicked",
    "UNSUB": "unsubscribed",
    "REPORT": "complaint",
}
_MARKED = ("FAIL", "REPORT", "UNSUB", "SYSFAIL")  # in the list, the first of these that a recipient has
_CHUNKS = 25  # of the vendor's books that a list reads on: a tenth of a second
_MAGIC = (
    ("Faults", "the POST meets a fault", [(kind.value, kind.meaning) for kind in FaultKind]),
    ("Deliveries", "it is accepted, and then", [(kind.value, kind.meaning) for kind in EventKind]),
)
_SHOWN = 200_000  # characters of a text on a page
_SHOWN_FIELD = 20_000  # characters of each field of a request
_PICTURES = 30_000_000  # characters of inline pictures in one message's HTML
_CID = re.compile(r"""\bcid:([^\s"'<>()]+)""", re.IGNORECASE)
_PICTURE = re.compile(r"image/[\w.+-]+", re.ASCII)


class Views:
    """The pages' data over one vendor.

    Args:
        vendor: whose messages they are.
        catalogue: the list over its store.
    """

    def __init__(self, vendor: Vendor, catalogue: Catalogue) -> None:
        self._vendor = vendor
        self._catalogue = catalogue
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"size": size_text, "clock": clock, "people": people}
        self._templates.globals |= {"Badge": Badge, "link": link, "deliveries_said": _DELIVERIES, "magic": _MAGIC}

    def render(self, name: str, **data: Any) -> str:
        """A page, or a piece of one."""
        return self._templates.get_template(name).render(data)

    def page(self, name: str, **data: Any) -> str:
        """A whole page, with what stands on top of each."""
        return self.render(name, status=self.status(), dice=self._vendor.plan.faults, **data)

    def status(self) -> dict[str, int]:
        """The counts that move during a run."""
        count, vendor = self._catalogue.count, self._vendor
        return {
            "accepted": count(Filter()),
            "spoiled": count(Filter(Show.SPOILED)),
            # More than are kept, or kept in a file by an earlier process.
            "refused": max(vendor.refused, count(Filter(Show.REFUSED))),
            "failed": max(vendor.failed, count(Filter(Show.FAILED))),
            "requests": vendor.requests,
            "cleared": vendor.cleared,
        }

    def list(self, narrowed: Filter, number: int, url: str) -> str:
        """The list's page."""
        look = self._catalogue.look(narrowed, number)
        return self.page(
            "list.html",
            narrowed=narrowed,
            look=look,
            lines=look.lines,
            marks=self._marks(narrowed, look.lines),
            first=(look.number - 1) * PAGE + 1,
            titles=_TITLES,
            refusals=REFUSALS,
            size=PAGE,
            url=url,
            **self._choices(narrowed.show),
        )

    def news(self, narrowed: Filter, number: int, after: int) -> dict[str, Any]:
        """What has come since an id to the list, whose page of that number is open: markup and counts."""
        look = self._catalogue.look(narrowed, number, after=after)
        return {
            "last": look.last,
            "count": look.fresh,
            "total": look.total,
            "rows": self.render(
                "rows.html", lines=look.lines, narrowed=narrowed, marks=self._marks(narrowed, look.lines)
            ),
            "pages": self.render("pages.html", look=look, narrowed=narrowed),
            "choices": {
                name: self.render(f"{name}.html", narrowed=narrowed, **self._choices(narrowed.show))
                for name in ("campaigns", "badges")
            },
        }

    def message(self, narrowed: Filter, number: int, tab: str, *, is_phone: bool) -> str | None:
        """The page of an accepted message; None if there is none of that id."""
        line, message = self._catalogue.line(narrowed.show, number), self._vendor.message(number)
        if line is None or message is None:
            return None
        tab = tab if tab in TABS else "html" if message["html_content"] else "text"
        same = [other for other in self._catalogue.same_key(number) if other != number]
        more = self._pane(tab, message) | {"deliveries": self._vendor.office.deliveries([number])[number]}
        return self._one(narrowed, line, tab, message=message, is_phone=is_phone, same=same, **more)

    def refusal(self, narrowed: Filter, number: int) -> str | None:
        """The page of a request that was not accepted; None if there is none of that id."""
        line, fields = self._catalogue.line(narrowed.show, number), self._catalogue.refused_fields(number)
        if line is None or fields is None:
            return None
        request = request_text(fields)
        return self._one(narrowed, line, "request", message=None, is_phone=False, same=[], request=request)

    def mail(self, number: int) -> str | None:
        """A message's HTML with its inline pictures in it, for a frame of its own; None if there is none."""
        message = self._vendor.message(number)
        if message is None:
            return None
        return harmless(with_pictures(message["html_content"], message["attachments"]))

    def attachment(self, number: int, place: int) -> tuple[str, bytes] | None:
        """An attachment's name and content; None if there is none."""
        message = self._vendor.message(number)
        if message is None or not 0 <= place < len(message["attachments"]):
            return None
        item = message["attachments"][place]
        return item["name"], base64.b64decode(item["content"])

    def missing(self) -> str:
        """The page instead of a message that is not there, or no more."""
        return self.page("missing.html")

    def faults(self, problem: str = "", given: Mapping[str, str] | None = None) -> str:
        """The faults' page; with a problem it keeps the percentages that were given."""
        shares = {fault.kind.value: percent(fault.share) for fault in self._vendor.plan.faults}
        if given is not None:
            shares = dict(given)
        return self.page("faults.html", shares=shares, kinds=list(FaultKind), problem=problem)

    def _marks(self, narrowed: Filter, lines: Iterable[Line]) -> dict[int, str]:
        """The deliveries that went wrong, in a word, by the message's id."""
        if not narrowed.show.is_accepted:
            return {}
        found = self._vendor.office.deliveries([line.id for line in lines], chunks=_CHUNKS)
        statuses = {number: {item.delivery.status for item in sent} for number, sent in found.items()}
        return {
            number: next(_DELIVERIES[status] for status in _MARKED if status in known)
            for number, known in statuses.items()
            if not known.isdisjoint(_MARKED)
        }

    def _one(self, narrowed: Filter, line: Line, tab: str, **data: Any) -> str:
        place = self._catalogue.place(narrowed, line.id)
        return self.page(
            "message.html", narrowed=narrowed, line=line, place=place, tab=tab, tabs=TABS, titles=_TITLES, **data
        )

    def _pane(self, tab: str, message: dict[str, Any]) -> dict[str, Any]:
        number = message["id"]
        match tab:
            case "headers":
                return {"headers": headers_of(self._vendor.raw(number) or b"")}
            case "source":
                raw = (self._vendor.raw(number) or b"").decode("utf-8", "replace")
                return {"source": shortened(raw, _SHOWN)}
            case "request":
                return {"request": request_text(message["fields"])}
            case "links":
                headers = headers_of(self._vendor.raw(number) or b"") + list(message["custom_headers"].items())
                return {
                    "links": links_in(message["content"], message["html_content"]),
                    "unsubscribe": unsubscribe_links(headers),
                }
            case "text":
                return {"text": shortened(message["content"], _SHOWN)}
        return {}

    def _choices(self, show: Show) -> dict[str, Any]:
        return {"campaigns": self._catalogue.campaigns(show), "badges": self._catalogue.badges(show)}


def with_pictures(markup: str, attachments: list[dict[str, Any]]) -> str:
    """HTML whose cid: pictures are data: URIs, as far as they are pictures and not too much for a browser."""
    pictures = {
        item["content_id"]: f"data:{item['type']};base64,{item['content']}"
        for item in attachments
        if item["content_id"] and _PICTURE.fullmatch(item["type"])
    }
    left = _PICTURES

    def embedded(match: re.Match[str]) -> str:
        nonlocal left
        uri = pictures.get(match[1], "")
        left -= len(uri)
        return uri if uri and left >= 0 else match[0]

    return _CID.sub(embedded, markup) if pictures else markup


def headers_of(raw: bytes) -> list[tuple[str, str]]:
    """The headers of a raw message as they stand there, unfolded."""
    head = raw[: raw.find(b"\r\n\r\n") if raw.find(b"\r\n\r\n") >= 0 else len(raw)]
    head = head[: head.find(b"\n\n") if head.find(b"\n\n") >= 0 else len(head)]
    message = message_from_bytes(head + b"\r\n\r\n")
    return [(name, re.sub(r"\r?\n[ \t]+", " ", str(value))) for name, value in message.raw_items()]


def request_text(fields: dict[str, Any]) -> str:
    """The fields of a request as JSON, long texts shortened."""
    return json.dumps({name: _short(value) for name, value in fields.items()}, ensure_ascii=False, indent=2)


def size_text(size: int) -> str:
    """A size in bytes for people."""
    for unit, step in (("MB", 1_000_000), ("KB", 1_000)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} B"


def clock(time: str) -> str:
    """The time of day, UTC, of an ISO 8601 time."""
    return f"{datetime.fromisoformat(time):%H:%M:%S}"


def people(addresses: str) -> list[tuple[str, str]]:
    """Names and addresses of a list, to be shown apart: a name may hold characters that turn what follows around."""
    parts = [item.strip().rpartition("<") for item in addresses.split(",") if item.strip()]
    return [(name.strip(), bracket + email) for name, bracket, email in parts]


def percent(share: float) -> str:
    """A share for people and for a field of numbers: 0.05 is 5."""
    return f"{share * 100:.4f}".rstrip("0").rstrip(".")


def link(path: str, narrowed: Filter, **more: object) -> str:
    """An address with the filter in its query; what is empty is left out."""
    query = narrowed.query() | {name: str(value) for name, value in more.items() if value not in ("", None)}
    return f"{path}?{urlencode(query)}" if query else path


def _short(value: Any) -> Any:
    match value:
        case str():
            return shortened(value, _SHOWN_FIELD)
        case list():
            return [_short(item) for item in value]
        case dict():
            return {name: _short(item) for name, item in value.items()}
    return value
