"""Commands run to their end with what they cost, and servers in processes of their own.

This process and whatever starts contestants stays small and imports the standard library alone: Linux counts the memory
of the process that started another into that one's peak, so a peak below this process's own couldn't be seen.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]
CREDENTIALS = {  # made up, and as long as real ones: answers are searched for them
    "TURBOSMTP_AUTHUSER": "benchmark@acme.example",
    "TURBOSMTP_AUTHPASS": "pass-of-the-benchmark",
    "TURBOSMTP_CONSUMER_KEY": "consumer-key-of-the-benchmark-01",
    "TURBOSMTP_CONSUMER_SECRET": "consumer-secret-of-the-benchmark",
}

_SHOWN = 2000  # characters of a failed command's last words


class FailedError(Exception):
    """A command or server didn't do what is measured, so there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took: seconds on the clock, seconds of CPU (user and system), peak memory in MB (10**6 bytes)."""

    seconds: float
    cpu: float
    peak: float


def run(command: Sequence[str | Path], *, expected: Sequence[int] = (0,)) -> Cost:
    """Run a command to its end.

    Its CPU and peak memory are those that the kernel counted for this one process (`wait4`).

    Raises:
        FailedError: it ended with another exit code than those expected.
    """
    with tempfile.TemporaryFile() as words:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            env=os.environ | CREDENTIALS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in expected:
            words.seek(0)
            last = words.read().decode(errors="replace")[-_SHOWN:]
            raise FailedError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{last}")
    in_bytes = 1 if sys.platform == "darwin" else 1024
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * in_bytes / 1e6)


def turbobatch(*arguments: str | Path) -> list[str | Path]:
    """The command line of this tree."""
    return [sys.executable, "-m", "turbobatch", *arguments]


@dataclass(frozen=True, slots=True)
class Responder:
    """A running responder, and its process."""

    port: int
    process: int

    @property
    def url(self) -> str:
        """The base URL of v1."""
        return f"http://127.0.0.1:{self.port}/api"

    def reset(self, latency: float) -> None:
        """Forget what came; answer after `latency` milliseconds from now on."""
        self._ask("POST", f"/reset?latency={latency}")

    def count(self) -> int:
        """How many POSTs came."""
        return int(self._ask("GET", "/count"))

    def arrivals(self) -> list[float]:
        """When each of them did, ascending; seconds."""
        return list(self._ask("GET", "/arrivals"))

    def _ask(self, method: str, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@contextmanager
def responder() -> Iterator[Responder]:
    """Start the bare asyncio server."""
    with _server(sys.executable, "-m", "benchmarks.responder") as process:
        yield Responder(_port(process), process.pid)


@contextmanager
def smtp_sink(latency: float, expected: int) -> Iterator[int]:
    """Start the SMTP server and give its port.

    Raises:
        FailedError: at the end, if it didn't take as many messages as expected.
    """
    with _server(sys.executable, "-m", "benchmarks.smtp_sink", "--latency", str(latency)) as process:
        yield _port(process)
        process.terminate()
        taken = int(process.communicate()[0])
    if taken != expected:
        raise FailedError(f"{taken} messages came instead of {expected}")


@contextmanager
def nginx() -> Iterator[str | None]:
    """Start an nginx of our own that answers every POST from its configuration; None where it isn't installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        port = _free_port()
        configuration = Path(name) / "nginx.conf"
        configuration.write_text(_nginx_configuration(Path(name), port), encoding="utf-8")
        with _server(program, "-p", name, "-c", str(configuration), "-e", str(Path(name) / "error.log")):
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/api"


def _nginx_configuration(folder: Path, port: int) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"    {kind}_temp_path {folder / kind};" for kind in kinds)
    return f"""daemon off;
master_process off;
pid {folder / "nginx.pid"};
events {{ worker_connections 2048; }}
http {{
    access_log off;
    default_type application/json;
    keepalive_requests 10000000;
{temporary}
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 '{{"message":"OK"}}'; }}
    }}
}}
"""


@contextmanager
def _server(*command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _port(process: subprocess.Popen[str]) -> int:
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise FailedError("a server didn't start")
    return int(line)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    for _ in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("POST", "/", b"x")
            connection.getresponse().read()
        except ConnectionError:
            time.sleep(0.02)
        else:
            return
        finally:
            connection.close()
    raise FailedError("nginx didn't start")
