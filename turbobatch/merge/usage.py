"""What a template uses, read from its syntax tree: names, columns, and what every row must have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import TemplateNotFound, meta, nodes

from turbobatch.merge.cells import RESERVED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from turbobatch.merge.cells import Head

    Load = Callable[[str], tuple[nodes.Template, str]]

_DEFAULTS = frozenset({"default", "d"})
_MAX_DEPTH = 20


class Reference(NamedTuple):
    """A name that a template prints whatever the row: `place` is the file or field and the line."""

    name: str
    place: str
    of_row: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What a template and the files it includes use.

    Attributes:
        names: looked up in the row, by a column's own name or alias.
        keys: constant keys and attributes where `row` or `rows` is used: columns among them count as used.
        required: printed unconditionally.
        constant: the template is plain text.
    """

    names: frozenset[str]
    keys: frozenset[str]
    required: tuple[Reference, ...]
    constant: bool

    def columns(self, head: Head) -> tuple[str, ...]:
        """The table's columns that the template uses, in the table's order."""
        used = {head.columns[head.names[name]] for name in self.names if name in head.names}
        used |= {column for column in map(head.column, self.keys) if column is not None}
        return tuple(column for column in head.columns if column in used)


def usage(tree: nodes.Template, label: str, load: Load) -> Usage:
    """Read a template's syntax tree and those of the files it includes by a constant name.

    `load` gives an included file's tree and label.

    Raises:
        TemplateNotFound, TemplateSyntaxError: an included file can't be used.
    """
    trees = _Trees(load)
    trees.visit(tree, label)
    keys = trees.keys if trees.names & RESERVED else set()
    assigned = {name.name for name in trees.find(nodes.Name) if name.ctx != "load"}
    required = tuple(it for it in trees.required if ("row" if it.of_row else it.name) not in assigned)
    return Usage(frozenset(trees.names), frozenset(keys), required, _is_constant(tree))


class _Trees:
    """Collects over a template and what it includes."""

    def __init__(self, load: Load) -> None:
        self.names: set[str] = set()
        self.keys: set[str] = set()
        self.required: list[Reference] = []
        self._load = load
        self._trees: dict[str, nodes.Template] = {}

    def visit(self, tree: nodes.Template, label: str, *, certain: bool = True, depth: int = 0) -> None:
        """Read one tree. It is `certain` if nothing decides whether it is rendered."""
        self._trees[label] = tree
        undeclared = meta.find_undeclared_variables(tree)
        self.names |= undeclared
        self.keys |= {str(node.attr) for node in tree.find_all(nodes.Getattr)}
        self.keys |= {node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)}
        extends = any(tree.find_all(nodes.Extends))
        if certain and not extends:
            self.required += _references(tree.body, undeclared, label)
        if depth < _MAX_DEPTH:
            for node in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
                top = certain and not extends and node in tree.body and isinstance(node, nodes.Include)
                self._follow(node, certain=top, depth=depth + 1)

    def find(self, kind: type[nodes.Name]) -> Iterator[nodes.Name]:
        """All nodes of a kind, in all trees."""
        for tree in self._trees.values():
            yield from tree.find_all(kind)

    def _follow(self, node: nodes.Node, *, certain: bool, depth: int) -> None:
        target = getattr(node, "template", None)
        if not isinstance(target, nodes.Const) or not isinstance(target.value, str):
            return
        try:
            tree, label = self._load(target.value)
        except TemplateNotFound:
            if getattr(node, "ignore_missing", False):
                return
            raise
        if label not in self._trees:
            self.visit(tree, label, certain=certain, depth=depth)


def _references(body: Iterable[nodes.Node], undeclared: set[str], label: str) -> Iterator[Reference]:
    for node in body:
        if isinstance(node, nodes.Output):
            for child in node.nodes:
                for name, of_row in _printed(child):
                    if of_row or name in undeclared:
                        yield Reference(name, f"{label}, line {child.lineno}", of_row)
        elif isinstance(node, (nodes.Block, nodes.With, nodes.Scope)):
            yield from _references(node.body, undeclared, label)


def _printed(node: nodes.Node) -> Iterator[tuple[str, bool]]:
    """The names that an expression can't do without, and whether each is a key of `row`."""
    match node:
        case nodes.CondExpr() | nodes.Test() | nodes.TemplateData():
            return
        case nodes.And() | nodes.Or():
            yield from _printed(node.left)
        case nodes.Filter(name=name, node=nodes.Name() | nodes.Getattr() | nodes.Getitem()) if name in _DEFAULTS:
            return
        case nodes.Getattr(node=nodes.Name(name="row"), attr=str(key)):
            yield key, True
        case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str(key))):
            yield key, True
        case nodes.Name(name=name):
            yield name, False
        case _:
            for child in node.iter_child_nodes():
                yield from _printed(child)


def _is_constant(tree: nodes.Template) -> bool:
    return all(
        isinstance(node, nodes.Output) and all(isinstance(child, nodes.TemplateData) for child in node.nodes)
        for node in tree.body
    )
