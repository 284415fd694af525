"""A report in parts: a folder of part-00000.parquet, part-00001.parquet …, which others read as one dataset."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from turbobatch.errors import CampaignError
from turbobatch.report.atomic import (
    hidden,
    hidden_beside,
    lock,
    new_locked,
    one_at_a_time,
    replacing,
    sync_folder,
    target,
    unwritable,
)
from turbobatch.report.parquet import write_parquet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

_PART = re.compile(r"part-[0-9]{5,}\.parquet")
_LOCK = ".lock"
_OURS = re.compile(rf"{re.escape(_LOCK)}|{_PART.pattern}|\.{_PART.pattern}\.[0-9a-f]{{8}}\.tmp")
"""What is removed with a folder; those of writers that were killed have their lock and unfinished parts too."""

_ROWS = 1_000_000  # of a part, where one process writes them all


def is_folder(path: str | Path) -> bool:
    """Whether a report of this name is one in parts: it ends with a slash, or is a folder of such parts already."""
    return str(path).endswith("/") or holds_parts(Path(path))


def holds_parts(path: Path) -> bool:
    """Whether this is a folder that holds a report's parts and nothing else."""
    try:
        names = os.listdir(path)  # noqa: PTH208 - names are enough
    except (OSError, ValueError):
        return False
    return bool(names) and all(map(_PART.fullmatch, names))


def is_report_folder(path: Path) -> bool:
    """Whether a folder is to be read as a report: it has Parquet files side by side, and is no campaign."""
    names = os.listdir(path)  # noqa: PTH208 - names are enough
    return "campaign.toml" not in names and any(Path(name).suffix.lower() in {".parquet", ".pq"} for name in names)


def check_free(path: Path) -> None:
    """Refuse a folder that would lose what is no part of a report.

    Raises:
        CampaignError: it holds something else.
        OSError: it can't be read.
    """
    for name in sorted(os.listdir(path)) if path.exists() else ():  # noqa: PTH208 - names are enough
        if not _PART.fullmatch(name) or not (path / name).is_file():
            raise CampaignError(
                f"{path} can't be written: it holds {name}, which is no part of a report: name another folder"
            )


@contextmanager
def report_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path` for parts, which takes its place when all goes well.

    The report before stays until then. It gets another name just before the new one gets its own: who is killed
    between the two leaves none, and the journal still knows all of it.

    Raises:
        CampaignError: the folder can't be written, or holds what is no part of a report.
    """
    try:
        place = target(Path(path), folder=True)
        check_free(place)
        temporary = hidden(place.absolute())  # for processes that have a working directory of their own
        with one_at_a_time(place.parent) as can_lock:
            for found in hidden_beside(place) if can_lock else ():
                _remove_if_free(found)
            temporary.mkdir()
            held = new_locked(temporary / _LOCK)
    except OSError as error:
        raise unwritable(Path(path), error) from error
    try:
        yield temporary
        _take_place(temporary, place)
    finally:
        _remove(temporary)
        held.close()


def write_part(frames: Iterable[pd.DataFrame], folder: Path, number: int) -> Path:
    """Write one part of a report into the folder that `report_folder` gave; written again, it is replaced.

    Args:
        frames: consecutive rows of results, at least one frame.
        folder: where all parts go.
        number: the part's place among them, from 0.

    Raises:
        CampaignError: it can't be written.
    """
    path = folder / _part_name(number)
    with replacing(path) as temporary:
        write_parquet(frames, temporary)
    return path


def write_parts(frames: Iterable[pd.DataFrame], path: str | Path, rows: int = _ROWS) -> None:
    """Write a report in parts of about so many rows, all of the same types.

    Raises:
        CampaignError: it can't be written.
    """
    with report_folder(path) as folder:
        rest, schema = iter(frames), None
        for number, first in enumerate(rest):
            part = folder / _part_name(number)
            with replacing(part) as temporary:
                schema = write_parquet(_some(chain([first], rest), rows), temporary, schema)


def _some(frames: Iterator[pd.DataFrame], rows: int) -> Iterator[pd.DataFrame]:
    """Frames until they have so many rows."""
    for frame in frames:
        yield frame
        rows -= len(frame)
        if rows <= 0:
            return


def _part_name(number: int) -> str:
    return f"part-{number:05}.parquet"


def _take_place(temporary: Path, path: Path) -> None:
    try:
        for name in os.listdir(temporary):  # noqa: PTH208 - names are enough
            if not _PART.fullmatch(name):  # the lock, and what workers that were killed have begun
                (temporary / name).unlink()
        sync_folder(temporary)
        check_free(path)
        old = hidden(path)
        was_there = path.exists()
        if was_there:
            path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            if was_there:
                old.rename(path)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    _remove(old)


def _remove_if_free(folder: Path) -> None:
    """Remove what a writer that was killed has left; one that lives holds the lock."""
    with suppress(OSError):
        if not (folder / _LOCK).exists():  # it was to be removed
            _remove(folder)
            return
        with (folder / _LOCK).open("rb") as file:
            if lock(file.fileno()):
                _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder's parts, and the folder if nothing else is in it."""
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - names are enough
            if _OURS.fullmatch(name):
                (folder / name).unlink()
        folder.rmdir()
