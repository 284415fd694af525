"""The commands that need no account: demo, init, sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turbobatch.terminal import flush, sandbox_text, tell

if TYPE_CHECKING:
    from turbobatch.sandbox import Sandbox


def _share(name: str, what: str) -> Any:
    return typer.Option(name, metavar="SHARE", help=f"The share of emails that {what}, such as 3%.")


def demo(
    folder: Annotated[Path, typer.Option("--dir", help="Where the demo keeps its files.")] = Path("turbobatch-demo"),
) -> None:
    """Do the main job on sample data through a sandbox; no account needed."""
    from turbobatch.demo import demo as run_demo

    run_demo(folder, tell)


def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")]) -> None:
    """Make a ready campaign to edit."""
    from turbobatch.samples import copy_sample

    copy_sample("starter", folder)
    tell(f"{folder} is a campaign now. Edit {folder / 'campaign.toml'}, then: turbobatch check {folder}")


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8025,
    latency: Annotated[float, typer.Option(metavar="MS", min=0, help="Milliseconds before each answer.")] = 0.0,
    fault: Annotated[list[str] | None, typer.Option(metavar="KIND:SHARE", help="Such as 429:5%.")] = None,
    bounce: Annotated[str, _share("--bounce", "bounce")] = "0",
    drop: Annotated[str, _share("--drop", "are dropped")] = "0",
    defer: Annotated[str, _share("--defer", "are to be tried later")] = "0",
    open_: Annotated[str, _share("--open", "are opened")] = "0",
    click: Annotated[str, _share("--click", "are clicked in")] = "0",
    unsubscribe: Annotated[str, _share("--unsubscribe", "make somebody unsubscribe")] = "0",
    complain: Annotated[str, _share("--complain", "are called spam")] = "0",
    analytics_delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Until an email shows in the analytics.")
    ] = 0.0,
) -> None:
    """Run a local stand-in for the vendor until Ctrl-C.

    Some recipients meet a fate of their own, whatever the shares. bounce@, drop@, defer@, open@, click@, unsubscribe@
    and complain@ get that delivery; 429@, 429-date@, 500@, 502@, 503@, redirect@, reject@, reset-before@,
    reset-after@, close-after@, hang@, garbage@ and truncated@ meet that fault. The domain is any, and
    complain+ana@x.example does too.
    """
    from turbobatch.sandbox import serve

    events = {
        "bounce": bounce,
        "drop": drop,
        "defer": defer,
        "open": open_,
        "click": click,
        "unsubscribe": unsubscribe,
        "complain": complain,
    }
    serve(
        port=port,
        latency_ms=latency,
        faults=fault or [],
        on_ready=_tell_sandbox,
        events=events,
        analytics_delay=analytics_delay,
    )


def _tell_sandbox(running: Sandbox) -> None:
    """Say where a sandbox listens and how to point the commands at it."""
    tell(sandbox_text(running))
    flush()
