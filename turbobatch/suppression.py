"""Suppression lists, files' and the vendor's: addresses that get nothing."""

from __future__ import annotations

from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turbobatch.addresses import CONTROL, Address, AddressError, split_list
from turbobatch.client import TurboClient
from turbobatch.errors import AuthenticationError, CampaignError, ManagementError
from turbobatch.recipients import Table, open_table
from turbobatch.recipients.table import file_errors
from turbobatch.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd

    from turbobatch.management import SuppressedAddress

    Listed = pd.DataFrame | Table | Path | str
    """A table of addresses, or the word `VENDOR`."""

VENDOR = "vendor"
"""In place of a file, the list that the vendor keeps of the account; a file called so is `./vendor`."""

_ADDRESS_COLUMNS = ("email", "address", "recipient", "e-mail", "email address")
_SINCE = date(2000, 1, 1)  # before there was a vendor
_PAGE = 1000  # addresses
_SMALL_PAGE = 100  # for a host that gives no larger one: the largest isn't documented
_REFUSED = (400, 413, 422)
_AT_ONCE = 1000  # addresses that are noted together
_LONGEST = 300  # characters of the vendor's reason


class Suppressed:
    """Addresses that get nothing, each with the reason, also millions of them. For one thread at a time."""

    def __init__(self) -> None:
        self._reasons = Spill[str]()
        self._is_empty = True

    def __bool__(self) -> bool:
        return not self._is_empty

    def get(self, address: str) -> str | None:
        """Why the address, which is written as an Email has it, in lower case, gets nothing; None if it may."""
        return self._reasons.get(address, "") or None

    def add(self, addresses: Sequence[str], reasons: Sequence[str]) -> None:
        """Note addresses, however they are written; of two reasons the first one stays."""
        if addresses:
            self._reasons.setdefaults([_normalised(item) for item in addresses], reasons)
            self._is_empty = False


def suppression_lists(given: Listed | Sequence[Listed] | None, folder: Path | None = None) -> tuple[Listed, ...]:
    """What `suppress` names, one after the other; paths are in `folder`, else in the working directory as it is now."""
    lists = given if isinstance(given, (list, tuple)) else () if given is None else (given,)
    folder = folder or Path.cwd()
    return tuple(folder / item if isinstance(item, (str, Path)) and item != VENDOR else item for item in lists)


def check_client(lists: Iterable[Listed], client: TurboClient) -> None:
    """Make sure that a client can fetch what the lists need.

    Raises:
        CampaignError: they need the vendor's list, and the client has v1 credentials.
    """
    if asks_vendor(lists) and client.api.name != "v2":
        raise CampaignError("suppress = \"vendor\" needs v2 credentials: the vendor's list can't be had with v1")


@contextmanager
def looking(
    lists: Iterable[Listed], client: TurboClient | None, say: Callable[[str], object]
) -> Iterator[TurboClient | None]:
    """Give who only looks a client for the vendor's list: this one, else one of the environment's; None without any.

    `say` is told of a list that can't be fetched therefore.
    """
    if not asks_vendor(lists) or (client is not None and client.api.name == "v2"):
        yield client
        return
    try:
        found = TurboClient.from_env(api="v2")
    except CampaignError as error:
        say(f"the vendor's suppression list wasn't looked at: {error}")
        yield None
        return
    with closing(found):
        yield found


def asks_vendor(lists: Iterable[Listed]) -> bool:
    """Whether the vendor's list is among them."""
    return any(isinstance(item, str) and item == VENDOR for item in lists)


def load_suppressed(
    lists: Iterable[Listed], client: TurboClient | None = None, *, tick: Callable[[int], object] = lambda _: None
) -> Suppressed:
    """Read all lists; the vendor's is fetched with `client`, and left out without one.

    In a table the addresses stand in a column called `email`, `address` or `recipient`, or in the only one, which needs
    no header; the reason in one called `reason`. `tick` is told how many addresses were read since.

    Raises:
        CampaignError: a table can't be read, or it isn't clear which column holds the addresses.
        AuthenticationError, ManagementError: the vendor's list couldn't be had.
    """
    found = Suppressed()
    for item in lists:
        if not isinstance(item, str) or item != VENDOR:
            parts = _tabled(item)
        elif client is None:
            continue
        else:
            parts = _by_vendor(client)
        for addresses, reasons in parts:
            found.add(addresses, reasons)
            tick(len(addresses))
    return found


