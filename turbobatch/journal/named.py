"""SQL in files: one statement below each line `-- name: …`."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files


@cache
def statements(file: str) -> dict[str, str]:
    """The statements of a file of this package, by name."""
    text = files("turbobatch.journal").joinpath(file).read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
