"""Processes that begin in milliseconds, because the one they are forked from has imported what they need.

A start of `turbobatch send` takes a second of processor time, nearly all of it for imports. What `start` gives is a
process like any other: it has its own arguments, environment, folder, streams and signals, is killed as any other is,
and ends as Python ends. It shares what Python does before the first line of a program; where that, or coverage, is what
a test is about, `start` begins a process in the ordinary way.

    tests: socket ──────────> nursery ── fork ──> keeper ── fork ──> the program
           status pipe <─────────────────────────────┘ its number, then how it ended
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import inspect
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IMPORTED = (
    "dask.dataframe", "distributed.cli.dask_scheduler", "distributed.cli.dask_worker", "jinja2.sandbox", "openpyxl",
    "orjson", "pandas", "psycopg", "pyarrow.csv", "pyarrow.parquet", "pycurl", "requests", "sqlite3", "tqdm.auto",
    "turbobatch.audit", "turbobatch.campaign", "turbobatch.cli", "turbobatch.cluster.work",
    "turbobatch.journal.postgres", "turbobatch.report.parquet", "turbobatch.sandbox.server",
    "turbobatch.transport.curl", "turbobatch.transport.requests", "uvicorn",
)  # fmt: skip
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}  # a thread that is there before a fork is lost by it
_SERVE = f"import sys; from {__name__} import serve; serve(int(sys.argv[1]))"
_LONGEST = 2**16  # octets of a request
_ORIGINAL = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]  # Popen's own


def start(command: Sequence[str | Path], *, env: Mapping[str, str], **options: Any) -> subprocess.Popen[Any]:
    """Start a Python program, as Popen does with these options: a script, or the interpreter with -m, -c or a script.

    What an interpreter reads from the environment when it starts makes it an ordinary process, coverage too.
    """
    ours = {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "LC_ALL": "C.UTF-8"}
    read = ("PYTHON", "LC_", "LANG", "COVERAGE_PROCESS_")
    if any(env[name] != ours.get(name) for name in env if name.startswith(read)):
        return subprocess.Popen(command, env=env, **options)
    return _Forked(list(map(str, command)), env={"LC_ALL": "C.UTF-8", **env}, **options)


class _Forked(subprocess.Popen[Any]):
    """A process that another one is the parent of: it tells its number and how it ended through a pipe."""

    def _execute_child(self, *args: Any, **named: Any) -> None:
        given = _ORIGINAL.bind(self, *args, **named).arguments
        request = {
            "command": given["args"],
            "environment": dict(given["env"]),
            "folder": str(given["cwd"] or Path.cwd()),
            "group": given["process_group"],
        }
        streams = [given[name] if given[name] != -1 else number for number, name in enumerate(_STREAMS)]
        self._status, told = os.pipe()
        try:
            _nursery().ask(request, [told, *streams])
        finally:
            os.close(told)
            self._close_pipe_fds(*(given[name] for name in _PIPES))  # type: ignore[attr-defined]  # Popen's own
        self.pid = int(self._read())
        self._child_created = True

    def _read(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(self._status, 1)
            assert byte, "a process went away without a word"
            line += byte
        return line

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._wait(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        with self._waitpid_lock:  # type: ignore[attr-defined]  # Popen's own
            if self.returncode is None:
                if not select.select([self._status], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
                self.returncode = int(self._read())
                os.close(self._status)
        return self.returncode


_STREAMS = ("p2cread", "c2pwrite", "errwrite")
_PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


class _Nursery:
    """The process that all others are forked from, which ends when this one does."""

    def __init__(self) -> None:
        self._socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.environ.get("PYTHONPATH")
        env = {**_ENVIRONMENT, "PATH": os.environ["PATH"], **({"PYTHONPATH": path} if path else {})}
        with its:
            root = Path(__file__).parents[1]
            command = [sys.executable, "-c", _SERVE, str(its.fileno())]
            self._process = subprocess.Popen(command, cwd=root, env=env, pass_fds=[its.fileno()])
        atexit.register(self.close)

    def ask(self, request: dict[str, Any], files: list[int]) -> None:
        """Have a process made."""
        data = json.dumps(request).encode()
        assert len(data) < _LONGEST
        socket.send_fds(self._socket, [data], files)

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait()


@functools.cache
def _nursery() -> _Nursery:
    return _Nursery()


# What runs in the other processes


def serve(number: int) -> None:
    """Fork until nobody asks any more."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers that have ended are nobody's business
    with socket.socket(fileno=number) as asked:
        while True:
            data, files, *_ = socket.recv_fds(asked, _LONGEST, 4)
            if not data:
                return
            if os.fork() == 0:
                break
            for file in files:
                os.close(file)
    _keep(json.loads(data), files)


def _keep(request: dict[str, Any], files: list[int]) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        _become(request, files)
        _end(_run(request["command"]))
    told, *streams = files
    for file in streams:
        os.close(file)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.write(told, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Be a process of one's own."""
    for number, file in enumerate(files[1:]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    if request["group"] is not None and request["group"] >= 0:
        os.setpgid(0, request["group"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    sys.stdin = os.fdopen(0, encoding=encoding, errors=errors, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=encoding, errors=errors, closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False)
    import dask.config

    dask.config.refresh()


def _run(command: Sequence[str]) -> object:
    """Run a program to its end; tells what it left with. What breaks it goes on."""
    try:
        _execute(command)
    except SystemExit as left:
        return left.code
    return 0


def _end(code: object) -> NoReturn:
    """Leave as Python does, but don't take down all that was imported: that takes longer than many a program."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    threading._shutdown()  # type: ignore[attr-defined]  # the interpreter calls it
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):  # nobody reads
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _execute(command: Sequence[str]) -> None:
    """What an interpreter makes of its command line."""
    program, *arguments = command if command[0] != sys.executable else command[1:]
    if program == "-m":
        sys.argv = list(arguments)
        sys.path[0] = str(Path.cwd())
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif program == "-c":
        code, *rest = arguments
        sys.argv = ["-c", *rest]
        exec(code, sys.modules["__main__"].__dict__)  # noqa: S102 - as the interpreter does
    else:
        sys.argv = [program, *arguments]
        sys.path[0] = str(Path(program).parent)
        runpy.run_path(program, run_name="__main__")
