"""The journal: what has been tried and what came of it. It alone says what happened.

An intent counts as in doubt from the moment it is committed until its outcome is. So a crash needs no repair:
whatever the journal says is the truth.
"""

from turbobatch.journal.opening import is_there, open_journal, open_pacer, read_journal, warning_of
from turbobatch.journal.place import JournalUrl, Place, journal_place
from turbobatch.journal.protocol import Entry, Intent, Journal, Outcome
from turbobatch.journal.sqlite import SqliteJournal

__all__ = [
    "Entry",
    "Intent",
    "Journal",
    "JournalUrl",
    "Outcome",
    "Place",
    "SqliteJournal",
    "is_there",
    "journal_place",
    "open_journal",
    "open_pacer",
    "read_journal",
    "warning_of",
]
