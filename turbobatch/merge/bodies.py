"""What a body becomes after its template: Markdown to HTML, CSS into the tags, HTML to text."""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError

if TYPE_CHECKING:
    from css_inline import CSSInliner
    from inscriptis.model.config import ParserConfig
    from markdown_it import MarkdownIt

_DOCUMENT = '<!doctype html>\n<html>\n<head><meta charset="utf-8"></head>\n<body>\n{}</body>\n</html>\n'
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
