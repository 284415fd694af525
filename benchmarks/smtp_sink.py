"""An SMTP server that takes every message and keeps none, for `mailmerge`, which speaks nothing else.

It prints its port when it listens, and the number of messages it took when it is ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from typing import Any

from aiosmtpd.smtp import SMTP


class Sink:
    """Counts messages, and takes `latency` seconds to accept each."""

    def __init__(self, latency: float) -> None:
        self.taken = 0
        self._latency = latency

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: ARG002, N802 - aiosmtpd's own name
        """Accept a message."""
        self.taken += 1
        if self._latency:
            await asyncio.sleep(self._latency)
        return "250 OK"


async def serve(latency: float) -> None:
    """Listen on the loopback until SIGTERM."""
    sink = Sink(latency)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    listening = await loop.create_server(lambda: SMTP(sink, hostname="localhost", loop=loop), "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    listening.close()
    print(sink.taken, flush=True)


def main() -> None:
    """Parse and serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds")
    asyncio.run(serve(parser.parse_args().latency / 1000))


if __name__ == "__main__":
    main()
