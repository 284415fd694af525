"""The command line: parse, call the facade, print, exit code. What a command does lives elsewhere."""

from __future__ import annotations

import gc
import logging
import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from turbobatch._version import __version__
from turbobatch.cli.local import demo, init, sandbox
from turbobatch.cli.looks import audit, report, status
from turbobatch.cli.sends import check, preview, send
from turbobatch.cli.settles import reconcile, resolve
from turbobatch.errors import (
    AuthenticationError,
    CampaignError,
    JournalError,
    ManagementError,
    NotSentError,
    TurboBatchError,
)
from turbobatch.terminal import (
    NOTHING_SENT,
    SOME_ROWS_NOT_SENT,
    STOPPED_EARLY,
    Interrupted,
    fail,
    flush,
    take_signals,
    tell,
)

_GARBAGE = 10_000  # objects from one search for cycles to the next: rows make none, and Python's 700 cost a fifth more


class Commands(TyperGroup):
    """The commands; typer would turn a Ctrl-C into an exit code of its own."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, typer.Abort):
            raise Interrupted("stopped by the user") from None


def main() -> None:
    """Run the command line. Every error is one line on stderr and an exit code."""
    logging.basicConfig(format="%(message)s", level=logging.ERROR)
    gc.set_threshold(_GARBAGE)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # its own keeps 50 MB more of a large table
    take_signals()
    try:
        app()
    except (CampaignError, JournalError) as error:
        fail(error, NOTHING_SENT)
    except (AuthenticationError, ManagementError, NotSentError) as error:
        fail(error, STOPPED_EARLY)
    except TurboBatchError as error:
        fail(error, SOME_ROWS_NOT_SENT)
    except Interrupted as interruption:
        fail(interruption, STOPPED_EARLY)
    except KeyboardInterrupt:
        fail("stopped by the user", STOPPED_EARLY)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not look like a run that ended
        from turbobatch.wording import unexpected_text

        fail(unexpected_text(error), STOPPED_EARLY)
    finally:
        flush()


def _show_version(wanted: bool) -> None:
    if wanted:
        tell(f"turbobatch {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # they would show local variables
)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """A table in, one email per row through the turboSMTP Send API, one honest verdict per row out."""


for command in (demo, init, check, preview, send, status, report, audit, resolve, reconcile, sandbox):
    app.command()(command)
