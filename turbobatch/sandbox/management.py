"""The sandbox's management calls over HTTP: analytics, suppressions and address validation, as v2 has them."""

from __future__ import annotations

import asyncio
import csv
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.datastructures import UploadFile
from starlette.routing import Route

from turbobatch.sandbox import rules
from turbobatch.sandbox.office import Judgement
from turbobatch.sandbox.wire import JsonResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import tzinfo

    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

    from turbobatch.sandbox.office import JudgedList, Sent, Suppressed
    from turbobatch.sandbox.vendor import Vendor

    Handler = Callable[["Desk", Request], Awaitable[Response]]

T = TypeVar("T")

_LIMIT = 10  # rows of a page, where no limit is asked for
_LARGEST_PAGE = 1000
_ZONE = re.compile(r"([+-])(\d\d):(\d\d)")
_FILTERS = ("subject", "sender", "recipient", "domain")
_SOURCES = ("manual", "bounce", "spam", "unsubscribe", "validation_failed")


class Desk:
    """Answers the management calls of one vendor's account.

    Args:
        vendor: whose books these are.
        pause: waits before each answer.
    """

    def __init__(self, vendor: Vendor, pause: Callable[[], Awaitable[None]]) -> None:
        self._vendor = vendor
        self._office = vendor.office
        self._pause = pause

    def routes(self) -> list[Route]:
        """Where the calls are answered."""
        handlers: list[tuple[str, str, Handler]] = [
            ("GET", "/analytics", _in_thread(Desk._analytics)),
            ("GET", "/analytics/{mid}", _in_thread(Desk._analytics_of)),
            ("GET", "/suppressions", _in_thread(Desk._suppressions)),
            ("POST", "/suppressions/import", Desk._import),
            ("POST", "/emailvalidation/validateEmail", Desk._validate),
            ("POST", "/emailvalidation/upload", Desk._upload),
            ("POST", "/emailvalidation/lists/{number:int}/validate", Desk._start),
            ("GET", "/emailvalidation/lists/{number:int}", Desk._list),
            ("GET", "/emailvalidation/lists/{number:int}/emails", Desk._emails),
        ]
        return [Route(f"/api/v2{path}", self._guarded(handler), methods=[method]) for method, path, handler in handlers]

    def _guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The same for those who may ask; what can't be answered is refused in the API's words."""

        async def answer(request: Request) -> Response:
            await self._pause()
            if (denial := self._vendor.denial(request.headers)) is not None:
                return JsonResponse(denial.body, denial.status)
            try:
                return await handler(self, request)
            except rules.Refused as refusal:
                return JsonResponse({"message": "error", "errors": list(refusal.errors)}, 400)

        return answer

    def _analytics(self, request: Request) -> Response:
        query = request.query_params
        zone, statuses = _zone(query), query.getlist("status[]")
        first, end = _days(query, zone)
        text, text_in = query.get("filter", "").casefold(), _one_of(query, "filter_by", _FILTERS)
        found = [
            item
            for item in self._office.sent()
            if first <= item.time < end
            and (not statuses or item.delivery.status in statuses)
            and (not text or _holds(item, text, text_in))
        ]
        return _page(query, found, lambda item: _analytics_row(item, zone))

    def _analytics_of(self, request: Request) -> Response:
        mid, zone = request.path_params["mid"], _zone(request.query_params)
        found = [item for item in self._office.sent() if item.mid == mid]
        if not found:
            return JsonResponse({"message": "email_not_found"}, 404)
        return JsonResponse(_analytics_row(found[-1], zone))  # its first recipient: they come newest first

    def _suppressions(self, request: Request) -> Response:
        query = request.query_params
        first, end = _days(query, UTC)
        source = _one_of(query, "filter_by", _SOURCES)
        found = [item for item in self._office.suppressed() if first <= item.time < end and source in ("", item.source)]
        return _page(query, found, _suppression_row)

    async def _import(self, request: Request) -> Response:
        fields = await _fields(request)
        content = fields.get("content")
        if fields.get("type") != "manual" or not isinstance(content, list):
            raise rules.Refused("missing or not valid type or content")
        valid, invalid = self._office.suppress(content, str(fields.get("reason") or ""))
        return JsonResponse({"status": "success", "valid": valid, "invalid": invalid})

    async def _validate(self, request: Request) -> Response:
        email = (await _fields(request)).get("email")
        if not isinstance(email, str) or not email:
            raise rules.Refused("missing or not valid email")
        return JsonResponse(self._office.judge(email)._asdict())

    async def _upload(self, request: Request) -> Response:
        async with request.form() as form:
            file = form.get("file")
            table = await file.read() if isinstance(file, UploadFile) else b""
        try:
            number, made = self._office.add_list(table.decode("utf-8-sig", "replace"))
        except csv.Error as error:
            raise rules.Refused(f"not valid file: {error}") from None
        if not made.addresses:
            raise rules.Refused("missing or empty file")
        return JsonResponse({"list_id": number, "total_emails": len(made.addresses)}, 201)

    async def _start(self, request: Request) -> Response:
        return _list_state(request, self._office.start_list(request.path_params["number"]))

    async def _list(self, request: Request) -> Response:
        return _list_state(request, self._office.find_list(request.path_params["number"], poll=True))

    async def _emails(self, request: Request) -> Response:
        found = self._office.find_list(request.path_params["number"], poll=False)
        if found is None:
            return _list_state(request, None)
        return _page(request.query_params, found.judgements(), Judgement._asdict)


def _in_thread(handler: Callable[[Desk, Request], Response]) -> Handler:
    """The same beside the sends: what reads every message would keep them waiting."""

    async def answer(desk: Desk, request: Request) -> Response:
        return await asyncio.to_thread(handler, desk, request)

    return answer


def _analytics_row(item: Sent, zone: timezone) -> dict[str, Any]:
    return {
        "id": int(item.mid),
        "subject": item.subject,
        "sender": item.sender,
        "recipient": item.recipient,
        "send_time": _written(item.time, zone),
        "status": item.delivery.status,
        "domain": item.sender.rpartition("@")[2],
        "error": item.delivery.error,
        "recipient_domain": item.recipient.rpartition("@")[2],
        "x_campaign_id": item.campaign_id,
    }


def _suppression_row(item: Suppressed) -> dict[str, Any]:
    row = item._asdict()
    return {"date": _written(row.pop("time"), UTC), **row}


def _list_state(request: Request, found: JudgedList | None) -> Response:
    if found is None:
        return JsonResponse({"message": "list_not_found"}, 404)
    percentage = found.percentage
    state = {"is_processed": percentage == 100, "percentage": percentage, "total_emails": len(found.addresses)}  # noqa: PLR2004 - percent
    return JsonResponse({"list_id": request.path_params["number"], **state})


def _page(query: QueryParams, items: Sequence[T], make: Callable[[T], dict[str, Any]]) -> Response:
    page, limit = _whole_number(query, "page", 1), min(_whole_number(query, "limit", _LIMIT), _LARGEST_PAGE)
    rows = items[(page - 1) * limit : page * limit]
    return JsonResponse({"count": len(items), "results": [make(item) for item in rows]})


def _holds(item: Sent, text: str, text_in: str) -> bool:
    fields = {
        "subject": item.subject,
        "sender": item.sender,
        "recipient": item.recipient,
        "domain": item.sender.rpartition("@")[2],
    }
    places = [fields[text_in]] if text_in else [*fields.values(), item.campaign_id]
    return any(text in place.casefold() for place in places)


def _days(query: QueryParams, zone: tzinfo) -> tuple[datetime, datetime]:
    """When the first day begins and the last one ends."""
    found = []
    for name in ("from", "to"):
        try:
            found.append(datetime.strptime(query.get(name, ""), "%Y-%m-%d").replace(tzinfo=zone))
        except ValueError:
            raise rules.Refused(f"missing or not valid date ({name})") from None
    try:
        return found[0], found[1] + timedelta(days=1)
    except OverflowError:
        return found[0], found[1]


def _zone(query: QueryParams) -> timezone:
    if match := _ZONE.fullmatch(query.get("tz", "+00:00")):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if offset < timedelta(days=1):
            return timezone(-offset if match[1] == "-" else offset)
    raise rules.Refused("not valid time zone (tz)")


def _written(time: datetime, zone: tzinfo) -> str:
    return time.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def _one_of(query: QueryParams, name: str, known: tuple[str, ...]) -> str:
    word = query.get(name, "")
    if word and word not in known:
        raise rules.Refused(f"not valid {name}")
    return word


def _whole_number(query: QueryParams, name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):  # noqa: PLR2004 - any list's pages
        raise rules.Refused(f"not valid {name}")
    return int(text)


async def _fields(request: Request) -> dict[str, Any]:
    try:
        fields = rules.load_json(await request.body())
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise rules.Refused("the body is not a valid JSON object")
    return fields
