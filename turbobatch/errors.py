"""Every error that turbobatch raises on purpose.

    TurboBatchError
    ├── CampaignError         a bad campaign, table or setting; nothing was sent
    ├── InvalidEmail          an email that could never be delivered as it is
    ├── AuthenticationError   the API refused the credentials
    ├── NotSentError          surely not accepted; may be tried again
    ├── InDoubtError          a POST began and no verdict came; don't send it again blindly
    ├── ManagementError       a call beside sending (analytics, suppressions, validation) brought nothing
    └── JournalError          the journal can't be opened, trusted or written

Each message is one line that says where the trouble is and what to do about it.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Fault(NamedTuple):
    """What is wrong with one field of an email: `field` by its API name, `text` worded like the API's own errors."""

    field: str
    text: str


class TurboBatchError(Exception):
    """The root of the tree: catch this to catch everything turbobatch raises on purpose."""


class CampaignError(TurboBatchError):
    """A campaign, table or setting can't be used as it is. Nothing was sent."""


class InvalidEmail(TurboBatchError):  # noqa: N818 - the public name reads as what it is
    """An email can't be sent as it is.

    Attributes:
        faults: what is wrong, field by field.
        errors: the faults' texts alone, worded like the API's own `errors`.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        self.errors = tuple(fault.text for fault in self.faults)
        super().__init__("; ".join(self.errors))


class AuthenticationError(TurboBatchError):
    """The API refused the credentials (401 or 403). Nothing was accepted."""


class NotSentError(TurboBatchError):
    """The email was surely not accepted: it may be sent again.

    Attributes:
        retry_after: seconds to wait before the next try, where the API named them.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class InDoubtError(TurboBatchError):
    """A POST began and no verdict came: the email may or may not have been accepted."""


class ManagementError(TurboBatchError):
    """Analytics, suppressions or a validation couldn't be had.

    Attributes:
        http_status: the answer's, if there was one.
        in_doubt: whether the call may have changed something or cost a credit all the same.
    """

    def __init__(self, message: str, *, http_status: int | None = None, in_doubt: bool = False) -> None:
        self.http_status = http_status
        self.in_doubt = in_doubt
        super().__init__(message)


class JournalError(TurboBatchError):
    """The journal can't be opened, trusted or written. Nothing is sent without a journal."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The clause that ends a message about an unknown name: the nearest known one, else all of them."""
    known = list(known)
    close = difflib.get_close_matches(name.lower(), [item.lower() for item in known], n=1)
    if close:
        return f"did you mean {next(item for item in known if item.lower() == close[0])!r}?"
    return f"known are {', '.join(map(repr, known))}"
