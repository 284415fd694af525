"""What the commands have in common: lines to say, questions to ask, and how they end."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn, TextIO

import typer

from turbobatch.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turbobatch.sandbox import Sandbox

SOME_ROWS_NOT_SENT = 1
NOTHING_SENT = 2
STOPPED_EARLY = 3


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Ctrl-C, wherever it struck; its text says what that means."""


def take_signals() -> None:
    """Make a Ctrl-C that nobody pressed of a batch system's SIGTERM and of a terminal that is closed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # as under nohup
        signal.signal(hangup, _hang_up)


def _hang_up(number: int, _frame: object) -> NoReturn:
    # It often comes twice, from the kernel and from the shell; a second Ctrl-C would leave at once.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def tell(text: str) -> None:
    """Say something on stdout, if anybody listens."""
    _say(text, sys.stdout)


def warn(text: str) -> None:
    """Say something on stderr, if anybody listens."""
    _say(text, sys.stderr)


def flush() -> None:
    """Write what is still to be written; nobody listening doesn't change how the command ends."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                _silence(stream)


def _say(text: str, stream: TextIO) -> None:
    try:
        typer.echo(text, file=stream)
    except OSError:  # a pipe or terminal that was closed, or a full disk
        _silence(stream)


def _silence(stream: TextIO) -> None:
    # What is in its buffer would fail again, last of all when Python ends, with an exit code of its own.
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody may sit there; a stream that was closed from the beginning is None."""
    return stream is not None and stream.isatty()


@contextmanager
def interruptible(meaning: str) -> Iterator[None]:
    """Give a Ctrl-C that strikes in here its meaning."""
    try:
        yield
    except (KeyboardInterrupt, typer.Abort):
        raise Interrupted(meaning) from None


def ask(question: str, refused: str = "nothing was sent") -> None:
    """Ask before something is done, on a terminal.

    Raises:
        CampaignError: the answer is no, or there is nobody to ask.
        Interrupted: Ctrl-C, or the end of the input, is no answer.
    """
    if not is_terminal(sys.stdin):
        raise CampaignError("there is no terminal to ask on: say --yes to go on without a question")
    with interruptible(f"stopped by the user: {refused}"):
        answer = typer.confirm(question)
    if not answer:
        raise CampaignError(refused)


def fail(error: object, code: int) -> NoReturn:
    """End with one line on stderr."""
    warn(f"error: {' '.join(str(error).splitlines())}")
    sys.exit(code)


def sandbox_text(running: Sandbox) -> str:
    """Where a sandbox listens, and how to point the commands at it."""
    v2, v1 = (f"TURBOSMTP_BASE_URL={running.base_url(api)}" for api in ("v2", "v1"))
    return (
        f"Sandbox: {running.url} shows what arrives; nothing is delivered. Ctrl-C ends it.\n"
        "To send through it, in another terminal:\n"
        f"  export {v2} TURBOSMTP_CONSUMER_KEY=sandbox TURBOSMTP_CONSUMER_SECRET=sandbox\n"
        "or, for v1:\n"
        f"  export {v1} TURBOSMTP_AUTHUSER=sandbox TURBOSMTP_AUTHPASS=sandbox"
    )
