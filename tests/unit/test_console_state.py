"""The console's state: what is shown follows from it, without widgets, threads or files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.check import Checked, CheckedProblem
from turbobatch.console import results_state, send_state, state, words
from turbobatch.console.causes import MOST_CAUSES, MOST_ROWS, OTHER, grouped
from turbobatch.console.figures import MOST_SAMPLES, Sample, pace, throughput, with_sample
from turbobatch.console.plot import throughput_image, throughput_svg
from turbobatch.console.results_state import PAGE, Failure, Outcome, filtered, page_of, turned
from turbobatch.console.rows import Page
from turbobatch.console.send_state import Facts, Phase, Sending, emails_to_send, start_fault, whole
from turbobatch.console.state import Listed, State, Tab, can_start, current, listed, sending
from turbobatch.policy import Status
from turbobatch.reconcile import Reconciled, Trace
from turbobatch.run import Progress, RunState


def problem(row: int, text: str = "column 'email' is blank", **changes: Any) -> CheckedProblem:
    usual: dict[str, Any] = {
        "row": row, "where": f"row {row}", "status": Status.INVALID, "field": "to", "columns": "email",
        "problem": text, "cure": "fill the cell", "send_key": f"k{row}",
    }  # fmt: skip
    return CheckedProblem(**(usual | changes))


def facts(**changes: Any) -> Facts:
    usual: dict[str, Any] = {
        "rows": 12, "emails": 10, "known": {Status.SENT: 2}, "sender": "Acme <shop@acme.example>",
        "host": "api.example", "api": "v2",
    }  # fmt: skip
    return Facts(**(usual | changes))


def console(rows: int = 0, **send: Any) -> State:
    return State(campaign="orders", table="", host="", preview=state.Looking(rows=range(rows)), send=Sending(**send))


def test_a_plan_in_words() -> None:
    """Rows that were refused are among those to send, and likely none of them leaves."""
    now = Sending(plan=facts(), planning=Phase.DONE)
    assert words.plan_text(now) == "12 rows (2 sent already): up to 10 emails to send"
    now = replace(now, plan=facts(refused=10), limit="4")
    assert words.plan_text(now) == (
        "12 rows (2 sent already): up to 4 emails to send; "
        "10 were refused before: sent again only if the email has changed"
    )


# Problems by cause


def test_problems_that_differ_in_the_rows_values_are_one_cause() -> None:
    """Whatever is quoted, an address or a number may differ; what is the same in all of them stays readable."""
    found = grouped(
        [
            problem(3, "'a@@b' 'to' email not valid"),
            problem(4),
            problem(9, "'c@@d' 'to' email not valid"),
            problem(12, "'e@@f' 'to' email not valid"),
            problem(14, "column 'name' is blank", columns="name"),
        ]
    )
    assert [(cause.text, cause.count) for cause in found] == [
        ("… 'to' email not valid", 3),
        ("column 'email' is blank", 1),
        ("column 'name' is blank", 1),
    ]
    assert [row.number for row in found[0].rows] == [3, 9, 12]
    assert found[0].rows[1].text == "'c@@d' 'to' email not valid"


@given(
    st.lists(
        st.builds(
            problem,
            st.integers(0, 10**6),
            st.sampled_from(["same key as row 4", "same key as row 17", "'x' is bad", "'y' is bad", "…", "", "x@y 3"])
            | st.text(max_size=20),
            status=st.sampled_from(list(Status)),
            field=st.none() | st.sampled_from(["to", "text"]),
        ),
        max_size=60,
    ).map(lambda found: sorted(found, key=lambda item: item.row)),
    st.integers(1, 20),
)
def test_grouping_part_by_part_counts_each_problem_once(problems: list[CheckedProblem], size: int) -> None:
    """The parts of a check come to the same as the whole, no problem is lost, no row is held twice."""
    causes = grouped(problems)
    step_by_step = grouped(())
    for start in range(0, len(problems), size):
        step_by_step = grouped(problems[start : start + size], step_by_step)
    assert step_by_step == causes
    assert sum(cause.count for cause in causes) == len(problems)
    for cause in causes:
        numbers = [row.number for row in cause.rows]
        assert len(numbers) == len(set(numbers)) == cause.affected
    assert {row.number for cause in causes for row in cause.rows} == {item.row for item in problems}


PART = st.text("ab", max_size=2)


@given(
    st.lists(st.text("' @9a…", max_size=5) | st.builds("{}'b@a".format, PART), max_size=9),
    st.sampled_from(["'{}' not valid", "{}@x odd: '{}'", "{}"]),
)
def test_whatever_a_cell_holds_its_problem_is_grouped(texts: list[str], said: str) -> None:
    """Quotes in what is quoted, addresses beside quotes, marks of our own: none breaks the check."""
    causes = grouped(problem(row, said.replace("{}", text)) for row, text in enumerate(texts))
    assert sum(cause.count for cause in causes) == len(texts)


def test_addresses_with_an_apostrophe_are_one_cause() -> None:
    """The quote in the middle ends what is quoted, and the rest looks like an address."""
    names = ("s.o'neil@gmail", "m.o'neil@gmail", "p.o'brien@yahoo")
    (cause,) = grouped(problem(row, f"'{name}' 'to' email not valid") for row, name in enumerate(names))
    assert (cause.text, cause.count) == ("… 'to' email not valid", 3)


def test_a_row_with_two_problems_of_a_kind_is_one_row() -> None:
    """It is counted once and listed once, also where the list of rows is full."""
    found = [problem(row, f"'{name}@@{row}' bad") for row in range(MOST_ROWS + 2) for name in ("a", "b")]
    (cause,) = grouped(found)
    assert (cause.count, cause.affected) == (2 * MOST_ROWS + 4, MOST_ROWS + 2)
    assert [row.number for row in cause.rows] == list(range(MOST_ROWS))


def test_a_table_of_trouble_stays_small() -> None:
    """Causes and rows are bounded, counts are not."""
    many = [problem(row, f"{'x' * row} is odd") for row in range(MOST_CAUSES + 30)]
    causes = grouped(many)
    assert len(causes) == MOST_CAUSES + 1
    assert (causes[-1].text, causes[-1].count) == (OTHER, 30)
    (alike,) = grouped(problem(row) for row in range(MOST_ROWS + 7))
    assert (alike.count, len(alike.rows)) == (MOST_ROWS + 7, MOST_ROWS)


def test_a_check_fills_the_rows_that_the_preview_can_step_through() -> None:
    """Part by part, each row once; a new check forgets them."""
    now = state.check_began(console(rows=50))
    now = state.checked(now, Checked(20, 1, (problem(3), problem(3, "column 'name' is blank"), problem(7))))
    now = state.checked(now, Checked(30, 0, (problem(40, status=Status.DUPLICATE),)))
    now = state.check_ended(now, Phase.DONE)
    assert (now.check.rows, now.check.problems, now.check.invalid, now.check.changed) == (50, 4, 2, 1)
    assert now.preview.problems == (3, 7, 40)
    now = state.switched(now, Listed.PROBLEMS)
    assert current(now.preview) == 3
    now = state.check_began(state.stepped(now, 1))
    assert (now.preview.listed, current(now.preview), now.preview.problems) == (Listed.ALL, 7, ())
    assert words.check_text(state.check_ended(now, Phase.DONE).check) == "Checked all 0 rows: no problems."


# The preview

MOVES = st.lists(
    st.one_of(
        st.builds(lambda by: lambda now: state.stepped(now, by), st.integers(-5, 5)),
        st.builds(lambda place: lambda now: state.placed(now, place), st.integers(-3, 60)),
        st.builds(lambda which: lambda now: state.switched(now, which), st.sampled_from(Listed)),
        st.builds(lambda row: lambda now: state.opened(now, row), st.integers(0, 60)),
        st.builds(
            lambda rows: lambda now: state.found(state.searched(now, "x"), tuple(sorted(rows)), more=False),
            st.sets(st.integers(0, 39), max_size=5),
        ),
        st.builds(lambda rows: lambda now: state.counted(now, range(rows), Phase.DONE), st.integers(0, 40)),
        st.just(state.check_began),
        st.builds(
            lambda rows: lambda now: state.checked(now, Checked(40, 0, tuple(map(problem, sorted(rows))))),
            st.sets(st.integers(0, 39), max_size=5),
        ),
    ),
    max_size=30,
)


@given(MOVES)
def test_the_preview_is_always_at_a_row_that_is_listed(moves: list[Any]) -> None:
    """Whatever is pressed in whatever order: a row is shown if any is listed."""
    now = console(rows=40)
    for move in moves:
        now = move(now)
        rows = listed(now.preview)
        assert (current(now.preview) in rows) if len(rows) else current(now.preview) is None


def test_a_row_named_elsewhere_is_opened() -> None:
    """From a problem or a failure, whichever rows are stepped through; a group's later row has no email of its own."""
    now = state.found(state.searched(console(rows=9), "ana"), (2, 4), more=False)
    now = state.opened(replace(now, tab=Tab.CHECK), 4)
    assert (now.tab, now.preview.listed, current(now.preview)) == (Tab.PREVIEW, Listed.FOUND, 4)
    now = state.opened(now, 7)
    assert (now.preview.listed, current(now.preview)) == (Listed.ALL, 7)
    assert state.opened(now, 99).preview.told == "row 99 makes no email of its own"


