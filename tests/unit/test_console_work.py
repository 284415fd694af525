"""The console's work off the main thread: the throttle, jobs that replace each other, rows in any order."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import turbobatch as tb
from turbobatch.console.rows import Rows, TableChangedError
from turbobatch.console.state import State
from turbobatch.console.work import VIEWS, Jobs, Store, Throttle
from turbobatch.recipients import open_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.conftest import Until
    from turbobatch.console.work import Change, Job

PATIENCE = 60.0


def store() -> Store:
    return Store(State(campaign="orders", table="", host=""))


def named(table: str) -> Change:
    """Any change that can be seen: here of the table's name."""
    return lambda now: replace(now, table=table)


# The throttle


class Later:
    """Calls to come, at a clock that stands still until they are made."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, call: Callable[[], None]) -> None:
        self.calls.append((self.now + seconds, call))

    def until(self, moment: float) -> None:
        """Let time go by."""
        while self.calls and self.calls[0][0] <= moment:
            self.now, call = self.calls.pop(0)
            call()
        self.now = max(self.now, moment)


@given(st.lists(st.floats(0.0, 0.4), min_size=1, max_size=200))
def test_views_are_ten_a_second_at_most_and_the_last_one_counts(pauses: list[float]) -> None:
    """However often the state changes; what it was last is always shown soon."""
    later = Later()
    changed = 0
    shown: list[tuple[float, int]] = []
    ask = Throttle(lambda: shown.append((later.now, changed)), clock=lambda: later.now, later=later)
    for pause in pauses:
        later.until(later.now + pause)
        changed += 1
        ask()
        assert len(later.calls) <= 1
    ended = later.now
    later.until(ended + VIEWS * 1.001)
    assert shown[-1][1] == changed
    assert shown[-1][0] <= ended + VIEWS * 1.001
    times = [at for at, _ in shown]
    assert all(after - before >= VIEWS * 0.999 for before, after in pairwise(times))
    assert shown[0] == (times[0], 1)  # the first at once


def test_what_changes_while_a_view_is_drawn_is_drawn_next() -> None:
    """One thread draws at a time."""
    later = Later()
    seen: list[str] = []
    word = "one"

    def show() -> None:
        nonlocal word
        seen.append(word)
        if word == "one":
            word = "two"
            ask()

    ask = Throttle(show, clock=lambda: later.now, later=later)
    ask()
    assert seen == ["one"]
    later.until(VIEWS)
    assert seen == ["one", "two"]
    assert later.calls == []


def test_a_view_that_fails_doesnt_end_the_views() -> None:
    """Nor does who changes the state hear of it; the next change is shown."""
    later = Later()
    seen: list[float] = []
    faults: list[Exception] = []

    def show() -> None:
        seen.append(later.now)
        if len(seen) == 1:
            raise ValueError("a widget went away")

    ask = Throttle(show, on_fault=faults.append, clock=lambda: later.now, later=later)
    ask()
    assert [str(fault) for fault in faults] == ["a widget went away"]
    ask()
    later.until(1.0)
    assert seen == [0.0, VIEWS]
    assert len(faults) == 1


# The store and its jobs


def test_of_two_that_press_at_once_one_does() -> None:
    """Deciding and changing is one step."""
    shared, gate = store(), threading.Barrier(8)
    did: list[State] = []

    def press() -> None:
        gate.wait()
        before = shared.change_if(lambda now: not now.table, named("taken"))
        if before is not None:
            did.append(before)

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [before.table for before in did] == [""]
    assert shared.state.table == "taken"


def test_a_job_that_was_replaced_says_nothing_any_more() -> None:
    """What it finds out late must not undo what came after; the one in its place begins when it has ended."""
    shared = store()
    jobs = Jobs(shared)
    begun, go_on = threading.Event(), threading.Event()

    def slow(job: Job) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        job.report(named("late"))

    jobs.start("look", slow, lambda _said: named("failed"))
    assert begun.wait(PATIENCE)
    jobs.start("look", lambda job: job.report(named("between")), lambda _said: named("failed"))
    jobs.start("look", lambda job: job.report(named("last")), lambda _said: named("failed"))
    seen: list[str] = []
    shared.listener = lambda: seen.append(shared.state.table)
    go_on.set()
    assert shared.wait(lambda now: now.table == "last", PATIENCE)
    assert seen == ["last"]


def test_jobs_of_other_names_dont_wait() -> None:
    """A long check doesn't hold up the preview."""
    shared = store()
    jobs = Jobs(shared)
    begun = threading.Event()
    jobs.start("check", lambda job: until_stopped(job, begun), lambda said: named(f"stopped{said}"))
    assert begun.wait(PATIENCE)
    jobs.start("preview", lambda job: job.report(named("page")), lambda _said: named("failed"))
    assert shared.wait(lambda now: now.table == "page", PATIENCE)
    jobs.stop("check")
    assert shared.wait(lambda now: now.table == "stopped", PATIENCE)


