"""What notebooks show: escaping, badges and small tables, and the masking of addresses.

A notebook that nobody has declared trusted keeps inline styles, tables, `<details>` and `<progress>`; style sheets,
SVG and frames are stripped. Colours are half transparent, so that they do on light and on dark pages.
"""

from __future__ import annotations

import html
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NO = frozenset({"", "0", "false", "no", "off"})

_AT = re.compile(r"(@|%40)")
# What stands before an @, read backwards, since a search forwards would begin anew at each character of a long text.
# Without / ? & it ends where a query's value begins; an apostrophe may have been escaped for HTML.
_LOCAL_PART_REVERSED = re.compile(r"""(?:"[^"\n]*"|(?:[\w.!#$%*+=^`{|}~'-]|;93#&)+)""")
_FIRST = re.compile(r"(?:&#39;|\W)*\w?")

_OWN_VALUE = re.compile(r"(?<!column )'[^']*[^\w'][^']*'|\S*@\S*|(?<=row )\d+")

_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")  # all but tab and line feed
_SPACE = 0x20  # the first character that is no control
_PICTURES = 0x2400  # where Unicode's pictures of control characters begin

_SHOWN = 2000  # characters of a cell
_SHOWN_TEXT = 20_000  # characters of a text
_LONG = 24  # characters from which on a cell wants some width
_GREEN, _RED, _AMBER, _GREY = "46,160,67", "218,54,51", "210,153,34", "128,128,128"
_TONES = {
    "sent": _GREEN, "finished": _GREEN, "running": _GREEN,
    "rejected": _RED, "invalid": _RED, "failed": _RED,
    "pending": _AMBER, "in_doubt": _AMBER, "paused": _AMBER, "stopping": _AMBER, "stopped": _AMBER,
    "warning": _AMBER,
}  # fmt: skip
_CELL = "text-align:{};vertical-align:top"
_BOX = f"border:1px solid rgba({_GREY},.35);border-radius:6px;margin:4px 0;max-width:64em"


class Options:
    """How things are shown; `turbobatch.options` is the one there is.

    `mask_addresses`: show `ana.rossi@example.org` as `a…@example.org` wherever this package shows an email, a preview,
    results, a check or an audit, so that saved notebooks and logs name nobody. Data isn't changed: what you take out
    of these objects, write to a file or print yourself is whole, and so is what an error says. Any value of the
    environment's TURBOBATCH_MASK_ADDRESSES but 0, false, no and off sets it.
    """

    __slots__ = ("mask_addresses",)

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.mask_addresses = environ.get("TURBOBATCH_MASK_ADDRESSES", "").strip().lower() not in _NO

    def __repr__(self) -> str:
        return f"<Options mask_addresses={self.mask_addresses}>"


options = Options()


class Html(str):
    """Text that is markup already."""

    __slots__ = ()

    def __html__(self) -> str:
        """What Jinja asks for before it escapes."""
        return self


def masked(text: str) -> str:
    """Mask what looks like an address, if the options say so; of the local part the first letter stays."""
    return mask(text) if options.mask_addresses else text


def mask(text: str) -> str:
    """The same, whatever the options say."""
    pieces = _AT.split(text)
    for place in range(0, len(pieces) - 1, 2):
        before = pieces[place]
        if match := _LOCAL_PART_REVERSED.match(before[::-1]):
            local = match[0][::-1]
            first = _FIRST.match(local)
            pieces[place] = f"{before[: -len(local)]}{first[0] if first else ''}…"
    return "".join(pieces)


def cause(problem: str) -> str:
    """What a problem says without the values that are its row's own, so that equal ones can be counted."""
    return _OWN_VALUE.sub("…", problem)


def escaped(value: object) -> Html:
    """A value as text in markup, its addresses masked if the options say so; Html stays as it is."""
    if isinstance(value, Html):
        return value
    whole = masked(str(value)).encode("utf-8", "replace").decode()  # half a character can't be saved in a notebook
    return Html(html.escape(whole))


