"""Counting that is compiled into templates, for what Jinja has no hooks for.

Rounds of loops, bodies of macros, blocks and files, comparisons, keys, `~` and slices pass through filters whose names
no template can spell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from jinja2 import nodes, pass_context, pass_eval_context
from jinja2.runtime import markup_join, str_join
from jinja2.visitor import NodeTransformer

from turbobatch.merge.meter import check_size, counted, made, printed, size_of, spend

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2.nodes import EvalContext
    from jinja2.runtime import Context

_EXAMINING, _ROUND, _LOOKUP, _PRINTING = 20, 20, 16, 5  # steps, beside what is read and done


class Bounding(NodeTransformer):
    """Compiles the counting into a template, where Jinja has no hook."""

    def visit_Template(self, node: nodes.Template) -> nodes.Template:  # noqa: N802 - Jinja's name
        """Count each rendering of a file; and so for macros, blocks, and bodies given to `call`."""
        spent = _spending(node)
        self.generic_visit(node)
        node.body.insert(0, spent)
        return node

    visit_Macro = visit_Block = visit_CallBlock = visit_Template  # noqa: N815 - Jinja's names

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - Jinja's name
        """Count a loop's rounds, those that its test leaves out too."""
        spent, weight = _spending(node), _ROUND + _weight(node)
        self.generic_visit(node)
        node.iter = _through("<rounds>", node.iter, weight)
        if node.recursive:  # `loop(…)` brings items of its own
            node.body.insert(0, spent)
            node.test = node.test and _through("<tested>", node.test, weight)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802 - Jinja's name
        """Size what `~` makes before it makes it."""
        self.generic_visit(node)
        return _through("<joined>", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802 - Jinja's name
        """Count what comparing reads. What is compared with a constant is read no further than that goes."""
        self.generic_visit(node)
        sides = [node.expr, *(operand.expr for operand in node.ops)]
        inside = any(operand.op in {"in", "notin"} and not _is_constant(operand.expr) for operand in node.ops)
        if inside or not any(map(_is_constant, sides)) or len(node.ops) > 1:
            node.expr = _examined(node.expr)
            for operand in node.ops:
                operand.expr = _examined(operand.expr)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Pair:  # noqa: N802 - Jinja's name
        """Count what hashing a key reads."""
        self.generic_visit(node)
        node.key = _examined(node.key)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:  # noqa: N802 - Jinja's name
        """Size a slice."""
        self.generic_visit(node)
        return _through("<sliced>", node) if isinstance(node.arg, nodes.Slice) else node


def _through(name: str, node: nodes.Node, *arguments: int) -> nodes.Filter:
    given = [nodes.Const(argument, lineno=node.lineno) for argument in arguments]
    return nodes.Filter(cast("nodes.Expr", node), name, given, [], None, None, lineno=node.lineno)


def _examined(node: nodes.Expr) -> nodes.Expr:
    return node if _is_constant(node) else _through("<examined>", node)


def _is_constant(node: nodes.Node) -> bool:
    if isinstance(node, (nodes.List, nodes.Tuple)):
        return all(map(_is_constant, node.items))
    return isinstance(node, nodes.Const)


def _spending(node: nodes.Node) -> nodes.ExprStmt:
    line = node.lineno or 1
    return nodes.ExprStmt(_through("<spent>", nodes.Const(_weight(node), lineno=line)), lineno=line)


def _weight(node: nodes.Node) -> int:
    return sum(_step(child) for child in node.find_all(nodes.Node))


def _step(node: nodes.Node) -> int:
    if isinstance(node, nodes.Output):
        return 1 + _PRINTING * len(node.nodes)
    return _LOOKUP if isinstance(node, nodes.Getattr) else 1


@pass_context  # else it would count once, when the template is compiled
def _spent(_context: Context, steps: int) -> None:
    spend(steps)


def _tested(value: Any, steps: int) -> Any:
    spend(steps)
    return value


def _examine(value: Any) -> Any:
    spend(_EXAMINING + size_of(value))
    return value


@pass_eval_context
def _join(context: EvalContext, values: list[Any]) -> str:
    for value in values:
        printed(value)
    check_size(sum(map(size_of, values)))
    joined: str = made(markup_join(values) if context.autoescape else str_join(values))
    return joined


INNER_FILTERS: dict[str, Callable[..., Any]] = {
    "<spent>": _spent, "<rounds>": counted, "<tested>": _tested, "<joined>": _join, "<examined>": _examine,
    "<sliced>": made,
}  # fmt: skip
