"""What came of a campaign, by its journal: results, rows in doubt, and how they are settled."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import astuple, fields
from typing import TYPE_CHECKING

from turbobatch.client import TurboClient
from turbobatch.definition import Definition
from turbobatch.errors import CampaignError
from turbobatch.policy import Status
from turbobatch.progress import log, reading
from turbobatch.reconcile import GRACE, Reconciled, reconcile
from turbobatch.results import Results
from turbobatch.run import active_run
from turbobatch.settlement import doubts_to_settle, settle_by_hand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

    from turbobatch.definition import Recipients
    from turbobatch.progress import Tick
    from turbobatch.run import Run


class Outcomes(Definition):
    """The methods of a `Campaign` that look back."""

    @property
    def running(self) -> Run | None:
        """The run in progress in this process."""
        return active_run(self._identity)

    def results(self, recipients: Recipients | None = None) -> pd.DataFrame:
        """The table with its result columns, from the journal, at any time: also while another process sends.

        Args:
            recipients: the table, if not the campaign's own.

        Raises:
            CampaignError: the table can't be read.
            JournalError: the journal can't be used.
        """
        from turbobatch.frames import as_results

        with self.look(recipients) as results:
            return as_results(results.frame())

    def result_chunks(self, recipients: Recipients | None = None) -> Iterator[pd.DataFrame]:
        """The same in chunks of some thousand rows, at least one, for `recipients` that don't fit into memory."""
        with self.look(recipients) as results:
            yield from results.frames()

    @contextmanager
    def look(self, recipients: Recipients | None = None) -> Iterator[Results]:
        """The same of the table `recipients`, and what is in doubt, as one moment's journal tells it."""
        source = self.source(recipients)
        read, sent = source.table.version, self.sent_version
        if read is not None and sent is not None and read.path == sent.path and (change := sent.change()):
            log.warning("%s", change)
        with self._journal() as journal:
            table, layout, merger = source.table, source.layout, source.merger
            yield Results(
                table=table, layout=layout, merger=merger, journal=journal, campaign=self.name, in_use=journal.in_use
            )

    def in_doubt(self) -> list[str]:
        """The keys of all emails in doubt, also of those whose rows have left the table."""
        with self._journal() as journal:
            return [entry.key for entry in journal.entries(Status.IN_DOUBT)]

    def doubts_to_settle(self, status: Status, keys: Iterable[str] | None = None) -> list[str]:
        """The keys in doubt that `settle` would settle with the same arguments; raises what it would raise."""
        with self._journal_to_write() as journal:
            return doubts_to_settle(journal, status, keys)

    def settle(self, status: Status, keys: Iterable[str] | None = None) -> int:
        """Settle rows in doubt by hand; tells how many.

        Args:
            status: `sent` or `pending`, what you know of them.
            keys: theirs; all that are in doubt if not given. Named by its key, a rejected row can be settled as
                `pending` too: it is tried again then.

        Raises:
            CampaignError: rows can't be settled as that, or a key is not in doubt; nothing was settled then.
            JournalError: the journal can't be used.
        """
        if self.running is not None:
            raise CampaignError("a run of this campaign is in progress: stop it, then settle what is in doubt")
        with self._journal_to_write() as journal:
            return settle_by_hand(journal, status, keys)

    def reconcile(
        self,
        recipients: Recipients | None = None,
        client: TurboClient | None = None,
        *,
        grace: float = GRACE,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Look for the rows in doubt in the vendor's analytics (v2): what is found there is settled as `sent`.

        Gives one row for each that was in doubt: `send_key, trace` (found, unclear, missing, too early), `message,
        mids, delivery`. All but `found` stays in doubt; to `settle` it is up to you.

        Args:
            recipients: the table, if not the campaign's own. A row that isn't in it is recognised by whom it went to.
            client: a v2 account; else the one in the environment.
            grace: seconds after its POST in which an email may not show yet.
            progress: show a bar.

        Raises:
            CampaignError: the client is no v2 account's, or a run is in progress.
            AuthenticationError, ManagementError: the vendor couldn't be asked; nothing was settled.
            JournalError: the journal can't be used.
        """
        import pandas as pd

        from turbobatch.frames import Frame, framed

        told = self.reconciled(recipients, client, grace=grace, progress=progress)
        columns = [item.name for item in fields(Reconciled)]
        frame = pd.DataFrame([astuple(item) for item in told], columns=columns).rename(columns={"key": "send_key"})
        return framed(Frame, frame)

    def reconciled(
        self, recipients: Recipients | None, client: TurboClient | None, *, grace: float = GRACE, progress: bool | Tick
    ) -> list[Reconciled]:
        """The same as data. `progress` may be called with the number of emails that were looked for since.

        `recipients`, `client` and `grace` are `reconcile`'s.
        """
        if self.running is not None:
            raise CampaignError("a run of this campaign is in progress: stop it, then settle what is in doubt")
        client = client or TurboClient.from_env(api="v2")
        with self._journal_to_write() as journal:
            count = journal.counts().get(Status.IN_DOUBT, 0)
            has_table = recipients is not None or self._recipients is not None
            source = self.source(recipients) if count and has_table else None
            with reading("asking", bar=progress, rows=count) as tick:
                return reconcile(journal, source, client, self.name, grace=grace, tick=tick)