def visible(text: str) -> str:
    """A text as every page and picture can hold it: control characters as pictures, half a character as a mark."""
    return text if text.isprintable() else _HIDDEN.sub(_seen, text)


def shortened(text: str, limit: int = _SHOWN) -> str:
    """A text's beginning, with how much more there is."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit:,} more characters)"


def badge(status: str, count: int | None = None) -> Html:
    """A status in its colour, with how many have it."""
    tone = _TONES.get(status, _GREY)
    label = escaped(status if count is None else f"{count:,} {status}")
    style = f"background:rgba({tone},.22);border-radius:8px;padding:1px 8px;white-space:nowrap"
    return Html(f'<span style="{style}">{label}</span>')


def line(*parts: object) -> Html:
    """Texts and badges side by side."""
    return Html(f'<div style="margin:4px 0;line-height:2">{" ".join(map(escaped, parts))}</div>')


def counted(counts: Mapping[str, int], *, limit: int = 8) -> Html:
    """How often something occurs, the most frequent first, as a list."""
    first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    items = "".join(f"<li>{count:,} &times; {escaped(shortened(name, 200))}</li>" for name, count in first[:limit])
    more = f"<li>and {len(first) - limit:,} more kinds</li>" if len(first) > limit else ""
    return Html(f'<ul style="margin:4px 0 4px 1.5em;padding:0">{items}{more}</ul>')


def box(*parts: Html) -> Html:
    """A frame around what belongs together."""
    return Html(f'<div style="{_BOX};padding:6px 10px">{"".join(parts)}</div>')


def facts(pairs: Iterable[tuple[str, object]]) -> Html:
    """Names and their values, one pair a line."""
    name_style = _CELL.format("left") + ";padding:1px 12px 1px 0;opacity:.7"
    value_style = _CELL.format("left") + ";padding:1px 0;overflow-wrap:anywhere"
    rows = "".join(
        f'<tr style="background:transparent"><td style="{name_style}">{escaped(name)}</td>'
        f'<td style="{value_style}">{escaped(value)}</td></tr>'
        for name, value in pairs
    )
    return Html(f'<table style="margin:0;border-collapse:collapse"><tbody>{rows}</tbody></table>')


def fold(title: str, content: Html, *, is_open: bool = True) -> Html:
    """Something that can be folded away."""
    begin = f'<details style="margin-top:8px"{" open" if is_open else ""}>'
    return Html(f"{begin}<summary>{escaped(title)}</summary>{content}</details>")


def preformatted(text: str) -> Html:
    """A text with its own line breaks, which wraps."""
    style = "white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0"
    return Html(f'<pre style="{style}">{escaped(shortened(text, _SHOWN_TEXT))}</pre>')


def table(names: Sequence[object], rows: Iterable[Sequence[object]], *, numbers: Iterable[int] = ()) -> Html:
    """A table whose long texts wrap, within a box that scrolls sideways; `numbers` tells the columns of numbers."""
    right = frozenset(numbers)
    sides = ["right" if place in right else "left" for place in range(len(names))]
    head = "".join(
        f'<th style="{_CELL.format(side)}">{escaped(name)}</th>' for side, name in zip(sides, names, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(_cell(side, cell) for side, cell in zip(sides, row, strict=True))}</tr>" for row in rows
    )
    return Html(
        f'<div style="overflow-x:auto"><table style="margin:4px 0"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(side: str, cell: object) -> str:
    if isinstance(cell, Html):
        return f'<td style="{_CELL.format(side)}">{cell}</td>'
    text = str(cell)
    width = ";min-width:10em;max-width:32em;overflow-wrap:anywhere" if len(text) > _LONG else ""
    return f'<td style="{_CELL.format(side)}{width}">{escaped(shortened(text))}</td>'


def _seen(match: re.Match[str]) -> str:
    return chr(_PICTURES + ord(match[0])) if ord(match[0]) < _SPACE else "\N{REPLACEMENT CHARACTER}"
