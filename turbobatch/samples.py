"""Where the campaigns that come with turbobatch are, and how to get one of one's own."""

from __future__ import annotations

import shutil
from pathlib import Path

from turbobatch.errors import CampaignError

_PACKAGE = Path(__file__).parent


def sample(name: str) -> Path:
    """The folder of a sample campaign: receipts, orders or starter."""
    installed = _PACKAGE / "sample_data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / "sample_data" / name


def copy_sample(name: str, folder: Path, *, replace: bool = False) -> None:
    """Copy a sample campaign into `folder`, which may exist if it is empty (or anyhow with `replace`).

    Raises:
        CampaignError: there is something in the folder already, or it can't be written.
    """
    try:
        if not replace and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CampaignError(f"{folder} exists and isn't empty: name a new folder")
        # Contents alone: an installed sample may be read-only. What was sent from a sample stays behind.
        ignored = shutil.ignore_patterns("*.journal.db*", "*.validated.db*")
        shutil.copytree(sample(name), folder, ignore=ignored, copy_function=shutil.copyfile, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise CampaignError(f"{folder} can't be written: {getattr(error, 'strerror', None) or error}") from error
