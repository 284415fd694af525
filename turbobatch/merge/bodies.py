"""What a body becomes after its template: Markdown to HTML, CSS into the tags, HTML to text."""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError
from turbobatch.merge.meter import UnboundedError

if TYPE_CHECKING:
    from css_inline import CSSInliner
    from inscriptis.model.config import ParserConfig
    from markdown_it import MarkdownIt

_DOCUMENT = '<!doctype html>\n<html>\n<head><meta charset="utf-8"></head>\n<body>\n{}</body>\n</html>\n'
MAX_OPEN = 500
"""Elements that may be open at once. The libraries that read HTML are recursive, and one crashes at some thousands."""

_MAX_REOPENED = 1_000_000

_MARKUP = re.compile(
    r"<!--(?:-?>|.*?(?:--!?>|\Z))"  # a comment hides what is in it, `<!-->` is a whole one
    r"|<(?P<raw>script|style|textarea|title|xmp|iframe|noembed|noframes)\b[^>]*>.*?(?=</(?P=raw)\b|\Z)"
    r"|<(?P<end>/?)(?P<name>[a-z][^\s/>]*)(?:\"[^\"]*\"|'[^']*'|[^>\"'])*>?",
    re.IGNORECASE | re.DOTALL,
)
_NEVER_NESTED = frozenset({  # void elements, and those that the next of their kind closes
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
    "p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead", "tbody", "tfoot", "colgroup", "caption",
    "html", "head", "body", "a", "nobr", "button", "form", "script", "style", "textarea", "title",
})  # fmt: skip
_FORMATTING = frozenset({  # reopened in each paragraph
    "b", "big", "code", "em", "font", "i", "s", "small", "strike", "strong", "tt", "u",
})  # fmt: skip
_BARRIERS = frozenset({  # no end tag inside closes what is outside
    "table", "object", "applet", "marquee", "template", "foreignobject", "desc", "mi", "mo", "mn", "ms", "mtext",
    "annotation-xml",
})  # fmt: skip

_BARE_LINK = re.compile(r"\[(?:mailto:)?([^\[\]]+)\]\((?:mailto:|https?://)?\1/?\)")
_INNER_LINK = re.compile(r"\[([^\[\]]*)\]\((?:#|cid:)[^()\s]*\)")
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\((\w+:[^()\s]+)\)")


def require(module: str, purpose: str) -> None:
    """Check that an optional library is there before the first row needs it.

    Raises:
        CampaignError: it isn't installed.
    """
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise CampaignError(f'{purpose} needs {module}; pip install "turbobatch-mail[html]"') from error


def check_nesting(html: str) -> None:
    """Refuse HTML that is nested too deep for the libraries that read it.

    Raises:
        UnboundedError: too many elements are open at once.
    """
    if html.count("<") <= MAX_OPEN:
        return
    opened: list[str] = []
    formatting = reopened = 0
    for found in _MARKUP.finditer(html):
        name = (found["name"] or "").lower()
        if not name or name in _NEVER_NESTED:
            reopened += formatting
        elif not found["end"]:
            opened.append(name)
            formatting += name in _FORMATTING
        else:
            for closed in _closed(opened, name):
                formatting -= closed in _FORMATTING
        if len(opened) > MAX_OPEN or reopened > _MAX_REOPENED:
            raise UnboundedError(f"the HTML has more than {MAX_OPEN} elements open at once")


def _closed(opened: list[str], name: str) -> list[str]:
    """What an end tag closes: as far as its start tag, unless there is none in the same table or object."""
    if name not in opened:
        return []
    for position in range(len(opened) - 1, -1, -1):
        if opened[position] == name:
            closed = opened[position:]
            del opened[position:]
            return closed
        if opened[position] in _BARRIERS:
            break
    return []


def html_of_markdown(source: str) -> str:
    """Make a whole HTML document of Markdown (CommonMark, tables, strikethrough; HTML in it stays text)."""
    return _DOCUMENT.format(_markdown().render(source))


def inline_css(html: str) -> str:
    """Move the rules of `<style>` into the tags, for mail clients that drop it; `@media` and the like stay."""
    return _inliner().inline(html)


def text_of_html(html: str) -> str:
    """Make the text part: tables and lists laid out, an image's alt text, a link's address behind its words."""
    from inscriptis import get_text

    text: Any = get_text(html, _text_config())
    text = _INNER_LINK.sub(r"\1", _BARE_LINK.sub(r"\1", text))
    text = _LINK.sub(r"\1 <\2>", text)
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n")) + "\n"


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


@cache
def _inliner() -> CSSInliner:
    from css_inline import CSSInliner

    return CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)


@cache
def _text_config() -> ParserConfig:
    from inscriptis.css_profiles import CSS_PROFILES
    from inscriptis.model.config import ParserConfig

    return ParserConfig(css=CSS_PROFILES["strict"].copy(), display_images=True, display_links=True)
