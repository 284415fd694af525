"""The journal in PostgreSQL: one database for many campaigns, and for several processes that send one campaign at once.

The promises are SQLite's. An intent is committed (`synchronous_commit` is on, whatever the server's default) before its
POST begins. A claim is a compare-and-set on the row: of two processes that want the same email one gets it, and the
other is told so by what `commit` returns, which is no error.

*Leases.* Who writes is a worker: a row with an epoch, and the time by the server's clock at which its lease ends. Each
commit is one call of a function in the database: it makes sure that the lease goes on, renews it, and takes all that it
is given, or nothing. A thread of its own renews the lease of a run that waits. A process that was stopped, cut off or
asleep for longer can't commit any more: what it had in flight is in doubt, and the run ends. With nothing in flight a
new epoch begins instead, unless others have agreed on another rate meanwhile. A claim carries worker and epoch, and its
outcome is taken only from them; while their lease goes on the row is in flight for everybody else: in doubt, and
neither settled nor sent again. A process that is stopped after its intent was committed, and before its POST begins,
may begin it when it wakes: settle nothing as pending while there is one.

*Trouble.* A session that breaks is made anew, for some seconds. A commit whose answer was lost is asked for by its
number, and never done twice. After that it fails like a full disk: nothing new is posted, and what came back is written
with the next commit that the lease allows.

*Looking* is one snapshot (REPEATABLE READ, READ ONLY). The tables, `turbobatch_…`, are made on first use in the schema
that the search_path names first, under an advisory lock, and carry a version.

TURBOBATCH_LEASE: seconds that a lease goes on, 60 if not set; the same for all processes.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from turbobatch.errors import CampaignError, JournalError
from turbobatch.journal.clock import SECOND, boot_time
from turbobatch.journal.database import (
    LEASE_ENDED,
    check_version,
    connect,
    is_lost,
    lease_ended,
    migrate,
    migrations,
    one_line_errors,
    sql,
    version_of,
)
from turbobatch.journal.entries import bound, entries_of, is_time, status_of
from turbobatch.journal.failures import damaged
from turbobatch.journal.protocol import Intent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from psycopg import Connection

    from turbobatch.journal.place import JournalUrl
    from turbobatch.journal.protocol import Entry, Outcome
    from turbobatch.policy import Status

_LEASE = "TURBOBATCH_LEASE"
_USUAL_LEASE = 60.0  # seconds
_SHORTEST_LEASE = 0.5
_RENEWALS = 4  # in a lease
_PATIENCE = 10.0  # seconds that a commit waits for the server to come back; POSTs in flight wait with it
_PAUSE = 0.1  # seconds between two tries to reach the server
_DEADLOCK = "40P01"


def open_postgres(url: JournalUrl, campaign: str, *, make: bool = True) -> PostgresJournal | None:
    """Open the journal of `campaign` to write; without `make`, None where there is none yet.

    Raises:
        CampaignError: psycopg isn't installed.
        JournalError: the database can't be reached or used.
    """
    lease = lease_seconds()
    with ExitStack() as held:
        connection = held.enter_context(closing(connect(url)))
        with one_line_errors(url):
            # To make the tables only to see whether there is a journal would be a surprise.
            if make or version_of(connection) is not None:
                migrate(connection, url, migrations())
            if (found := _campaign_id(connection, campaign, make=make)) is None:
                return None
        held.pop_all()
    return PostgresJournal(url, found, connection, lease)


def read_postgres(url: JournalUrl, campaign: str) -> PostgresReader | None:
    """Look at the journal of `campaign` as it is now; None where there is none yet.

    Raises:
        CampaignError: psycopg isn't installed.
        JournalError: the database can't be reached or used.
    """
    with ExitStack() as held:
        connection = held.enter_context(closing(connect(url)))
        with one_line_errors(url):
            version = version_of(connection)
            if version is not None and not check_version(version, url, migrations()):
                migrate(connection, url, migrations())
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # a report may take long
            if (found := _campaign_id(connection, campaign, make=False)) is None:
                return None
        held.pop_all()
    return PostgresReader(url, found, connection)


class PostgresReader:
    """What a journal says, by plain queries; `with` closes it."""

    me: int | None = None  # the worker's number; who only looks has none

    def __init__(self, url: JournalUrl, campaign: int, connection: Connection) -> None:
        self.path = url
        self.campaign = campaign
        self._lock = threading.RLock()
        self._connection = connection

    @property
    def mark(self) -> str:
        """What tells this journal from any other one, also of another database that the same URL leads to."""
        return f"{self._rows('select_mark')[0][0]}/{self.campaign}"

    @property
    def in_use(self) -> bool:
        """Whether another process has a lease: a run in progress."""
        return bool(self._rows("others")[0][0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def commit(self, intents: Sequence[Intent], outcomes: Sequence[Outcome]) -> Mapping[str, Entry]:
        """Refuse it: who looks writes nothing."""
        raise JournalError(f"journal {self.path} was opened only to be read ({len(intents)}, {len(outcomes)})")

    def check(self) -> None:
        """Make sure that what is committed will be found again: the server has said so."""

    def lookup(self, keys: Iterable[str]) -> dict[str, Entry]:
        """What is known of these keys; unknown ones are absent."""
        wanted = list(keys)
        rows = self._rows("lookup", keys=wanted) if wanted else []
        return {entry.key: entry for entry in entries_of(rows, self.path)}

    def entries(self, status: Status) -> Iterator[Entry]:
        """Everything with this status, in the order of keys."""
        last = ""
        while rows := self._rows("entries", status=str(status), last=last):
            yield from entries_of(rows, self.path)
            last = rows[-1][0]

    def counts(self) -> dict[Status, int]:
        """Keys by status."""
        return {status_of(text, self.path): count for text, count in self._rows("counts")}

    def post_times(self, since: float, now: float) -> list[float]:
        """When POSTs began, after `since`, ascending; seconds since the epoch. Those that lie ahead are left out."""
        return self._times(since, now)

    def post_spans(self, keys: Iterable[str]) -> dict[str, tuple[float, float]]:
        """When the first and the last POST of each of these keys began; seconds since the epoch, as the clock said."""
        return {key: (first, last) for key, first, last in self._rows("post_spans", keys=list(keys))}

    def unaccounted(self, since: float, until: float) -> list[Entry]:
        """Keys, not in doubt, of which a POST begun in this time may have left an email whose message id isn't known.

        Those that were settled by hand, or posted more than once, and what is in flight in another process.
        """
        return entries_of(self._rows("unaccounted", since=since, until=until), self.path)

    def known_mids(self, mids: Iterable[str]) -> set[str]:
        """Those of these message ids that an email in the journal has."""
        return {mid for (mid,) in self._rows("known_mids", mids=list(mids))}

    def settle(self, keys: Iterable[str] | None, status: Status, message: str, time: float) -> int:
        """Refuse it, as `commit`."""
        raise JournalError(f"journal {self.path} was opened only to be read ({keys}, {status}, {message}, {time})")

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            self._connection.close()

    def _times(self, since: float, now: float) -> list[float]:
        found = [at for (at,) in self._rows("post_times", since=since, now=now)]
        if not all(map(is_time, found)):
            raise damaged(self.path, "a POST's time is none")
        return found

    def _rows(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        """A statement's rows; it may ask for the campaign and for `me`."""
        with self._lock, one_line_errors(self.path):
            return self._session().execute(sql(name), self._values(**values)).fetchall()

    def _values(self, **values: Any) -> dict[str, Any]:
        return {"campaign": self.campaign, "me": self.me, **values}

    def _session(self) -> Connection:
        return self._connection


