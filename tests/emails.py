"""Emails as the tests write them, as hypothesis draws them, and as they are read back from a wire."""

from __future__ import annotations

import re
from email.header import decode_header, make_header
from typing import Any

from hypothesis import strategies as st

from turbobatch.addresses import Address
from turbobatch.email import Email

LINES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=100)
BODIES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.text("é\r\n .=<-", max_size=90)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=30) | st.text(
    ' ,"\\<=?()é', max_size=9
)
ADDRESSES = st.builds(
    Address.of,
    NAMES,
    st.sampled_from(["a@x.example", "b+c@y.example", "o'd&e=f@z.example", "g@bücher.example", "h@例え.example"]),
)
HEADERS = st.dictionaries(st.sampled_from(["X-A", "X-B", "List-Unsubscribe", "Reply-To", "reply-to"]), LINES)
CONTENT_IDS = st.from_regex(r"[\w.+-]{1,10}(@[\w.-]{1,10})?", fullmatch=True).filter(str.isascii)
EMAILS = st.builds(
    Email,
    from_=ADDRESSES,
    to=st.lists(ADDRESSES, min_size=1, max_size=3),
    cc=st.lists(ADDRESSES, max_size=3),
    bcc=st.lists(ADDRESSES, max_size=3),
    subject=LINES,
    content=BODIES,
    html_content=BODIES,
    custom_headers=HEADERS,
    reply_to=st.none() | ADDRESSES,
    reference_id=st.none() | LINES,
    campaign_id=st.none() | LINES,
)
"""Everything but files and a MIME message."""


def email(**changes: Any) -> Email:
    """A short good email, with changes."""
    return Email(**({"from_": "Acme <shop@acme.example>", "to": "ana@x.example", "subject": "Hello"} | changes))


def mailboxes(text: str) -> list[Address]:
    """Read a list as the server does: split at each comma first, then decode."""
    found = []
    for item in text.split(","):
        address = Address.parse(item)
        name = address.name if item.startswith('"') else str(make_header(decode_header(address.name)))
        found.append(Address(address.email, name))
    return found


def lines(text: str) -> list[str]:
    """The lines of a text, by the line ends that MIME knows; the last one may lack its end."""
    found = re.split("\r\n|\r|\n", text or "\n")
    return found if found[-1] else found[:-1]