def test_a_page_that_comes_late_isnt_shown() -> None:
    """The user has gone on, or back, since it was asked for."""
    now = state.shown(console(rows=9), Page(row=0, where="row 0"))
    late = state.shown(state.stepped(state.stepped(now, 1), -1), Page(row=1, where="row 1"))
    assert late.preview.page == now.preview.page


def test_a_search_without_a_hit_stays_where_it_was() -> None:
    """And says so until the user goes on, whether the row's page comes before or after."""
    now = state.placed(console(rows=9), 5)
    now = state.found(state.searched(now, "nobody"), (), more=False)
    assert (current(now.preview), now.preview.listed, now.preview.told) == (5, Listed.ALL, "no row holds 'nobody'")
    assert state.shown(now, Page(row=5, where="row 5")).preview.told == "no row holds 'nobody'"
    assert state.stepped(now, 1).preview.told == ""


def test_a_search_after_a_hit_stays_at_it() -> None:
    """While it looks, and where it finds nothing."""
    now = state.found(state.searched(console(rows=9), "ana"), (3, 6), more=False)
    now = state.searched(state.stepped(now, 1), "nobody")
    assert current(now.preview) == 6
    assert words.where_text(now.preview) == "row 6; 7 of 9"
    now = state.found(now, (), more=False)
    assert (current(now.preview), now.preview.told) == (6, "no row holds 'nobody'")


