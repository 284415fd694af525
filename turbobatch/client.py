"""TurboClient: credentials, host and API version; one email in one call."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, get_args
from urllib.parse import urlsplit

from turbobatch.errors import (
    AuthenticationError,
    CampaignError,
    InDoubtError,
    NotSentError,
    did_you_mean,
)
from turbobatch.management import MANAGEMENT_URL, Management
from turbobatch.markup import badge, box, facts, line, masked
from turbobatch.policy import Status
from turbobatch.sendapi import V1, V2, VerdictKind, judge
from turbobatch.transport import Job, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date

    from turbobatch.email import Email
    from turbobatch.management import (
        AnalyticsRow,
        SuppressedAddress,
        SuppressionImport,
        Validation,
        ValidationList,
    )
    from turbobatch.sendapi import Failure, Request, Response, SendApi, Verdict
    from turbobatch.sendapi.v1 import AuthIn

TransportName = Literal["requests", "curl"]
TransportFactory = Callable[[int], Transport]
"""Makes a Transport for that many POSTs in flight."""

V1_URL = "https://api.turbo-smtp.com/api"
V2_URLS = {"global": "https://api.turbo-smtp.com/api/v2", "eu": "https://api.eu.turbo-smtp.com/api/v2"}

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LONGEST_TIMEOUT = 86_400.0  # seconds
_V1_NAMES = ("TURBOSMTP_AUTHUSER", "TURBOSMTP_AUTHPASS")
_V2_NAMES = ("TURBOSMTP_CONSUMER_KEY", "TURBOSMTP_CONSUMER_SECRET")


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """The API's answer to one email.

    Attributes:
        status: `sent` or `rejected`.
        message: the answer's own.
        errors: the answer's own, one text each.
        mid: the message's id, on v2.
        http_status: the answer's status.
    """

    status: Status
    message: str
    errors: tuple[str, ...] = ()
    mid: str | None = None
    http_status: int | None = None

    def __repr__(self) -> str:
        said = "; ".join((self.message, *self.errors))
        named = [f"{name} {value}" for name, value in (("mid", self.mid), ("HTTP", self.http_status)) if value]
        return masked(f"<SendResult {self.status}: {', '.join((said, *named))}>")

    def _repr_html_(self) -> str:
        named = {"mid": self.mid, "HTTP status": self.http_status}
        known = [("errors", item) for item in self.errors] + [(name, item) for name, item in named.items() if item]
        return box(line(badge(self.status), self.message), facts(known))


class TurboClient:
    """One account at one host: v1 with `authuser` and `authpass`, v2 with `consumer_key` and `consumer_secret`.

    Args:
        authuser: v1 username.
        authpass: v1 password.
        consumer_key: v2 key.
        consumer_secret: v2 secret.
        auth_in: where v1 credentials travel: "headers" (default), "fields" or "query".
        region: v2 host: "global" or "eu" (data residency).
        base_url: the URL up to and without `/mail/send`, in place of the vendor's; plain http only to loopback.
        management_url: the URL that `/analytics` and the like follow; without it `base_url` where that is given, so
            that credentials meant for one host never reach another, else the vendor's.
        timeout: seconds an answer may take.
        transport: "requests", "curl" (the faster one, which needs pycurl), or a function that makes a Transport for
            that many POSTs in flight; without it curl where pycurl is installed, else requests.

    Raises:
        CampaignError: a credential is missing or malformed, or the host, region or transport can't be used.
    """

    def __init__(
        self,
        *,
        authuser: str | None = None,
        authpass: str | None = None,
        consumer_key: str | None = None,
        consumer_secret: str | None = None,
        auth_in: AuthIn = "headers",
        region: str = "global",
        base_url: str | None = None,
        management_url: str | None = None,
        timeout: float = 60.0,
        transport: TransportName | TransportFactory | None = None,
    ) -> None:
        v1 = _pair("authuser", authuser, "authpass", authpass)
        v2 = _pair("consumer_key", consumer_key, "consumer_secret", consumer_secret)
        if (v1 is None) == (v2 is None):
            raise CampaignError("give authuser and authpass (v1), or consumer_key and consumer_secret (v2)")
        if region not in V2_URLS:
            raise CampaignError(f"there is no region {region!r}: {did_you_mean(region, V2_URLS)}")
        if not 0 < timeout <= _LONGEST_TIMEOUT:
            raise CampaignError(f"timeout is {timeout}: give a number of seconds above 0, at most a day")
        self.api: SendApi
        self._management: Management | None = None
        if v1 is not None:
            if management_url is not None:
                raise CampaignError("v1 has no management calls: leave management_url out, or use v2 credentials")
            if region != "global":
                raise CampaignError(f"v1 has no region {region!r}: leave it out, or use v2 credentials")
            self.base_url = _checked_url(base_url or V1_URL)
            self.api = V1(self.base_url, *v1, auth_in)
        elif v2 is not None:
            self.base_url = _checked_url(base_url or V2_URLS[region])
            self.api = V2(self.base_url, *v2)
            url = management_url or (MANAGEMENT_URL if self.base_url in V2_URLS.values() else self.base_url)
            self._management = Management(_checked_url(url, "management_url"), *v2, timeout=timeout)
        self.management_url = management_url
        self.timeout = timeout
        self.transport = transport
        self._make_transport = _transport_factory(transport, timeout)
        self._single: Transport | None = None
        self._lock = threading.Lock()
        self._number = 0

    @classmethod
    def from_env(
        cls,
        *,
        api: str | None = None,
        base_url: str | None = None,
        management_url: str | None = None,
        auth_in: AuthIn = "headers",
        timeout: float = 60.0,
        transport: TransportName | TransportFactory | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Self:
        """Take the credentials from the TURBOSMTP_… variables; v2 goes first where both versions' are set.

        `api` names one version, `base_url` goes before TURBOSMTP_BASE_URL, `environ` is read in place of the process's
        own variables. `management_url`, `auth_in`, `timeout` and `transport` are TurboClient's.

        Raises:
            CampaignError: there are none, or none for the `api` asked for.
        """
        api = api or (
            "v2" if any(environ.get(name) for name in _V2_NAMES) else "v1" if _has(environ, _V1_NAMES) else None
        )
        names = {"v1": _V1_NAMES, "v2": _V2_NAMES, None: _V2_NAMES}.get(api)
        if names is None:
            raise CampaignError(f'there is no API {api!r}: use "v1" or "v2"')
        if not _has(environ, names):
            other = "" if api else f" (v2), or {' and '.join(_V1_NAMES)} (v1)"
            raise CampaignError(f"no credentials: set {' and '.join(names)}{other} in the environment")
        first, second = (environ[name] for name in names)
        base_url = base_url or environ.get("TURBOSMTP_BASE_URL") or None
        if api == "v1":
            return cls(
                authuser=first,
                authpass=second,
                auth_in=auth_in,
                base_url=base_url,
                timeout=timeout,
                transport=transport,
            )
        region = environ.get("TURBOSMTP_REGION") or "global"
        return cls(
            consumer_key=first,
            consumer_secret=second,
            region=region,
            base_url=base_url,
            management_url=management_url,
            timeout=timeout,
            transport=transport,
        )

    def environment(self) -> dict[str, str]:
        """Its credentials as `from_env` reads them: for the environment of a child process, and nothing else."""
        if isinstance(self.api, V1):
            return dict(zip(_V1_NAMES, (self.api.authuser, self.api.authpass), strict=True))
        if isinstance(self.api, V2):
            return dict(zip(_V2_NAMES, (self.api.consumer_key, self.api.consumer_secret), strict=True))
        raise CampaignError(f"credentials of {self.api.name} can't be given to another process")

    @property
    def host(self) -> str:
        """The host that emails are posted to, with its port where it isn't the usual one."""
        return urlsplit(self.base_url).netloc

    def open_transport(self, concurrency: int) -> Transport:
        """A transport for up to `concurrency` POSTs at a time, for a run to use and close."""
        return self._make_transport(concurrency)

    def send(self, email: Email) -> SendResult:
        """Post one email, once.

        Nothing is journalled and nothing tried again here; a Campaign does both.

        Raises:
            InvalidEmail: it is over the API's size limit.
            AuthenticationError: 401 or 403.
            NotSentError: surely not accepted (no connection, 429, a redirect, a bad certificate).
            InDoubtError: the POST began and no verdict came.
        """
        request = self.api.request(email)
        verdict = judge(self._post_once(request), request.secrets)
        match verdict.kind:
            case VerdictKind.SENT:
                return _result(Status.SENT, verdict)
            case VerdictKind.REJECTED | VerdictKind.NO_CREDIT:
                return _result(Status.REJECTED, verdict)
            case VerdictKind.CREDENTIALS:
                raise AuthenticationError(f"{self.host} refused the credentials: {verdict.message}")
            case VerdictKind.IN_DOUBT:
                raise InDoubtError(
                    f"{self.host}: {verdict.message}; the email may have been accepted, so look before sending again"
                )
        raise NotSentError(f"{self.host}: {verdict.message}; nothing was sent", retry_after=verdict.retry_after)

    def analytics(
        self,
        since: date,
        until: date,
        *,
        statuses: Iterable[str] = (),
        filter: str | None = None,  # noqa: A002 - the API's own name
        filter_by: str | None = None,
        page_size: int = 100,
    ) -> Iterator[AnalyticsRow]:
        """List what became of the emails of these days, newest first, one row per recipient, page by page.

        Args:
            since: the first day, in UTC.
            until: the last day.
            statuses: rows with one of these alone: NEW, DEFER, SUCCESS, OPEN, CLICK, UNSUB, REPORT, FAIL, SYSFAIL. A
                row whose status changes between two pages may make another be passed over.
            filter: a text to be found in the field `filter_by`; a campaign's label finds its rows.
            filter_by: subject, sender, recipient or domain.
            page_size: rows to ask for at a time.

        Raises:
            CampaignError: an argument is none of these, or the client has v1 credentials.
            AuthenticationError: 401 or 403.
            ManagementError: no answer came, or none that can be read, after a few tries.
        """
        calls = self._managed("analytics")
        return calls.analytics(since, until, statuses=statuses, text=filter, text_in=filter_by, page_size=page_size)

    def analytics_of(self, mid: str) -> AnalyticsRow | None:
        """Look up what became of the email with this message id (`SendResult.mid`); None if the API has none.

        Raises as `analytics`.
        """
        return self._managed("analytics").analytics_of(mid)

    def suppressions(
        self, since: date, until: date, *, filter_by: str | None = None, page_size: int = 100
    ) -> Iterator[SuppressedAddress]:
        """List the addresses suppressed on these days, page by page.

        `filter_by` keeps one source: manual, bounce, spam, unsubscribe or validation_failed. `since`, `until` and
        `page_size` are `analytics`'s, and so is what is raised.
        """
        return self._managed("suppressions").suppressions(since, until, source=filter_by, page_size=page_size)

    def import_suppressions(self, addresses: Iterable[str], reason: str) -> SuppressionImport:
        """Have the vendor send these addresses nothing any more. `reason` is a text that it keeps with them.

        Posted once: a ManagementError tells by `in_doubt` whether it may have been done all the same. Raises as
        `analytics`.
        """
        return self._managed("suppressions").import_suppressions(addresses, reason)

    def validate_address(self, address: str) -> Validation:
        """Have one address judged, which costs a credit.

        Posted once: a ManagementError tells by `in_doubt` whether the credit may be gone all the same. Raises as
        `analytics`.
        """
        return self._managed("validations").validate_address(address)

    def upload_validation_list(self, addresses: Iterable[str]) -> ValidationList:
        """Give the vendor a list of addresses to be judged; nothing is, and nothing costs, before `start_validation`.

        Its `list_id` is what the other calls take. Raises as `analytics`.
        """
        return self._managed("validations").upload_validation_list(addresses)

    def start_validation(self, list_id: str) -> None:
        """Have the list `list_id` judged, which costs a credit for each address.

        Posted once, as `validate_address` is.
        """
        self._managed("validations").start_validation(list_id)

    def validation_list(self, list_id: str) -> ValidationList:
        """Ask how far the judging of the list `list_id` is."""
        return self._managed("validations").validation_list(list_id)

    def validating(self, list_id: str, *, interval: float = 2.0, timeout: float = 3600.0) -> Iterator[ValidationList]:
        """Ask how far the list `list_id` is, every `interval` seconds, until it is done.

        Raises:
            ManagementError: it isn't after `timeout` seconds; and as `analytics`.
        """
        return self._managed("validations").validating(list_id, interval=interval, timeout=timeout)

    def validated(self, list_id: str, *, page_size: int = 100) -> Iterator[Validation]:
        """List what the addresses of `list_id` were judged to be, `page_size` at a time. Raises as `analytics`."""
        return self._managed("validations").validated(list_id, page_size=page_size)

    def close(self) -> None:
        """Close the connections that are kept."""
        if self._management is not None:
            self._management.close()
        with self._lock:
            if self._single is not None:
                self._single.close()
                self._single = None

    def __repr__(self) -> str:
        return f"<TurboClient {self.api.name} at {self.host}>"

    def _managed(self, what: str) -> Management:
        if self._management is None:
            raise CampaignError(f"{what} need v2 credentials: make the client with consumer_key and consumer_secret")
        return self._management

    def _post_once(self, request: Request) -> Response | Failure:
        with self._lock:
            if self._single is None:
                self._single = self._make_transport(1)
            self._number += 1
            self._single.submit([Job(self._number, request)])
            while True:
                # A completion with another number belongs to a call that was interrupted.
                for completion in self._single.poll(1.0):
                    if completion.number == self._number:
                        return completion.result


