"""An audit that comes back as recipients, with its addresses corrected."""

from __future__ import annotations

AUDIT_COLUMNS = ("address", "field", "status", "reason", "category", "suggestion", "send_key", "row")
"""What an audit has before the columns of the table that was sent."""

_OWN = "row."


def audited_name(name: str) -> str:
    """What a column of the table is called in an audit, whose own names come first."""
    return f"{_OWN}{name}" if name in AUDIT_COLUMNS or str(name).startswith(_OWN) else name


def source_name(name: str) -> str:
    """What a column of an audit is called in the table that was sent."""
    return name.removeprefix(_OWN)