def test_lists_that_end_early_say_so() -> None:
    """The rows with problems too; not those that fill the list to the last place."""
    full = tuple(map(problem, range(state.MOST_PROBLEM_ROWS)))
    now = state.checked(state.check_began(console(rows=20_000)), Checked(10_000, 0, full))
    labels = [label for label, _ in words.listed_options(now.preview)]
    assert labels == ["all rows (20,000)", "rows with problems (10,000)", "rows found (0)"]
    now = state.checked(now, Checked(1, 0, (problem(10_000),)))
    now = state.checked(now, Checked(1, 0, ()))
    assert words.listed_options(now.preview)[1][0] == "rows with problems (10,000+)"
    now = state.found(state.searched(now, "x"), (1,), more=True)
    assert words.listed_options(now.preview)[2][0] == "rows found (1+)"
    assert words.listed_options(state.check_began(now).preview)[1][0] == "rows with problems (0)"


def test_the_row_in_view_stays_while_the_table_is_counted() -> None:
    """Of groups, the first that are known needn't be the first of the table."""
    now = state.placed(state.counted(console(), (0, 4), Phase.BUSY), 1)
    now = state.counted(now, (0, 2, 4), Phase.DONE)
    assert (now.preview.place, current(now.preview)) == (2, 4)
    assert current(state.counted(now, (0, 2), Phase.DONE).preview) == 2


def test_where_the_preview_is() -> None:
    """The page's own words for its row, once it is there."""
    now = state.stepped(console(rows=2000), 1)
    assert words.where_text(now.preview) == "row 1; 2 of 2,000"
    now = state.shown(now, Page(row=1, where="row 1 (line 3 of people.csv)", size=2))
    assert words.where_text(now.preview) == "row 1 (line 3 of people.csv), 2 rows; 2 of 2,000"
    assert words.where_text(console().preview) == "no rows"


# Starting


