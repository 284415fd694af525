"""What a worker needs to do its part of a campaign: data that travels between machines, without any secret.

Credentials are named, not sent: a worker finds those of its account in its own environment, and a journal's password in
PGPASSWORD or ~/.pgpass there.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

from turbobatch.client import TurboClient
from turbobatch.errors import CampaignError, JournalError
from turbobatch.journal import JournalUrl
from turbobatch.journal.postgres import PostgresJournal, PostgresReader, open_postgres, read_postgres
from turbobatch.recipients.portions import DaskPortion
from turbobatch.sendapi import V1
from turbobatch.units import Layout, Source, changed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from distributed import Client, Future

    from turbobatch.client import TransportName
    from turbobatch.journal import Place
    from turbobatch.merge import MailMerge
    from turbobatch.policy import Policy
    from turbobatch.rates import Limit, Window
    from turbobatch.recipients import Table
    from turbobatch.recipients.portions import Portion
    from turbobatch.recipients.version import FileVersion
    from turbobatch.sendapi.v1 import AuthIn
    from turbobatch.suppression import Listed

Opened = TypeVar("Opened", PostgresReader, PostgresJournal)

SOURCES: Mapping[str, Callable[..., TurboClient]] = {"environment": TurboClient.from_env}
"""Where a worker may find credentials, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account at a host. `source` names where its credentials are found; they aren't in here.

    `digest` tells whether those are this account's: it is of the user's name or the consumer key alone, and of `salt`,
    which is another one each time. Who sees both could confirm a guess of that name, and nothing of the secret.
    """

    api: str
    base_url: str
    management_url: str | None
    auth_in: AuthIn
    timeout: float
    transport: TransportName | None
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    source: str = "environment"

    @classmethod
    def of(cls, client: TurboClient) -> Account:
        """The account of a client, for workers that have its credentials in their environment.

        Raises:
            CampaignError: the client has a transport of its own, which can't travel.
        """
        if callable(client.transport):
            raise CampaignError('a transport of your own can\'t travel to workers: name one ("requests", "curl")')
        auth_in = client.api.auth_in if isinstance(client.api, V1) else "headers"
        salt = secrets.token_bytes(blake2b.SALT_SIZE)
        return cls(
            api=client.api.name,
            base_url=client.base_url,
            management_url=client.management_url,
            auth_in=auth_in,
            timeout=client.timeout,
            transport=client.transport,
            salt=salt,
            digest=_digest_of(client, salt),
        )

    def open(self) -> TurboClient:
        """A client of this account, with the credentials that are found here.

        Raises:
            CampaignError: there are none, or another account's.
        """
        client = SOURCES[self.source](
            api=self.api,
            base_url=self.base_url,
            management_url=self.management_url,
            auth_in=self.auth_in,
            timeout=self.timeout,
            transport=self.transport,
        )
        if _digest_of(client, self.salt) != self.digest:
            client.close()
            raise CampaignError(
                f"its {' and '.join(client.environment())} are another account's than the one that the run was started "
                "with: start it with the same"
            )
        return client


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """A campaign as far as it takes to tell which emails a part of its table makes, and what is known of them.

    Attributes:
        run: a name of this run alone.
        campaign: the campaign's name.
        journal: without a password.
        mark: the journal's, which a worker must find too: the same URL may lead to another database there.
        resend: rows in doubt are posted again.
    """

    run: str
    campaign: str
    message: MailMerge
    key: tuple[str, ...]
    group_by: tuple[str, ...]
    journal: JournalUrl
    mark: str
    resend: bool

    def source(self, table: Table) -> Source:
        """A part of the table with its layout and the merge."""
        return Source(table, Layout(table.columns, self.key, self.group_by), self.message.bind(table.columns))

    def open_journal(self) -> PostgresJournal:
        """The journal to write, from here.

        Raises:
            JournalError: it can't be reached, or is another one here.
        """
        return self._checked(open_postgres(self.journal, self.campaign, make=False))

    def read_journal(self) -> PostgresReader:
        """The journal to look at, from here.

        Raises:
            JournalError: it can't be reached, or is another one here.
        """
        return self._checked(read_postgres(self.journal, self.campaign))

    def _checked(self, found: Opened | None) -> Opened:
        if found is not None and found.mark == self.mark:
            return found
        if found is not None:
            found.close()
        raise JournalError(
            f"{self.journal} is another database here than where the run was started: give a URL that means the same "
            "one on every machine"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """The same, with what it takes to send.

    `listed`: the versions of the suppression lists' files, which have to be the same for all workers.
    """

    orders: Orders
    account: Account
    suppress: tuple[Listed, ...]
    listed: tuple[FileVersion, ...]
    limits: tuple[Limit, ...]
    concurrency: int
    window: Window | None
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedPart:
    """Some consecutive rows of the table, as a survey found them.

    Attributes:
        number: its place in the table.
        first: how many rows come before.
        emails: to post at most.
        elsewhere: a Finder's, for keys that an earlier part has.
        limit: emails to post at most if the user said so.
    """

    number: int
    portion: Portion
    first: int
    rows: int
    emails: int
    elsewhere: Mapping[int, tuple[int, bytes]] = field(default_factory=dict, repr=False)
    limit: int | None = None


def _digest_of(client: TurboClient, salt: bytes) -> bytes:
    name, *_ = client.environment().values()
    return blake2b(name.encode(), digest_size=8, salt=salt).digest()


def sent_along(dask: Client, portion: Portion) -> tuple[Portion, Future | None]:
    """What a task is given of a portion: a partition of a Dask DataFrame goes by Dask, which may hold it already."""
    if isinstance(portion, DaskPortion):
        return portion.emptied(), dask.compute(portion.delayed)
    return portion, None


def opened(portion: Portion, frame: pd.DataFrame | None, first: int = 0, rows: int | None = None) -> Table:
    """A portion as a task has got it: with its rows, if Dask has them, of which there have to be so many.

    Raises:
        CampaignError: its file isn't there, or isn't the version that was divided, or Dask has computed other rows.
    """
    if isinstance(portion, DaskPortion) and frame is not None:
        portion = portion.computed(frame)
    table = portion.open(first)
    if rows is not None and portion.rows not in (None, rows):
        raise changed(table)
    return table


def shared_journal(place: Place) -> JournalUrl:
    """A campaign's journal, if several processes can use it.

    Raises:
        CampaignError: it is a file.
    """
    if not isinstance(place, JournalUrl):
        raise CampaignError(
            "several workers can't share a journal that is a file: name a PostgreSQL database with "
            "--journal (journal=) postgresql://USER@HOST/DATABASE"
        )
    return place
