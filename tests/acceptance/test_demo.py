"""The demo: the main job on the sample receipts, with no account and nothing installed but the package."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from turbobatch.report import read_report

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.measured
def test_the_demo_does_the_main_job_again_and_again(turbobatch: Command, tmp_path: Path) -> None:
    """It sends, reports and shows that a second run posts nothing; done twice in the same folder it does the same."""
    for _ in range(2):
        done = turbobatch("demo")
        assert (done.returncode, done.stderr) == (0, "")
        assert "The sandbox received 196 emails. The same campaign run a second time posted 0." in done.stdout
        for line in ("196 sent ", "5 invalid ", "1 duplicate ", "2 suppressed ", "204 rows", "Failed addresses (5):"):
            assert line in done.stdout
    folder = tmp_path / "turbobatch-demo"
    reports = [read_report(folder / name) for name in ("report.csv", "report.parquet")]
    assert Counter(reports[0]["send_status"]) == {"sent": 196, "invalid": 5, "duplicate": 1, "suppressed": 2}
    pd.testing.assert_frame_equal(reports[0], reports[1])
    assert turbobatch("status", folder).returncode == 0


def test_the_demo_leaves_other_folders_alone(turbobatch: Command, tmp_path: Path) -> None:
    """A folder with something else in it is refused in one line."""
    (tmp_path / "campaign.toml").write_text("mine", encoding="utf-8")
    done = turbobatch("demo", "--dir", ".")
    assert (done.returncode, done.stderr) == (2, "error: . isn't empty and holds no demo: name another with --dir\n")
    assert (tmp_path / "campaign.toml").read_text(encoding="utf-8") == "mine"
    assert len(list(tmp_path.iterdir())) == 1