@given(st.text(max_size=8) | st.integers(-5, 30).map(str), st.sampled_from(["", "4", "200", "0", "x", " 7 "]))
def test_start_takes_the_very_number(typed: str, limit: str) -> None:
    """Start is there for the number of emails, typed; nothing else starts anything."""
    now = console(plan=facts(emails=10), planning=Phase.DONE, typed=typed, limit=limit)
    emails = {"4": 4, " 7 ": 7}.get(limit, 10)
    assert emails_to_send(now.send) == emails
    assert can_start(now) == (limit not in {"0", "x"} and whole(typed) == emails)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"plan": None}, "count first what there is to send"),
        ({"planning": Phase.BUSY}, "count first what there is to send"),
        ({"running": True}, "a run is in progress"),
        ({"starting": True}, "a run is in progress"),
        ({"typed": ""}, "type 10 to start"),
        ({"typed": "ten"}, "'ten' is no number: type 10 to start"),
        ({"typed": "100"}, "100 is not the number of emails: type 10 to start"),
        ({"limit": "some"}, "send at most 'some': give a whole number above 0, or nothing for all"),
        ({"rate": "abc"}, "rate 'abc': 'abc' is not a number per second, minute, hour or day"),
        ({"concurrency": "0"}, "at a time '0': give a whole number from 1 to 1000"),
        ({"concurrency": "many"}, "at a time 'many': give a whole number from 1 to 1000"),
        ({"plan": facts(emails=0), "typed": "0"}, "nothing is left to send"),
        (
            {"plan": facts(objection="sent before")},
            "tick that the emails are to be sent all the same, or undo the change",
        ),
        ({"plan": facts(objection="sent before"), "accepted": True}, ""),
    ],
)
def test_what_keeps_a_start_from_being_made(changes: dict[str, Any], said: str) -> None:
    """One line each."""
    ready: dict[str, Any] = {"plan": facts(), "planning": Phase.DONE, "typed": "10", "rate": "5/second"}
    now = console(**(ready | changes))
    assert start_fault(now.send).startswith(said)
    assert can_start(now) == (not said)
    assert "\n" not in start_fault(now.send)


def test_a_consent_is_for_one_plan() -> None:
    """Another count takes away what was typed and ticked for the one before, and so does a start."""
    now = console(plan=facts(objection="sent before"), planning=Phase.DONE, typed="10", accepted=True)
    assert can_start(now)
    began = sending(now, send_state.starting)
    assert not can_start(began)
    failed = sending(began, send_state.start_failed, "the file was changed")
    again = sending(failed, send_state.planned, facts(objection="sent before"))
    assert (again.send.typed, again.send.accepted, can_start(again)) == ("", False, False)
    assert again.send.cleared == now.send.cleared + 1
    recount = sending(sending(now, send_state.planning), send_state.planned, facts())
    assert start_fault(recount.send) == "type 10 to start"


def test_a_run_from_start_to_end() -> None:
    """While it runs nothing else can be started or counted; a plan is spent; then all is as before the first."""
    now = sending(console(plan=facts(), planning=Phase.DONE, typed="10"), send_state.starting)
    progress = Progress(state=RunState.RUNNING, total=12, rows={Status.SENT: 6}, known=2, seconds=2.0)
    now = sending(now, send_state.sampled, progress)
    assert words.badge(now) == ("running", words.Tone.BUSY)
    assert words.run_text(now.send) == "6 of 12 rows; 2.0 rows/s; about 3.0 s left"
    assert (now.send.plan, send_state.can_plan(now.send), can_start(now)) == (None, False, False)
    stopping = sending(now, send_state.sampled, replace(progress, state=RunState.STOPPING))
    assert send_state.is_stopping(stopping.send)
    now = sending(now, send_state.ended, replace(progress, state=RunState.STOPPED), "stopped by the user")
    assert words.badge(now) == ("stopped", words.Tone.BAD)
    assert words.run_text(now.send) == "6 of 12 rows; 2.0 rows/s over 2.0 s"
    assert send_state.can_plan(now.send)
    again = sending(now, send_state.watched, replace(progress, rows={Status.SENT: 3}, seconds=1.0))
    assert (len(again.send.samples), again.send.ended, again.send.running) == (1, "", True)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        (" 1,000 ", 1000),
        ("1_000", 1000),
        ("1 000", 1000),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
    ],
)
def test_whole_numbers_as_people_write_them(text: str, number: int | None) -> None:
    assert whole(text) == number


