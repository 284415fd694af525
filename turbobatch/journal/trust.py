"""What tells whether a journal in PostgreSQL is the one that is meant, and is kept as a journal must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbobatch.journal.database import connect, forgetful, one_line_errors
from turbobatch.journal.failures import damaged
from turbobatch.journal.postgres import open_postgres

if TYPE_CHECKING:
    from turbobatch.journal.place import JournalUrl


def mark_of(url: JournalUrl, campaign: str) -> str:
    """What tells this journal of `campaign` from any other; it is made if it isn't there.

    Raises:
        CampaignError, JournalError: as `open_postgres`.
    """
    found = open_postgres(url, campaign)
    if found is None:
        raise damaged(url, "it was made, and isn't there")
    with found:
        return found.mark


def crash_warning(url: JournalUrl) -> str:
    """What keeps a journal there from being trusted after a crash of its server; empty if nothing does.

    Raises:
        CampaignError: psycopg isn't installed.
        JournalError: the database can't be reached.
    """
    with one_line_errors(url), connect(url) as connection:
        found = " and ".join(forgetful(connection))
    if not found:
        return ""
    return f"journal {url}: {found} off: after a crash of its server emails may go out twice; turn it on"
