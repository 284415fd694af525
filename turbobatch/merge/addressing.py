"""Address fields, read by structure: the template's own text decides it, so a cell can't add a recipient.

In the rendering, each printed value stands between two marks; `,`, `<`, `>` and `"` mean something only outside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jinja2 import nodes

from turbobatch.addresses import Address, AddressError, holds_control, split_list
from turbobatch.email import invalid_address
from turbobatch.errors import CampaignError
from turbobatch.merge.cells import CLOSE, OPEN, unmarked
from turbobatch.typos import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator

_VALUE = re.compile(f"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE}")
_NAMED = re.compile(f"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE} ?<{OPEN}([^{OPEN}{CLOSE}]+){CLOSE}>")
"""The usual rendering, of `{{ name }} <{{ email }}>`, which needs no reading character by character."""

_BLANKS = re.compile(r"\s+")
_BLANK_RUNS = re.compile(" {2,}")


class Value(str):
    """A piece of a rendering that came from the row."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Malformed:
    """An item that is no address: what to quote, the error and the cure."""

    text: str
    error: str
    cure: str


@dataclass(slots=True)
class Item:
    """One item of a list: pieces before a literal `<`, inside `<…>` (None without one) and after it."""

    before: list[str] = field(default_factory=list)
    inside: list[str] | None = None
    after: list[str] = field(default_factory=list)
    closed: bool = False

    def add(self, piece: str) -> None:
        """Append a piece where the item has got to."""
        part = self.after if self.closed else self.before if self.inside is None else self.inside
        if part and not isinstance(piece, Value) and not isinstance(part[-1], Value):
            part[-1] += piece
        else:
            part.append(piece)

    def is_empty(self) -> bool:
        """Whether there is nothing in it but blanks."""
        return not any(piece.strip() for piece in (*self.before, *(self.inside or ()), *self.after))


def read_addresses(rendered: str, name: str) -> tuple[list[Address], list[Malformed]]:
    """Read the rendering of an address field; `name` is the field as errors quote it."""
    if usual := _NAMED.fullmatch(rendered):
        try:
            return [Address.of(_tidied(usual[1]), usual[2].strip())], []
        except AddressError:
            pass  # what is wrong is told below
    found: list[Address] = []
    malformed: list[Malformed] = []
    for item in split_items(rendered):
        for display, email, text in _candidates(item):
            try:
                found.append(_address(display, email, text))
            except AddressError as error:
                malformed.append(_malformed(error, display, name))
    return found, malformed


def split_items(rendered: str) -> Iterator[Item]:
    """Split a rendering at the literal commas outside of literal quotes and brackets; empty items don't count."""
    item = Item()
    quoted = escaped = False
    for piece in _pieces(rendered):
        if isinstance(piece, Value):
            item.add(piece)
            escaped = False
            continue
        for char in piece:
            if escaped or (quoted and char not in '"\\'):
                item.add(char)
                escaped = False
            elif char == "\\" and quoted:
                escaped = True
            elif char == '"':
                quoted = not quoted
            elif char == "," and (item.inside is None or item.closed):
                yield from () if item.is_empty() else (item,)
                item = Item()
            elif char == "<" and item.inside is None:
                item.inside = []
            elif char == ">" and item.inside is not None and not item.closed:
                item.closed = True
            else:
                item.add(char)
    yield from () if item.is_empty() else (item,)


def refuse_assembled(tree: nodes.Template, label: str) -> None:
    """Refuse an address that an expression assembles: its parts can't be told apart once it is one value.

    Raises:
        CampaignError: a `<` is joined to values with `~`, `+`, `%` or `format`.
    """
    for node in tree.find_all((nodes.Concat, nodes.Add, nodes.Mod, nodes.Call, nodes.Filter)):
        if _joins(node) and any("<" in str(part.value) for part in node.find_all(nodes.Const)):
            raise CampaignError(
                f"{label}, line {node.lineno}: an expression assembles an address; "
                'write it as text: "{{ name }} <{{ email }}>"'
            )


def _joins(node: nodes.Node) -> bool:
    match node:
        case nodes.Call():
            return isinstance(node.node, nodes.Getattr) and node.node.attr in {"format", "format_map", "join"}
        case nodes.Filter():
            return node.name in {"format", "join"}
    return True


def _pieces(rendered: str) -> Iterator[str]:
    for position, text in enumerate(_VALUE.split(rendered)):
        yield Value(text) if position % 2 else unmarked(text)


def _candidates(item: Item) -> Iterator[tuple[str | None, str, str]]:
    """The addresses of an item: display name (None: it is in the text), address, and what an error quotes."""
    if item.inside is not None:
        email = "".join(item.inside).strip()
        name = _display_name(item.before)
        if not item.closed or any(piece.strip() for piece in item.after):
            yield "", f"{name} <{email}", "".join((name, " <", email, ">" * item.closed, *item.after)).strip()
        else:
            yield name, email, email or f"{name} <>"
        return
    parts = [piece for piece in item.before if piece.strip()]
    if len(parts) == 1:
        yield from ((None, text, text) for text in split_list(parts[0]))
    else:
        joined = "".join(item.before).strip()
        yield "", joined, joined


def _display_name(pieces: list[str]) -> str:
    written = "".join(piece if isinstance(piece, Value) else _BLANKS.sub(" ", piece) for piece in pieces)
    return _tidied(written)


def _tidied(name: str) -> str:
    return (_BLANK_RUNS.sub(" ", name) if "  " in name else name).strip(" ")


def _address(display: str | None, email: str, text: str) -> Address:
    return Address.parse(text) if display is None else Address.of(display, email, text)


def _malformed(error: AddressError, display: str | None, name: str) -> Malformed:
    shown = error.text.rpartition("<")[0] if display is None else display
    if holds_control(shown):
        return Malformed(shown, f"name in '{name}' holds a line break or control character", "remove it from the cell")
    meant = suggest(error.text.rpartition("<")[2])
    cure = f"correct the address (did you mean {meant}?)" if meant else "correct the address"
    return Malformed(error.text, invalid_address(error.text, name), cure)
