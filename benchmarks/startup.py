"""How long `turbobatch --help` takes beside a typer program that does nothing."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.processes import Cost, run, turbobatch
from benchmarks.section import Section, Target

TITLE = "Start-up"

_LIMIT = 0.25  # seconds more than the empty program
_EMPTY = """\
import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main() -> None:
    pass


app()
"""
_METHOD = """\
`turbobatch --help` and an empty typer program's `--help` (made with the same options, so without rich), in turn;
medians of {runs} runs each after one that warms the caches."""


def measure(runs: int) -> Section:
    """Run both in turn, `runs` times."""
    with tempfile.TemporaryDirectory() as name:
        empty = Path(name) / "empty.py"
        empty.write_text(_EMPTY, encoding="utf-8")
        commands: dict[str, list[str | Path]] = {
            "turbobatch --help": turbobatch("--help"),
            "empty typer program": [sys.executable, empty, "--help"],
        }
        for command in commands.values():
            run(command)
        costs: dict[str, list[Cost]] = {title: [] for title in commands}
        for _ in range(runs):
            for title, command in commands.items():
                costs[title].append(run(command))
    ours, theirs = (median(cost.seconds for cost in of) for of in costs.values())
    return Section(
        title=TITLE,
        method=_METHOD.format(runs=runs),
        head=("Command", "Median s", "Least s", "Most s"),
        rows=tuple((title, *_cells(of)) for title, of in costs.items()),
        targets=(
            Target(
                f"`turbobatch --help` within {_LIMIT} s of an empty typer program",
                f"{ours - theirs:.3f} s more",
                ours - theirs <= _LIMIT,
            ),
        ),
    )


def _cells(costs: list[Cost]) -> tuple[str, ...]:
    seconds = [cost.seconds for cost in costs]
    return tuple(f"{value:.3f}" for value in (median(seconds), min(seconds), max(seconds)))
