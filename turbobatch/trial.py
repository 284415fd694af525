"""A trial: the first emails to the sender's own address, outside the journal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from turbobatch.addresses import Address, AddressError
from turbobatch.errors import CampaignError, InvalidEmail
from turbobatch.units import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from turbobatch.client import SendResult, TurboClient
    from turbobatch.email import Email
    from turbobatch.merge import Merger
    from turbobatch.rates import Pacer
    from turbobatch.units import Finding


def send_trial(
    findings: Iterable[Finding],
    merger: Merger,
    client: TurboClient,
    pacer: Pacer,
    *,
    to: str,
    campaign: str,
    emails: int,
) -> Iterator[tuple[int, SendResult | str]]:
    """Send the first `emails` emails to `to` alone, one after the other: (row, the API's answer or why it is invalid).

    Raises:
        CampaignError: `to` is no address.
        AuthenticationError, NotSentError, InDoubtError: as TurboClient.send does.
    """
    try:
        address = Address.parse(to)
    except AddressError as error:
        raise CampaignError(f"{to!r} is no address to send a test to: {error.reason}") from error
    left = emails
    for finding in findings:
        if not left:
            return
        unit = finding.unit
        merged = finding.merged_by(merger)
        if merged.email is None:
            yield unit.number, invalid(unit, None, merged).message
            continue
        left -= 1
        _wait(pacer)
        try:
            yield unit.number, client.send(_readdressed(merged.email, address, campaign))
        except InvalidEmail as error:
            yield unit.number, f"{unit.where}: {error}"


def _readdressed(email: Email, to: Address, campaign: str) -> Email:
    # A tester's click on "unsubscribe" would unsubscribe the customer.
    headers = {name: value for name, value in email.custom_headers.items() if not name.lower().startswith("list-unsub")}
    return email.replace(to=[to], cc=(), bcc=(), custom_headers=headers, campaign_id=f"{campaign} (test)")


def _wait(pacer: Pacer) -> None:
    while not pacer.take(now := time.monotonic(), 1):
        time.sleep(max(pacer.next_at(now) - now, 0.0))
