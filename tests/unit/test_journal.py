"""The journal tells the truth after any crash, and refuses whatever would make it lie."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turbobatch.errors import JournalError
from turbobatch.journal import (
    Entry,
    Intent,
    Journal,
    Outcome,
    SqliteJournal,
    journal_place,
    open_journal,
    read_journal,
)
from turbobatch.journal.schema import SCHEMA_VERSION
from turbobatch.policy import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "receipts"


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def journal(request: pytest.FixtureRequest) -> Iterator[Journal]:
    """A new journal of either kind."""
    if request.param == "SQLite":
        with SqliteJournal() as opened:
            yield opened
        return
    with open_journal(journal_place(request.getfixturevalue("database")), NAME) as opened_there:
        yield opened_there


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "receipts.journal.db"


def intent(key: str, *, time: float = 100.0, resend: bool = False, digest: str = "d") -> Intent:
    return Intent(key=key, digest=digest, time=time, resend=resend, recipients=f"to {digest}")


def outcome(key: str, status: Status = Status.SENT, *, posted: bool = True, **more: Any) -> Outcome:
    return Outcome(**{"key": key, "status": status, "message": "said", "time": 200.0, "posted": posted, **more})


def entry(journal: Journal, key: str) -> Entry:
    return journal.lookup([key])[key]


def status(journal: Journal, key: str) -> Status:
    return entry(journal, key).status


def run_python(script: str, *args: object) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def assert_one_line(error: BaseException, *parts: str) -> None:
    text = str(error)
    assert "\n" not in text
    for part in parts:
        assert part in text


class TestAccounts:
    def test_posts_are_told_by_their_keys(self, journal: Journal) -> None:
        """When the first and the last began; keys that were never posted are absent."""
        journal.commit([intent("a", time=100.0), intent("b", time=150.0)], [])
        journal.commit([intent("a", time=300.0, resend=True)], [])
        assert journal.post_spans(["a", "b", "c"]) == {"a": (100.0, 300.0), "b": (150.0, 150.0)}

    def test_message_ids_that_are_known(self, journal: Journal) -> None:
        """Of those that are asked for."""
        journal.commit([intent("a"), intent("b")], [])
        journal.commit([], [outcome("a", mid="17"), outcome("b", mid="18")])
        assert journal.known_mids(["17", "19"]) == {"17"}

    def test_who_may_have_left_an_email_that_isnt_known(self, journal: Journal) -> None:
        """Settled by hand, either way, and posted more than once; not what has its answer, nor what is in doubt."""
        keys = ("answered", "v1", "as sent", "as pending", "again", "doubt", "refused", "early")
        journal.commit([intent(key, time=50.0 if key == "early" else 100.0) for key in keys], [])
        journal.commit(
            [], [outcome("answered", mid="1"), outcome("v1", message="OK"), outcome("refused", Status.REJECTED)]
        )
        journal.settle(["as sent", "early"], Status.SENT, "settled by hand as sent", 200.0)
        journal.settle(["as pending", "again"], Status.PENDING, "settled by hand as pending", 200.0)
        journal.commit([intent("again", time=110.0)], [])
        journal.commit([], [outcome("again", mid="2")])
        assert sorted(item.key for item in journal.unaccounted(90.0, 120.0)) == ["again", "as pending", "as sent"]


class TestCommit:
    def test_an_intent_is_in_doubt_until_its_outcome(self, journal: Journal) -> None:
        """Whatever the journal says is true already: a crash after the claim needs no repair."""
        journal.commit([intent("a")], [])
        assert entry(journal, "a") == Entry(
            key="a",
            status=Status.IN_DOUBT,
            message="a POST began and no answer has come",
            errors=(),
            mid=None,
            http_status=None,
            attempts=1,
            time=100.0,
            seconds=None,
            digest="d",
            recipients="to d",
        )

    def test_keeps_everything_of_an_outcome(self, journal: Journal) -> None:
        """A verdict comes back as it went in, characters of any script included."""
        journal.commit([intent("ключ|é")], [])
        journal.commit(
            [], [outcome("ключ|é", Status.REJECTED, errors=("'ö' bad", "zwei"), mid="7", http_status=400, seconds=0.25)]
        )
        assert entry(journal, "ключ|é") == Entry(
            key="ключ|é",
            status=Status.REJECTED,
            message="said",
            errors=("'ö' bad", "zwei"),
            mid="7",
            http_status=400,
            attempts=1,
            time=200.0,
            seconds=0.25,
            digest="d",
            recipients="to d",
        )

    def test_outcomes_go_before_intents(self, journal: Journal) -> None:
        """One commit can end a try and begin the next of the same key."""
        journal.commit([intent("a")], [])
        journal.commit([intent("a", time=101.0)], [outcome("a", Status.PENDING)])
        found = entry(journal, "a")
        assert (found.status, found.attempts, found.time) == (Status.IN_DOUBT, 2, 101.0)

    def test_a_new_claim_forgets_the_last_answer(self, journal: Journal) -> None:
        """A row in doubt doesn't show the errors of the try before."""
        journal.commit([intent("a")], [])
        journal.commit([], [outcome("a", Status.REJECTED, errors=("bad",), mid="1", http_status=400, seconds=1.0)])
        journal.commit([intent("a", digest="e")], [])
        found = entry(journal, "a")
        assert (found.errors, found.mid, found.http_status, found.seconds) == ((), None, None, None)
        assert (found.digest, found.recipients) == ("e", "to e")

    @pytest.mark.parametrize("before", [Status.SENT, Status.IN_DOUBT])
    def test_refuses_to_claim_what_may_have_been_accepted(self, journal: Journal, before: Status) -> None:
        """The last line of defence against a second email, and nothing of the commit is kept."""
        journal.commit([intent("a"), intent("b")], [])
        journal.commit([], [outcome("a", before), outcome("b", Status.PENDING)])
        with pytest.raises(JournalError, match="contradicts this run") as caught:
            journal.commit([intent("new"), intent("a")], [outcome("c", Status.INVALID, posted=False)])
        assert_one_line(caught.value, "'a'", "run the same command again")
        assert status(journal, "a") is before
        assert journal.lookup(["new", "c"]) == {}
        assert len(journal.post_times(0.0, 1e9)) == 2

    @pytest.mark.parametrize(
        "before", [Status.PENDING, Status.REJECTED, Status.FAILED, Status.INVALID, Status.SUPPRESSED]
    )
    def test_claims_what_was_surely_not_accepted(self, journal: Journal, before: Status) -> None:
        """Every other row may be tried again."""
        posted = before not in (Status.INVALID, Status.SUPPRESSED)
        if posted:
            journal.commit([intent("a")], [])
        journal.commit([], [outcome("a", before, posted=posted)])
        journal.commit([intent("a")], [])
        assert entry(journal, "a").attempts == 1 + posted

    def test_a_row_in_doubt_is_claimed_where_the_user_says_so(self, journal: Journal) -> None:
        """`resend` opens rows in doubt, never sent ones."""
        journal.commit([intent("a"), intent("b")], [])
        journal.commit([], [outcome("b")])
        journal.commit([intent("a", resend=True)], [])
        assert entry(journal, "a").attempts == 2
        with pytest.raises(JournalError):
            journal.commit([intent("b", resend=True)], [])

    @pytest.mark.parametrize("after", [Status.PENDING, Status.REJECTED, Status.FAILED])
    def test_a_doubt_outlives_a_resend_that_proves_nothing(self, journal: Journal, after: Status) -> None:
        """A verdict on the second POST says nothing of the first: the journal doesn't let a run forget that."""
        journal.commit([intent("a")], [])
        journal.commit([intent("a", resend=True)], [])
        with pytest.raises(JournalError, match="conclude of 'a'"):
            journal.commit([], [outcome("a", after)])
        journal.commit([], [outcome("a", Status.IN_DOUBT)])
        journal.commit([intent("a", resend=True)], [])
        with pytest.raises(JournalError):
            journal.commit([], [outcome("a", after)])
        journal.commit([], [outcome("a", Status.SENT)])
        assert status(journal, "a") is Status.SENT

    def test_a_person_ends_a_doubt(self, journal: Journal) -> None:
        """What was settled as pending is a row like any other."""
        journal.commit([intent("a")], [])
        journal.commit([intent("a", resend=True)], [])
        journal.commit([], [outcome("a", Status.IN_DOUBT)])
        journal.settle(["a"], Status.PENDING, "by hand", 1.0)
        journal.commit([intent("a")], [])
        journal.commit([], [outcome("a", Status.REJECTED)])
        assert status(journal, "a") is Status.REJECTED

    def test_refuses_an_outcome_without_its_intent(self, journal: Journal) -> None:
        """A verdict of a POST that was never announced is a fault, as is a second verdict."""
        with pytest.raises(JournalError, match="conclude of 'a'"):
            journal.commit([], [outcome("a")])
        journal.commit([intent("a")], [])
        journal.commit([], [outcome("a")])
        with pytest.raises(JournalError):
            journal.commit([], [outcome("a", Status.REJECTED)])
        assert status(journal, "a") is Status.SENT

    def test_names_a_few_keys_of_a_contradiction(self, journal: Journal) -> None:
        """A message stays one line, however many rows a commit has."""
        with pytest.raises(JournalError, match=r"conclude of '0', '1', '2' …\)"):
            journal.commit([], [outcome(str(number)) for number in range(9)])

    @pytest.mark.parametrize("before", [Status.SENT, Status.IN_DOUBT])
    def test_a_note_never_hides_what_may_have_been_accepted(self, journal: Journal, before: Status) -> None:
        """A row that is invalid now may have been sent before."""
        journal.commit([intent("a")], [])
        journal.commit([], [outcome("a", before)])
        journal.commit([], [outcome("a", Status.INVALID, posted=False)])
        assert status(journal, "a") is before

    def test_a_note_keeps_the_attempts(self, journal: Journal) -> None:
        """A row that failed and is invalid now was still posted twice."""
        journal.commit([intent("a")], [])
        journal.commit([intent("a")], [outcome("a", Status.PENDING)])
        journal.commit([], [outcome("a", Status.REJECTED, http_status=400, seconds=1.0)])
        journal.commit([], [outcome("a", Status.INVALID, posted=False, errors=("no address",))])
        found = entry(journal, "a")
        assert (found.status, found.attempts, found.errors) == (Status.INVALID, 2, ("no address",))
        assert found.http_status is found.seconds is None

    def test_nothing_to_commit_is_no_commit(self, path: Path) -> None:
        """An idle loop doesn't wear the disk."""
        with open_journal(path, NAME) as opened:
            before = path.with_name(path.name + "-wal").stat().st_size
            opened.commit([], [])
            assert path.with_name(path.name + "-wal").stat().st_size == before

    def test_half_a_character_in_an_answer_does_no_harm(self, journal: Journal) -> None:
        """JSON can smuggle in a lone surrogate, which no file can hold; the verdict must be written all the same."""
        journal.commit([intent("a")], [])
        journal.commit([], [outcome("a", message="x\ud800", errors=("y\udfff",), mid="\ud800")])
        found = entry(journal, "a")
        assert (found.message, found.errors, found.mid) == ("x?", ("y?",), "?")


