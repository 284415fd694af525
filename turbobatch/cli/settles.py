"""The commands that settle what is in doubt: resolve by hand, reconcile by the vendor's analytics."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from turbobatch.cli.common import BaseUrl, CampaignPath, JournalPlace, Recipients, command_text, load, make_client
from turbobatch.errors import CampaignError
from turbobatch.policy import Status
from turbobatch.terminal import SOME_ROWS_NOT_SENT, ask, is_terminal, tell

if TYPE_CHECKING:
    from turbobatch.campaign import Campaign


def resolve(
    campaign: CampaignPath,
    settle_as: Annotated[Literal["sent", "pending"], typer.Option("--as", help="What the rows in doubt are.")],
    key: Annotated[list[str] | None, typer.Option("--key", help="Only the row with this key; again for more.")] = None,
    journal: JournalPlace = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Settle rows in doubt by hand."""
    from turbobatch.wording import resending_text

    loaded = load(campaign, journal=journal)
    _check_journal(loaded)
    status = Status(settle_as)
    if status is Status.PENDING and (count := len(loaded.doubts_to_settle(status, key or None))):
        tell(resending_text(count))
        if not key and not yes:
            ask("Settle them all as pending?", "nothing was settled")
    settled = loaded.settle(status, key or None)
    tell(f"{settled} {'row' if settled == 1 else 'rows'} in doubt settled as {settle_as}")


def reconcile(
    campaign: CampaignPath,
    recipients: Recipients = None,
    journal: JournalPlace = None,
    base_url: BaseUrl = None,
    grace: Annotated[float, typer.Option(metavar="MINUTES", min=0, help="How long an email may not show yet.")] = 60.0,
) -> None:
    """Settle rows in doubt by the vendor's analytics (v2): what is found there was sent."""
    from turbobatch.wording import reconciled_text

    loaded = load(campaign, recipients, journal=journal)
    _check_journal(loaded)
    client = make_client("v2", base_url, None)
    told = loaded.reconciled(None, client, grace=grace * 60, progress=is_terminal(sys.stderr))
    tell(reconciled_text(told, command_text("resolve", campaign, journal=journal)))
    if not all(item.is_settled for item in told):
        raise typer.Exit(SOME_ROWS_NOT_SENT)


def _check_journal(campaign: Campaign) -> None:
    from turbobatch.journal import is_there

    if not is_there(campaign.journal_place, campaign.name):
        raise CampaignError(f"there is no journal at {campaign.journal_place}: nothing is in doubt")
