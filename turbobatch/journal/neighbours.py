"""Other campaigns' journals in a folder, looked at without a lock: was this campaign sent under another name?"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from turbobatch.journal.place import JournalUrl
from turbobatch.journal.sqlite import OPEN, OPEN_LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from turbobatch.journal.place import Place

_APPLICATION_ID = b"tbjl"  # bytes 68 to 71 of the file (https://www.sqlite.org/fileformat.html)
_SENT = """SELECT key, digest FROM send
WHERE status IN ('sent', 'in_doubt') AND key IN (SELECT value FROM json_each(?))"""


def sent_by_neighbours(place: Place, contents: Mapping[str, str], emails: int) -> Iterator[str]:
    """Say which journals beside one that isn't made yet have some of these emails (digests by key) as sent or in doubt.

    `contents` may be those of a part of all `emails`.

    A hint and no more: a journal that is being written, or wants its -wal, is read as it lies there or passed over.
    """
    if isinstance(place, JournalUrl):
        return
    for other in sorted(place.parent.glob("*.journal.db")) if not os.path.exists(place) else ():  # noqa: PTH110 - long names
        with OPEN_LOCK:  # to close any handle of a file drops what locks this process has on it (POSIX)
            count = _count(other, contents) if other.resolve() not in OPEN else 0
        if count:
            known = count if len(contents) >= emails else f"at least {count}"
            yield f"{known} of these emails have left already by journal {other.name}: was the campaign renamed?"


def _count(path: Path, contents: Mapping[str, str]) -> int:
    try:
        with path.open("rb") as file:
            if file.read(72)[68:] != _APPLICATION_ID:
                return 0
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            found = database.execute(_SENT, (json.dumps(list(contents)),)).fetchall()
    except (OSError, sqlite3.Error):
        return 0
    return sum(contents[key] == digest for key, digest in found)
