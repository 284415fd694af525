"""What a campaign is made of: its table, its message, how it may leave, and the journal that makes it the same one."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from turbobatch.corrections import checked_corrections
from turbobatch.errors import CampaignError
from turbobatch.journal import JournalUrl, journal_place, open_journal, read_journal
from turbobatch.policy import Policy
from turbobatch.progress import log_event
from turbobatch.rates import Window, parse_rate
from turbobatch.recipients import open_table
from turbobatch.recipients.audited import is_audit, read_audit
from turbobatch.settings import checked_concurrency, is_one_of, load_settings, mail_merge, name_fault, names, shown
from turbobatch.suppression import check_client, suppression_lists
from turbobatch.units import Layout, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import dask.dataframe as dd
    import pandas as pd

    from turbobatch.client import TurboClient
    from turbobatch.events import RunEvent
    from turbobatch.journal import Place
    from turbobatch.journal.opening import OpenJournal
    from turbobatch.merge import MailMerge
    from turbobatch.recipients import Table
    from turbobatch.recipients.version import Version
    from turbobatch.suppression import Listed

    Recipients = pd.DataFrame | dd.DataFrame | Table | str | Path


class Definition:
    """What `Campaign` is made of; its docstring tells what each argument means."""

    def __init__(
        self,
        *,
        name: str,
        message: MailMerge,
        recipients: Recipients | None = None,
        key: str | Sequence[str] | None = None,
        group_by: str | Sequence[str] | None = None,
        rate: str | None = None,
        concurrency: int = 16,
        window: str | None = None,
        suppress: Listed | Sequence[Listed] | None = None,
        api: str | None = None,
        journal: str | Place | None = None,
        policy: Policy | None = None,
    ) -> None:
        if fault := name_fault(name):
            raise CampaignError(f"name {name!r} {fault}")
        self.name = name
        self.message = message
        self.api = api
        self.concurrency = checked_concurrency(concurrency)
        self.policy = policy or Policy()
        self.limits = parse_rate(rate)
        self.window = Window.parse(window) if window is not None else None
        # Absolute, all of them: a change of the working directory must not make another campaign of it.
        self.journal_place = journal_place(journal if journal is not None else f"{name}.journal.db")
        self.emit: Callable[[RunEvent], None] = log_event  # hears what happens in a run
        self._recipients = absolute(recipients)
        self._read_options: dict[str, Any] = {}
        self._own = self._recipients  # the table that was sent, where `_recipients` is an audit of it
        self._own_options: dict[str, Any] = {}
        self._file: Path | None = None
        self.sent_version: Version | None = None  # of the table's file, as the last run read it
        self._key = names(key)
        self._group_by = names(group_by)
        self._suppress = suppression_lists(suppress)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        recipients: Recipients | None = None,
        rate: str | None = None,
        concurrency: int | None = None,
        journal: str | Place | None = None,
    ) -> Self:
        """Load a campaign.toml; what else is given here goes before what it says.

        Args:
            path: the file, or the folder that it lies in.
            recipients: another table, as Campaign takes it; what the file says of how to read its own doesn't count.
            rate: another rate.
            concurrency: another number of POSTs in flight.
            journal: another journal; else `<name>.journal.db` beside the file.

        Raises:
            CampaignError: it can't be read or used.
        """
        settings = load_settings(path)
        table, send, folder = settings.recipients, settings.send, settings.folder
        own = folder / table.path if table.path is not None else None
        campaign = cls(
            name=settings.name,
            message=mail_merge(settings),
            recipients=recipients if recipients is not None else own,
            key=table.key,
            group_by=table.group_by,
            rate=rate if rate is not None else send.rate,
            concurrency=concurrency if concurrency is not None else send.concurrency,
            window=send.window,
            suppress=suppression_lists(send.suppress, folder),
            api=send.api,
            journal=journal or folder / f"{settings.name}.journal.db",
        )
        campaign._file = settings.file
        campaign._own = absolute(own)
        campaign._own_options = {"encoding": table.encoding, "delimiter": table.delimiter, "sheet": table.sheet}
        if recipients is None:
            campaign._read_options = campaign._own_options
        return campaign

    def paced(self, *, rate: str | None, concurrency: int) -> Self:
        """The same campaign, with the same journal and run, at another rate and concurrency, as Campaign takes them.

        Raises:
            CampaignError: one of them can't be used.
        """
        other = copy(self)
        other.limits, other.concurrency = parse_rate(rate), checked_concurrency(concurrency)
        return other

    def source(self, recipients: Recipients | None = None) -> Source:
        """The table (`recipients`, or the campaign's own), opened, with its layout and the merge bound to its columns.

        An audit that is given back counts as the table that was sent, as far as it failed.
        """
        options = {} if recipients is not None else self._read_options
        given = recipients if recipients is not None else self._recipients
        if given is None:
            raise CampaignError(
                "the campaign has no recipients: name a table ([recipients] path, or --recipients FILE)"
            )
        table = open_table(given, **options)
        if is_audit(table):
            audited = read_audit(table)
            return checked_corrections(self._source(audited), audited, self._journal, self._sent)
        return self._source(table)

    def _sent(self) -> Source | None:
        """The table that an audit is of, as far as that can be told; a CampaignError if it can't be read."""
        table = open_table(self._own, **self._own_options) if self._own is not None else None
        return self._source(table) if table is not None and not is_audit(table) else None

    def _source(self, table: Table) -> Source:
        layout = Layout(table.columns, self._key, self._group_by)
        return Source(table, layout, self.message.bind(table.columns))

    def check_client(self, client: TurboClient) -> None:
        """Find out before a run whether it can be done with this account.

        Raises:
            CampaignError: the vendor's suppression list is needed, and the client has v1 credentials.
        """
        check_client(self._suppress, client)

    def reads(self, path: Path, recipients: Recipients | None = None) -> bool:
        """Whether `path` leads to a file that the campaign is made of: tables, suppression lists, templates, journal.

        `recipients` is the table that it is to send, if not its own. The journal's files are the campaign's own also
        before they exist, and so is what the vendor has judged.
        """
        endings = ("", "-wal", "-mark", "-journal", "-shm")
        kept = [item for item in (self.journal_place, self.validated_path) if isinstance(item, Path)]
        journal = [Path(f"{item}{ending}") for item in kept for ending in endings]
        given = [
            self._recipients,
            self._own,
            absolute(recipients),
            *self._suppress,
            self._file,
            *self.message.files,
            *journal,
        ]
        return is_one_of(path, [item for item in given if isinstance(item, Path)])

    @property
    def journal_path(self) -> Path:
        """The journal's file.

        Raises:
            CampaignError: it lies in a database.
        """
        if not isinstance(self.journal_place, Path):
            raise CampaignError(f"journal {self.journal_place} is no file")
        return self.journal_place

    @property
    def folder(self) -> Path:
        """Where the campaign's files belong: beside its journal, else its campaign.toml, else the working directory."""
        beside = self.journal_place if isinstance(self.journal_place, Path) else self._file
        return beside.parent if beside is not None else Path.cwd()

    @property
    def validated_path(self) -> Path:
        """Where the vendor's judgements of addresses are kept."""
        return self.folder / f"{self.name}.validated.db"

    @property
    def _identity(self) -> tuple[Place, str]:
        place = self.journal_place
        return place if isinstance(place, JournalUrl) else place.resolve(), self.name

    def _journal(self) -> OpenJournal:
        """The journal for those who only look."""
        return read_journal(*self._identity)

    def _journal_to_write(self) -> OpenJournal:
        """The journal, a file to oneself; it isn't made yet where there is none, but could be."""
        return open_journal(*self._identity, make=False)

    def __repr__(self) -> str:
        return f"<Campaign {self.name!r}, journal {shown(self.journal_place)}>"


def absolute(given: Recipients | None) -> Path | pd.DataFrame | dd.DataFrame | Table | None:
    """A path that no change of the working directory turns into another; a table in memory as it is."""
    return Path(given).absolute() if isinstance(given, (str, Path)) else given