class TestReading:
    def test_lookup_leaves_out_what_is_unknown(self, journal: Journal) -> None:
        """Also when there is nothing to look up."""
        journal.commit([intent("a")], [])
        assert journal.lookup(["a", "b"]).keys() == {"a"}
        assert journal.lookup(iter(())) == {}

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(keys=st.sets(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1), max_size=20))
    def test_any_key_is_found_again(self, journal: Journal, keys: set[str]) -> None:
        """Keys are told apart to the last character, quotes and letter case included."""
        journal.settle(None, Status.PENDING, "by hand", 1.0)  # those of the example before
        journal.commit([intent(key) for key in keys], [])
        assert journal.lookup(keys).keys() == keys
        assert [item.key for item in journal.entries(Status.IN_DOUBT)] == sorted(keys, key=str.encode)

    def test_entries_come_in_the_order_of_keys_however_many(self, journal: Journal) -> None:
        """More than one page of them, each once, and only those with the status."""
        keys = [f"{number:05}" for number in range(2500)]
        journal.commit([intent(key) for key in reversed(keys)], [])
        journal.commit([], [outcome("00007"), outcome("02499")])
        assert [item.key for item in journal.entries(Status.IN_DOUBT)] == [*keys[:7], *keys[8:2499]]
        assert [item.key for item in journal.entries(Status.SENT)] == ["00007", "02499"]

    def test_entries_may_be_settled_while_they_are_read(self, journal: Journal) -> None:
        """Reconciling walks the rows in doubt and settles them on the way."""
        journal.commit([intent(f"{number:05}") for number in range(2500)], [])
        for number, item in enumerate(journal.entries(Status.IN_DOUBT)):
            if number % 50 == 0:
                journal.settle([item.key], Status.SENT, "found", 1.0)
        assert journal.counts() == {Status.SENT: 50, Status.IN_DOUBT: 2450}

    def test_counts_by_status(self, journal: Journal) -> None:
        """Statuses that don't occur are absent."""
        assert journal.counts() == {}
        journal.commit([intent("a"), intent("b"), intent("c")], [outcome("d", Status.INVALID, posted=False)])
        journal.commit([], [outcome("a"), outcome("b")])
        assert journal.counts() == {Status.SENT: 2, Status.IN_DOUBT: 1, Status.INVALID: 1}

    def test_post_times_are_those_after_a_moment(self, journal: Journal) -> None:
        """Every POST counts, also a key's second; rows without a POST don't."""
        journal.commit([intent("a", time=10.0), intent("b", time=10.0)], [outcome("x", Status.INVALID, posted=False)])
        journal.commit([intent("a", time=11.0)], [outcome("a", Status.PENDING)])
        journal.commit([intent("c", time=12.0)], [])
        assert journal.post_times(0.0, 1e9) == [10.0, 10.0, 11.0, 12.0]
        assert journal.post_times(10.0, 1e9) == [11.0, 12.0]
        assert journal.post_times(12.0, 1e9) == []

    def test_post_times_of_a_clock_that_was_ahead(self, journal: Journal) -> None:
        """They count once, as of the first look; a clock that is behind for a while spoils nothing."""
        journal.commit([intent("a", time=1000.0), intent("b", time=40.0)], [])
        assert journal.post_times(0.0, 50.0) == [40.0, 50.0]
        assert journal.post_times(0.0, 60.0) == [40.0, 50.0]
        assert journal.post_times(45.0, 20.0) == []
        assert journal.post_times(0.0, 999.0) == [20.0, 40.0]
        assert journal.post_times(0.0, 1001.0) == [40.0, 1000.0]

    def test_post_times_ascend_also_after_the_clock_was_put_back(self, journal: Journal) -> None:
        for number, time in enumerate([12.0, 10.0, 11.0]):
            journal.commit([intent(f"{number}", time=time)], [])
        assert journal.post_times(0.0, 1e9) == [10.0, 11.0, 12.0]