def until_stopped(job: Job, begun: threading.Event) -> None:
    begun.set()
    while True:  # until look() raises
        job.look()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (tb.CampaignError("there is no table"), "there is no table"),
        (RuntimeError("secret cell"), "unexpected RuntimeError"),
    ],
)
def test_a_job_that_breaks_says_why_in_one_line(error: Exception, said: str) -> None:
    """Ours in its own words; of an unexpected one its kind and place, as its text may hold anything."""
    shared = store()

    def work(_job: Job) -> None:
        raise error

    Jobs(shared).start("plan", work, named)
    assert shared.wait(lambda now: bool(now.table), PATIENCE)
    assert shared.state.table.startswith(said)
    assert "secret" not in shared.state.table
    assert "\n" not in shared.state.table


def test_threads_end_with_their_work(until: Until) -> None:
    """A console that nobody looks at has none."""
    shared = store()
    before = threading.active_count()
    jobs = Jobs(shared)
    for number in range(5):
        jobs.start(f"job {number}", lambda job: job.report(named("done")), lambda _said: named("failed"))
    until(lambda: threading.active_count() == before)


# Rows


def rows_of(table: Any, **changes: Any) -> Rows:
    message = tb.MailMerge(
        from_="Acme <shop@acme.example>", to="{{ email }}", subject="Order {{ id }}", text="Dear {{ name }}",
        html=changes.pop("html", "<p>Dear {{ name }}</p>"),
    )  # fmt: skip
    settings: dict[str, Any] = {"name": "orders", "message": message, "key": "id"}
    campaign = tb.Campaign(**(settings | changes))
    return Rows(lambda: campaign.source(table), "orders", "v2")


def people(count: int, path: Path | None = None) -> Any:
    numbers = range(count)
    frame = pd.DataFrame(
        {
            "id": [f"{n:05}" for n in numbers],
            "name": [f"P {n}" for n in numbers],
            "email": [f"p{n}@example.org" for n in numbers],
        }
    )
    if path is None:
        return frame
    frame.to_csv(path, index=False)
    return path


def test_rows_in_any_order(tmp_path: Path) -> None:
    """Forwards, backwards, far and near: always the row that was asked for."""
    rows = rows_of(people(9000, tmp_path / "people.csv"))
    assert list(rows.count(lambda _rows: None)) == list(range(9000))
    for row in (0, 1, 8999, 8998, 0, 4500, 4499, 501, 500, 499, 7000, 3):
        page = rows.page(row)
        assert (page.row, page.key) == (row, f"{row:05}")
        assert dict(page.head)["To"] == f"p{row}@example.org"
        assert page.where == f"row {row} (line {row + 2} of people.csv)"
    with pytest.raises(tb.CampaignError, match=r"people.csv has no row 9000: rows count from 0"):
        rows.page(9000)


def test_a_step_doesnt_read_the_file_again(tmp_path: Path) -> None:
    """Steps inside what was read last show it, though other rows were written by stealth."""
    path = people(3000, tmp_path / "people.csv")
    rows = rows_of(path)
    rows.page(1200)
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"0", b"9"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [rows.page(row).key for row in (1199, 1201, 1000)] == ["01199", "01201", "01000"]


def test_a_file_that_was_changed_is_read_anew(tmp_path: Path) -> None:
    """The first look says so, be it at a row that is held; the next one shows what it is now. A search asks too."""
    path = people(3000, tmp_path / "people.csv")
    rows = rows_of(path)
    looks: list[Callable[[], object]] = [
        lambda: rows.page(2900), lambda: rows.page(10), lambda: list(rows.search("x", None, lambda: None)),
    ]  # fmt: skip
    for number, look in enumerate(looks):
        assert rows.page(10).row == 10
        pd.read_csv(path, dtype=str).assign(name=f"New {number}").iloc[::-1].to_csv(path, index=False)
        with pytest.raises(TableChangedError, match=r"people\.csv was changed: read anew"):
            look()
        assert dict(rows.page(0).cells)["name"] == f"New {number}"
    assert rows.page(2999).key == "00000"
    people(10, path)
    assert list(rows.count(lambda _rows: None)) == list(range(10))


