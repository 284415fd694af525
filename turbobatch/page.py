"""Results as one HTML page to look at and to pass on: the counts, then every row. It needs nothing from elsewhere."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

# The counts are known when the last row is, and shown first all the same.
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Report</title>
<style>
body { display: flex; flex-direction: column; font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem }
body > p { order: -1; font-size: 1.1rem }
table { border-collapse: collapse }
th, td { border: 1px solid #ddd; padding: .2rem .5rem; text-align: left; vertical-align: top; white-space: pre-wrap }
th { background: #f4f4f4; position: sticky; top: 0 }
.rejected, .invalid, .failed { background: #fdecea }
.in_doubt, .pending { background: #fff6dd }
</style>
</head>
<body>
<table>
"""
_TAIL = "</tbody>\n</table>\n<p>{}</p>\n</body>\n</html>\n"


def write_page(chunks: Iterable[pd.DataFrame], file: TextIO) -> None:
    """Write frames of the same columns, in order, as one page."""
    counts: Counter[str] = Counter()
    rows = 0
    file.write(_HEAD)
    for number, chunk in enumerate(chunks):
        if number == 0:
            names = "".join(f"<th>{escape(str(name))}</th>" for name in chunk.columns)
            file.write(f"<thead><tr>{names}</tr></thead>\n<tbody>\n")
        statuses = chunk["send_status"] if "send_status" in chunk else [""] * len(chunk)
        counts.update(filter(None, statuses))
        rows += len(chunk)
        texts = chunk.astype(object).where(chunk.notna(), "")
        for status, row in zip(statuses, texts.itertuples(index=False, name=None), strict=True):
            cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in row)
            file.write(f'<tr class="{escape(status)}">{cells}</tr>\n' if status else f"<tr>{cells}</tr>\n")
    listed = "".join(f", {count:,} {escape(status)}" for status, count in counts.items())
    file.write(_TAIL.format(f"{rows:,} rows{listed}"))
