"""The Send API as data, no I/O: an Email becomes a Request, a Response or Failure becomes a Verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError
from turbobatch.sendapi import v1, v2
from turbobatch.sendapi.request import Request, SendApi
from turbobatch.sendapi.v1 import V1
from turbobatch.sendapi.v2 import V2
from turbobatch.sendapi.verdict import Failure, Response, Verdict, VerdictKind, judge

if TYPE_CHECKING:
    from turbobatch.email import Email

__all__ = [
    "V1",
    "V2",
    "Failure",
    "Request",
    "Response",
    "SendApi",
    "Verdict",
    "VerdictKind",
    "judge",
    "wire_fields",
]


def wire_fields(email: Email, api: str) -> dict[str, Any]:
    """The fields of `email` as `api` ("v1" or "v2") names and writes them, without credentials.

    Raises:
        CampaignError: there is no such API.
    """
    match api:
        case "v1":
            return dict(v1.fields(email))
        case "v2":
            return v2.fields(email)
    raise CampaignError(f'there is no API {api!r}: use "v1" or "v2"')
