"""A template that loops for ever, grows a giant value or nests too deep is a problem of its row, and ends soon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.hostile_templates import HOSTILE, write_files
from turbobatch.errors import CampaignError
from turbobatch.merge import MailMerge, meter

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("hostile_templates.py")


def outcomes(cases: list[dict[str, Any]], folder: Path, *, part: int = 1) -> list[dict[str, Any]]:
    """What became of each case, in a process with little memory and little time.

    `part`: 8 for an eighth of the size that is allowed, which takes an eighth of the time where sizes are counted.
    """
    write_files(folder)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), str(part)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        # Without coverage, which would take several times as long: what is measured here is time and memory.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        | {"PYTHONPATH": str(ROOT)},
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    died = cases[len(told)] if len(told) < len(cases) else None
    assert died is None, f"exit code {done.returncode} at {died}: {done.stderr[-500:]}"
    return told


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_template_is_its_rows_problem_or_gives_a_bounded_result(kind: str, tmp_path: Path) -> None:
    """Each ends within little memory and time, and never for want of memory."""
    cases = [{"fields": {"text": template}} for template in HOSTILE[kind]]
    for case, told in zip(cases, outcomes(cases, tmp_path, part=8 if kind == "nesting" else 1), strict=True):
        assert "MemoryError" not in told.get("error", ""), case
        assert told.get("size", 0) <= 2**24, case


def test_html_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    """A library would crash the process; whatever hides the nesting from a plain count."""
    nested = ["<div>", "<div><object></div>", "<!--><div>", "<div a='>'>", "<DIV\n>", "<svg><desc></svg>", "<b x><p>"]
    cases = [{"fields": {"html": "{{ cell | safe }}"}, "cell": piece * 20_000} for piece in nested]
    cases.append({"fields": {"markdown": "{{ cell | safe }}"}, "cell": "> " * 20_000 + "x"})
    for told in outcomes(cases[:-1], tmp_path):
        assert told["error"] == "html can't be converted: the HTML has more than 500 elements open at once"
    assert outcomes(cases[-1:], tmp_path)


def error_of(text: str) -> str:
    """The one problem of a row whose text has this template."""
    merger = MailMerge(from_="a@acme.example", to="{{ email }}", text="{{ email }}" + text).bind(["email"])
    (problem,) = merger.merge(["b@example.org"]).problems
    assert problem.field == "text"
    assert problem.cure == "correct the template or the cell"
    return problem.error


@pytest.mark.parametrize(
    ("template", "error"),
    [
        pytest.param("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
                     "text, line 1: the template doesn't end, or does far more work than an email takes",
                     marks=pytest.mark.unmeasured),
        ("{{ 'x' * 10**10 }}", "text, line 1: a value that the template makes is over 16 MB"),
        ("{{ [1] * 10**10 }}", "text, line 1: a list that the template makes has more than 1,000,000 items"),
        ("{{ '%*d' % (10**9, 1) }}", "text, line 1: a width in a format comes from a value"),
        ("{{ '%999999999d' % 1 }}", "text, line 1: a format's result is over 16 MB"),
        ("{{ 5 | round(-10**9) }}", "text, line 1: a filter's argument is over 10,000"),
        ("{{ 9 ** 9999 }}", "text, line 1: the template calculates a number of more than a thousand digits"),
    ],
)  # fmt: skip
def test_the_problem_says_where_and_what(template: str, error: str) -> None:
    assert error_of(template) == error


def render(text: str, values: dict[str, Any] | None = None) -> str:
    """The text part of a row without problems."""
    return MailMerge(from_="a@acme.example", to="b@example.org", text=text).render(values or {}).content


@pytest.mark.unmeasured
def test_a_group_of_100_000_rows_renders() -> None:
    """With filters, macros and sums."""
    text = (
        "{% macro line(r) %}{{ r.name | upper }} {{ '%.2f' % r.price }} {{ r.n | number(2) }}\n{% endmacro %}"
        "{% for r in rows | sort(attribute='name') %}{% if r.price > 1 %}{{ loop.index }}: {{ line(r) }}{% endif %}"
        "{% endfor %}{{ rows | sum(attribute='n') }}"
    )
    merger = MailMerge(from_="a@acme.example", to="b@example.org", text=text).bind(["name", "price", "n"])
    rows = [[f"n{number:06}", 2.5, number] for number in range(100_000)]
    merged = merger.merge(rows[0], rows)
    assert merged.problems == ()
    assert merged.email is not None
    assert merged.email.content.endswith(f"100000: N099999 2.50 99999.00\n{sum(range(100_000))}")


def test_large_texts_and_formats_pass() -> None:
    """Two megabytes; formats that hold stars, braces and long numbers as text."""
    big = "some words " * 190_000
    text = "{{ t | upper | length }} {{ t.split() | length }} {{ t | replace('words', 'w') | length }}"
    assert render(text, {"t": big}) == f"{len(big)} 380000 {len(big) - 4 * 190_000}"
    assert render("{{ 'Call 0800123456, 2 * 3: %05.1f' % 2 }}{{ '{{}} {:*>5}'.format(1) }}") == (
        "Call 0800123456, 2 * 3: 002.0{} ****1"
    )


@pytest.mark.unmeasured
def test_an_ordinary_newsletter_is_not_too_deep() -> None:
    """300 KB, tables 60 deep, paragraphs and list items that are never closed, conditional comments."""
    row = (
        "<tr><td><p>Hi <b>you</b><br><img src='x'><ul><li>a<li>b</ul><!--[if mso]><table><tr><td><![endif]--></td></tr>"
    )
    html = "<table>" + "<tr><td><table>" * 59 + row * 2800 + "</table></td></tr>" * 59 + "</table>"
    assert len(html) > 300_000
    assert MailMerge(from_="a@acme.example", to="b@example.org", html=html).render({}).content.startswith("Hi")


def test_each_field_and_row_counts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is for one rendering, not for a campaign: six together do more than one may."""
    monkeypatch.setattr(meter, "MAX_STEPS", 2_000_000)
    loop = "{% for a in range(2250) %}{% for b in range(4) %}{% endfor %}{% endfor %}"
    merger = MailMerge(from_="a@acme.example", to="{{ email }}", subject=loop, text=loop + "{{ email }}").bind(
        ["email"]
    )
    assert [merger.merge([f"b{number}@example.org"]).problems for number in range(3)] == [(), (), ()]
    assert "the template doesn't end" in error_of(loop * 6)