# Figures


@given(st.lists(st.tuples(st.floats(0.01, 5.0), st.integers(0, 500)), max_size=600))
def test_samples_stay_few_and_in_order(steps: list[tuple[float, int]]) -> None:
    """However long a run: a plot of so many points at most, from pace figures that are never negative."""
    samples: tuple[Sample, ...] = ()
    now = Sample(0.0, 0)
    for seconds, rows in steps:
        now = Sample(now.seconds + seconds, now.rows + rows)
        samples = with_sample(samples, now)
        assert len(samples) <= MOST_SAMPLES
    assert list(samples) == sorted(samples)
    assert all(speed >= 0 for _, speed in throughput(samples))
    assert pace(samples, now) >= 0
    ET.fromstring(throughput_svg(throughput(samples)))  # noqa: S314 - our own


def test_the_pace_is_that_of_the_last_moments() -> None:
    """A slow beginning is forgotten."""
    samples = tuple(Sample(float(second), 0 if second < 50 else (second - 50) * 20) for second in range(100))
    assert pace(samples, Sample(100.0, 1000)) == 20
    assert throughput(samples)[-1] == (99.0, 20.0)


@pytest.mark.parametrize(
    ("most", "axis"), [(0, "0.1/s"), (0.013, "0.02/s"), (0.9, "1/s"), (1.0, "1/s"), (3.1, "5/s"), (180, "200/s")]
)
def test_the_plots_axis_ends_at_a_round_number(most: float, axis: str) -> None:
    """The next one above what there is to see."""
    assert f">{axis}</text>" in throughput_svg([(1.0, 0.0), (2.0, most)])


def test_a_plot_wants_two_points() -> None:
    assert throughput_image([(1.0, 5.0)]) == ""
    assert throughput_image([(1.0, 5.0), (2.0, 7.0)]).startswith("<img ")


# Results


FAILURES = st.lists(
    st.builds(
        Failure,
        row=st.integers(0, 999),
        key=st.sampled_from(["k1", "K2"]),
        status=st.sampled_from(["invalid", "rejected", "failed"]),
        category=st.sampled_from(["blank", "syntax"]),
        address=st.sampled_from(["ana@example.org", "bob@example.org", ""]),
        field=st.just("to"),
        reason=st.sampled_from(["not valid", "refused"]),
    ),
    max_size=60,
).map(tuple)


@given(
    FAILURES,
    st.sampled_from(["", "invalid", "failed"]),
    st.sampled_from(["", "blank"]),
    st.sampled_from(["", "ANA", "k2", " refused ", "zzz"]),
)
def test_the_pages_together_are_what_the_filters_let_through(
    failures: tuple[Failure, ...], status: str, category: str, text: str
) -> None:
    """Each failure once, in order; the last page is no empty one."""
    now = results_state.narrowed(Outcome(failures=failures), status=status, category=category, text=text)
    pages = [page_of(now)]
    while (turn := turned(now, 1)).first != now.first:
        now = turn
        pages.append(page_of(now))
        assert pages[-1]
    assert [item for page in pages for item in page] == filtered(now)
    wanted = text.strip().casefold()
    for item in failures:
        fits = (not status or item.status == status) and (not category or item.category == category)
        holds = any(wanted in word.casefold() for word in (item.address, item.reason, item.key))
        assert (item in filtered(now)) == (fits and holds)
    assert results_state.categories(now) == [
        kind for kind in ("syntax", "blank") if kind == category or kind in {item.category for item in failures}
    ]


def test_reading_again_keeps_filters_and_what_is_still_in_doubt() -> None:
    """A page that is no more gives way to the last one."""
    many = tuple(Failure(row=row, key="", status="failed", address="", field="", reason="") for row in range(PAGE * 2))
    now = turned(Outcome(failures=many, status="failed", doubts=("a", "b"), chosen=("a", "b")), 1)
    now = results_state.loaded(now, Outcome(failures=many[:3], failed=3, doubts=("b",), in_doubt=1))
    assert (now.status, now.first, now.chosen, now.phase) == ("failed", 0, ("b",), Phase.DONE)
    assert len(page_of(now)) == 3


def traced(key: str, trace: Trace) -> Reconciled:
    return Reconciled(key=key, trace=trace, message="")