class PostgresJournal(PostgresReader):
    """A Journal in PostgreSQL, for one process; a worker with a lease of so many seconds from its first commit on."""

    def __init__(self, url: JournalUrl, campaign: int, connection: Connection, lease: float) -> None:
        super().__init__(url, campaign, connection)
        self.lease = lease
        self._epoch = 1
        self._number = 0  # of the last commit
        self._claimed: set[str] = set()  # whose answers aren't committed
        self._lost = False
        self._alive_at = 0  # by boot_time: when the lease that goes on was asked for
        self._down_since: int | None = None  # by boot_time
        self._ending = threading.Event()
        self._renewing: threading.Thread | None = None

    def commit(self, intents: Sequence[Intent], outcomes: Sequence[Outcome]) -> Mapping[str, Entry]:
        """Make all of them durable in one transaction, outcomes first; tells what others have claimed before."""
        if not intents and not outcomes:
            return {}
        posted = [bound(item) for item in outcomes if item.posted]
        # Of two notes on one key the last one counts; one statement can't write a row twice.
        notes = {item.key: bound(item) for item in outcomes if not item.posted}
        claims = [{name: getattr(item, name) for name in Intent.__slots__} for item in intents]
        with self._lock:
            began = boot_time()
            with self._leased():
                self._number += 1
                found = self._in_session(
                    "commit",
                    number=self._number,
                    intents=_json(claims),
                    outcomes=_json(posted),
                    notes=_json(list(notes.values())),
                )
            self._alive_at = began
            self._claimed.difference_update(item["key"] for item in posted)
            taken = [key for (key,) in found]
            self._claimed.update({item.key for item in intents}.difference(taken))
            if intents:
                self.check()  # asleep since it was asked for, maybe
        return self.lookup(taken) if taken else {}

    def join(self, rate: Mapping[str, Any]) -> str | None:
        """Send at this rate (`turbobatch_set_rate`'s values); the other rate at which others send, if they do."""
        with self._lock, self._leased():
            row = self._session().execute(sql("set_rate"), self._values(**rate)).fetchone()
        return None if row is None else row[0]

    def check(self) -> None:
        """Make sure that what is committed will be found again: the server has said so, while the lease went on.

        Raises:
            JournalError: it has ended with POSTs in flight, or claims: others may have settled them.
        """
        if self._lost or (self._claimed and boot_time() - self._alive_at > self.lease * SECOND):
            self._lose()

    def post_times(self, since: float, now: float) -> list[float]:
        """When POSTs began, after `since`, ascending; seconds since the epoch.

        A POST of a clock that was ahead lies in the future. It counts as made when it was first found there.
        """
        with self._lock:
            with one_line_errors(self.path):
                self._session().execute(sql("see_future"), self._values(now=now))
            return self._times(since, now)

    def settle(self, keys: Iterable[str] | None, status: Status, message: str, time: float) -> int:
        """Settle rows in doubt by hand (all of them if `keys` is None); tells how many there were."""
        values = self._values(keys=None if keys is None else list(keys), status=str(status), message=message, time=time)
        with self._lock, one_line_errors(self.path), self._session().transaction():
            # Locked before they are judged: a statement sees no claimer that came after its beginning.
            self._connection.execute(sql("lock_doubts"), values)
            return self._connection.execute(sql("settle"), values).rowcount

    def close(self) -> None:
        """Give the lease back: what is in doubt can be settled at once."""
        self._ending.set()
        if self._renewing is not None:
            self._renewing.join()
        with self._lock:
            if self.me is not None and not is_lost(self._connection):
                with suppress(Exception):  # the lease ends by itself
                    self._connection.execute(sql("delete_worker"), {"me": self.me})
            self._connection.close()

    # The lease

    @contextmanager
    def _leased(self) -> Iterator[None]:
        """Become a worker if there is need to; note that the lease was lost where it was."""
        if self._lost:
            self._lose()
        with one_line_errors(self.path):
            if self.me is None:
                self._begin()
            try:
                yield
            except Exception as error:
                self._lost = self._lost or getattr(error, "sqlstate", None) == LEASE_ENDED
                raise

    def _begin(self) -> None:
        connection = self._session()
        connection.execute(sql("forget_workers"), self._values())
        values = self._values(lease=self.lease, host=platform.node(), process=os.getpid())
        for (number,) in connection.execute(sql("insert_worker"), values):
            self.me = int(number)
        self._renewing = threading.Thread(target=self._renew_on, name="turbobatch-lease", daemon=True)
        self._renewing.start()

    def _renew_on(self) -> None:
        """Renew the lease while nobody commits: a run may wait for hours."""
        while not self._ending.wait(self.lease / _RENEWALS):
            with self._lock:
                if self._lost or self._ending.is_set():
                    return
                with suppress(Exception):  # there is a next time, and a commit tells what is wrong
                    self._renew(self._session())

    def _renew(self, connection: Connection) -> None:
        """Renew the lease; one that has ended is lost if anything is in flight, else a new epoch begins."""
        values = self._values(epoch=self._epoch, lease=self.lease)
        asked = boot_time()
        if connection.execute(sql("renew"), values).rowcount:
            self._alive_at = asked
            return
        if self._claimed:
            self._lost = True
            return
        row = connection.execute(sql("begin_epoch"), values).fetchone()
        if row is None:
            self._lost = True  # a day ago
        else:
            self._epoch, self._alive_at = row[0], asked

    def _lose(self) -> None:
        self._lost = True
        raise lease_ended(self.path)

    # The session

    def _in_session(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        """A commit's rows; asked for again where the session breaks, until patience ends."""
        from psycopg import Error

        while True:
            epoch = self._epoch
            try:
                given = self._values(epoch=epoch, lease=self.lease, **values)
                found = self._session().execute(sql(name), given).fetchall()
            except (Error, JournalError) as error:
                code = getattr(error, "sqlstate", None)
                if code == LEASE_ENDED:
                    self._renew(self._session())
                    if self._epoch == epoch:
                        raise
                elif is_lost(self._connection):
                    if self._is_patience_over():
                        raise
                    time.sleep(_PAUSE)
                elif code != _DEADLOCK:
                    raise
            else:
                self._down_since = None
                return found

    def _is_patience_over(self) -> bool:
        now = boot_time()
        if self._down_since is None:
            self._down_since = now
        return now - self._down_since > min(_PATIENCE, self.lease / 2) * SECOND

    def _session(self) -> Connection:
        """The session, or a new one where it has broken."""
        if is_lost(self._connection):
            if self._ending.is_set():
                raise JournalError(f"journal {self.path} is closed")
            self._connection.close()
            self._connection = connect(self.path)
        return self._connection


def lease_seconds() -> float:
    """How long a lease goes on without a sign of life.

    Raises:
        CampaignError: TURBOBATCH_LEASE is no such number.
    """
    text = os.environ.get(_LEASE, "")
    try:
        seconds = float(text or _USUAL_LEASE)
    except ValueError:
        seconds = 0.0
    if not _SHORTEST_LEASE <= seconds <= 86_400:  # noqa: PLR2004 - a day
        raise CampaignError(f"{_LEASE} is {text!r}: give a number of seconds, {_SHORTEST_LEASE} at least")
    return seconds


def _campaign_id(connection: Connection, name: str, *, make: bool) -> int | None:
    if not make and version_of(connection) is None:
        return None
    if make:
        connection.execute(sql("insert_campaign"), {"name": name})
    row = connection.execute(sql("select_campaign"), {"name": name}).fetchone()
    return None if row is None else int(row[0])


def _json(items: Sequence[Mapping[str, Any]]) -> str | None:
    return json.dumps(items, ensure_ascii=False) if items else None
