"""Hosts that answer as a test wants, on loopback, for as long as it is in the `with`."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from turbobatch.client import TurboClient

if TYPE_CHECKING:
    from collections.abc import Iterator


class Answering:
    """What the request handlers of such hosts share: kept connections, answers in one packet, and not a word."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # an answer in two packets would wait for the acknowledgement of the first

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a host that answers so."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def account_at(handler: type[BaseHTTPRequestHandler]) -> Iterator[TurboClient]:
    """A v2 account at such a host."""
    with (
        served(handler) as url,
        closing(TurboClient(consumer_key="k", consumer_secret="s", base_url=f"{url}/api/v2")) as client,
    ):
        yield client