def test_what_a_look_up_told_is_kept_as_far_as_it_holds() -> None:
    """What was settled by hand since is told no more; of a list that is cut nobody knows."""
    told = [traced("a", Trace.FOUND), traced("b", Trace.MISSING), traced("c", Trace.UNCLEAR)]
    now = results_state.looked_up(Outcome(doubts=("a", "b", "c"), in_doubt=3), told, "")
    assert [item.key for item in now.told] == ["b", "c", "a"]
    assert [item.key for item in results_state.loaded(now, Outcome(doubts=("c",), in_doubt=1)).told] == ["c", "a"]
    assert results_state.loaded(now, Outcome(doubts=("c",), in_doubt=2)).told == now.told
    assert results_state.run_over(now).told == ()
    assert words.told_text(told) == (
        "Looked up 3 emails: 1 found, 1 unclear, 1 missing. Found ones are settled as sent."
    )
    assert words.told_text([]) == "Looked up 0 emails: nothing is in doubt."


@pytest.mark.parametrize(
    ("in_doubt", "changes", "said"),
    [(1, {}, ""), (0, {}, "nothing is in doubt"), (1, {"running": True}, "a run is in progress"),
     (1, {"starting": True}, "a run is in progress")],
)  # fmt: skip
def test_what_keeps_doubts_from_being_looked_up(in_doubt: int, changes: dict[str, Any], said: str) -> None:
    """In a few words, beside the button."""
    now = replace(console(**changes), results=Outcome(in_doubt=in_doubt))
    assert state.look_up_fault(now) == said
    assert state.can_look_up(now) == (not said)
    looking = replace(now, results=results_state.looking_up(now.results))
    assert not state.can_look_up(looking)
    assert not can_start(looking)


def test_settling_wants_a_choice_and_a_yes() -> None:
    """Another choice takes the question back."""
    now = results_state.ask(Outcome(doubts=("a", "b")), Status.PENDING)
    assert (now.asked, now.notice) == (None, "choose the emails to settle first")
    now = results_state.ask(results_state.chosen(now, ("a",)), Status.PENDING)
    assert (now.asked, now.notice) == (Status.PENDING, "")
    assert results_state.chosen(now, ("a", "b")).asked is None


def test_a_question_names_what_it_is_about() -> None:
    """By key, the first ones: a list that is read anew may have moved under the click that chose them."""
    now = results_state.ask(results_state.chosen(Outcome(doubts=tuple("abcdefg")), tuple("abcdefg")), Status.SENT)
    assert words.settle_text(now) == (
        "Settle 7 emails as sent, a, b, c, d, e and 2 more? What is sent is never sent again."
    )
    now = results_state.ask(results_state.chosen(now, ("a",)), Status.PENDING)
    assert words.settle_text(now).startswith("Settle 1 email as pending, a? 1 email may have been accepted")
    assert words.settle_text(results_state.ask(now, None)) == ""


def test_retry_is_for_what_was_refused_too() -> None:
    """Another run sends it if its email has changed; what is pending or in doubt makes no failure."""
    assert results_state.failed_count(Outcome(counts={"rejected": 2, "invalid": 1, "failed": 4, "sent": 9})) == 7
    assert results_state.failed_count(Outcome(counts={"pending": 3, "in_doubt": 1, "sent": 9})) == 0


@pytest.mark.parametrize(
    ("counts", "in_doubt", "word"),
    [
        ({}, 0, "nothing sent"),
        ({"pending": 5, "duplicate": 1}, 0, "nothing sent"),
        ({"pending": 5, "sent": 1}, 0, "partly sent"),
        ({"sent": 6, "suppressed": 1}, 0, "done"),
        ({"sent": 6, "invalid": 1}, 0, "done, with failures"),
        ({"sent": 6}, 2, "in doubt"),
    ],
)
def test_where_a_campaign_is(counts: dict[str, int], in_doubt: int, word: str) -> None:
    """In a word, by the journal alone."""
    now = replace(console(), results=Outcome(phase=Phase.DONE, counts=counts, in_doubt=in_doubt))
    assert words.badge(now)[0] == word


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0.2 s"),
        (0, "0 s"),
        (45, "45 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (3 * 86_400 + 5, "3 days"),
        (-1, "0 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text