class TestSettle:
    def test_settles_only_rows_in_doubt(self, journal: Journal) -> None:
        """A slip of the hand can't unsend what was sent."""
        journal.commit([intent("a"), intent("b")], [])
        journal.commit([], [outcome("b")])
        assert journal.settle(["a", "b", "unknown"], Status.PENDING, "by hand", 300.0) == 1
        found = entry(journal, "a")
        assert (found.status, found.message, found.time, found.attempts) == (Status.PENDING, "by hand", 300.0, 1)
        assert status(journal, "b") is Status.SENT

    def test_what_was_refused_can_only_be_tried_again(self, journal: Journal) -> None:
        """By hand a refused row becomes pending, and nothing else; one that was sent stays sent."""
        journal.commit([intent("a"), intent("b")], [])
        journal.commit([], [outcome("a", Status.REJECTED), outcome("b")])
        assert journal.settle(["a", "b"], Status.SENT, "by hand", 300.0) == 0
        assert journal.settle(["a", "b"], Status.PENDING, "by hand", 300.0) == 1
        assert (status(journal, "a"), status(journal, "b")) == (Status.PENDING, Status.SENT)

    def test_settles_all_of_them(self, journal: Journal) -> None:
        """Without keys every row in doubt is meant; with none of them, none."""
        journal.commit([intent("a"), intent("b"), intent("c")], [])
        journal.commit([], [outcome("c", Status.REJECTED)])
        assert journal.settle([], Status.SENT, "", 1.0) == 0
        assert journal.settle(None, Status.SENT, "seen", 1.0) == 2
        assert journal.counts() == {Status.SENT: 2, Status.REJECTED: 1}


