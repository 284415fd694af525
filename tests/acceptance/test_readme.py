"""README's examples run as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from turbobatch.cli import app
from turbobatch.settings import load_settings

if TYPE_CHECKING:
    from turbobatch.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
JOURNAL = "postgresql://ana@db.example/mail"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    return tmp_path


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_examples_run(number: int, folder: Path, request: pytest.FixtureRequest) -> None:
    """Each block is a program of its own and ends without an error; its database is one of the tests'."""
    program = blocks("python")[number]
    if JOURNAL in program:
        program = program.replace(JOURNAL, request.getfixturevalue("database"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_command_examples_run_in_their_order(folder: Path, sandbox: Sandbox) -> None:
    """The commands of the second shell block do what their comments say, against a sandbox."""
    environment = {
        "PATH": str(Path(sys.executable).parent),
        "TURBOSMTP_BASE_URL": sandbox.base_url("v2"),
        "TURBOSMTP_CONSUMER_KEY": "sandbox",
        "TURBOSMTP_CONSUMER_SECRET": "sandbox",
    }
    for line in blocks("sh")[1].splitlines():
        words = line.split("#")[0].split()
        sent = ["--yes"] if words[1] == "send" else []
        done = subprocess.run(
            words + sent,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, (words, done.stderr)
    assert len(sandbox.inbox()) == 3
    assert {path.name for path in folder.glob("*.*")} >= {"report.csv", "report.xlsx", "failed.csv"}


def test_campaign_example_is_a_valid_campaign(tmp_path: Path) -> None:
    """The TOML block has known keys of the right types only."""
    (tmp_path / "campaign.toml").write_text(blocks("toml")[0], encoding="utf-8")
    assert load_settings(tmp_path).name == "receipts-2026-11"


def test_every_command_is_documented() -> None:
    """README names each command that exists."""
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {name for name in commands if f"turbobatch {name}" not in README} <= {"demo"}  # make demo
