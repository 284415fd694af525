"""The sandboxed Jinja environments: one per kind of field, all confined to the campaign's folder."""

from __future__ import annotations

import posixpath
import re
from functools import cached_property, wraps
from pathlib import Path
from types import BuiltinMethodType
from typing import TYPE_CHECKING, Any, cast

from jinja2 import BaseLoader, Template, TemplateNotFound, nodes
from jinja2.environment import TemplateModule
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from turbobatch.merge.bounds import (
    UNSAFE,
    USELESS_FILTERS,
    before_call,
    bound_filter,
    bound_test,
    check_braces,
    check_operator,
)
from turbobatch.merge.cells import Blank, Row, Unknown
from turbobatch.merge.counting import INNER_FILTERS, Bounding
from turbobatch.merge.files import FileError, Folder, read_text
from turbobatch.merge.filters import format_date, format_number
from turbobatch.merge.meter import SMALL, begin, concat, made, size_of, spend
from turbobatch.merge.printing import PrintingCode, finalizer, markdown_value, marked_value, printable, printers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from jinja2 import Environment
    from jinja2.runtime import Context

_USELESS_GLOBALS = ("lipsum", "cycler")
_LOADING = 1000  # steps: a file may have to be looked for
_INNER_ARGUMENTS = ("_loop_vars", "_block_vars")
_TEXT_METHODS = frozenset(name for name in dir(str) if not name.startswith("_")) - UNSAFE - {"format", "format_map"}
"""Those that every template may call as they are; the two left out get a sandboxed stand-in."""

_TAG = r"\{%[-+]?(?!\s*include\b)(?:[^%]|%(?!\}))*%\}|\{#(?:[^#]|#(?!\}))*#\}"
_TAG_LINE = re.compile(rf"^[ \t]*((?:(?:{_TAG})[ \t]*)+)\n", re.MULTILINE)


