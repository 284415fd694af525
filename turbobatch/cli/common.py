"""What several commands share: their arguments, and how a campaign and a client are made of them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turbobatch.errors import CampaignError
from turbobatch.journal.place import without_password
from turbobatch.terminal import warn

if TYPE_CHECKING:
    from turbobatch.campaign import Campaign
    from turbobatch.client import TurboClient

CampaignPath = Annotated[Path, typer.Argument(metavar="CAMPAIGN", help="A campaign.toml or its folder.")]
# Texts, since a Path loses the slash that tells a folder of Parquet files.
Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE|FOLDER/",
        help="The report: .csv .tsv .parquet .xlsx .html, or NAME/ for a folder of Parquet files.",
    ),
]
OptionalOutput = Annotated[
    str | None,
    typer.Option(
        "-o", "--output", metavar="FILE|FOLDER/", help="A file to write, or NAME/ for a folder of Parquet files."
    ),
]
JournalPlace = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="FILE|URL",
        help="Another journal than the campaign's own; postgresql://USER@HOST/DATABASE for several processes at once.",
    ),
]
Recipients = Annotated[
    Path | None,
    typer.Option(
        "--recipients",
        metavar="FILE|FOLDER",
        help="Another table than the campaign's own: a file, or a folder of its parts.",
    ),
]
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="The URL up to and without /mail/send.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="CLUSTER",
        help="Have the workers of a Dask cluster do it: tcp://HOST:8786, or local:4 for so many processes here.",
    ),
]
ApiName = Annotated[str | None, typer.Option("--api", help="v1 or v2; else by the credentials found.")]


def load(
    campaign: Path,
    recipients: Path | None = None,
    *,
    rate: str | None = None,
    concurrency: int | None = None,
    journal: str | None = None,
) -> Campaign:
    """The campaign, with what the command line says in place of its own."""
    from turbobatch.campaign import Campaign

    return Campaign.load(campaign, recipients=recipients, rate=rate, concurrency=concurrency, journal=journal)


def api_name(api: str | None, campaign: Campaign) -> str:
    """The API that `send` would use, as far as that can be told without credentials."""
    if chosen := api or campaign.api:
        return chosen
    try:
        return make_client(None, None, "requests").api.name
    except CampaignError:
        return "v2"


def make_client(api: str | None, base_url: str | None, transport: str | None) -> TurboClient:
    """A client with the environment's credentials."""
    from turbobatch.client import TurboClient

    return TurboClient.from_env(api=api, base_url=base_url, transport=transport)  # type: ignore[arg-type]  # the client refuses other names


def check_journal(campaign: Campaign, given: str | None = None) -> None:
    """Say where there is no journal yet; one that was `given` by name may be mistyped.

    Raises:
        CampaignError: the one that was given isn't there.
    """
    from turbobatch.journal import is_there
    from turbobatch.settings import shown

    if is_there(campaign.journal_place, campaign.name):
        return
    missing = f"there is no journal at {shown(campaign.journal_place)} yet: nothing has been sent by it"
    if given is not None:
        raise CampaignError(missing)
    warn(missing)


def command_text(
    name: str,
    campaign: Path | str,
    *,
    recipients: Path | str | None = None,
    output: Path | str | None = None,
    journal: str | None = None,
) -> str:
    """A command to type, with the table and the journal that this one was given; without a password in their URL."""
    given = {"--recipients": recipients, "-o": output, "--journal": journal and without_password(journal)}
    options = [str(word) for pair in given.items() if pair[1] is not None for word in pair]
    return shlex.join(["turbobatch", name, str(campaign), *options])


def check_output(campaign: Campaign, output: str) -> None:
    """Find out before a run what would keep its report from being written, or make it overwrite what it is made of."""
    from turbobatch.report import check_report_path

    check_report_path(output)
    check_not_own(campaign, output)


def check_not_own(campaign: Campaign, output: str) -> None:
    """Refuse to overwrite what the campaign is made of."""
    if campaign.reads(Path(output)):
        raise CampaignError(f"{output} is a file of the campaign itself: give the output another name")