def test_no_row_leaves_anything_for_the_next(tmp_path: Path) -> None:
    """What is imported is imported anew."""
    (tmp_path / "lib").write_text(
        "{% set n = namespace(i=0) %}{% macro m() %}{% set n.i = n.i + 1 %}{{ n.i }}{% endmacro %}", encoding="utf-8"
    )
    text = "{% import 'lib' as lib %}{{ lib.m() }}{{ lib.m() }}"
    merger = MailMerge(from_="a@acme.example", to="b@example.org", text=text, folder=tmp_path).bind([])
    emails = [merger.merge([]).email for _ in range(2)]
    assert [email.content for email in emails if email is not None] == ["12", "12"]


def test_loops_keep_their_variables() -> None:
    """Counting leaves `loop`, filters, `else` and recursion as they are."""
    text = (
        "{% for x in [3, 1, 2] if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ '' if loop.last else ', ' }}"
        "{% else %}none{% endfor %}"
        "{% for x in [] %}{% else %} empty{% endfor %}"
        "{% for x in [[1, [2]], 3] recursive %}"
        "{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}"
    )
    assert render(text) == "1/2:3, 2/2:2 empty(1(2))3"


def test_ordinary_texts_may_grow() -> None:
    """Padding, joining and formatting of what emails hold are no growth."""
    padded = "{{ 'a'.ljust(20) }}|{{ '%08.2f' % 1.5 }}|"
    text = padded + "{{ ['a', 'b'] | join(', ') }}|{{ 'a-b'.replace('-', '+') }}|{{ 'a' ~ 1 }}"
    assert render(text) == "a                   |00001.50|a, b|a+b|a1"


LEAVES = st.sampled_from(["x", "1", "'ab'", "[x, 2]", "(1, x)", "{'k': x}", "range(9)", "2.5", "none", "rows", "row"])
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "*", "**", "%", "~", "in", "==", "<", "-", "//"]), inner).map(
            lambda it: f"({it[0]} {it[1]} {it[2]})"
        ),
        st.tuples(
            inner,
            st.sampled_from(["list", "string", "join", "sort", "tojson", "round", "upper", "batch(2)", "map('int')"]),
        ).map(lambda it: f"({it[0]} | {it[1]})"),
        st.tuples(inner, st.sampled_from(["split()", "count(x)", "format(x)", "items()", "center(9)"])).map(
            lambda it: f"{it[0]}.{it[1]}"
        ),
        inner.map(lambda it: f"[{it}, x][::2]"),  # Python warns of a slice of a number that is written out
    ),
    max_leaves=8,
)
TEMPLATES = st.recursive(
    EXPRESSIONS.map(lambda it: f"{{{{ {it} }}}}"),
    lambda inner: st.one_of(
        st.tuples(EXPRESSIONS, inner).map(lambda it: f"{{% for x in {it[0]} %}}{it[1]}{{% endfor %}}"),
        inner.map(lambda it: f"{{% macro m(x) %}}{it}{{{{ m(x) }}}}{{% endmacro %}}{{{{ m(1) }}}}"),
        st.tuples(inner, inner).map("".join),
        inner.map(lambda it: f"{{% set x %}}{it}{{% endset %}}{{{{ x }}}}"),
    ),
    max_leaves=4,
)


@pytest.mark.unmeasured
@given(template=TEMPLATES)
@settings(max_examples=150, deadline=None)
def test_any_template_gives_an_email_or_problems(template: str) -> None:
    """Whatever is put together of what templates can do; `row.split()` is told before any row is merged."""
    message = MailMerge(from_="a@acme.example", to="b@example.org", text=template)
    try:
        merger = message.bind(["x"])
    except CampaignError as error:
        assert "there is no column" in str(error)  # noqa: PT017 - most templates have no such error
        return
    merged = merger.merge(["word"])
    assert (merged.email is None) == bool(merged.problems)
