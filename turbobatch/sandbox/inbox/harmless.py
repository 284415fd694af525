"""A message's HTML made harmless, for a frame whose policy forbids the rest (pure).

Nothing here reads HTML as a browser would: what two parsers see differently is how markup escapes a cleaner. Instead
a few names are made harmless wherever their letters stand, be it in a tag, a comment or a text. HTML reads no character
references in the names of tags and attributes, so there is no other way to write them.
"""

from __future__ import annotations

import re

# Chromium connects to where a frame or <link rel="preconnect"> points before it asks the policy. None of these could
# load anything, nor do mail programs show them. SVG's <set> and <animate> could give a link its address later.
_TAGS = re.compile("<(link|i?frame|object|embed|fencedframe|portal|animate|set)", re.IGNORECASE)
# A link leads to the top of its own document, which asks nobody; it is still a link to the style sheet.
_LINK = re.compile(r"(href[\t\n\f\r ]*=)", re.IGNORECASE)
_NOWHERE = r"\1# x-href="  # unquoted: it ends nobody's quotes
# Where forms and pings go. The name is parted by a character that nobody sees, should it be a text.
_SENDING = re.compile(r"(pi|acti)((?:ng|on)[\t\n\f\r ]*=)", re.IGNORECASE)
_PARTED = "\\1\u2060\\2"
# The attributes of this tag and of the message's own <html> are joined (HTML standard, "in body" insertion mode).
_INERT = "<html inert>"
# A doctype comes behind whitespace and comments at most, and only such comments as all readers end at the same place.
_BEGINNING = re.compile(
    r"(?:[\t\n\f\r ]|<!--(?!-?>)(?:(?!--!?>).)*-->)*(?:<!doctype[^>]*>)?", re.IGNORECASE | re.DOTALL
)


def harmless(markup: str) -> str:
    """HTML that takes no clicks, whose links lead nowhere, and that makes no connection.

    What is put in stands behind the doctype: without one at the beginning the message would be laid out in another way.
    """
    beginning = _BEGINNING.match(markup)
    place = beginning.end() if beginning else 0
    markup = _TAGS.sub(r"<x-\1", f"{markup[:place]}{_INERT}{markup[place:]}")
    return _SENDING.sub(_PARTED, _LINK.sub(_NOWHERE, markup))
