"""What docs/scale.md tells to type is there: commands, options, settings of the database, the simulation's output."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import typer
from distributed.cli import dask_scheduler, dask_worker

from turbobatch.cli import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
PROGRAMS = {
    **{f"turbobatch {name}": command for name, command in typer.main.get_group(app).commands.items()},
    "dask scheduler": dask_scheduler.main,
    "dask worker": dask_worker.main,
}


def lines(language: str) -> list[str]:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


COMMANDS = [line for line in lines("sh") if not line.startswith("export ")]
SIMULATIONS = [line for line in COMMANDS if line.startswith("python -m benchmarks.scale")]


@pytest.mark.parametrize("command", [line for line in COMMANDS if line not in SIMULATIONS])
def test_commands_and_their_options_exist(command: str) -> None:
    """Each is parsed by the program that it names, up to where it would begin."""
    program, name, *rest = shlex.split(command)
    assert PROGRAMS[f"{program} {name}"].make_context(name, rest).params


def test_each_command_names_the_same_cluster_and_database() -> None:
    """What one line starts, the next ones use."""
    assert set(re.findall(r"tcp://\S+", "\n".join(COMMANDS))) == {"tcp://scheduler:8786"}
    assert len(set(re.findall(r"postgresql://\S+", "\n".join(COMMANDS)))) == 1


@pytest.mark.parametrize("command", SIMULATIONS)
def test_the_simulation_says_what_the_page_shows(command: str) -> None:
    """Its output stands below the command, as it is."""
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout in PAGE


def test_the_database_knows_the_settings(database: str) -> None:
    """Each statement runs."""
    statements = [text.strip() for text in "\n".join(lines("sql")).split(";") if text.strip()]
    assert statements
    with psycopg.connect(database) as connection:
        for statement in statements:
            assert connection.execute(statement.encode()).fetchall() is not None
        for name in re.findall(
            r"`(\w+_\w+|fsync)`", PAGE.partition("## What PostgreSQL must be")[2].partition("##")[0]
        ):
            assert connection.execute("SELECT count(*) FROM pg_settings WHERE name = %s", (name,)).fetchone() == (1,), (
                name
            )
