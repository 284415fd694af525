"""How long a campaign takes, and what holds it up: `python -m benchmarks.scale --rows 100e6 --workers 16`.

By simulation, with what was measured (RESULTS.md) for all that isn't given; --help says which figure is which.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from benchmarks.simulation import ANSWERS, COMMITTING, CORES, MACHINE, MERGING, PERMITS, Setup, simulate
from turbobatch.rates import parse_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.simulation import Found

_WORDS = {
    MERGING: "the workers' processors: add workers",
    COMMITTING: "what a commit takes: raise the concurrency, add workers, or give PostgreSQL a faster disk",
    PERMITS: "the rate",
    ANSWERS: "the time that an answer takes: raise the concurrency, or add workers",
    CORES: "PostgreSQL's processors: give it more of them, or raise the concurrency, so that commits are larger",
    MACHINE: "the processors of the machine that does all of it",
}
_HELP = {
    "workers": "processes that send",
    "concurrency": "POSTs in flight, of each worker",
    "rate": "such as 2000/second, for all workers together; none if not given",
    "latency": "seconds that the vendor takes to answer",
    "scatter": "how far latencies lie apart, as a share of them",
    "wake": "seconds from an answer's arrival until the worker looks at it",
    "cpu_row": "a worker's processor, seconds for an email",
    "cpu_turn": "a worker's processor, seconds for each commit",
    "commit_cpu": "PostgreSQL's processors, seconds for a commit",
    "commit_row": "PostgreSQL's processors, seconds for an email in a commit",
    "flush": "PostgreSQL's disk, seconds for a flush, which commits share",
    "trip": "the network, seconds to PostgreSQL and back",
    "reserve_cpu": "PostgreSQL's processors, seconds for a reservation of permits",
    "journal_cores": "PostgreSQL's processors",
    "one_machine": "processors, if workers, PostgreSQL and vendor share them; else 0",
    "vendor_cpu": "of such a machine, seconds for an answer",
    "spread": "seconds that a permit may be spent after its time",
    "jitter": "seconds that a POST may come after that",
    "survey_cpu": "a worker's processor, seconds for a row that is looked at before",
    "report_cpu": "a worker's processor, seconds for a row of the report",
    "row_bytes": "PostgreSQL's disk, for a row",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A whole campaign, and what a row takes: seconds of the look at the table and of the report.

    Workers share both. `row_bytes`: of PostgreSQL's tables and indexes.
    """

    rows: float
    survey_cpu: float = 0.000024
    report_cpu: float = 0.000035
    row_bytes: float = 400.0


def told(setup: Setup, job: Job, found: Found) -> str:
    """The result in some lines."""
    at_once = min(setup.workers, setup.one_machine or setup.workers)
    survey, report = (job.rows * seconds / at_once for seconds in (job.survey_cpu, job.report_cpu))
    sending = job.rows / found.per_second
    busy = ", ".join(f"{name} {share:.0%}" for name, share in found.used.items())
    spent = ", ".join(f"{state} {share:.0%}" for state, share in found.spent.items())
    return f"""\
{found.per_second:,.0f} emails/s, {found.emails_a_commit:.1f} to a commit, \
{found.commits_per_second:,.0f} commits/s, {found.reservations_per_second:,.0f} reservations/s
held up by {_WORDS[found.limit]}
busy: {busy}
a worker's time goes to: {spent}
{job.rows:,.0f} rows: {_time(survey)} to look at the table, {_time(sending)} to send, {_time(report)} for the report; \
{job.rows * job.row_bytes / 1e9:,.1f} GB in PostgreSQL"""


def _time(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"  # noqa: PLR2004 - an hour


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate what was asked for, and print it."""
    given = vars(_parser().parse_args(arguments))
    emails, seed = int(given.pop("emails")), given.pop("seed")
    job = Job(**{item.name: given.pop(item.name) for item in fields(Job)})
    setup = Setup(**given)
    print(told(setup, job, simulate(setup, emails=emails, seed=seed)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--rows", type=float, default=100e6, help="of the table")
    parser.add_argument("--emails", type=float, default=100e3, help="simulated; the rest goes on like these")
    parser.add_argument("--seed", type=int, default=1, help="another one makes other dice")
    for name, text in _HELP.items():
        default = next(item.default for item in (*fields(Setup), *fields(Job)) if item.name == name)
        kind = _rate if name == "rate" else type(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=text)
    return parser


def _rate(text: str) -> float:
    """Emails a second, of a rate as campaigns write it; its tightest limit."""
    return min(limit.count / limit.period for limit in parse_rate(text))


if __name__ == "__main__":
    sys.exit(main())
