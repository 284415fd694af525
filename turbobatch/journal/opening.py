"""Opening a journal, whatever it lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from turbobatch.journal import files, sqlite
from turbobatch.journal.place import JournalUrl
from turbobatch.journal.sqlite import SqliteJournal
from turbobatch.rates import Pacer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from turbobatch.journal.place import Place
    from turbobatch.journal.postgres import PostgresReader
    from turbobatch.rates import Limit, Pacing

    OpenJournal = SqliteJournal | PostgresReader


@overload
def open_journal(place: Path, campaign: str, *, make: bool = True) -> SqliteJournal: ...
@overload
def open_journal(place: Place, campaign: str, *, make: bool = True) -> OpenJournal: ...
def open_journal(place: Place, campaign: str, *, make: bool = True) -> OpenJournal:
    """Open the journal of `campaign` to write.

    A file is to oneself: every caller in this process shares it. A database is not. One that isn't there is made, or
    else, without `make`, is taken for empty if it could be made.

    Raises:
        CampaignError: it is in PostgreSQL, and psycopg isn't installed.
        JournalError: it belongs to another campaign, is in use by another process, isn't a journal, is damaged or not
            whole, or can't be read and written.
    """
    if not isinstance(place, JournalUrl):
        return sqlite.open_journal(place, campaign, make=make)
    from turbobatch.journal.postgres import open_postgres

    return open_postgres(place, campaign, make=make) or SqliteJournal()


@overload
def read_journal(place: Path, campaign: str) -> SqliteJournal: ...
@overload
def read_journal(place: Place, campaign: str) -> OpenJournal: ...
def read_journal(place: Place, campaign: str) -> OpenJournal:
    """Look at a journal as it is now, whoever writes it; one that isn't there reads as an empty one, and isn't made.

    Raises:
        CampaignError, JournalError: as `open_journal`, but for being in use.
    """
    if not isinstance(place, JournalUrl):
        return sqlite.read_journal(place, campaign)
    from turbobatch.journal.postgres import read_postgres

    return read_postgres(place, campaign) or SqliteJournal()


def is_there(place: Place, campaign: str) -> bool:
    """Whether there is a journal of `campaign`.

    Raises:
        JournalError: what is there is none, or a part of one, or can't be reached.
    """
    if not isinstance(place, JournalUrl):
        return files.is_there(place)
    from turbobatch.journal.postgres import read_postgres

    if (found := read_postgres(place, campaign)) is None:
        return False
    found.close()
    return True


def warning_of(place: Place) -> str:
    """What speaks against a journal there, if anything, where nothing keeps it from being used.

    Raises:
        CampaignError: it is in PostgreSQL, and psycopg isn't installed.
        JournalError: it can't be reached.
    """
    if not isinstance(place, JournalUrl):
        return ""
    from turbobatch.journal import trust

    return trust.crash_warning(place)


def open_pacer(journal: OpenJournal, limits: Sequence[Limit], *, jitter: float = 0.0) -> Pacing:
    """Open the rate of a run: one that all share who send the campaign, where the journal is in PostgreSQL.

    Args:
        journal: the run's, open to write.
        limits: all of them hold at once; without any, everything is granted.
        jitter: seconds by which a POST may reach the server later than its permit, as for a Pacer.

    Raises:
        CampaignError: another process sends the campaign at another rate.
        JournalError: the database can't be reached or used.
    """
    from turbobatch.journal.postgres import PostgresJournal

    if not isinstance(journal, PostgresJournal):
        return Pacer(limits, jitter=jitter)
    from turbobatch.journal.shared_rate import share_rate

    return share_rate(journal, limits, jitter=jitter)
