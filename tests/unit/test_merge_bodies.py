"""Bodies: escaping, Markdown, inlined CSS, the derived text."""

from __future__ import annotations

import subprocess
import sys
from html import unescape
from typing import TYPE_CHECKING, Any

import markupsafe
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turbobatch.errors import CampaignError
from turbobatch.merge import MailMerge

if TYPE_CHECKING:
    from pathlib import Path

    from turbobatch.email import Email


def email(row: dict[str, Any], **fields: Any) -> Email:
    merge = MailMerge(from_="shop@acme.example", to="ana@acme.example", **fields)
    result = merge.bind(tuple(row)).merge(list(row.values()))
    assert result.email is not None, [str(problem) for problem in result.problems]
    return result.email


def test_html_is_escaped_and_text_is_not() -> None:
    sent = email({"name": "<b>A & B</b>"}, html="<p>{{ name }}</p>", text="{{ name }}")
    assert sent.html_content == "<p>&lt;b&gt;A &amp; B&lt;/b&gt;</p>"
    assert sent.content == "<b>A & B</b>"


@pytest.mark.unmeasured
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufdd0\ufdd1"), min_size=1, max_size=600))
@example("<b>&'\"</b>")
@example("<" * 600)
def test_every_printed_text_is_escaped(text: str) -> None:
    """Whatever its length and characters; in a block, a macro, a loop and an `autoescape` of its own as well."""
    template = (
        "{% macro shown(x) %}{{ x }}{% endmacro %}{{ t }}|{{ shown(t) }}|{% for c in [t] %}{{ c }}{% endfor %}|"
        "{% block b %}{{ t }}{% endblock %}|{% set s %}{{ t }}{% endset %}{{ s }}|"
        "{% autoescape false %}{{ t }}{% endautoescape %}|{% autoescape off %}{{ t }}{% endautoescape %}"
    )
    safe = str(markupsafe.escape(text))
    assert email({"t": text, "off": False}, html=template, text="").html_content == "|".join([*[safe] * 5, text, text])


def test_files_that_html_includes_are_escaped_whatever_their_name(tmp_path: Path) -> None:
    (tmp_path / "inner.txt").write_text("{{ name }}")
    sent = email({"name": "<b>"}, html='{% include "inner.txt" %}', text="", folder=tmp_path)
    assert sent.html_content == "&lt;b&gt;"


def test_safe_marks_html_as_html() -> None:
    assert email({"note": "<b>x</b>"}, html="{{ note | safe }}", text="").html_content == "<b>x</b>"


def test_a_text_part_is_made_from_the_html() -> None:
    html = (
        "<style>p{color:red}</style><h1>Hi {{ name }}</h1><p>Pay <a href='https://acme.example/pay?n=1'>here</a> "
        "or <a href='https://acme.example'>https://acme.example</a> "
        "or <a href='mailto:x@acme.example'>x@acme.example</a>, "
        "<a href='#top'>top</a></p><p><a href='https://acme.example/l'><img src='cid:l' alt='Logo'></a></p>"
    )
    sent = email({"name": "A <b>"}, html=html)
    assert "Hi A <b>" in sent.content
    assert "Pay here <https://acme.example/pay?n=1> or https://acme.example or x@acme.example, top" in sent.content
    assert "[Logo] <https://acme.example/l>" in sent.content
    assert "color" not in sent.content


def test_empty_text_means_no_text_part() -> None:
    assert email({}, html="<p>x</p>", text="").content == ""


def test_css_is_inlined_and_media_rules_stay() -> None:
    html = "<style>p{color:red} @media (max-width:9px){p{color:blue}}</style><p>{{ name }}</p>"
    sent = email({"name": "Ana"}, html=html, inline_css=True)
    assert '<p style="color: red;">Ana</p>' in sent.html_content
    assert "@media" in sent.html_content


def test_no_stylesheet_is_loaded_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("p{color:red}")
    link = f'<link rel="stylesheet" href="{tmp_path}/a.css"><link rel="stylesheet" href="http://127.0.0.1:9/a.css">'
    assert "color" not in email({}, html=f"{link}<p>x</p>", inline_css=True).html_content


def test_markdown_becomes_html_and_text() -> None:
    sent = email({"name": "Ana"}, markdown="# Hi {{ name }}\n\n| a | b |\n|---|---|\n| 1 | ~~2~~ |\n\n<b>no html</b>\n")
    assert sent.html_content.startswith("<!doctype html>")
    assert "<h1>Hi Ana</h1>" in sent.html_content
    assert "<td>1</td>" in sent.html_content
    assert "<s>2</s>" in sent.html_content
    assert "&lt;b&gt;no html" in sent.html_content
    assert "Hi Ana" in sent.content


