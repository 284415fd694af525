"""What every contestant gets: the same receipts, as a campaign's folder. The same numbers make the same rows."""

from __future__ import annotations

import csv
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RECEIPT = Path(__file__).parent / "receipt"
COLUMNS = (
    "order_id", "customer_id", "first_name", "name", "email", "company", "order_date", "items", "total", "currency",
    "language",
)  # fmt: skip

_FIRST = ("Ana", "Björn", "Chloé", "Dario", "Elif", "Frank", "Giulia", "Hana", "Ivo", "Jane", "Kofi", "Lena")
_LAST = ("Bianchi", "Doe", "Fischer", "García", "Holloway", "Ito", "Kowalska", "Mbeki", "Nilsson", "O'Neill", "Rossi")
_GOODS = ("Bread knife", "Linen napkin", "Salad bowl", "Moka pot", "Beeswax candle", "Pepper mill", "Espresso cup")
_PARQUET_GROUP = 50_000  # rows


def rows(count: int) -> Iterator[tuple[str, ...]]:
    """Make up `count` receipts, each with the cells of `COLUMNS`."""
    dice = random.Random(7)  # noqa: S311 - the same rows each time is the point
    for number in range(count):
        first, last = dice.choice(_FIRST), dice.choice(_LAST)
        prices = [(dice.choice(_GOODS), dice.randint(1, 4), dice.randint(300, 9900)) for _ in range(dice.randint(1, 4))]
        items = "; ".join(f"{amount} x {what} = {amount * cents / 100:.2f}" for what, amount, cents in prices)
        yield (
            f"{number:07}",
            str(dice.randint(10_000, 99_999)),
            first,
            f"{first} {last}",
            f"customer{number}@mail{dice.randint(1, 400)}.example",
            f"{last} Ltd" if not number % 5 else "",
            f"2026-11-{dice.randint(1, 28):02}",
            items,
            f"{sum(amount * cents for _, amount, cents in prices) / 100:.2f}",
            dice.choice(("EUR", "GBP", "USD")),
            dice.choice(("de", "en", "es", "fr", "it")),
        )


def write_csv(path: Path, count: int) -> None:
    """Write `count` receipts as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows(count))


def write_parquet(path: Path, count: int) -> None:
    """Write `count` receipts as Parquet, all columns text."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    with parquet.ParquetWriter(path, schema) as writer:
        held: list[tuple[str, ...]] = []
        for row in rows(count):
            held.append(row)
            if len(held) == _PARQUET_GROUP:
                writer.write_table(pa.table(dict(zip(COLUMNS, zip(*held, strict=True), strict=True)), schema))
                held.clear()
        if held:
            writer.write_table(pa.table(dict(zip(COLUMNS, zip(*held, strict=True), strict=True)), schema))


def write_campaign(folder: Path, count: int) -> Path:
    """Make a campaign's folder with `count` receipts in recipients.csv; returns it."""
    shutil.copytree(RECEIPT, folder)
    write_csv(folder / "recipients.csv", count)
    return folder


if __name__ == "__main__":
    import sys

    target = Path(sys.argv[1])
    (write_parquet if target.suffix == ".parquet" else write_csv)(target, int(sys.argv[2]))
