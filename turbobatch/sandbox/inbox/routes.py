"""The inbox over HTTP: its pages, what moves in them, and the JSON beside them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from turbobatch.errors import CampaignError
from turbobatch.sandbox import rules
from turbobatch.sandbox.faults import Fault, read_faults
from turbobatch.sandbox.inbox.catalogue import Catalogue, Filter, Show
from turbobatch.sandbox.inbox.guard import FILE_POLICY, MAIL_POLICY
from turbobatch.sandbox.inbox.views import FOLDER, Views
from turbobatch.sandbox.wire import JsonResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from turbobatch.sandbox.vendor import Vendor

_LOOK = 0.4  # seconds between two looks at what has come: an open page is told no more often
_BEAT = 15.0  # seconds after which a page is told that nothing has come, so that one that has gone is noticed
_LONGEST_WAIT = 3600.0
_ASSETS = {"style.css": "text/css", "script.js": "text/javascript"}
_FORM = 100_000  # bytes of a form


class Inbox:
    """The pages over one vendor.

    Args:
        vendor: whose messages they are.
        leaving: set when the server is to end; what is waiting ends then.
    """

    def __init__(self, vendor: Vendor, leaving: asyncio.Event) -> None:
        self._vendor = vendor
        self._leaving = leaving
        self._catalogue = Catalogue(vendor.store)
        self._views = Views(vendor, self._catalogue)

    def routes(self) -> list[Route]:
        """What the server mounts. Plain functions run in threads: a search may take its time."""
        return [
            Route("/", self._list),
            Route("/help", self._help),
            Route("/inbox/events", self._events),
            Route("/inbox/news", self._news),
            Route("/inbox/clear", self._clear, methods=["POST"]),
            Route("/inbox/faults", self._faults),
            Route("/inbox/faults", self._set_faults, methods=["POST"]),
            Route("/inbox/{name}", self._asset),
            Route("/inbox/messages/{number:id}", self._message),
            Route("/inbox/messages/{number:id}/html", self._mail),
            Route("/inbox/messages/{number:id}/attachments/{place:id}", self._attachment),
            Route("/inbox/refusals/{number:id}", self._refusal),
            Route("/wait", self._wait),
            Route("/refusals", self._refusals),
            Route("/faults", self._tell_faults),
            Route("/faults", self._put_faults, methods=["PUT"]),
        ]

    def _list(self, request: Request) -> Response:
        query = request.query_params
        return HTMLResponse(_utf8(self._views.list(Filter.read(query), whole(query.get("page"), 1), _root(request))))

    def _help(self, request: Request) -> Response:
        return HTMLResponse(_utf8(self._views.page("help.html", url=_root(request))))

    def _news(self, request: Request) -> Response:
        query = request.query_params
        number, after = whole(query.get("page"), 1), whole(query.get("after"), 0)
        return JsonResponse(self._views.news(Filter.read(query), number, after))

    def _message(self, request: Request) -> Response:
        narrowed, query = Filter.read(request.query_params), request.query_params
        if not narrowed.show.is_accepted:
            narrowed = Filter()
        number, is_phone = request.path_params["number"], query.get("width") == "phone"
        return self._shown(self._views.message(narrowed, number, query.get("tab", ""), is_phone=is_phone))

    def _refusal(self, request: Request) -> Response:
        narrowed = Filter.read(request.query_params)
        return self._shown(self._views.refusal(narrowed, request.path_params["number"]))

    def _shown(self, markup: str | None) -> Response:
        """A page, which tells so where the message isn't there."""
        if markup is None:
            return HTMLResponse(_utf8(self._views.missing()), 404)
        return HTMLResponse(_utf8(markup))

    def _mail(self, request: Request) -> Response:
        found = self._views.mail(request.path_params["number"])
        answer = _page(found, {"Content-Security-Policy": MAIL_POLICY})
        # By itself, or in a new tab, it is no page: browsers tell what they want it for, programs don't.
        if request.headers.get("sec-fetch-dest", "iframe") != "iframe":
            answer.headers["Content-Type"] = "text/plain; charset=utf-8"
        return answer

    def _attachment(self, request: Request) -> Response:
        found = self._views.attachment(request.path_params["number"], request.path_params["place"])
        if found is None:
            raise HTTPException(404, "no such attachment")
        name, content = found
        headers = {"Content-Disposition": disposition(name), "Content-Security-Policy": FILE_POLICY}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _ASSETS:
            raise HTTPException(404, "no such page")
        return Response((FOLDER / name).read_bytes(), media_type=_ASSETS[name])

    async def _clear(self, _: Request) -> Response:
        self._vendor.clear()
        return RedirectResponse("/", 303)

    def _faults(self, _: Request) -> Response:
        return HTMLResponse(_utf8(self._views.faults()))

    async def _set_faults(self, request: Request) -> Response:
        async with request.form(max_part_size=_FORM) as form:
            given = {str(name): str(value).strip() for name, value in form.multi_items()}
        shares = {name: f"{value.removesuffix('%').strip()}%" for name, value in given.items() if value.strip(" %0.")}
        try:
            self._use(shares)
        except CampaignError as error:
            return HTMLResponse(_utf8(self._views.faults(str(error), given)), 400)
        return RedirectResponse("/inbox/faults", 303)

    async def _tell_faults(self, _: Request) -> Response:
        return JsonResponse({"dice": {fault.kind.value: fault.share for fault in self._vendor.plan.faults}})

    async def _put_faults(self, request: Request) -> Response:
        try:
            shares = rules.load_json(await request.body())
            if not isinstance(shares, dict):
                raise HTTPException(400, "give an object of shares by kind")
            self._use(shares)
        except ValueError as error:
            raise HTTPException(400, "the body is not a valid JSON object") from error
        except CampaignError as error:
            raise HTTPException(400, str(error)) from error
        return await self._tell_faults(request)

    def _use(self, shares: dict[str, Any]) -> None:
        places = {fault.kind: fault.url for fault in self._vendor.plan.faults}
        faults = read_faults(shares)
        self._vendor.plan.use(Fault(fault.kind, fault.share, places.get(fault.kind, "")) for fault in faults)

    def _refusals(self, request: Request) -> Response:
        narrowed = Filter.read({"show": Show.FAILED, **request.query_params})
        if narrowed.show.is_accepted:
            raise HTTPException(400, 'show is "refused" or "failed"')
        lines = self._catalogue.page(narrowed, whole(request.query_params.get("page"), 1))
        rows = [
            {"id": line.id, "fault": line.fault, "campaign_id": line.campaign or None, **line.data} for line in lines
        ]
        return JsonResponse({"count": self._catalogue.count(narrowed), "results": rows})

    async def _wait(self, request: Request) -> Response:
        query = request.query_params
        wanted, timeout = whole(query.get("count"), 1), min(seconds(query.get("timeout"), 30.0), _LONGEST_WAIT)
        search = {name: query.get(name, "") for name in ("to", "subject")}
        deadline = time.monotonic() + timeout
        count, seen = 0, -1
        while not self._leaving.is_set():
            if seen != self._vendor.requests or time.monotonic() >= deadline:
                seen = self._vendor.requests
                count = await asyncio.to_thread(self._vendor.store.count, **search)
            if count >= wanted or time.monotonic() >= deadline:
                break
            await self._sleep(0.05)
        return JsonResponse({"accepted": count, "reached": count >= wanted})

    async def _events(self, _: Request) -> Response:
        return StreamingResponse(self._told(), media_type="text/event-stream")

    async def _told(self) -> AsyncIterator[str]:
        """The counts, whenever they have changed (server-sent events)."""
        seen: dict[str, int] = {}
        told = 0.0
        yield "retry: 1000\n\n"
        while not self._leaving.is_set():
            status = await asyncio.to_thread(self._views.status)
            now = time.monotonic()
            if status != seen:
                seen, told = status, now
                yield f"data: {json.dumps({**status, 'time': now})}\n\n"
            elif now - told > _BEAT:
                told = now
                yield ": still here\n\n"
            await self._sleep(_LOOK)

    async def _sleep(self, seconds_: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), seconds_)


