"""Whatever kills the process, no email goes out twice and no row is lost.

The machinery is in torture.py; `make torture KILLS=3000` runs many more than these.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this file are programs, not a package

from failpoint import POINTS
from torture import Figures, Snapshot, Trial, run_trials
from torture_cases import Case, Kill

if TYPE_CHECKING:
    from collections.abc import Iterable

CHAINS = (
    "before-link:1 journal-made:1 mid-commit:1 journal-ready:1 statement:40",
    "before-intent-commit:1 after-intent-commit:2 before-submit:2 after-submit:3 mid-commit:6",
    "before-post:2 before-first-byte:5 between-bytes:2 after-last-byte:3 answer-read:1",
    "answer-collected:2 before-outcome-commit:1 after-outcome-commit:2 before-close:2 after-close:1",
    "report-begun:1 report-chunk:3 report-written:1 before-rename:1 after-rename:1",
)
"""Every failpoint, and the passage that kills, in an order in which one campaign passes them."""


def chained() -> list[Case]:
    """Each chain over two kinds of campaign, killed at once and after a moment's standstill."""
    cases = []
    for number, chain in enumerate(CHAINS):
        points = [item.split(":") for item in chain.split()]
        at_once, stalled = (tuple(Kill(point, int(hit), delay) for point, hit in points) for delay in (0.0, 0.05))
        outer, third, odd = number in (0, 4), number % 3 == 0, number % 2 == 1
        cases += [
            Case(seed=number, api="v1", keyed="group" if outer else "column", rate="120/second" if third else None,
                 concurrency=1 if third else 4, rows=80, span=1.0, ending=".csv", kills=stalled),
            Case(seed=100 + number, api="v2", keyed="group-digest" if odd else "digest", concurrency=16, rows=150,
                 ending=".parquet", kills=at_once),
        ]  # fmt: skip
    return cases


def together(cases: Iterable[Case], folder: Path) -> Figures:
    total = Figures()
    for figures in run_trials(cases, folder):
        total.add(figures)
    return total


def test_killed_at_every_failpoint(tmp_path: Path) -> None:
    """At each boundary of the loop, the journal and the report; none of them is missed."""
    figures = together(chained(), tmp_path)
    assert not figures.problems, str(figures)
    assert not figures.missed
    assert figures.kills.keys() == POINTS.keys()
    assert figures.kills.total() == 50
    assert (figures.duplicates, figures.lost) == (0, 0)


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_killed_while_rows_in_doubt_are_sent_again(tmp_path: Path, api: str) -> None:
    """A resend that is killed, or that meets no vendor, ends no doubt: nothing comes more often than was asked for."""
    points = (
        "after-intent-commit:3",
        "after-last-byte:2",
        "before-post:2",
        "before-outcome-commit:2",
        "after-submit:4",
    )
    kills = tuple(Kill(point, int(hit)) for point, hit in (item.split(":") for item in points))
    case = Case(seed=5, api=api, concurrency=4, rows=60, faulty=api == "v2", resend=True, outage=True, kills=kills)
    figures = together([case], tmp_path)
    assert not figures.problems, str(figures)
    assert figures.kills.total() == len(points)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Anywhere, up to five times a campaign, with every fault that the vendor knows."""
    figures = together(map(Case.drawn, (2, 17, 25)), tmp_path)
    assert not figures.problems, str(figures)
    assert figures.kills.total() >= 10
    assert (figures.duplicates, figures.lost) == (0, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_twice(tmp_path: Path, number: signal.Signals) -> None:
    """The first Ctrl-C waits for the POSTs in flight, the second leaves at once; the same command goes on."""
    trial = Trial(Case(seed=1, concurrency=4, rows=40, span=200.0, patience=60.0), tmp_path)
    with trial.vendor:
        process = trial.start()
        trial.await_arrival(process)
        trial.await_text(process, b"watched")
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(number)
        assert trial.wait(process) == 3
        trial.check_kill()
        assert 1 <= len(trial.unanswered) <= 4
        trial.vendor.kill()
        trial.vendor.start(latency_ms=0)
        end_well(trial)


def test_the_vendor_goes_away_and_comes_back(tmp_path: Path) -> None:
    """The run waits and goes on by itself; what was in flight is in doubt."""
    trial = Trial(Case(seed=2, concurrency=4, rows=60, span=1.5, faulty=False, patience=60.0), tmp_path)
    with trial.vendor:
        process = trial.start()
        trial.await_arrival(process, posts=5)  # one was answered: a vendor that never did is given up sooner
        trial.vendor.kill()
        trial.await_text(process, b"can't be reached")
        assert process.poll() is None
        trial.vendor.start()
        assert trial.wait(process) == 1
        excuse(trial, 4 + 5)
        end_well(trial)


def test_the_vendor_goes_away_for_long(tmp_path: Path) -> None:
    """The run gives up with exit code 3 and few rows in doubt or failed; the same command goes on later."""
    trial = Trial(Case(seed=3, api="v1", concurrency=4, rows=60, span=1.5, faulty=False, patience=1.5), tmp_path)
    with trial.vendor:
        process = trial.start()
        trial.await_arrival(process)
        trial.vendor.kill()
        assert trial.wait(process) == 3
        excuse(trial, 4 + 5)
        trial.vendor.start()
        end_well(trial)


def excuse(trial: Trial, most: int) -> None:
    """The vendor's end is to blame for the rows in doubt and failed, if they are few."""
    journal = Snapshot.of(trial.folder)
    assert len(journal.keys("in_doubt") | journal.keys("failed")) <= most
    trial.unanswered |= journal.keys("in_doubt")


def end_well(trial: Trial) -> None:
    """Let the campaign end and check all that must be true of it."""
    trial.check_kill(ended=True)
    trial.finish()
    trial.check_end()
    trial.check_another_run()
    assert not trial.figures.problems, str(trial.figures)