def _pair(name: str, value: str | None, other: str, other_value: str | None) -> tuple[str, str] | None:
    if value is None and other_value is None:
        return None
    if value is None or other_value is None:
        raise CampaignError(f"{name} and {other} belong together: {name if value is None else other} is missing")
    return value, other_value


def _has(environ: Mapping[str, str], names: tuple[str, ...]) -> bool:
    return all(environ.get(name) for name in names)


def _checked_url(url: str, name: str = "base_url") -> str:
    if any(char in url for char in "@?#"):  # before anything quotes it
        raise CampaignError(f"{name} holds credentials, a query or a fragment: give scheme, host and path alone")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        raise CampaignError(f"{name} {url!r} is not a URL") from None
    if not url.isprintable() or " " in url or "\\" in url:
        raise CampaignError(f"{name} {url!r} is not a URL")
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise CampaignError(f"{name} {url!r} is no https URL")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise CampaignError(f"{name} {url!r} would send the credentials in the clear: use https")
    path = parts.path.rstrip("/").removesuffix("/mail/send")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _transport_factory(transport: TransportName | TransportFactory | None, timeout: float) -> TransportFactory:
    if callable(transport):
        return transport
    if transport is not None and transport not in get_args(TransportName):
        raise CampaignError(f"there is no transport {transport!r}: {did_you_mean(transport, get_args(TransportName))}")
    if transport == "curl" and not _has_curl():
        raise CampaignError('the curl transport needs pycurl (with libcurl 8.4): pip install "turbobatch-mail[fast]"')

    def make(concurrency: int) -> Transport:
        if transport == "curl" or (transport is None and _has_curl()):
            from turbobatch.transport.curl import CurlTransport

            return CurlTransport(concurrency=concurrency, timeout=timeout)
        from turbobatch.transport.requests import RequestsTransport

        return RequestsTransport(concurrency=concurrency, timeout=timeout)

    return make


def _has_curl() -> bool:
    try:
        from turbobatch.transport import curl
    except ImportError:  # also where pycurl is there, but not the library that it was built for
        return False
    return curl.is_usable()


def _result(status: Status, verdict: Verdict) -> SendResult:
    return SendResult(
        status=status,
        message=verdict.message,
        errors=verdict.errors,
        mid=verdict.mid,
        http_status=verdict.http_status,
    )
