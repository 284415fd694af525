"""`validate_killed.py POINT HIT -- ARGUMENTS`: the command line, killed around what a validation costs.

At the HIT-th passage of POINT the process sends itself SIGKILL. Everything else is `turbobatch ARGUMENTS` as it is.
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
import sys
from typing import Any

from turbobatch import cli
from turbobatch.client import TurboClient
from turbobatch.validation.store import Store

POINTS = {
    "before-upload": (TurboClient, "upload_validation_list", "before"),
    "after-upload": (TurboClient, "upload_validation_list", "after"),
    "after-note-list": (Store, "note_list", "after"),
    "after-start": (TurboClient, "start_validation", "after"),
    "after-confirm": (Store, "confirm_list", "after"),
    "after-look": (TurboClient, "validation_list", "after"),
    "before-finish": (Store, "finish_list", "before"),
    "mid-finish": (Store, "_drop", "before"),
    "after-finish": (Store, "finish_list", "after"),
    "after-note": (Store, "note", "after"),
    "after-post": (TurboClient, "validate_address", "after"),
    "after-keep": (Store, "keep", "after"),
}
"""Where a validation can be killed: around which method, and on which side of it."""


def main() -> None:
    """Install the point, run the command line."""
    name, hit, _, *arguments = sys.argv[1:]
    owner, method, side = POINTS[name]
    original, passages = getattr(owner, method), itertools.count(1)

    @functools.wraps(original)
    def wrapped(*given: Any, **options: Any) -> Any:
        is_hit = next(passages) == int(hit)
        if is_hit and side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*given, **options)
        if is_hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, method, wrapped)
    sys.argv = ["turbobatch", *arguments]
    cli.main()


if __name__ == "__main__":
    main()