@pytest.mark.parametrize(
    "value",
    [
        "*Bob*",
        "_Bob_ __B__",
        "[x](http://evil.example)",
        "![x](http://evil.example/x.png)",
        "<http://evil.example>",
        "<script>x</script>",
        "`code`",
        "# Heading",
        "- item",
        "+ item",
        "1. item",
        "1) item",
        "> quote",
        "~~~",
        "===",
        "---",
        "a | b",
        "&copy; &#42;",
        "back\\slash \\*",
        "\tindented",
        "[x]: http://evil.example",
        "12.50",
        "http://evil.example",
    ],
)
@pytest.mark.parametrize("template", ["{{ v }}", "Dear {{ v }}!", "line\n{{ v }}\n", "> {{ v }}", "- {{ v }}"])
def test_a_printed_value_stays_text_in_markdown(template: str, value: str) -> None:
    html = email({"v": value}, markdown=template, text="").html_content
    body = html.partition("<body>")[2]
    assert unescape(value).strip() in unescape(body).replace("&amp;", "&") or value.strip() in unescape(body)
    for tag in ("<em", "<strong", "<a", "<img", "<code", "<h1", "<h2", "<hr", "<ol", "<s>", "<table", "<script"):
        assert tag not in body


def test_a_value_of_several_lines_stays_in_its_paragraph() -> None:
    html = email({"v": "one\r\n\r\n# two\n    three\n- four"}, markdown="{{ v }}", text="").html_content
    assert html.partition("<body>\n")[2].startswith("<p>one<br />\n<br />\n# two<br />\nthree<br />\n- four</p>")


def test_safe_marks_a_value_as_markdown() -> None:
    sent = email({"v": "*x*"}, markdown="{{ v | safe }} {{ v }}", text="")
    assert "<em>x</em> *x*" in sent.html_content


def test_blocks_and_macros_are_not_escaped_twice() -> None:
    text = "{% macro b(x) %}**{{ x }}**{% endmacro %}{% set s %}*{{ v }}*{% endset %}{{ b(v) }} {{ s }}"
    assert "<strong>*x*</strong> <em>*x*</em>" in email({"v": "*x*"}, markdown=text, text="").html_content


def test_a_printed_address_works_in_a_markdown_link() -> None:
    sent = email({"url": "https://acme.example/a_b?(x)=1&y=2"}, markdown="[Pay]({{ url }})", text="")
    assert '<a href="https://acme.example/a_b?(x)=1&amp;y=2">Pay</a>' in sent.html_content


def test_a_link_cannot_be_broken_out_of_in_markdown() -> None:
    sent = email({"url": "https://a.example) [x](https://evil.example"}, markdown="[Pay]({{ url }})", text="")
    assert "<a" not in sent.html_content


@pytest.mark.parametrize("field", ["text", "html", "markdown"])
@pytest.mark.parametrize("char", ["\0", "\ud800"])
def test_what_no_body_can_hold_is_the_rows_problem(field: str, char: str) -> None:
    fields: dict[str, Any] = {field: "{{ a }}{{ b }}"}
    merger = MailMerge(from_="a@acme.example", to="b@acme.example", inline_css=True, **fields).bind(["a", "b"])
    (problem,) = merger.merge(["x", char]).problems
    assert (problem.field, problem.columns) == (field, ("b",))
    assert problem.error == f"{field} holds a NUL or half a character"


def test_html_that_cannot_be_converted_is_the_rows_problem() -> None:
    merger = MailMerge(from_="a@acme.example", to="b@acme.example", html="{{ x | safe }}").bind(["x"])
    (problem,) = merger.merge(['<?xml\tversion="1.0" encoding="utf-8"?><p>x']).problems
    assert problem.error.startswith("html can't be converted: ")
    assert problem.columns == ("x",)


def test_deeply_nested_html_does_no_harm() -> None:
    html = "{{ (x * 400) | safe }}"
    assert email({"x": "<div>"}, html=html, inline_css=True).html_content
    merger = MailMerge(from_="a@acme.example", to="b@acme.example", html=html * 2, inline_css=True).bind(["x"])
    (problem,) = merger.merge(["<div>"]).problems
    assert problem.error == "html can't be converted: the HTML has more than 500 elements open at once"


def test_html_and_markdown_exclude_each_other() -> None:
    with pytest.raises(CampaignError, match="html and markdown are both given; keep one of them"):
        email({}, html="x", markdown="x")


@pytest.mark.parametrize(
    ("module", "fields"),
    [
        ("css_inline", {"html": "x", "text": "", "inline_css": True}),
        ("markdown_it", {"markdown": "x", "text": ""}),
        ("inscriptis", {"html": "x"}),
    ],
)
def test_a_missing_library_shows_at_construction(
    module: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CampaignError, match=r'needs \w+; pip install "turbobatch-mail\[html\]"$'):
        email({}, **fields)


def test_importing_the_package_loads_no_optional_library() -> None:
    code = (
        "import sys, turbobatch.merge as m; m.MailMerge(from_='a@b.example', to='a@b.example', text='x');"
        "heavy = {'pandas', 'numpy', 'lxml', 'css_inline', 'markdown_it', 'inscriptis', 'requests'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout == "[]\n"
