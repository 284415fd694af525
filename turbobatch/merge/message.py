"""A message's compiled fields, checked as far as they can be without a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from turbobatch.merge.bodies import check_nesting, html_of_markdown, inline_css, text_of_html

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from turbobatch.merge.environment import Environments
    from turbobatch.merge.templates import Field


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """What a row is merged into. `headers` and `inline` pair a header's name or a content id with its field."""

    environments: Environments
    from_: Field
    to: Field
    cc: Field | None
    bcc: Field | None
    reply_to: Field | None
    subject: Field
    reference_id: Field | None
    text: Field | None
    html: Field | None
    markdown: Field | None
    headers: tuple[tuple[str, Field], ...]
    list_unsubscribe: Field | None
    attachments: tuple[Field, ...]
    inline: tuple[tuple[str, Field], ...]
    finish: Callable[[str], tuple[str, str]]

    def fields(self) -> Iterator[Field]:
        """All fields that the message has."""
        single = (self.from_, self.to, self.cc, self.bcc, self.reply_to, self.subject, self.reference_id)
        bodies = (self.text, self.html, self.markdown, self.list_unsubscribe)
        yield from (field for field in (*single, *bodies) if field is not None)
        yield from (field for _, field in self.headers)
        yield from self.attachments
        yield from (field for _, field in self.inline)


def finisher(*, markdown: bool, css: bool, text: bool) -> Callable[[str], tuple[str, str]]:
    """Make the function that turns a rendered body into HTML and a derived text part (empty unless `text`).

    It remembers its last result: a body that is the same in every row is converted once.
    """

    def finish(source: str) -> tuple[str, str]:
        html = html_of_markdown(source) if markdown else source
        if text or css:
            check_nesting(html)
        derived = text_of_html(html) if text else ""
        return inline_css(html) if css else html, derived

    return lru_cache(maxsize=1)(finish)
