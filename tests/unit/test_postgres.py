"""What only a journal in PostgreSQL does: several processes at once, leases, broken sessions, versions of tables."""

from __future__ import annotations

import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from turbobatch.errors import CampaignError, JournalError
from turbobatch.journal import Intent, JournalUrl, Outcome, is_there, journal_place, open_journal, read_journal
from turbobatch.journal.database import connect, migrate, migrations, version_of
from turbobatch.journal.postgres import PostgresJournal
from turbobatch.policy import Status
from turbobatch.settlement import doubts_to_settle, settle_by_hand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "receipts"
PASSWORD = "pa55Wx9Jd%2F"


def intent(key: str, *, resend: bool = False, time: float = 100.0) -> Intent:
    return Intent(key=key, digest="d", time=time, resend=resend)


def outcome(key: str, status: Status = Status.SENT) -> Outcome:
    return Outcome(key=key, status=status, message="said", time=200.0, posted=True)


def ask(url: JournalUrl, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement as somebody else."""
    with psycopg.connect(url.conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def end_leases(url: JournalUrl) -> None:
    """As if their processes had been stopped for long."""
    ask(url, "UPDATE turbobatch_worker SET expires = clock_timestamp() - interval '1 second'")


class TestSharing:
    def test_of_two_that_want_an_email_one_gets_it(self, opened: Callable[[], PostgresJournal]) -> None:
        """The other is told what became of it, and has what nobody else wanted."""
        first, second = opened(), opened()
        assert first.commit([intent("a"), intent("b")], []) == {}
        first.commit([], [outcome("a")])
        taken = second.commit([intent("a"), intent("b"), intent("c")], [])
        assert {key: (entry.status, entry.in_flight) for key, entry in taken.items()} == {
            "a": (Status.SENT, False),
            "b": (Status.IN_DOUBT, True),
        }
        assert second.commit([], [outcome("c")]) == {}
        assert first.counts() == {Status.SENT: 2, Status.IN_DOUBT: 1}
        assert first.post_times(0.0, 1e9) == [100.0] * 3

    @pytest.mark.parametrize("resend", [False, True])
    def test_of_many_at_once_each_email_has_one(self, opened: Callable[[], PostgresJournal], *, resend: bool) -> None:
        """Whatever the order in which they ask; also of those that a killed process has left in doubt."""
        journals = [opened() for _ in range(4)]
        keys = [f"{number:03}" for number in range(60)]
        if resend:
            gone = opened()
            gone.commit([intent(key) for key in keys], [])
            gone.close()
        got: list[set[str]] = [set() for _ in journals]

        def work(number: int) -> None:
            mine = keys[number * 15 :] + keys[: number * 15]
            for batch in (mine[at : at + 6] for at in range(0, 60, 6)):
                taken = journals[number].commit([intent(key, resend=resend) for key in reversed(batch)], [])
                got[number] |= set(batch) - taken.keys()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(key for some in got for key in some) == keys

    def test_a_doubt_is_sent_again_by_one_alone(
        self, opened: Callable[[], PostgresJournal], url: JournalUrl, until: Callable[[Callable[[], Any]], None]
    ) -> None:
        """Also where the other came, and claimed it, after this one had begun to ask."""
        gone, slow = opened(), opened()
        gone.commit([intent("a")], [])
        gone.close()
        slow.commit([intent("b")], [])
        taken: list[str] = []
        asking = threading.Thread(target=lambda: taken.extend(slow.commit([intent("a", resend=True)], [])))
        with psycopg.connect(url.conninfo) as other:
            other.execute("SELECT FROM turbobatch_send WHERE key = 'a' FOR UPDATE")
            asking.start()
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = %s"
            until(lambda: ask(url, waits, slow._connection.info.backend_pid) == [(1,)])
            other.execute(
                "WITH w AS (INSERT INTO turbobatch_worker (campaign, expires, host, process) "
                "SELECT campaign, now() + interval '1 minute', 'elsewhere', 1 FROM turbobatch_send WHERE key = 'a' "
                "RETURNING id) UPDATE turbobatch_send SET worker = w.id, epoch = 1 FROM w WHERE key = 'a'"
            )
        asking.join()
        assert taken == ["a"]

    def test_what_is_in_flight_elsewhere_is_not_settled(self, opened: Callable[[], PostgresJournal]) -> None:
        """Neither by hand nor by sending it again, until who waits for the answer has gone."""
        first, second = opened(), opened()
        first.commit([intent("a")], [])
        entry = second.lookup(["a"])["a"]
        assert (entry.status, entry.message, entry.in_flight) == (
            Status.IN_DOUBT,
            "in flight in another process",
            True,
        )
        assert [item.in_use for item in (first, second)] == [False, True]
        assert doubts_to_settle(second, Status.PENDING, None) == []
        assert settle_by_hand(second, Status.PENDING, None) == 0
        with pytest.raises(CampaignError, match="key 'a' is in flight in another process"):
            settle_by_hand(second, Status.SENT, ["a"])
        assert second.commit([intent("a", resend=True)], []).keys() == {"a"}
        first.close()
        assert not second.in_use
        assert doubts_to_settle(second, Status.PENDING, None) == ["a"]
        assert second.commit([intent("a", resend=True)], []) == {}

    def test_an_answer_that_proved_nothing_can_be_settled_at_once(self, opened: Callable[[], PostgresJournal]) -> None:
        """Nobody waits for it any more, though its process goes on."""
        first, second = opened(), opened()
        first.commit([intent("a")], [])
        first.commit([], [outcome("a", Status.IN_DOUBT)])
        assert not second.lookup(["a"])["a"].in_flight
        assert settle_by_hand(second, Status.SENT, ["a"]) == 1

    def test_an_outcome_is_taken_only_from_who_claimed(
        self, opened: Callable[[], PostgresJournal], url: JournalUrl
    ) -> None:
        """What a process that has gone left in doubt may be found in the analytics by another."""
        first, second = opened(), opened()
        first.commit([intent("a")], [])
        with pytest.raises(JournalError, match=r"contradicts this run \(conclude of 'a'\)"):
            second.commit([], [outcome("a")])
        end_leases(url)
        second.commit([], [outcome("a")])
        assert second.counts() == {Status.SENT: 1}

    def test_campaigns_do_not_meet(self, opened: Callable[[], PostgresJournal], url: JournalUrl) -> None:
        """One database may hold many, with the same keys."""
        opened().commit([intent("a")], [])
        with open_journal(url, "newsletter") as other:
            assert other.counts() == {}
            assert other.post_times(0.0, 1e9) == []
            assert other.commit([intent("a")], []) == {}
            assert other.lookup(["a"])["a"].attempts == 1

    def test_posts_of_others_count_for_the_quota(self, opened: Callable[[], PostgresJournal]) -> None:
        """A day's quota is the campaign's, whichever process used it."""
        first = opened()
        first.commit([intent("a", time=10.0)], [])
        first.close()
        second = opened()
        second.commit([intent("b", time=11.0)], [])
        assert opened().post_times(0.0, 1e9) == [10.0, 11.0]


class TestLease:
    def test_who_has_lost_it_commits_nothing(self, opened: Callable[[], PostgresJournal], url: JournalUrl) -> None:
        """Neither an outcome nor another intent, not even after the row was settled; the line says what to do."""
        first, second = opened(), opened()
        first.commit([intent("a")], [])
        end_leases(url)
        assert settle_by_hand(second, Status.PENDING, ["a"]) == 1
        for intents, outcomes in (([], [outcome("a")]), ([intent("b")], []), ([intent("b")], [outcome("a")])):
            with pytest.raises(JournalError, match=r"the lease on journal .* was lost") as caught:
                first.commit(intents, outcomes)
            assert "\n" not in str(caught.value)
            assert "run the same command again" in str(caught.value)
        with pytest.raises(JournalError, match="was lost"):
            first.check()
        assert second.counts() == {Status.PENDING: 1}

    def test_with_nothing_in_flight_a_new_epoch_begins(
        self, opened: Callable[[], PostgresJournal], url: JournalUrl
    ) -> None:
        """A machine that slept while the run waited for its window goes on."""
        journal = opened()
        journal.commit([intent("a")], [])
        journal.commit([], [outcome("a")])
        end_leases(url)
        assert journal.commit([intent("b")], []) == {}
        journal.commit([], [outcome("b")])
        assert journal.counts() == {Status.SENT: 2}
        assert ask(url, "SELECT epoch FROM turbobatch_worker") == [(2,)]

    def test_it_is_renewed_while_nobody_commits(
        self,
        opened: Callable[[], PostgresJournal],
        url: JournalUrl,
        until: Callable[[Callable[[], Any]], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """An answer may take longer than the lease."""
        monkeypatch.setenv("TURBOBATCH_LEASE", "2")
        journal = opened()
        journal.commit([intent("a")], [])
        ((before,),) = ask(url, "SELECT expires + interval '2 seconds' FROM turbobatch_worker")
        until(lambda: ask(url, "SELECT expires > %s FROM turbobatch_worker", before) == [(True,)])
        journal.commit([], [outcome("a")])
        assert journal.counts() == {Status.SENT: 1}

    @pytest.mark.parametrize("text", ["x", "0", "-1", "nan", "1e9"])
    def test_its_length_must_be_one(self, text: str, url: JournalUrl, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TURBOBATCH_LEASE", text)
        with pytest.raises(CampaignError, match=r"TURBOBATCH_LEASE is '.*': give a number of seconds"):
            open_journal(url, NAME)


class TestSession:
    def test_a_broken_one_is_made_anew(self, opened: Callable[[], PostgresJournal], url: JournalUrl) -> None:
        """A restart of the server costs a run nothing."""
        journal = opened()
        journal.commit([intent("a")], [])
        ask(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s",
            journal._connection.info.backend_pid)  # fmt: skip
        assert journal.commit([intent("b")], [outcome("a")]) == {}
        assert journal.counts() == {Status.SENT: 1, Status.IN_DOUBT: 1}

    def test_a_commit_is_done_once_however_often_it_is_asked_for(
        self, opened: Callable[[], PostgresJournal], url: JournalUrl
    ) -> None:
        """Its answer may have been lost on the way: the number tells."""
        first, second = opened(), opened()
        second.commit([intent("taken")], [])
        first.commit([intent("a"), intent("taken")], [])
        first._number -= 1
        assert first.commit([intent("a"), intent("taken")], []).keys() == {"taken"}
        assert first.lookup(["a"])["a"].attempts == 1
        assert ask(url, "SELECT count(*) FROM turbobatch_post") == [(2,)]

    def test_an_outcome_may_come_again_after_a_lost_answer(self, opened: Callable[[], PostgresJournal]) -> None:
        """With the next commit, beside others; a different one is a contradiction."""
        journal = opened()
        journal.commit([intent("a"), intent("b")], [])
        journal.commit([], [outcome("a")])
        journal.commit([], [outcome("a"), outcome("b")])
        assert journal.counts() == {Status.SENT: 2}
        with pytest.raises(JournalError, match="contradicts"):
            journal.commit([], [outcome("a", Status.REJECTED)])

    def test_commits_are_durable_whatever_the_default(self, url: JournalUrl) -> None:
        """An intent that a crash of the server could take would be sent twice."""
        lax = journal_place(url.conninfo.replace("options=", "options=-csynchronous_commit%3Doff%20"))
        with open_journal(lax, NAME) as journal:
            assert isinstance(journal, PostgresJournal)
            assert journal._connection.execute("SHOW synchronous_commit").fetchone() == ("on",)

    def test_one_that_can_not_be_made_is_one_line_without_the_password(self, tmp_path: Path) -> None:
        """In no text, repr or traceback."""
        place = journal_place(f"postgresql://ana:{PASSWORD}@/db?host={tmp_path}&sslpassword={PASSWORD}")
        with pytest.raises(JournalError, match="can't be reached") as caught:
            open_journal(place, NAME)
        assert "\n" not in str(caught.value)
        said = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__context__) + repr(place)
        assert "pa55Wx9Jd" not in said + str(place) + str(caught.value)
        assert "ana@" in str(place)

    def test_a_key_that_it_can_not_hold_is_one_line(self, opened: Callable[[], PostgresJournal]) -> None:
        """PostgreSQL knows no NUL; nothing of the commit is kept."""
        journal = opened()
        with pytest.raises(JournalError, match="can't hold this") as caught:
            journal.commit([intent("a\0b"), intent("c")], [])
        assert "\n" not in str(caught.value)
        with pytest.raises(JournalError, match="can't hold this"):
            journal.lookup(["a\0b"])
        assert journal.counts() == {}

    def test_without_psycopg_it_says_what_to_install(self, url: JournalUrl, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(CampaignError, match=r'pip install "turbobatch-mail\[cluster\]"'):
            open_journal(url, NAME)


class TestUrl:
    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ("postgresql://ana:secret@db.example:5433/mail", "postgresql://ana@db.example:5433/mail"),
            ("postgres://ana@db.example/mail", "postgres://ana@db.example/mail"),
            ("postgresql:///mail?host=/tmp&password=secret&user=a", "postgresql:///mail?host=/tmp&user=a"),
            ("postgresql://h/d?pass%77ord=secret&sslPassword=secret", "postgresql://h/d"),
            ("postgresql://:secret@h1:1,h2:2/d", "postgresql://@h1:1,h2:2/d"),
        ],
    )
    def test_shows_no_password(self, given: str, shown: str) -> None:
        """As text and as an object; with another password it is the same journal."""
        place = journal_place(given)
        assert str(place) == shown
        assert "secret" not in repr(place)
        assert isinstance(place, JournalUrl)
        assert place.conninfo == given
        assert place == journal_place(given.replace("secret", "other"))
        assert journal_place(place) is place

    @pytest.mark.parametrize(
        "given",
        [
            "postgresql:secret",
            "postgresql://ana:se@cret@h/d",
            "postgresql://ana:se/cret@h/d",
            "postgresql://ana:se?cret@h/d",
            "postgresql://ana:se#cret@h/d",
            "postgresql://ana:secret@[h/d",
        ],
    )
    def test_that_is_none_is_refused_without_repeating_it(self, given: str) -> None:
        """A password with special characters in it would be taken for something else, and shown."""
        with pytest.raises(CampaignError, match="the journal's URL can't be read") as caught:
            journal_place(given)
        assert "cret" not in "".join(traceback.format_exception(caught.value)).replace('":secret', "")

    def test_anything_else_is_a_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert journal_place("letters.db") == tmp_path / "letters.db"


class TestTables:
    def test_are_made_on_first_use_and_not_by_looking(self, url: JournalUrl) -> None:
        with read_journal(url, NAME) as journal, open_journal(url, NAME, make=False) as other:
            assert journal.counts() == other.counts() == {}
        assert not is_there(url, NAME)
        assert ask(url, "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()") == [(0,)]
        open_journal(url, NAME).close()
        assert is_there(url, NAME)
        assert not is_there(url, "newsletter")

    def test_are_made_once_by_many_at_once(self, url: JournalUrl) -> None:
        failed: list[Exception] = []

        def work() -> None:
            try:
                open_journal(url, NAME).close()
            except JournalError as error:
                failed.append(error)

        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert ask(url, "SELECT count(*) FROM turbobatch_schema") == [(max(migrations()),)]

    def test_of_an_older_version_are_brought_up(self, opened: Callable[[], PostgresJournal], url: JournalUrl) -> None:
        """Step by step, with what they hold; by two at once too."""
        opened().commit([intent("a")], [])
        newest = max(migrations())
        steps = {
            **migrations(),
            newest + 1: "CREATE TABLE more (x int); INSERT INTO more VALUES (1)",
            newest + 2: "INSERT INTO more VALUES (2)",
        }
        connections = [connect(url), connect(url)]
        threads = [threading.Thread(target=migrate, args=(item, url, steps)) for item in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [version_of(item) for item in connections] == [newest + 2] * 2
        for item in connections:
            item.close()
        assert ask(url, "SELECT x FROM more ORDER BY x") == [(1,), (2,)]
        assert ask(url, "SELECT key FROM turbobatch_send") == [("a",)]

    def test_of_a_newer_version_are_refused(self, opened: Callable[[], PostgresJournal], url: JournalUrl) -> None:
        """An older program doesn't guess at what a newer one wrote."""
        opened()
        ask(url, "INSERT INTO turbobatch_schema VALUES (99)")
        for opener in (open_journal, read_journal):
            with pytest.raises(JournalError, match="newer turbobatch: upgrade"):
                opener(url, NAME)

    def test_without_a_schema_to_make_them_in_is_one_line(self, url: JournalUrl) -> None:
        nowhere = journal_place(url.conninfo.replace("search_path%3D", "search_path%3Dno"))
        with pytest.raises(JournalError, match="search_path") as caught:
            open_journal(nowhere, NAME)
        assert "\n" not in str(caught.value)


class TestLooking:
    def test_is_one_moment(self, opened: Callable[[], PostgresJournal], url: JournalUrl) -> None:
        """A run goes on beside it, and is told of."""
        journal = opened()
        journal.commit([intent("a")], [])
        with read_journal(url, NAME) as looking:
            assert looking.counts() == {Status.IN_DOUBT: 1}
            journal.commit([intent("b")], [outcome("a")])
            assert looking.counts() == {Status.IN_DOUBT: 1}
            assert looking.in_use
        with read_journal(url, NAME) as looking:
            assert looking.counts() == {Status.IN_DOUBT: 1, Status.SENT: 1}

    def test_writes_nothing(self, opened: Callable[[], PostgresJournal], url: JournalUrl) -> None:
        opened()
        with read_journal(url, NAME) as looking:
            with pytest.raises(JournalError, match="only to be read"):
                looking.commit([intent("a")], [])
            with pytest.raises(JournalError, match="only to be read"):
                looking.settle(None, Status.SENT, "", 1.0)
