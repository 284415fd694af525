"""The harness itself: where there is no browser its tests say so, and a page that asks the internet fails its test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REASON = "the notebook isn't tested in a browser: chromium (or TURBOBATCH_CHROMIUM, "


@pytest.mark.unmeasured
@pytest.mark.parametrize(("settings", "code", "verdict"), [({}, 0, "SKIPPED"), ({"CI": "true"}, 1, "ERROR")])
def test_without_a_browser(settings: dict[str, str], code: int, verdict: str, tmp_path: Path) -> None:
    """The tests are skipped with a reason; continuous integration fails instead."""
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "TURBOBATCH_CHROMIUM"}}
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/browser/test_console.py")
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**kept, **settings, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith(verdict)]
    assert done.returncode == code, done.stdout + done.stderr
    assert said
    assert all(REASON in line for line in said) or code