def load_for_a_look(
    lists: Sequence[Listed],
    client: TurboClient | None,
    say: Callable[[str], object],
    *,
    tick: Callable[[int], object] = lambda _: None,
) -> Suppressed:
    """The same for who only looks: a vendor that gives no list is left out too, which `say` is told of.

    Raises:
        CampaignError: a table can't be read, or it isn't clear which column holds the addresses.
        AuthenticationError: the vendor refused the credentials.
    """
    try:
        return load_suppressed(lists, client, tick=tick)
    except ManagementError as error:
        say(f"the vendor's suppression list wasn't looked at: {error.__cause__ or error}")  # without what sending adds
        return load_suppressed(lists, tick=tick)


def _tabled(source: Listed) -> Iterator[tuple[list[str], list[str]]]:
    if isinstance(source, str | Path):
        with file_errors(Path(source)):
            if not Path(source).exists():
                raise CampaignError(f"suppression list {source} doesn't exist: {_cure(Path(source))}")
    table = open_table(source)
    address = _address_column(table.name, table.columns)
    reason = next((name for name in table.columns if name.lower() == "reason"), None)
    listed = f"listed in {table.name}"
    if "@" in address:  # a list without a header begins with its first address
        yield [address], [listed]
    for chunk in table.chunks():
        whys: list[Any] = chunk.column(reason) if reason else [None] * len(chunk)
        pairs = zip(chunk.column(address), whys, strict=True)
        rows = [(str(cell), listed if why is None else str(why)) for cell, why in pairs if cell is not None]
        yield [cell for cell, _ in rows], [why for _, why in rows]


def _cure(path: Path) -> str:
    meant = f', or write "{VENDOR}" for the vendor\'s own' if path.name.lower().startswith(VENDOR) else ""
    return f"check the path that suppress names{meant}"


def _address_column(name: str, columns: tuple[str, ...]) -> str:
    if len(columns) == 1:
        return columns[0]
    for wanted in _ADDRESS_COLUMNS:
        for column in columns:
            if column.lower() == wanted:
                return column
    raise CampaignError(f"{name} has no column 'email': give the column of suppressed addresses that name")


def _by_vendor(client: TurboClient) -> Iterator[tuple[list[str], list[str]]]:
    """The whole list, of all times and sources."""
    try:
        rows = _from_first(client)
        while some := list(islice(rows, _AT_ONCE)):
            pairs = [(address, _reason(row)) for row in some for address in _split(row.recipient)]
            yield [address for address, _ in pairs], [why for _, why in pairs]
    except ManagementError as error:
        said = f"{error}; nothing was sent without the suppression list, so run it again"
        raise ManagementError(said, http_status=error.http_status) from error
    except AuthenticationError as error:
        raise AuthenticationError(f"{error}; the vendor's suppression list wasn't given") from error


def _from_first(client: TurboClient) -> Iterator[SuppressedAddress]:
    until = datetime.now(UTC).date() + timedelta(days=1)  # the zone that the vendor's days go by isn't documented
    try:
        rows = client.suppressions(_SINCE, until, page_size=_PAGE)
        first = list(islice(rows, 1))
    except ManagementError as error:
        if error.http_status not in _REFUSED:
            raise
        return client.suppressions(_SINCE, until, page_size=_SMALL_PAGE)
    return chain(first, rows)


def _split(text: str) -> Iterable[str]:
    return split_list(text) if "," in text else (text,)


def _reason(row: SuppressedAddress) -> str:
    """Source, date and the vendor's own reason, in one line."""
    since = f" since {row.date}" if row.date else ""
    why = ": ".join(filter(None, (row.source, row.reason)))
    text = CONTROL.sub(" ", f"by the vendor{since}{', ' if why else ''}{why}")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _normalised(text: str) -> str:
    try:
        return Address.parse(text).email.lower()
    except AddressError:
        return text.strip().lower()
