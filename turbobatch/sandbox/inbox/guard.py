"""What keeps other pages out: who may change something here, and what every page may load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Of the sandbox's own pages: scripts and styles from this server only, none within the page."""

MAIL_POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""Of a message's HTML: an origin of its own, no scripts, no forms, nothing that isn't in the message."""

FILE_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"
"""Of what a message brings along."""

_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-DNS-Prefetch-Control": "off",
    "Cache-Control": "no-store",
}


_TOLD = frozenset({b"sec-fetch-site", b"origin"})  # without either it is a program that asks


class Guard:
    """Refuses what another page's script or form asks to be changed, and puts the policies on every answer.

    The answers of the Send API stay as the vendor's are.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_change = scope["method"] not in ("GET", "HEAD")
        if is_change and not _TOLD.isdisjoint(dict(scope["headers"])) and not is_own(Headers(scope=scope)):
            refusal = PlainTextResponse("refused: another page asks for it", 403, headers=_HEADERS)
            await refusal(scope, receive, send)
            return
        if scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_guarded)


def is_own(headers: Headers) -> bool:
    """Whether a request comes from this server's own page, or from no page at all (a program, a typed address).

    Browsers tell by Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/); older ones only by Origin, which a page
    without a referrer sends as "null".
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or origin == f"http://{headers.get('host', '')}"
