"""Suppression lists: addresses that get nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from turbobatch.addresses import Address, AddressError
from turbobatch.errors import CampaignError
from turbobatch.recipients import open_table
from turbobatch.recipients.table import file_errors

if TYPE_CHECKING:
    import pandas as pd

    from turbobatch.recipients import Table

_ADDRESS_COLUMNS = ("email", "address", "recipient", "e-mail", "email address")


def load_suppressed(source: str | Path | pd.DataFrame | Table) -> dict[str, str]:
    """Read a list: address as an Email has it, in lower case → reason.

    The addresses stand in a column called `email`, `address` or `recipient`, or in the table's only one, which needs no
    header; the reason in one called `reason`.

    Raises:
        CampaignError: the table can't be read, or it isn't clear which column holds the addresses.
    """
    if isinstance(source, str | Path):
        with file_errors(Path(source)):
            if not Path(source).exists():
                raise CampaignError(f"suppression list {source} doesn't exist: check the path that suppress names")
    table = open_table(source)
    address = _address_column(table.name, table.columns)
    reason = next((name for name in table.columns if name.lower() == "reason"), None)
    found: dict[str, str] = {}
    if "@" in address:  # a list without a header begins with its first address
        found[_normalised(address)] = f"listed in {table.name}"
    for chunk in table.chunks():
        reasons: list[Any] = chunk.column(reason) if reason else [None] * len(chunk)
        for cell, why in zip(chunk.column(address), reasons, strict=True):
            if cell is not None:
                found[_normalised(str(cell))] = str(why) if why is not None else f"listed in {table.name}"
    return found


def _address_column(name: str, columns: tuple[str, ...]) -> str:
    if len(columns) == 1:
        return columns[0]
    for wanted in _ADDRESS_COLUMNS:
        for column in columns:
            if column.lower() == wanted:
                return column
    raise CampaignError(f"{name} has no column 'email': give the column of suppressed addresses that name")


def _normalised(text: str) -> str:
    try:
        return Address.parse(text).email.lower()
    except AddressError:
        return text.strip().lower()
