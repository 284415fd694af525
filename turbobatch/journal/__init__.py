"""The journal: what has been tried and what came of it. It alone says what happened.

An intent counts as in doubt from the moment it is committed until its outcome is. So a crash needs no repair:
whatever the journal says is the truth.
"""

from turbobatch.journal.protocol import Entry, Intent, Journal, Outcome
from turbobatch.journal.sqlite import SqliteJournal, open_journal, read_journal

__all__ = ["Entry", "Intent", "Journal", "Outcome", "SqliteJournal", "open_journal", "read_journal"]
