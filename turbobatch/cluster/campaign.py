"""What a Campaign does on a cluster."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from turbobatch.cluster.dispatch import Dispatch
from turbobatch.cluster.orders import Account, Orders, Sending, shared_journal
from turbobatch.cluster.pool import check_workers, open_pool
from turbobatch.cluster.reporting import lazy_results, report_by
from turbobatch.cluster.survey import ClusterPlan
from turbobatch.errors import CampaignError
from turbobatch.journal.trust import mark_of
from turbobatch.outcomes import Outcomes
from turbobatch.recipients.table import file_errors
from turbobatch.recipients.version import FileVersion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client as DaskClient

    from turbobatch.client import TurboClient
    from turbobatch.plan import Plan
    from turbobatch.progress import Tick
    from turbobatch.reported import Reported

    On: TypeAlias = DaskClient | str


class Clustered(Outcomes):
    """The methods of a `Campaign` that have the workers of a cluster do the work."""

    @contextmanager
    def cluster(self, on: On, client: TurboClient | None = None) -> Iterator[DaskClient]:
        """The cluster that `on` names, as `send` takes it; processes started for it here have `client`'s credentials.

        Raises:
            CampaignError: the journal isn't in PostgreSQL, Dask isn't installed, the cluster can't be reached, or a
                worker can't take part.
        """
        credentials = client.environment() if client is not None else {}
        with open_pool(on, credentials | shared_journal(self.journal_place).environment()) as dask:
            if client is not None:  # now, and not after a long look at the table
                check_workers(dask, self._orders(resend=False), Account.of(client))
            yield dask

    def report_by(self, dask: DaskClient, plan: Plan, path: str | Path, tick: Tick) -> Reported:
        """Have a cluster write the report in parts; tells what it says in short.

        Args:
            dask: the cluster.
            plan: what `plan` returned for the same cluster.
            path: the folder, the same one for all workers.
            tick: called with the number of rows that were written since.

        Raises:
            CampaignError: the plan was made without a cluster, or the folder can't be written by all workers.
            JournalError: the journal can't be used.
        """
        if not isinstance(plan, ClusterPlan):
            raise CampaignError("the plan was made for this process alone: plan with on= too")
        return report_by(dask, self._orders(resend=False), plan.parts, path, tick)

    def _orders(self, *, resend: bool) -> Orders:
        place = shared_journal(self.journal_place)
        return Orders(
            run=uuid.uuid4().hex[:12],
            campaign=self.name,
            message=self.message,
            key=self._key,
            group_by=self._group_by,
            journal=place.without_password(),
            mark=mark_of(place, self.name),
            resend=resend,
        )

    def _dispatch(
        self, plan: Plan, client: TurboClient, dask: DaskClient, *, resend: bool, limit: int | None
    ) -> Dispatch:
        if not isinstance(plan, ClusterPlan):
            raise CampaignError("the plan was made for this process alone: plan with on= too")
        sending = Sending(
            orders=self._orders(resend=resend),
            account=Account.of(client),
            suppress=self._suppress,
            listed=tuple(_version(item) for item in self._suppress if isinstance(item, Path)),
            limits=self.limits,
            concurrency=self.concurrency,
            window=self.window,
            policy=self.policy,
        )
        able = check_workers(dask, sending.orders, sending.account)
        with self._journal() as journal:
            sent = plan.rows if plan.is_done_by(journal) else 0
        parts = () if sent else plan.limited(limit)
        return Dispatch(dask=dask, sending=sending, parts=parts, able=able, sent=sent, emit=self.emit)

    def lazy_results(self, plan: Plan) -> Any:
        """The results of a Dask DataFrame that `plan` is of: another one, what the journal says when it is computed.

        None of other tables.
        """
        if not isinstance(plan, ClusterPlan):
            return None
        return lazy_results(self._orders(resend=False), plan)


def _version(path: Path) -> FileVersion:
    with file_errors(path):
        return FileVersion.of(path)
