"""What both versions of the API share: the request as data, its size limit, inline images."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from turbobatch.errors import CampaignError, Fault, InvalidEmail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turbobatch.email import Email

MIB = 1024 * 1024

_CID = re.compile(r"(?<![\w-])cid:([\w.~%+!$*=/?#^`{|}@:-]+)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Request:
    """One POST. The URL, headers and body can hold credentials, so none of them is ever shown.

    `secrets` are those credentials, so that they can be kept out of what is told of the answer.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


class SendApi(Protocol):
    """One version of the API with one account's credentials."""

    @property
    def name(self) -> str:
        """`v1` or `v2`."""
        ...

    def request(self, email: Email) -> Request:
        """Build the POST that sends `email`.

        Raises:
            InvalidEmail: it is larger than the API takes.
        """
        ...


def check_size(size: int, limit: int, api: str) -> None:
    """Refuse what the API would refuse for its size, before it travels.

    Raises:
        InvalidEmail: `size` bytes are over `limit`.
    """
    if size > limit:
        text = f"email of {math.ceil(size / MIB * 10) / 10} MB is over the {limit // MIB} MB that {api} takes"
        raise InvalidEmail([Fault("size", text)])


def check_secret(name: str, value: str) -> None:
    """Refuse a credential that can't travel as a header; the value is never quoted.

    Raises:
        CampaignError: it is empty or holds a character that no header may hold.
    """
    if not value:
        raise CampaignError(f"{name} is empty")
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise CampaignError(f"{name} holds a space at an end, a line break or a character that is not ASCII")


def qualified_content_id(content_id: str, email: Email) -> str:
    """The Content-ID as the server makes it: with the sender's domain, unless it has one already."""
    return content_id if "@" in content_id else f"{content_id}@{email.from_.domain}"


def html_with_qualified_cids(email: Email) -> str:
    """Point `cid:` links at the ids that the server makes of the attachments' bare ones."""
    bare = {item.content_id for item in email.attachments if item.content_id and "@" not in item.content_id}
    if not bare:
        return email.html_content

    def qualified(match: re.Match[str]) -> str:
        return f"cid:{qualified_content_id(match[1], email)}" if match[1] in bare else match[0]

    return _CID.sub(qualified, email.html_content)
