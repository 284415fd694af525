"""The commands that settle what is in doubt: resolve."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from turbobatch.cli.common import CampaignPath, JournalFile, load
from turbobatch.errors import CampaignError
from turbobatch.policy import Status
from turbobatch.terminal import ask, tell


def resolve(
    campaign: CampaignPath,
    settle_as: Annotated[Literal["sent", "pending"], typer.Option("--as", help="What the rows in doubt are.")],
    key: Annotated[list[str] | None, typer.Option("--key", help="Only the row with this key; again for more.")] = None,
    journal: JournalFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Settle rows in doubt by hand."""
    from turbobatch.journal.files import is_there
    from turbobatch.wording import resending_text

    loaded = load(campaign, journal=journal)
    if not is_there(loaded.journal_path):
        raise CampaignError(f"there is no journal at {loaded.journal_path}: nothing is in doubt")
    status = Status(settle_as)
    if status is Status.PENDING and (count := len(loaded.doubts_to_settle(status, key or None))):
        tell(resending_text(count))
        if not key and not yes:
            ask("Settle them all as pending?", "nothing was settled")
    settled = loaded.settle(status, key or None)
    tell(f"{settled} {'row' if settled == 1 else 'rows'} in doubt settled as {settle_as}")
