"""The demo: the main job on sample_data, through a sandbox; no account needed, and nothing leaves the machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from turbobatch.audit import audit
from turbobatch.campaign import Campaign
from turbobatch.errors import CampaignError
from turbobatch.recipients.table import file_errors
from turbobatch.report import write_report
from turbobatch.samples import copy_sample
from turbobatch.sandbox import Sandbox
from turbobatch.wording import counts_text, failures_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MADE = "receipts-2026-11.journal.db"  # what tells a demo's folder from others


def demo(folder: Path, say: Callable[[str], None]) -> None:
    """Send the sample receipts through a sandbox, report, and run them again to show that nothing goes twice.

    Raises:
        CampaignError: the folder holds something else than an earlier demo, or can't be written.
    """
    with file_errors(folder):
        if folder.is_dir() and any(folder.iterdir()) and not (folder / _MADE).exists():
            raise CampaignError(f"{folder} isn't empty and holds no demo: name another with --dir")
    copy_sample("receipts", folder, replace=True)
    campaign = Campaign.load(folder)
    for old in folder.glob(f"{campaign.journal_path.name}*"):
        old.unlink()  # each demo is a campaign of its own
    with Sandbox() as sandbox:
        client = sandbox.client()
        say(f"A sandbox stands in for the vendor at {sandbox.url}; nothing leaves this machine.")
        say(f"Campaign {campaign.name!r}: {folder / 'receipts.csv'} merged into {folder / 'receipt.html'}\n")
        results = campaign.send(client=client, progress=sys.stderr.isatty())
        say(counts_text(results["send_status"]))
        say(failures_text(audit(results)))
        reports = [write_report(results, folder / f"report{ending}") for ending in (".csv", ".parquet")]
        before = sandbox.requests_seen()
        campaign.send(client=client, progress=False)
        arrived = len(sandbox.inbox())
        again = sandbox.requests_seen() - before
        client.close()
    say(f"The sandbox received {arrived} emails. The same campaign run a second time posted {again}.\n")
    say("Files:")
    for path, what in [
        (reports[0], "every row with its verdict"),
        (reports[1], "the same, typed"),
        (folder / campaign.journal_path.name, "what was tried and what came of it"),
        (folder / "campaign.toml", "the campaign, to look at; each demo makes it anew"),
    ]:
        say(f"  {path}  {what}")
