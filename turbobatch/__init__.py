"""A table in, one email per row through the turboSMTP Send API, one honest verdict per row out.

    import turbobatch as tb

    campaign = tb.Campaign.load("sample_data/receipts")
    campaign.check()                                   # one row per problem; nothing is sent
    results = campaign.send(client=tb.TurboClient.from_env())
    tb.write_report(results, "report.parquet")

Names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from turbobatch._version import __version__

if TYPE_CHECKING:
    from turbobatch.addresses import Address
    from turbobatch.audit import audit
    from turbobatch.campaign import Campaign
    from turbobatch.client import SendResult, TurboClient
    from turbobatch.console import Console
    from turbobatch.delivery import with_delivery
    from turbobatch.email import Attachment, Email
    from turbobatch.errors import (
        AuthenticationError,
        CampaignError,
        InDoubtError,
        InvalidEmail,
        JournalError,
        ManagementError,
        NotSentError,
        TurboBatchError,
    )
    from turbobatch.markup import options
    from turbobatch.merge import MailMerge
    from turbobatch.policy import Status
    from turbobatch.report import read_report, write_report
    from turbobatch.run import Progress, Run
    from turbobatch.sandbox import Sandbox
    from turbobatch.summary import summary

__all__ = [
    "Address",
    "Attachment",
    "AuthenticationError",
    "Campaign",
    "CampaignError",
    "Console",
    "Email",
    "InDoubtError",
    "InvalidEmail",
    "JournalError",
    "MailMerge",
    "ManagementError",
    "NotSentError",
    "Progress",
    "Run",
    "Sandbox",
    "SendResult",
    "Status",
    "TurboBatchError",
    "TurboClient",
    "__version__",
    "audit",
    "options",
    "read_report",
    "summary",
    "with_delivery",
    "write_report",
]

_HOMES = {
    "addresses": ("Address",),
    "audit": ("audit",),
    "campaign": ("Campaign",),
    "client": ("SendResult", "TurboClient"),
    "console": ("Console",),
    "delivery": ("with_delivery",),
    "email": ("Attachment", "Email"),
    "errors": (
        "AuthenticationError",
        "CampaignError",
        "InDoubtError",
        "InvalidEmail",
        "JournalError",
        "ManagementError",
        "NotSentError",
        "TurboBatchError",
    ),
    "markup": ("options",),
    "merge": ("MailMerge",),
    "policy": ("Status",),
    "report": ("read_report", "write_report"),
    "run": ("Progress", "Run"),
    "sandbox": ("Sandbox",),
    "summary": ("summary",),
}


def _register_accessor() -> None:
    """Give DataFrames their `turbobatch`, if somebody has imported pandas: nobody is to wait for it."""
    if sys.modules.get("pandas") is not None:
        import_module("turbobatch.accessor")


class _Package(ModuleType):
    """The package's own type: `audit` and `summary` are functions, though importing the modules would bind them."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"audit", "summary"} and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)
        if name == "frames":  # the first results, check or audit: by now pandas is there
            _register_accessor()


sys.modules[__name__].__class__ = _Package
_register_accessor()


def __getattr__(name: str) -> Any:
    _register_accessor()
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"turbobatch.{module}"), name)
    raise AttributeError(f"module 'turbobatch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
