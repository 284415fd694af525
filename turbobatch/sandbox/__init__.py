"""A local stand-in for the vendor: the Send API on a loopback port, an inbox of what it accepted, faults on demand.

    with Sandbox(faults={"429": 0.05, "reset-after": 0.01}) as sandbox:
        results = campaign.send(recipients, sandbox.client())
        sandbox.inbox()

Nothing is delivered. `turbobatch.sandbox.faults` lists the faults and the magic addresses that call for one,
`turbobatch.sandbox.events` what can become of an accepted message. The management calls of v2 are answered too.
"""

from __future__ import annotations

import atexit
import contextlib
import socket
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from turbobatch.errors import CampaignError
from turbobatch.sandbox.events import read_events
from turbobatch.sandbox.faults import Fault, FaultKind, FaultPlan, read_faults
from turbobatch.sandbox.office import Office
from turbobatch.sandbox.rules import APIS, Account
from turbobatch.sandbox.store import MessageStore
from turbobatch.sandbox.vendor import Vendor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    import pandas as pd

    from turbobatch.client import TurboClient
    from turbobatch.sandbox.server import ServerThread

__all__ = ["Fault", "FaultKind", "Sandbox", "serve"]

_HOST = "127.0.0.1"
_LONGEST = 366 * 86_400.0  # seconds
_COLUMNS = (
    "id", "mid", "time", "api", "sender", "to", "cc", "bcc", "subject", "content", "html_content", "custom_headers",
    "reference_id", "campaign_id", "attachments", "size",
)  # fmt: skip


