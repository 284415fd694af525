"""What all of a console's actions share: the campaign, its table, an account, the state, and who uses the journal."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from turbobatch.client import TurboClient
from turbobatch.console.pool import Pool
from turbobatch.console.send_state import Sending
from turbobatch.console.state import State
from turbobatch.console.work import VIEWS, Jobs, Store
from turbobatch.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import dask.dataframe as dd
    import pandas as pd

    from turbobatch.campaign import Campaign
    from turbobatch.cluster.campaign import On
    from turbobatch.console.work import Job
    from turbobatch.recipients import Table
    from turbobatch.units import Source

    Recipients = pd.DataFrame | dd.DataFrame | Table | str | Path


class Desk:
    """For any thread.

    Attributes:
        campaign: as the last run was started, with its pace.
        recipients: the table, if it isn't the campaign's own.
        api: the version that emails are shown for.
        store: the state.
        jobs: what takes time.
        pool: the cluster that sends, if it isn't this process.
    """

    def __init__(
        self, campaign: Campaign, recipients: Recipients | None, client: TurboClient | None, on: On | None
    ) -> None:
        self.campaign = campaign
        # Absolute: a change of the working directory must not make another table of it.
        self.recipients = Path(recipients).absolute() if isinstance(recipients, (str, Path)) else recipients
        self._own_client = _from_env(campaign.api) if client is None else None
        self._client = client = client or self._own_client
        self._lock = threading.Lock()
        self._journal_use = threading.Lock()
        self.api = client.api.name if client is not None else campaign.api or "v2"
        rate = ", ".join(map(str, campaign.limits))
        self.store = Store(
            State(
                campaign=campaign.name,
                table="",
                host=client.host if client is not None else "",
                send=Sending(rate=rate, concurrency=str(campaign.concurrency)),
            )
        )
        self.jobs = Jobs(self.store)
        self.pool = Pool(on)

    def close(self) -> None:
        """Let all jobs end, the account that nobody has given, and a cluster that no run has."""
        self.jobs.stop_all()
        self.pool.close()
        with self._lock:
            if self._own_client is not None:
                self._own_client.close()
                self._client = self._own_client = None  # the next one who needs an account makes it

    def source(self) -> Source:
        """The table, opened anew."""
        return self.campaign.source(self.recipients)

    def account(self) -> TurboClient:
        """The account to send with; a CampaignError if there is none."""
        with self._lock:
            if self._client is None:
                self._client = self._own_client = TurboClient.from_env(api=self.campaign.api)
            return self._client

    def asking(self) -> TurboClient | None:
        """The account whose analytics and lists to ask; None for the environment's v2 one, if none was given."""
        with self._lock:
            is_given = self._client is not self._own_client
            return self._client if is_given or (self._client and self._client.api.name == "v2") else None

    @contextmanager
    def turn(self, job: Job) -> Iterator[None]:
        """Wait for the others that use the journal: who writes isn't to be taken for another process by who reads."""
        while not self._journal_use.acquire(timeout=VIEWS):
            job.look()
        try:
            job.look()
            yield
        finally:
            self._journal_use.release()


def _from_env(api: str | None) -> TurboClient | None:
    """The account of the environment; None where there is none yet, which is told when one is needed."""
    try:
        return TurboClient.from_env(api=api)
    except CampaignError:
        return None
