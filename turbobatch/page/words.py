"""What the page's plots show, for those who don't see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbobatch.charts import SHOWN, domain_name
from turbobatch.telling import many, pace

if TYPE_CHECKING:
    from turbobatch.overview import Summary
    from turbobatch.tally import DomainCount


def pace_text(it: Summary) -> str:
    """The pace."""
    intervals = f"{len(it.pace)} intervals of {it.pace[0].seconds:g} s"
    return f"{many(it.posted, 'email')} in {intervals}: {pace(it.mean)} a second on average, {pace(it.peak)} at most."


def categories_text(it: Summary) -> str:
    """How addresses failed."""
    return "; ".join(f"{item.category}: {item.addresses:,}" for item in it.categories[:SHOWN]) + "."


def domains_text(it: Summary) -> str:
    """Failures by domain."""
    shown = (
        f"{domain_name(item)}: {item.failed:,} of {item.emails:,} failed{_others(item)}" for item in it.domains[:SHOWN]
    )
    return "; ".join(shown) + "."


def _others(item: DomainCount) -> str:
    """What became of the emails of a domain that didn't fail."""
    counts = ((item.in_doubt, "in doubt"), (item.sent, "sent"))
    return "".join(f", {count:,} {what}" for count, what in counts if count)