class Sandbox:
    """The vendor's Send API on 127.0.0.1, in a thread of this process.

    Args:
        port: where to listen; 0 picks a free port, which is kept over a stop and a new start.
        latency: seconds before each answer.
        faults: shares (0..1, or "3%") by kind, or `Fault`s, or texts `KIND:SHARE`.
        events: shares by kind of what becomes of accepted messages: `{"bounce": 0.03, "complain": "0.1%"}`; the others
            are delivered.
        analytics_delay: seconds before a message shows in the analytics.
        nocredit_after: messages accepted before every send is answered `nocredit`.
        authuser: v1's credentials, with `authpass`.
        authpass: see `authuser`.
        consumer_key: v2's credentials, with `consumer_secret`.
        consumer_secret: see `consumer_key`.
        path: an SQLite file for the messages; without one they live as long as this object.
        seed: of the faults' and the events' dice.
        host: the loopback address; any other is refused.
        v1_error_status: the HTTP status of a v1 error, 400 or 200: the vendor doesn't document it.

    Raises:
        CampaignError: a setting can't be used.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        latency: float = 0.0,
        faults: Mapping[str, float] | Iterable[Fault | str] = (),
        events: Mapping[str, float | str] | None = None,
        analytics_delay: float = 0.0,
        nocredit_after: int | None = None,
        authuser: str = "sandbox",
        authpass: str = "sandbox",
        consumer_key: str = "sandbox",
        consumer_secret: str = "sandbox",  # noqa: S107 - opens nothing but a stand-in
        path: Path | str | None = None,
        seed: int = 0,
        host: str = _HOST,
        v1_error_status: int = 400,
    ) -> None:
        _check_settings(host, port, v1_error_status)
        _check_seconds("latency", latency)
        _check_seconds("analytics_delay", analytics_delay)
        self._port = port
        self._latency = latency
        self._account = Account(authuser, authpass, consumer_key, consumer_secret)
        plan = FaultPlan(read_faults(faults), seed)
        self._store = MessageStore(Path(path) if path is not None else None)
        office = Office(self._store, read_events(events or {}, seed), analytics_delay)
        self._vendor = Vendor(
            self._store, self._account, plan, office, nocredit_after=nocredit_after, v1_error_status=v1_error_status
        )
        self._thread: ServerThread | None = None
        weakref.finalize(self, self._store.close, forget=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen. Ready for connections when this returns; nothing happens if it is running.

        Raises:
            CampaignError: the port is taken, the file can't be used, or the sandbox's packages are missing.
        """
        if self._thread is not None:
            return
        server = _import_server()
        self._store.open()
        try:
            self._vendor.list_all()
            listener = _listen(self._port)
            self._port = listener.getsockname()[1]
            thread = server.ServerThread(server.Routes(self._vendor, latency=self._latency), listener)
            thread.start()
        except BaseException:
            self._store.close()
            raise
        self._thread = thread
        atexit.register(self.stop)

    def stop(self) -> None:
        """Stop listening and end every connection. The inbox stays readable, and `start` may follow."""
        thread, self._thread = self._thread, None
        if thread is not None:
            atexit.unregister(self.stop)
            thread.stop()
            self._store.close()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`.

        Raises:
            CampaignError: the port isn't known before the first start.
        """
        if not self._port:
            raise CampaignError("the sandbox has no port yet: call start(), or use `with Sandbox() as sandbox:`")
        return f"http://{_HOST}:{self._port}"

    def base_url(self, api: str) -> str:
        """The URL up to and without `/mail/send`, for "v1" or "v2"."""
        if api not in APIS:
            raise CampaignError(f'api is {api!r}: use "v1" or "v2"')
        return f"{self.url}/api" if api == "v1" else f"{self.url}/api/v2"

    def client(self, api: str = "v2", **options: Any) -> TurboClient:
        """A client with this sandbox's credentials. `options` go to TurboClient."""
        from turbobatch.client import TurboClient

        account, base_url = self._account, self.base_url(api)
        if api == "v1":
            return TurboClient(authuser=account.authuser, authpass=account.authpass, base_url=base_url, **options)
        return TurboClient(
            consumer_key=account.consumer_key, consumer_secret=account.consumer_secret, base_url=base_url, **options
        )

    def inbox(self) -> pd.DataFrame:
        """What was accepted, one row per message in the order of arrival; duplicates show twice."""
        import pandas as pd

        from turbobatch.frames import Frame, framed

        frame = pd.DataFrame(self._store.summaries(), columns=list(_COLUMNS))
        frame["time"] = pd.to_datetime(frame["time"], utc=True, format="ISO8601")
        return framed(Frame, frame.astype({"id": "int64", "size": "int64"}))

    def messages(self) -> list[dict[str, Any]]:
        """The same as JSON-able dicts with everything.

        Beside the inbox's columns: `addresses` (names and emails apart), `attachments` as dicts with base64 `content`,
        `mime_raw`, `auth_in` (where the credentials stood), `fields` (as received, credentials blacked out).
        """
        found = (self._vendor.message(row["id"]) for row in self._store.summaries())
        return [message for message in found if message is not None]

    def raw(self, number: int) -> bytes:
        """The raw MIME source of the message with this id."""
        source = self._vendor.raw(number)
        if source is None:
            raise CampaignError(f"the sandbox has no message {number}")
        return source

    def requests_seen(self) -> int:
        """How many POSTs came to a send endpoint, accepted or not."""
        return self._vendor.requests

    def validations(self) -> int:
        """How many credits the validation of addresses has cost: one for each, however often it was asked about."""
        return self._vendor.office.validations

    def clear(self) -> None:
        """Forget messages, counts, used credit, suppressions, validated lists and met faults."""
        self._vendor.clear()


def serve(
    *,
    port: int = 8025,
    latency_ms: float = 0.0,
    faults: Iterable[str] = (),
    path: Path | None = None,
    on_ready: Callable[[Sandbox], None] | None = None,
    **options: Any,
) -> None:
    """Run a sandbox until Ctrl-C.

    Args:
        port: where to listen; 0 picks a free port.
        latency_ms: milliseconds before each answer.
        faults: texts `KIND:SHARE`.
        path: an SQLite file for the messages; without one they end with the process.
        on_ready: called with the sandbox once it listens.
        options: Sandbox's other settings.

    Raises:
        CampaignError: as Sandbox does.
    """
    sandbox = Sandbox(port=port, latency=latency_ms / 1000, faults=faults, path=path, **options)
    with contextlib.suppress(KeyboardInterrupt), sandbox:
        if on_ready is not None:
            on_ready(sandbox)
        threading.Event().wait()


def _check_settings(host: str, port: int, v1_error_status: int) -> None:
    if host != _HOST:
        raise CampaignError(f"the sandbox listens on {_HOST} only, not on {host!r}: it has no real protection")
    if not 0 <= port <= 65535:  # noqa: PLR2004 - 16 bits
        raise CampaignError(f"port {port} is not between 0 and 65535")
    if v1_error_status not in (200, 400):
        raise CampaignError(f"v1_error_status is {v1_error_status}: use 400 or 200")


def _check_seconds(name: str, seconds: float) -> None:
    if not 0 <= seconds <= _LONGEST:
        raise CampaignError(f"{name} {seconds} is no number of seconds up to a year")


def _listen(port: int) -> socket.socket:
    # Named as TCP, or asyncio would not set TCP_NODELAY on its connections: 40 ms more for each answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else a restart waits out old connections
        listener.bind((_HOST, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise CampaignError(f"the sandbox can't listen on port {port}: {reason}; choose another, or 0") from error
    return listener


def _import_server() -> Any:
    try:
        import python_multipart  # noqa: F401 - Starlette asks for it only when a form arrives

        from turbobatch.sandbox import server
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise CampaignError(f'the sandbox needs {package}: pip install "turbobatch-mail[sandbox]"') from error
    return server