class FolderLoader(BaseLoader):
    """Finds what templates include, extend or import, only below the campaign's folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, None]:  # noqa: ARG002 - Jinja's interface
        """Read an included template."""
        try:
            path = self._folder.locate(template)
            text = read_text(path)
            self._folder.included.add(Path(path))
            return text.removesuffix("\n"), path, None  # the including line has a line break of its own
        except FileError as error:
            raise TemplateNotFound(template, f"template {template!r} {error.reason}") from error


class MergeTemplate(Template):
    """A template that is imported anew by each rendering: no row leaves anything behind for the next."""

    def make_module(
        self,
        vars: dict[str, Any] | None = None,  # noqa: A002 - Jinja's name
        shared: bool = False,
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - Jinja's name
    ) -> TemplateModule:
        """Render the template, within bounds, and give what it exports."""
        context = self.new_context(vars, shared, locals)
        return TemplateModule(self, context, [concat(self.root_render_func(context))])

    def _get_default_module(self, ctx: Context | None = None) -> TemplateModule:
        more = {} if ctx is None else {name: ctx.parent[name] for name in ctx.globals_keys - self.globals.keys()}
        return self.make_module(more)


class SilentNamespace(Namespace):
    """A namespace whose text is short, however much it holds."""

    def __repr__(self) -> str:
        return "<namespace>"


class MergeEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox for rows: cells before methods, unknown names fail, work and results stay bounded."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    template_class = MergeTemplate
    code_generator_class = PrintingCode
    concat = staticmethod(concat)

    def __init__(self, folder: Folder, *, finalize: Callable[[Any], Any], autoescape: bool = False) -> None:
        self.folder = folder
        self.files = FolderLoader(folder)
        super().__init__(
            loader=self.files,
            finalize=finalizer(finalize),
            autoescape=autoescape,
            undefined=Unknown,
            keep_trailing_newline=True,
            auto_reload=False,
            cache_size=-1,  # all of the folder, so that a row is never charged with compiling
            optimized=False,  # constants too are evaluated while rendering, where it is counted
        )
        self.print_text, self.print_html = printers(finalize)
        self.globals["namespace"] = SilentNamespace
        for name in _USELESS_GLOBALS:
            del self.globals[name]
        for name in USELESS_FILTERS:
            del self.filters[name]
        self.filters |= {"date": format_date, "number": format_number}
        self.filters = {name: bound_filter(name, function) for name, function in self.filters.items()} | INNER_FILTERS
        self.tests["none"] = lambda value: value is None or isinstance(value, Blank)
        self.tests = {
            name: bound_test(name, cast("Callable[..., Any]", function)) for name, function in self.tests.items()
        }

    def preprocess(self, source: str, name: str | None = None, filename: str | None = None) -> str:
        """Let a line that holds only tags leave no empty line behind; `trim_blocks` would also join other lines."""
        return _TAG_LINE.sub(_without_line_break, super().preprocess(source.replace("\r\n", "\n"), name, filename))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look up `row.name`: a column called `items` goes before the method."""
        if obj.__class__ is str and attribute in _TEXT_METHODS:  # nearly all; what the sandbox would say of them
            return getattr(obj, attribute)
        if isinstance(obj, Row) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look up `row["name"]`, and count a long text: filters copy what they look up."""
        if type(argument) not in {str, int}:
            spend(size_of(argument))
        found = super().getitem(obj, argument)
        if isinstance(found, str) and len(found) > SMALL:
            spend(len(found))
        return found

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Keep from templates what the sandbox keeps, and the methods that can't be bounded."""
        return attr not in UNSAFE and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate, unless the result would be absurdly large."""
        check_operator(operator, left, right)
        return made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method, macro or function, and count what that takes."""
        # Nearly all; of the others the sandbox has more to say.
        if obj.__class__ is BuiltinMethodType and obj.__self__.__class__ is str and obj.__name__ in _TEXT_METHODS:
            for name in _INNER_ARGUMENTS:  # of Jinja's for functions that get the context
                kwargs.pop(name, None)
            return made(obj(*before_call(obj, args, kwargs), **kwargs))
        args = before_call(obj, args, kwargs)
        return made(super().call(context, obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Let `str.format` be called as the sandbox does it, unless it pads absurdly."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        @wraps(wrapped)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            check_braces(value.__self__, (*args, *kwargs.values()))
            return made(wrapped(*args, **kwargs))

        return bounded

    def _load_template(self, name: str, globals: MutableMapping[str, Any] | None) -> Template:  # noqa: A002 - Jinja's
        spend(_LOADING)
        return super()._load_template(posixpath.normpath(name), globals)

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        steps = begin()  # compiling happens once, at one of the rows: it is no work of that row's
        try:
            return super()._generate(Bounding().visit(source), *args, **kwargs)
        finally:
            begin(steps)


class Environments:
    """The environments of one message, made when first needed."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    @cached_property
    def plain(self) -> MergeEnvironment:
        """For text, subject, headers and paths."""
        return MergeEnvironment(self.folder, finalize=printable)

    @cached_property
    def html(self) -> MergeEnvironment:
        """For HTML: printed values are escaped."""
        return MergeEnvironment(self.folder, finalize=printable, autoescape=True)

    @cached_property
    def markdown(self) -> MergeEnvironment:
        """For Markdown: printed values stay text; autoescape lets `| safe`, blocks and macros pass as Markdown."""
        return MergeEnvironment(self.folder, finalize=markdown_value, autoescape=True)

    @cached_property
    def marked(self) -> MergeEnvironment:
        """For address lists: printed values are told apart from the template's own text."""
        return MergeEnvironment(self.folder, finalize=marked_value)


def _without_line_break(match: re.Match[str]) -> str:
    # Inside the tag the line break does nothing, and line numbers stay right.
    tags = match[1].rstrip(" \t")
    end = -3 if tags[-3] in "+-" else -2
    return f"{tags[:end]}\n{tags[end:]}"
