"""A message's fields as compiled templates: what each uses, how it is rendered, what went wrong in it."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.exceptions import SecurityError

from turbobatch.addresses import CONTROL
from turbobatch.errors import CampaignError
from turbobatch.merge.cells import UnknownColumnError, unmarked
from turbobatch.merge.files import FileError, read_text
from turbobatch.merge.filters import CellError
from turbobatch.merge.meter import MAX_SIZE, UnboundedError, begin, check_size
from turbobatch.merge.problems import Problem
from turbobatch.merge.usage import Usage, usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from jinja2 import Template, nodes

    from turbobatch.merge.cells import Head
    from turbobatch.merge.environment import MergeEnvironment

_UNKNOWN_NAME = re.compile(r"^No (filter|test) named '(\w+)'")
_ERROR_LENGTH = 300
_PIECE = 4  # characters that a piece of a rendering counts for beside its own: it takes memory, also an empty one


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One compiled template of a message.

    Attributes:
        name: as problems name the field.
        label: as messages name it: the field, the header or the template file.
        used: what it uses.
        constant: its text, if nothing in it depends on the row.
    """

    name: str
    label: str
    template: Template
    used: Usage
    constant: str | None

    def render(self, context: dict[str, Any]) -> str:
        """Render it for one row's context.

        Raises:
            Exception: whatever the template does wrong; `problem` words it.
        """
        if self.constant is not None:
            return self.constant
        begin()
        pieces = []
        size = 0
        template = self.template
        for piece in template.root_render_func(template.new_context(context, shared=True)):
            size += len(piece) + _PIECE
            if size > MAX_SIZE:
                check_size(size, self.label)
            pieces.append(piece)
        return "".join(pieces)

    def problem(self, error: Exception, columns: tuple[str, ...], head: Head) -> Problem:
        """Word what went wrong while rendering."""
        match error:
            case UnknownColumnError():
                name = str(error.message)
                return Problem(self.name, (), f"there is no column {name!r}", head.hint(name))
            case CellError():
                return Problem(self.name, columns, f"{self._place(error)}: {error}", "correct the cell")
        kind = "" if isinstance(error, (TemplateError, UnboundedError)) else f"{type(error).__name__}: "
        text = _one_line(_message(error))
        cure = "correct the template" if isinstance(error, SecurityError) else "correct the template or the cell"
        return Problem(self.name, columns, f"{self._place(error)}: {kind}{text}", cure)

    def _place(self, error: Exception) -> str:
        label, line = self.label, 0
        traceback: TracebackType | None = error.__traceback__
        while traceback is not None:
            template = traceback.tb_frame.f_globals.get("__jinja_template__")
            if template is not None:
                label = template.name or self.label
                line = template.get_corresponding_lineno(traceback.tb_lineno)
            traceback = traceback.tb_next
        return f"{label}, line {line}" if line else label


def blank(field: str, column: str) -> Problem:
    """Word that a field prints a missing cell."""
    return Problem(field, (column,), f"column {column!r} is blank", 'fill the cell, or print it with | default("…")')


def compile_field(
    environment: MergeEnvironment,
    name: str,
    source: str | Path,
    *,
    label: str | None = None,
    strip: bool = False,
    check: Callable[[nodes.Template, str], None] | None = None,
) -> Field:
    """Compile a template given as source, or as the path of its file (relative to the campaign's folder).

    `strip` drops blanks at the source's ends. `check` may refuse the syntax tree.

    Raises:
        CampaignError: the file or the template can't be used.
    """
    label = label or name
    if isinstance(source, Path):
        source, label = _read(environment.folder.root, source, name)
    source = unmarked(source.strip(" \t\r\n") if strip else source)
    try:
        tree = environment.parse(source)
        if check:
            check(tree, label)
        begin()
        template = environment.from_string(environment.parse(source))  # its own tree: bounds are compiled into it
        template.globals = {}  # ours come with the row, and each rendering would copy the names of these
        used = usage(tree, label, lambda included: _load(environment, included))
    except TemplateSyntaxError as error:
        place = f"{error.name or label}, line {error.lineno}"
        raise CampaignError(f"{place}: {_one_line(_message(error))}; {_cure(environment, error)}") from error
    except TemplateNotFound as error:
        raise CampaignError(f"{label}: {_one_line(_message(error))}; correct the name, or add the file") from error
    except (RecursionError, SyntaxError, ValueError, OverflowError, MemoryError) as error:
        raise CampaignError(f"{label}: the template is too complex ({type(error).__name__}); simplify it") from error
    return Field(name, label, template, used, source if used.constant else None)


def _read(root: Path, path: Path, name: str) -> tuple[str, str]:
    try:
        return read_text(root / path), str(path)
    except FileError as error:
        raise CampaignError(f"{name}: template file {str(path)!r} {error.reason}; {error.cure}") from error


def _load(environment: MergeEnvironment, name: str) -> tuple[nodes.Template, str]:
    environment.get_template(name)  # compiled now, so that its faults show before anything is sent
    source, _, _ = environment.files.get_source(environment, name)
    return environment.parse(source, name), name


def _cure(environment: MergeEnvironment, error: TemplateSyntaxError) -> str:
    unknown = _UNKNOWN_NAME.match(_message(error))
    if unknown:
        known = environment.filters if unknown[1] == "filter" else environment.tests
        close = difflib.get_close_matches(unknown[2], known, n=1)
        if close:
            return f"did you mean {close[0]!r}?"
    return "correct the template"


def _message(error: Exception) -> str:
    return (error.message if isinstance(error, TemplateError) else None) or str(error)


def _one_line(text: str) -> str:
    return CONTROL.sub(" ", text)[:_ERROR_LENGTH]
