"""The simulation of a cluster agrees with what can be worked out by hand, and its program says so."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.scale import Job, main, told
from benchmarks.simulation import ANSWERS, COMMITTING, CORES, MACHINE, MERGING, PERMITS, Setup, simulate

if TYPE_CHECKING:
    from benchmarks.simulation import Found

FREE = Setup(
    workers=4,
    concurrency=32,
    latency=0.1,
    scatter=0.0,
    wake=0.0,
    cpu_row=1e-7,
    cpu_turn=1e-6,
    commit_cpu=1e-7,
    commit_row=1e-7,
    flush=1e-6,
    trip=1e-6,
    reserve_cpu=1e-7,
    spread=0.0,
    jitter=0.0,
)
"""Nothing takes time but the answers."""


def found(**changes: Any) -> Found:
    return simulate(replace(FREE, **changes), emails=20_000)


def test_a_rate_that_all_share_is_reached_and_not_exceeded() -> None:
    """All workers together send as many as the rate says, less what it keeps back."""
    for rate in (20, 200, 1000):
        ended = simulate(replace(FREE, rate=rate, spread=0.05), emails=rate * 20)
        assert ended.per_second == pytest.approx(rate / 1.05, rel=0.02)
        assert ended.limit == PERMITS


def test_who_waits_for_answers_sends_what_is_in_flight_each_time() -> None:
    """Workers x concurrency / latency."""
    ended = found()
    assert ended.per_second == pytest.approx(4 * 32 / 0.1, rel=0.03)
    assert ended.limit == ANSWERS


def test_a_workers_processor_is_its_limit() -> None:
    """One email for each `cpu_row` and worker."""
    ended = found(cpu_row=0.01)
    assert ended.per_second == pytest.approx(4 / 0.01, rel=0.03)
    assert ended.limit == MERGING


def test_the_processors_of_the_database_are_shared_by_all_workers() -> None:
    """So many of them, divided by what an email takes; more workers don't help."""
    for workers in (8, 16):
        ended = found(workers=workers, commit_row=0.01, journal_cores=2)
        assert ended.per_second == pytest.approx(2 / 0.01, rel=0.03)
        assert ended.limit == CORES


def test_one_machine_does_all_of_it() -> None:
    """Its processors by what an email takes of worker, database and vendor."""
    ended = found(one_machine=2, cpu_row=0.002, commit_row=0.001, vendor_cpu=0.001)
    assert ended.per_second == pytest.approx(2 / 0.004, rel=0.03)
    assert ended.limit == MACHINE


def test_a_slow_disk_is_waited_for_and_shared() -> None:
    """A flush serves all who wait: twice the workers send twice as much, though each waits for one or two flushes."""
    few, many = (found(workers=workers, concurrency=16, latency=0.001, flush=0.02) for workers in (4, 8))
    assert many.per_second == pytest.approx(2 * few.per_second, rel=0.05)
    assert few.limit == many.limit == COMMITTING
    assert 4 * 16 / 2 / 0.02 * 0.4 <= few.per_second <= 4 * 16 / 0.02


def test_the_same_seed_makes_the_same_run() -> None:
    """Another one makes another."""
    setup = replace(FREE, scatter=0.3)
    assert simulate(setup, emails=5000, seed=3) == simulate(setup, emails=5000, seed=3)
    assert simulate(setup, emails=5000, seed=3) != simulate(setup, emails=5000, seed=4)


def test_the_program_tells_hours_and_what_holds_it_up(capsys: pytest.CaptureFixture[str]) -> None:
    """100 million rows at 2,000 a second are 13.9 hours, and a fortieth more by what the rate keeps back."""
    assert main(["--rows", "100e6", "--rate", "2000/second", "--workers", "16"]) == 0
    said = capsys.readouterr().out
    assert "14.2 h to send" in said
    assert "held up by the rate" in said


def test_the_program_takes_all_that_is_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    """Each figure has an option, and what it is."""
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(f"--{item.name.replace('_', '-')} " in said for item in (*fields(Setup), *fields(Job)))


def test_size_and_report_grow_with_the_rows() -> None:
    """What isn't simulated is so much for a row."""
    ended = found()
    said = told(FREE, Job(rows=1e6, survey_cpu=0.00024, report_cpu=0.00048, row_bytes=500), ended)
    assert "1.0 min to look at the table" in said
    assert "2.0 min for the report; 0.5 GB in PostgreSQL" in said