def disposition(name: str) -> str:
    """A Content-Disposition that saves a file under this name, whatever the name holds (RFC 6266)."""
    base = re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[\\/]", name)[-1]).strip(" .") or "attachment"
    plain = re.sub(r'[^\w .()+,=@~-]|["\\%]', "_", base, flags=re.ASCII)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(base.encode('utf-8', 'replace'), safe='')}"


def whole(text: str | None, default: int) -> int:
    """A whole number of a query.

    Raises:
        HTTPException: 400, it is none.
    """
    if text is None or (text.isascii() and text.isdigit() and len(text) < 16):  # noqa: PLR2004 - SQLite's 64 bits
        return default if text is None else int(text)
    raise HTTPException(400, f"{text[:100]!r} is not a whole number")


def seconds(text: str | None, default: float) -> float:
    """Seconds of a query.

    Raises:
        HTTPException: 400, it is no number of seconds.
    """
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise HTTPException(400, f"{str(text)[:100]!r} is no number of seconds")
    return value


def _root(request: Request) -> str:
    return f"http://{request.url.netloc}"


def _page(markup: str | None, headers: dict[str, str] | None = None) -> Response:
    if markup is None:
        raise HTTPException(404, "no message of that id")
    return HTMLResponse(_utf8(markup), headers=headers)


def _utf8(markup: str) -> bytes:
    return markup.encode("utf-8", "replace")  # half a character can't travel