class TestFile:
    def test_is_private_also_while_it_is_open(self, path: Path) -> None:
        """Nobody else may read who gets what; the write-ahead log is no exception, and no other file is left."""
        old = os.umask(0)
        try:
            with open_journal(path, NAME) as journal:
                journal.commit([intent("a")], [])
                names = sorted(item.name for item in path.parent.iterdir())
                assert names == [path.name, f"{path.name}-mark", f"{path.name}-wal"]
                assert {stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()} == {0o600}
        finally:
            os.umask(old)
        assert [item.name for item in path.parent.iterdir()] == [path.name]

    def test_is_written_through_to_the_disk(self, path: Path) -> None:
        """A write-ahead log, synced at each commit."""
        with open_journal(path, NAME) as journal:
            assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
            assert journal._db.execute("PRAGMA locking_mode").fetchone() == ("exclusive",)

    @pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
    def test_every_commit_is_synced(self, path: Path) -> None:
        """Counted at the system call: as many syncs as commits, at least."""
        script = f"""
            from pathlib import Path
            from turbobatch.journal import Intent, open_journal
            journal = open_journal(Path({str(path)!r}), "c")
            for number in range(20):
                journal.commit([Intent(key=str(number), digest="d", time=1.0)], [])
        """
        command = ["strace", "-f", "-e", "trace=fsync,fdatasync", sys.executable, "-c", textwrap.dedent(script)]
        traced = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert traced.stderr.count("sync(") >= 20

    def test_a_new_one_is_entered_in_its_folder_for_good(self, path: Path, synced: list[int]) -> None:
        """The folder is synced too, or a crash of the machine could take the whole file."""
        open_journal(path, NAME).close()
        assert path.parent.stat().st_ino in synced

    def test_is_the_same_when_opened_again(self, path: Path) -> None:
        """What was committed is there, and its name is known."""
        with open_journal(path, NAME) as journal:
            journal.commit([intent("a"), intent("b")], [])
            journal.commit([], [outcome("a")])
        with open_journal(path, NAME) as journal:
            assert journal.counts() == {Status.SENT: 1, Status.IN_DOUBT: 1}
            assert journal.post_times(0.0, 1e9) == [100.0, 100.0]

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_survives_the_end_of_its_process_in_the_middle_of_a_commit(self, path: Path, moment: str) -> None:
        """The commit that was under way is there whole or not at all; those before are there."""
        script = """
            import os, sys
            from pathlib import Path
            from turbobatch.journal import Intent, Outcome, open_journal
            from turbobatch.policy import Status

            path, moment = sys.argv[1:]
            journal = open_journal(Path(path), "receipts")
            journal.commit([Intent(key=f"old {n}", digest="d", time=1.0) for n in range(3)], [])

            class Doomed:
                def __init__(self, database):
                    self.database = database
                def __getattr__(self, name):
                    return getattr(self.database, name)
                def execute(self, sql, *values):
                    if sql == "COMMIT" and moment == "before":
                        os._exit(9)
                    result = self.database.execute(sql, *values)
                    if sql == "COMMIT":
                        os._exit(9)
                    return result

            journal._db = Doomed(journal._db)
            done = Outcome(key="old 0", status=Status.SENT, message="OK", time=2.0, posted=True)
            journal.commit([Intent(key=f"new {n}", digest="d", time=2.0) for n in range(3)], [done])
        """
        ended = run_python(script, path, moment)
        assert ended.returncode == 9, ended.stderr
        with open_journal(path, NAME) as journal:
            kept = {item: (found := journal.lookup([item]).get(item)) and found.status for item in ("old 0", "new 2")}
            if moment == "before":
                assert kept == {"old 0": Status.IN_DOUBT, "new 2": None}
                assert journal.counts() == {Status.IN_DOUBT: 3}
            else:
                assert kept == {"old 0": Status.SENT, "new 2": Status.IN_DOUBT}
                assert journal.counts() == {Status.SENT: 1, Status.IN_DOUBT: 5}

    def test_survives_being_killed_at_any_time(self, path: Path) -> None:
        """A process that commits without end is killed: what it said was durable is."""
        script = """
            import sys
            from pathlib import Path
            from turbobatch.journal import Intent, open_journal

            journal = open_journal(Path(sys.argv[1]), "receipts")
            for number in range(10**9):
                journal.commit([Intent(key=str(number), digest="d", time=1.0)], [])
                print(number, flush=True)
        """
        command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
        for told in (5, 60):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                last = [process.stdout.readline() for _ in range(told)][-1]
                process.kill()
            with open_journal(path, NAME) as journal:
                known = journal.lookup(map(str, range(int(last) + 1)))
                assert len(known) == int(last) + 1
            path.unlink()

    def test_is_shared_within_a_process(self, path: Path) -> None:
        """A running campaign and a look at its results use one connection; the last one closes it."""
        first, second = open_journal(path, NAME), open_journal(path.parent / "." / path.name, NAME)
        assert first is second
        first.commit([intent("a")], [])
        first.close()
        assert status(second, "a") is Status.IN_DOUBT
        second.close()
        with pytest.raises(JournalError):
            second.counts()
        with open_journal(path, NAME) as third:
            assert third is not first

    def test_closed_twice_it_leaves_a_newer_one_alone(self, path: Path) -> None:
        """A late close must not make two connections of one file."""
        stale = open_journal(path, NAME)
        stale.close()
        with open_journal(path, NAME) as fresh:
            stale.close()
            with open_journal(path, NAME) as again:
                assert again is fresh

    def test_may_be_used_from_several_threads(self, path: Path) -> None:
        """The console reads while the engine writes."""
        with open_journal(path, NAME) as journal:

            def write(prefix: str) -> None:
                for number in range(50):
                    journal.commit([intent(f"{prefix}{number}")], [])
                    journal.counts()

            threads = [threading.Thread(target=write, args=(prefix,)) for prefix in "abcd"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert journal.counts() == {Status.IN_DOUBT: 200}

    def test_refuses_a_second_process_in_one_line(self, path: Path) -> None:
        """Two runs of one campaign would send everything twice."""
        script = """
            import sys
            from pathlib import Path
            from turbobatch.errors import JournalError
            from turbobatch.journal import open_journal
            try:
                open_journal(Path(sys.argv[1]), "receipts")
            except JournalError as error:
                print(error)
        """
        with open_journal(path, NAME):
            refused = run_python(script, path)
        assert (
            refused.stdout
            == f"journal {path} is in use by another process: wait until it ends, or stop it with Ctrl-C\n"
        )
        assert refused.stderr == ""
        assert run_python(script, path).stdout == ""

    def test_holds_no_bodies_and_no_credentials(self, path: Path) -> None:
        """Its tables have no place for them."""
        with open_journal(path, NAME) as journal:
            columns = journal._db.execute(
                "SELECT m.name, i.name FROM sqlite_schema m, pragma_table_info(m.name) i WHERE m.type = 'table'"
            ).fetchall()
        assert {name for _, name in columns} == {
            *("id", "name", "key", "status", "message", "errors", "mid", "http_status"),
            *("attempts", "time", "seconds", "digest", "recipients", "doubted", "open", "seen"),
        }


class TestRefusal:
    def test_of_another_campaigns_journal(self, path: Path) -> None:
        """Keys of two campaigns must not meet; the refusal closes what it opened."""
        open_journal(path, NAME).close()
        for _ in range(2):
            with pytest.raises(
                JournalError, match="is the journal of campaign 'receipts', not of 'newsletter'"
            ) as caught:
                open_journal(path, "newsletter")
        assert_one_line(caught.value, "--journal")
        with open_journal(path, NAME) as journal:
            assert journal.users == 1

    def test_of_an_older_version(self, path: Path) -> None:
        """It has other columns: one line, and not the database's own words."""
        open_journal(path, NAME).close()
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("ALTER TABLE send RENAME COLUMN doubted TO other")
            database.execute("PRAGMA user_version = 1")
        for opener in (open_journal, read_journal):
            with pytest.raises(JournalError, match="was written by an older, unreleased turbobatch") as caught:
                opener(path, NAME)
            assert_one_line(caught.value, str(path), "go on with that one")

    def test_of_a_newer_version(self, path: Path) -> None:
        """An older program doesn't guess at what a newer one wrote."""
        open_journal(path, NAME).close()
        with sqlite3.connect(path) as database:
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        database.close()
        with pytest.raises(JournalError, match="newer turbobatch: upgrade") as caught:
            open_journal(path, NAME)
        assert_one_line(caught.value, str(path))

    def test_of_another_programs_database_which_stays_as_it_is(self, path: Path) -> None:
        """A name mistyped costs nothing: not a byte of a foreign file changes."""
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE song (title TEXT)")
        database.close()
        before = path.read_bytes()
        with pytest.raises(JournalError, match="is no journal: name another file"):
            open_journal(path, NAME)
        assert path.read_bytes() == before
        assert [item.name for item in path.parent.iterdir()] == [path.name]

    def test_of_a_file_that_is_no_database(self, path: Path) -> None:
        """A table named as the journal, say; it stays as it is, too."""
        path.write_text("order_id,email\n" * 500)
        with pytest.raises(JournalError, match="damaged or no journal") as caught:
            open_journal(path, NAME)
        assert_one_line(caught.value, str(path), "restore a copy")
        assert path.read_text() == "order_id,email\n" * 500

    @pytest.mark.parametrize("kept", [0, 1, 100, 4096, 4097, -40_000, -1])
    def test_of_a_truncated_journal(self, path: Path, kept: int) -> None:
        """A part of a journal would send the rest again, and an empty file everything."""
        with open_journal(path, NAME) as journal:
            journal.commit([intent(f"key {number}") for number in range(2000)], [])
        whole = path.stat().st_size
        os.truncate(path, kept % whole)
        for opener in (open_journal, read_journal):
            with pytest.raises(JournalError, match="damaged") as caught:
                opener(path, NAME)
            assert_one_line(caught.value, str(path), "restore a copy")
        assert [item.name for item in path.parent.iterdir()] == [path.name]

    @pytest.mark.parametrize(
        "damage",
        [
            "UPDATE send SET status = 'foo'",
            "UPDATE send SET errors = 'nojson'",
            "UPDATE send SET errors = '[1]'",
            "UPDATE send SET errors = 7",
            "UPDATE send SET time = 'abc'",
            "UPDATE send SET time = 1e18",
            "UPDATE send SET attempts = 99999",
            "UPDATE send SET http_status = 'x'",
            "UPDATE send SET message = x'00'",
            "UPDATE send SET seconds = -1.0",
            "UPDATE post SET time = 'x'",
            "UPDATE post SET time = 1e18, seen = 'x'",
        ],
    )
    def test_of_what_makes_no_sense(self, path: Path, damage: str) -> None:
        """SQLite itself refuses most of it to a hand that edits the file; what comes in all the same is one line."""
        with open_journal(path, NAME) as journal:
            journal.commit([intent("a")], [])
        with closing(sqlite3.connect(path)) as database:
            if "[1]" not in damage:
                with pytest.raises(sqlite3.DatabaseError, match=r"CHECK constraint failed|malformed JSON"):
                    database.execute(damage)
            database.execute("PRAGMA ignore_check_constraints = ON")
            with database:
                database.execute(damage)
        with pytest.raises(JournalError, match="damaged") as caught, open_journal(path, NAME) as journal:  # noqa: PT012 - each reads its part
            journal.counts()
            journal.lookup(["a"])
            journal.post_times(0.0, 1e9)
        assert_one_line(caught.value, "restore a copy")

    @pytest.mark.parametrize(
        "damage", ["DELETE FROM campaign", "INSERT INTO campaign (name) VALUES ('x')", "PRAGMA user_version = 0"]
    )
    def test_of_a_journal_that_does_not_say_whose_it_is(self, path: Path, damage: str) -> None:
        """What was sent in it must not become another campaign's."""
        open_journal(path, NAME).close()
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute(damage)
        for opener in (open_journal, read_journal):
            with pytest.raises(JournalError, match="damaged"):
                opener(path, NAME)

    def test_names_the_entry_among_many(self, path: Path) -> None:
        """They are looked at together."""
        with open_journal(path, NAME) as journal:
            journal.commit([intent(f"key {number}") for number in range(300)], [])
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA ignore_check_constraints = ON")
            database.execute("UPDATE send SET attempts = -1 WHERE key = 'key 77'")
        with open_journal(path, NAME) as journal:
            for look in (
                lambda: journal.lookup(f"key {number}" for number in range(300)),
                lambda: list(journal.entries(Status.IN_DOUBT)),
            ):
                with pytest.raises(JournalError, match="what it holds of key 'key 77' makes no sense"):
                    look()

    def test_of_a_damaged_page_when_it_is_read(self, path: Path) -> None:
        """Rubbish in the middle is no "unknown key"."""
        with open_journal(path, NAME) as journal:
            journal.commit([intent(f"key {number:06}") for number in range(2000)], [])
        content = bytearray(path.read_bytes())
        content[8192:-4096] = b"\xff" * len(content[8192:-4096])
        path.write_bytes(content)
        with pytest.raises(JournalError, match="damaged"), open_journal(path, NAME) as journal:
            journal.lookup(f"key {number:06}" for number in range(2000))

    def test_of_a_folder_at_its_path(self, path: Path) -> None:
        """One line, whatever stands there."""
        path.mkdir()
        with pytest.raises(JournalError, match="can't be written") as caught:
            open_journal(path, NAME)
        assert_one_line(caught.value, str(path))

    @pytest.mark.parametrize("name", ["missing/receipts.db", "file/receipts.db"])
    def test_of_a_folder_that_is_none(self, tmp_path: Path, name: str) -> None:
        """The message names the file and what to look at."""
        (tmp_path / "file").write_text("")
        with pytest.raises(JournalError, match="can't be made") as caught:
            open_journal(tmp_path / name, NAME)
        assert_one_line(caught.value, str(tmp_path / name), "check its folder")

    def test_of_a_place_that_can_not_be_written(self) -> None:
        """/proc takes no files, not even from root."""
        if not Path("/proc/self").exists():
            pytest.skip("needs /proc")
        with pytest.raises(JournalError, match="can't be made") as caught:
            open_journal(Path("/proc/receipts.db"), NAME)
        assert_one_line(caught.value, "/proc/receipts.db")

    def test_of_a_file_that_can_only_be_read(self, path: Path) -> None:
        """Without a place to write intents nothing is sent."""
        open_journal(path, NAME).close()
        made_immutable = shutil.which("chattr") and not subprocess.run(["chattr", "+i", path], check=False).returncode
        if not made_immutable:
            path.chmod(0o400)
            if os.access(path, os.W_OK):
                pytest.skip("this user may write everything")
        try:
            with pytest.raises(JournalError, match="can't be written") as caught:
                open_journal(path, NAME)
            assert_one_line(caught.value, str(path), "permissions")
        finally:
            if made_immutable:
                subprocess.run(["chattr", "-i", path], check=True)

    def test_leaves_no_lock_behind(self, path: Path) -> None:
        """A refused file may be put right and opened, in the same process."""
        path.write_text("no database" * 100)
        with pytest.raises(JournalError):
            open_journal(path, NAME)
        path.unlink()
        open_journal(path, NAME).close()


class TestMaking:
    def test_leaves_nothing_but_the_journal(self, path: Path) -> None:
        """It is whole from its first moment: no other file, no empty one."""
        seen: list[int] = []
        link = os.link

        def note(source: str, target: Path) -> None:
            link(source, target)
            seen.append(target.stat().st_size)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "link", note)
            open_journal(path, NAME).close()
        assert seen[0] >= 4096
        assert [item.name for item in path.parent.iterdir()] == [path.name]

    def test_where_there_are_no_links(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """FAT and some network drives have none; there it is made in place."""

        def link(*_: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
        with open_journal(path, NAME) as journal:
            journal.commit([intent("a")], [])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [item.name for item in path.parent.iterdir()] == [path.name]
        with open_journal(path, NAME) as journal:
            assert status(journal, "a") is Status.IN_DOUBT

    def test_by_two_at_once_makes_one(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The slower one takes what the faster has made."""
        link = os.link

        def slow(source: str, target: Path) -> None:
            monkeypatch.setattr(os, "link", link)
            with open_in_another_process(path, 1):
                pass
            link(source, target)

        monkeypatch.setattr(os, "link", slow)
        with open_journal(path, NAME) as journal:
            assert journal.counts() == {Status.IN_DOUBT: 1}

    def test_can_be_found_out_beforehand(self, path: Path) -> None:
        """Whether it could be made shows without making it."""
        with open_journal(path, NAME, make=False) as journal:
            assert journal.counts() == {}
        assert list(path.parent.iterdir()) == []
        with pytest.raises(JournalError, match="can't be made"):
            open_journal(path.parent / "missing" / path.name, NAME, make=False)

    def test_takes_away_what_others_may_do(self, path: Path) -> None:
        """A journal that was copied or restored loosely is private again once it is used."""
        open_journal(path, NAME).close()
        path.chmod(0o664)
        open_journal(path, NAME).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_tells_of_a_mode_that_it_can_not_change(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Another user's file: one line, once."""

        def chmod(*_: object, **__: object) -> None:
            raise PermissionError

        open_journal(path, NAME).close()
        path.chmod(0o644)
        monkeypatch.setattr(Path, "chmod", chmod)
        for _ in range(2):
            open_journal(path, NAME).close()
        (line,) = (record.getMessage() for record in caplog.records)
        assert str(path) in line
        assert "chmod" in line


@contextmanager
def open_in_another_process(path: Path, commits: int, *, then: str = "os._exit(0)") -> Iterator[subprocess.Popen[str]]:
    """Another process opens the journal, commits keys "0", "1", …, and ends like a killed one, or as `then` says."""
    script = f"""
        import os, sys
        from pathlib import Path
        from turbobatch.journal import Intent, open_journal

        journal = open_journal(Path(sys.argv[1]), {NAME!r})
        for number in range({commits}):
            journal.commit([Intent(key=str(number), digest="d", time=1.0)], [])
        print("ready", flush=True)
        {then}
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if "exit" in then:
            process.wait()
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal and what lies beside it after several kills: it takes four processes, so tests get copies."""
    path = tmp_path_factory.mktemp("killed") / "receipts.journal.db"
    with open_in_another_process(path, 3):
        pass
    shutil.copy(f"{path}-wal", f"{path}.old")
    with open_in_another_process(path, 0), open_in_another_process(path, 0):
        pass
    with open_in_another_process(
        path, 0, then="journal.commit([Intent(key='x', digest='d', time=1.0)], [])\n        os._exit(0)"
    ):
        pass
    return path


class TestLostLog:
    """After a kill the newest entries are in the log: where they are lost, nothing is sent."""

    @pytest.fixture
    def killed(self, remains: Path, path: Path) -> Path:
        """All that the kills have left, in a copy of its own."""
        for file in remains.parent.iterdir():
            shutil.copy(file, path.parent)
        return path

    @staticmethod
    def lose(path: Path, how: str) -> None:
        log = Path(f"{path}-wal")
        match how:
            case "gone" | "gone, and the mark too":
                log.unlink()
            case "cut":
                os.truncate(log, 0)
                with sqlite3.connect(path):
                    pass
            case "emptied" | "emptied, and the mark too":
                os.truncate(log, 0)
            case "header alone":
                os.truncate(log, 32)
            case "rubbish":
                log.write_bytes(b"x" * log.stat().st_size)
            case "old":
                shutil.copy(f"{path}.old", log)
        if how.endswith("the mark too"):
            Path(f"{path}-mark").unlink()

    @pytest.mark.parametrize(
        "how",
        ["gone", "gone, and the mark too", "emptied", "emptied, and the mark too", "header alone", "rubbish", "old"],
    )
    def test_is_noticed(self, killed: Path, how: str) -> None:
        """Before anything is written: what is restored then is whole."""
        whole = Path(f"{killed}-wal").read_bytes()
        mark = Path(f"{killed}-mark").read_bytes()
        self.lose(killed, how)
        before = killed.read_bytes()
        for opener in (open_journal, read_journal, open_journal):
            with pytest.raises(JournalError, match="has lost its newest entries") as caught:
                opener(killed, NAME)
            assert_one_line(caught.value, str(killed), "-wal file", "restore that")
        assert killed.read_bytes() == before
        Path(f"{killed}-wal").write_bytes(whole)
        Path(f"{killed}-mark").write_bytes(mark)
        with open_journal(killed, NAME) as journal:
            assert journal.lookup("012x").keys() == {*"012x"}

    def test_is_noticed_wherever_it_is_cut(self, path: Path) -> None:
        """To the byte, from the first frame to the last."""
        with open_in_another_process(path, 6):
            pass
        log = Path(f"{path}-wal")
        whole = log.read_bytes()
        for kept in (len(whole) - 1, len(whole) - 4096, len(whole) * 2 // 3, len(whole) // 2, 5000):
            log.write_bytes(whole[:kept])
            with pytest.raises(JournalError, match="has lost its newest entries"):
                open_journal(path, NAME)
        log.write_bytes(whole)
        with open_journal(path, NAME) as journal:
            assert journal.counts() == {Status.IN_DOUBT: 6}

    def test_is_none_where_sqlite_has_put_it_into_the_main_file(self, killed: Path) -> None:
        """A look with any SQLite tool does that; nothing is lost."""
        with closing(sqlite3.connect(killed)) as database:
            assert database.execute("SELECT count(*) FROM send").fetchone() == (4,)
        assert not Path(f"{killed}-wal").exists()
        with open_journal(killed, NAME) as journal:
            assert journal.counts() == {Status.IN_DOUBT: 4}

    @pytest.mark.parametrize("mark", [None, b"", b"\0" * 21, b"00000000000000000001\n"])
    def test_is_none_for_want_of_a_mark(self, killed: Path, mark: bytes | None) -> None:
        """After a loss of power it may be missing, empty or behind: the log itself was synced."""
        path = Path(f"{killed}-mark")
        path.unlink()
        if mark is not None:
            path.write_bytes(mark)
        with open_journal(killed, NAME) as journal:
            assert journal.counts() == {Status.IN_DOUBT: 4}

    @pytest.mark.parametrize("side", ["-wal", "-mark"])
    def test_without_its_journal_is_no_new_campaign(self, killed: Path, side: str) -> None:
        """What is left of a journal says that there was one."""
        for other in {"", "-wal", "-mark"} - {side}:
            Path(f"{killed}{other}").unlink()
        for opener in (open_journal, read_journal):
            with pytest.raises(JournalError, match="is gone, but") as caught:
                opener(killed, NAME)
            assert_one_line(caught.value, f"{killed.name}{side}", "restore a copy")

    def test_of_a_backup_is_noticed(self, path: Path) -> None:
        """An older copy of the main file beside the newer mark, too."""
        with open_journal(path, NAME) as journal:
            journal.commit([intent("a")], [])
        backup = path.read_bytes()
        with open_in_another_process(path, 2):
            pass
        Path(f"{path}-wal").unlink()
        path.write_bytes(backup)
        with pytest.raises(JournalError, match="has lost its newest entries"):
            open_journal(path, NAME)

    def test_is_none_of_a_complete_backup_once_that_is_said(self, killed: Path) -> None:
        """SQLite's own copy of a killed journal has it all, and no log: the line says how to say so."""
        backup = killed.with_name("backup's copy.db")
        with closing(sqlite3.connect(killed)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        for opener in (read_journal, open_journal):
            with pytest.raises(JournalError, match="if it is a complete backup made by SQLite") as caught:
                opener(backup, NAME)
        program, file, statement = shlex.split(str(caught.value).partition("say so: ")[2])
        assert (program, file) == ("sqlite3", str(backup))
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            database.execute(statement)
        with open_journal(backup, NAME) as journal:
            assert journal.counts() == {Status.IN_DOUBT: 4}


class TestLooking:
    def test_disturbs_nobody(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another process writes on; what is read is whole, newer each time, and leaves no file."""
        then = """
        journal._db.execute("PRAGMA wal_autocheckpoint = 8")
        for number in range(3, 10**9):
            journal.commit([Intent(key=str(number), digest="d", time=1.0)], [])
        """
        copies = tmp_path / "copies"  # other tests copy journals into the usual place
        copies.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(copies))
        last = 0
        with open_in_another_process(path, 3, then=then) as process:
            for _ in range(40):
                with read_journal(path, NAME) as journal:
                    count = journal.counts()[Status.IN_DOUBT]
                    assert journal.lookup(map(str, range(count + 1))).keys() == {str(key) for key in range(count)}
                assert count >= last
                last = count
            assert process.poll() is None
        assert last > 3
        assert list(copies.iterdir()) == []

    def test_keeps_no_lock(self, path: Path) -> None:
        """A run may begin, write and end while somebody looks; what they see stays as it was."""
        with open_in_another_process(path, 2, then="journal.close()\n        sys.stdin.read()"):
            pass
        with read_journal(path, NAME) as journal:
            with open_in_another_process(
                path,
                0,
                then="journal.commit([Intent(key='x', digest='d', time=1.0)], [])\n"
                "        journal.close()\n        os._exit(0)",
            ):
                pass
            assert journal.counts() == {Status.IN_DOUBT: 2}
        with read_journal(path, NAME) as journal:
            assert journal.counts() == {Status.IN_DOUBT: 3}

    def test_writes_nothing(self, path: Path) -> None:
        """Neither the journal nor, by a slip, its copy."""
        with open_in_another_process(path, 2):
            pass
        before = {item.name: item.read_bytes() for item in path.parent.iterdir()}
        with read_journal(path, NAME) as journal, pytest.raises(JournalError, match="can't be written"):
            journal.commit([intent("new")], [])
        assert {item.name: item.read_bytes() for item in path.parent.iterdir()} == before

    def test_shares_what_this_process_has_open(self, path: Path) -> None:
        """The console looks at its own run; and another campaign's name is refused."""
        with open_journal(path, NAME) as journal:
            with read_journal(path, NAME) as same:
                assert same is journal
            with pytest.raises(JournalError, match="not of 'newsletter'"):
                read_journal(path, "newsletter")
            journal.commit([intent("a")], [])
        with pytest.raises(JournalError, match="not of 'newsletter'"):
            read_journal(path, "newsletter")

    def test_without_room_for_a_copy_is_one_line(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The temporary folder is to blame, not the journal."""
        open_journal(path, NAME).close()
        monkeypatch.setattr(tempfile, "tempdir", str(path.parent / "missing"))
        with pytest.raises(JournalError, match="can't be read") as caught:
            read_journal(path, NAME)
        assert_one_line(caught.value, str(path), "TMPDIR")

    def test_where_there_is_none_makes_none(self, path: Path) -> None:
        """Nothing has been sent then."""
        with read_journal(path, NAME) as journal:
            assert journal.counts() == {}
        assert list(path.parent.iterdir()) == []

    def test_tells_whether_it_is_in_use(self, path: Path) -> None:
        """By another process, or another user in this one; one that was killed has let go of it."""
        with read_journal(path, NAME) as journal:
            assert not journal.in_use
        with open_in_another_process(path, 1, then="sys.stdin.read()"), read_journal(path, NAME) as journal:
            assert journal.in_use
        with read_journal(path, NAME) as journal:
            assert not journal.in_use
        with open_journal(path, NAME) as journal:
            assert not journal.in_use
            with read_journal(path, NAME) as same:
                assert same.in_use
            assert not journal.in_use


class TestFullDisk:
    def test_a_mark_that_can_not_follow_is_one_warning(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """What was committed is kept and said to be; the mark is an aid, and follows again when it can."""
        with open_journal(path, NAME) as journal:
            assert journal._mark is not None
            handle = journal._mark._handle
            kept, full = os.dup(handle), os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, handle)
            journal.commit([intent("a")], [])
            journal.commit([intent("b")], [outcome("a")])
            os.dup2(kept, handle)
            journal.commit([intent("c")], [])
            assert int(Path(f"{path}-mark").read_bytes()) == 3
            assert journal.counts() == {Status.IN_DOUBT: 2, Status.SENT: 1}
            for item in (kept, full):
                os.close(item)
        (told,) = caplog.messages
        assert told.startswith(f"warning: {path}-mark can't be written (No space left on device)")

    def test_keeps_nothing_of_the_commit_and_goes_on_once_there_is_room(self, path: Path) -> None:
        """The run stops with one line; what was durable before is untouched."""
        with open_journal(path, NAME) as journal:
            journal.commit([intent("before")], [])
            pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
            journal._db.execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(JournalError, match="can't be written") as caught:
                journal.commit([intent(f"key {number}") for number in range(1000)], [outcome("before")])
            assert_one_line(caught.value, "make room on the disk")
            assert journal.counts() == {Status.IN_DOUBT: 1}
            journal._db.execute("PRAGMA max_page_count = 100000")
            journal.commit([intent("after")], [outcome("before")])
            assert journal.counts() == {Status.SENT: 1, Status.IN_DOUBT: 1}

    def test_on_a_real_small_disk(self, tmp_path: Path) -> None:
        """The same with a file system that is full for real: every commit that was taken can be read again."""
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("may not mount")
        try:
            taken = 0
            with open_journal(disk / "receipts.db", NAME) as journal:
                with pytest.raises(JournalError, match=r"can't be written .* run the same command again"):  # noqa: PT012 - the disk says how many fit
                    for number in range(10_000):
                        journal.commit([intent(f"key {number:030}")], [])
                        taken = number + 1
                assert journal.counts() == {Status.IN_DOUBT: taken}
            with open_journal(disk / "receipts.db", NAME) as journal:
                assert journal.counts() == {Status.IN_DOUBT: taken}
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def test_errors_are_kept_as_json() -> None:
    """What a person finds in the file with any SQLite tool is readable."""
    journal = SqliteJournal()
    journal.commit([intent("a")], [])
    journal.commit([], [outcome("a", Status.REJECTED, errors=("'é' bad",))])
    (text,) = journal._db.execute("SELECT errors FROM send").fetchone()
    assert json.loads(text) == ["'é' bad"]
    assert "é" in text