def test_a_table_that_was_opened_since_is_compared(tmp_path: Path) -> None:
    """The same version changes nothing; another one is refused once."""
    path = people(30, tmp_path / "people.csv")
    rows = rows_of(path)
    rows.follow(open_table(path))
    rows.page(3)
    rows.follow(open_table(path))
    people(20, path)
    with pytest.raises(TableChangedError):
        rows.follow(open_table(path))
    rows.follow(open_table(path))


def test_a_bad_row_is_told_each_time(tmp_path: Path) -> None:
    """What ends the reading of a table isn't taken for the table's end."""
    path = people(3000, tmp_path / "people.csv")
    with path.open("a") as file:
        file.write("1,2,3,4,5\n")
    rows = rows_of(path)
    for _ in range(2):
        with pytest.raises(tb.CampaignError, match="line 3002"):
            rows.page(2999)
        assert rows.page(1).key == "00001"


def test_a_group_is_one_page() -> None:
    """By its first row, wherever its rows are; another row of it has none."""
    frame = people(4).assign(id=["b", "a", "b", "c"], name="Ana", email="ana@example.org")
    rows = rows_of(frame, group_by="id")
    assert list(rows.count(lambda _rows: None)) == [0, 1, 3]
    assert (rows.page(0).key, rows.page(0).size) == ("b", 2)
    assert rows.page(3).key == "c"
    with pytest.raises(tb.CampaignError, match="has no row 2"):
        rows.page(2)
    assert list(rows.search("B", "id", lambda: None)) == [0]


def test_groups_are_stepped_through_in_the_tables_order() -> None:
    """Wherever they end; the first ones can be looked at before the table is counted."""
    count = 1500
    frame = people(count).assign(id=["first", *(f"{n:05}" for n in range(1, count - 1)), "first"], name="Ana")
    rows = rows_of(frame.assign(email="ana@example.org"), group_by="id")
    looks: list[tuple[int, ...]] = []
    keys: list[str] = []

    def look(known: Sequence[int]) -> None:
        looks.append(tuple(known))
        if known:
            keys.append(rows.page(known[0]).key)

    assert list(rows.count(look)) == list(range(count - 1))
    assert (looks[0], set(looks[1:]), keys) == (tuple(range(1, 501)), {()}, ["00001"])
    assert (rows.page(0).key, rows.page(0).size, rows.page(1).key, rows.page(count - 2).key) == (
        "first", 2, "00001", "01498"
    )  # fmt: skip


def test_a_large_html_part_isnt_sent_to_the_page() -> None:
    """It says so, and the text is there."""
    image = f'<img src="data:image/png;base64,{"A" * 600_000}"><p>Dear {{{{ name }}}}</p>'
    page = rows_of(people(1), html=image).page(0)
    assert page.frame == ""
    assert page.unshown == "HTML, 600,049 characters: with its images too much to be shown here"
    assert page.text.startswith("Dear P 0")


def test_searching() -> None:
    """In one column or any, whatever the case; the finder is asked now and then whether it is to go on."""
    frame = people(1200).assign(name=["Ana" if n % 400 == 7 else "Bob" for n in range(1200)])
    rows = rows_of(frame)
    looks: list[int] = []
    assert list(rows.search("ANA", None, lambda: looks.append(1))) == [7, 407, 807]
    assert len(looks) == 3
    assert rows.first_found("ana", None, 3, lambda: None) == ((7, 407, 807), False)
    assert rows.first_found("ana", None, 2, lambda: None) == ((7, 407), True)
    assert list(rows.search("ana", "email", lambda: None)) == []
    assert list(rows.search("p11@", "email", lambda: None)) == [11]


def test_a_page_tells_what_keeps_a_row_from_leaving() -> None:
    """With the row's own cells beside it."""
    page = rows_of(people(3).assign(email=["a@example.org", None, "b@@"])).page(1)
    assert page.problem == "row 1: to: column 'email' is blank; fill the cell, or print it with | default(\"…\")"
    assert dict(page.cells) == {"id": "00001", "name": "P 1", "email": ""}
    assert (page.frame, page.text, page.wire) == ("", "", "")


def test_html_is_framed_and_escaped() -> None:
    """No cell gets out of the frame, which runs nothing and loads nothing."""
    frame = people(1).assign(name='"></iframe><script>alert(1)</script>')
    page = rows_of(frame, html='<p>{{ name }}</p><img src="https://evil.example/x.png">').page(0)
    assert page.frame.startswith('<iframe sandbox=""')
    assert "<script" not in page.frame
    assert page.frame.count("</iframe>") == 1
    policy = "&lt;meta http-equiv=&quot;Content-Security-Policy&quot; content=&quot;default-src &#x27;none&#x27;"
    assert f'srcdoc="{policy}' in page.frame
