"""Templates: what they see of a row, what they may do, what a mistake in one says."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from turbobatch.errors import CampaignError
from turbobatch.merge import MailMerge, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence


def message(text: str | Path, **fields: Any) -> MailMerge:
    return MailMerge(**{"from_": "shop@acme.example", "to": "ana@acme.example", "text": text} | fields)


def rendered(text: str | Path, row: dict[str, Any], rows: Sequence[Sequence[Any]] | None = None, **fields: Any) -> str:
    result = message(text, **fields).bind(tuple(row)).merge(list(row.values()), rows)
    assert result.email is not None, [str(problem) for problem in result.problems]
    return result.email.content


def problems(text: str | Path, row: dict[str, Any], **fields: Any) -> tuple[Problem, ...]:
    result = message(text, **fields).bind(tuple(row)).merge(list(row.values()))
    assert result.email is None
    return result.problems


# --- Names ---


def test_columns_go_by_their_names_and_aliases() -> None:
    row = {"name": "Ana", "First Name": "A", "1st €": "B", "Größe": "C"}
    assert rendered("{{ name }} {{ first_name }} {{ _1st_ }} {{ Größe }}", row) == "Ana A B C"
    assert rendered('{{ row["First Name"] }} {{ row.first_name }} {{ row["first_name"] }} {{ row.name }}', row) == (
        "A A A Ana"
    )


def test_an_alias_is_offered_only_where_it_is_unambiguous() -> None:
    row = {"First Name": "A", "first-name": "B"}
    with pytest.raises(CampaignError, match=r'text, line 1: there is no column \'first_name\'; did you mean row\["'):
        rendered("{{ first_name }}", row)
    assert rendered('{{ row["first-name"] }}', row) == "B"


def test_an_alias_never_shadows_a_column() -> None:
    assert rendered("{{ first_name }}", {"First Name": "A", "first_name": "B"}) == "B"


def test_columns_called_row_or_like_methods_are_reachable() -> None:
    row = {"row": "1", "rows": "2", "items": "3", "keys": "4"}
    assert rendered('{{ row["row"] }}{{ row.rows }}{{ row.items }}{{ row["keys"] }}{{ items }}', row) == "12343"
    assert rendered("{{ rows | length }}", row) == "1"
    assert rendered("{{ row.values() | join }}", row) == "1234"


def test_a_row_is_a_mapping() -> None:
    row = {"a": "1", "b": "2"}
    assert rendered("{% for name, cell in row.items() %}{{ name }}={{ cell }} {% endfor %}{{ row | length }}", row) == (
        "a=1 b=2 2"
    )
    assert rendered("{{ row }}", row) == "{'a': '1', 'b': '2'}"
    assert rendered("{{ 'a' in row }} {{ 'x' in row }}", row) == "True False"


def test_group_rows_are_all_visible() -> None:
    text = "{{ name }}:{% for item in rows %} {{ item.what }}={{ item.price | default('free') }}{% endfor %}"
    rows: list[list[Any]] = [["Ana", "pen", "1"], ["Ana", "ink", None]]
    assert rendered(text, {"name": "Ana", "what": "pen", "price": "1"}, rows) == "Ana: pen=1 ink=free"


def test_without_a_group_rows_holds_the_row() -> None:
    assert rendered("{% for item in rows %}{{ item.a }}{% endfor %}", {"a": "1"}) == "1"


def test_a_blank_in_any_row_of_a_group_is_a_problem() -> None:
    merger = message("{% for item in rows %}{{ item.a }}{% endfor %}").bind(["a"])
    (problem,) = merger.merge(["1"], [["1"], [None]]).problems
    assert (problem.error, problem.columns) == ("column 'a' is blank", ("a",))


# --- Missing cells ---


@pytest.mark.parametrize("missing", [None, "", math.nan, np.nan, pd.NA, pd.NaT, Decimal("NaN")])
def test_missing_cells_are_falsy_take_a_default_and_equal_empty_text(missing: Any) -> None:
    text = (
        '{% if x %}A{% endif %}{{ x | default("B") }}{% if x == "" %}C{% endif %}{% if x is none %}D{% endif %}'
        '{% if x is defined %}E{% endif %}{{ x | length }}{% for i in x %}F{% endfor %}{% if x != "y" %}G{% endif %}'
    )
    assert rendered(text, {"x": missing}) == "BCD0G"


def test_blank_cells_equal_each_other_and_nothing_else() -> None:
    row = {"a": None, "b": None, "c": "c"}
    assert rendered("{{ a == b }} {{ a == none }} {{ a == c }} {{ a == 0 }} {{ a in ['', 'x'] }}", row) == (
        "True True False False True"
    )
    assert rendered("{{ {'': 'found'}[a] }}", row) == "found"


@pytest.mark.parametrize(
    "expression",
    [
        "total",
        "row.total",
        "total | upper",
        "total ~ '!'",
        "'%s' % total",
        "total.strip()",
        "total()",
        "total + 1",
        "total * 2",
        "total | int",
        "total | float",
        "total | round",
        "total | number(2)",
        "total | date",
        "total > 5",
        "[total]",
        "total[0]",
        "{'a': total}",
    ],
)
def test_using_a_blank_cell_is_a_problem(expression: str) -> None:
    (problem,) = problems(f"{{{{ {expression} }}}}", {"name": "Ana", "total": None})
    assert problem == Problem(
        "text", ("total",), "column 'total' is blank", 'fill the cell, or print it with | default("…")'
    )
    assert str(problem) == "text: column 'total' is blank; fill the cell, or print it with | default(\"…\")"


def test_all_problems_of_a_row_are_found_and_each_only_once() -> None:
    found = problems("{{ a }} {{ b }} {{ a }}", {"a": None, "b": None, "c": "x\ny"}, subject="{{ c }}", html="{{ b }}")
    assert [item.error for item in found] == [
        "subject holds a line break or control character",
        "column 'a' is blank",
        "column 'b' is blank",
    ]


# --- Unknown columns ---


def test_an_unknown_column_printed_in_every_row_is_the_campaigns_fault() -> None:
    with pytest.raises(CampaignError, match=r"text, line 2: there is no column 'totl'; did you mean 'total'\?"):
        message("Dear {{ name }},\n{{ totl | upper }}").bind(["name", "total"])


@pytest.mark.parametrize(
    "text",
    [
        "{{ row.totl }}",
        '{{ row["totl"] }}',
        "{{ totl ~ name }}",
        "{{ totl or 1 }}",
        "{% block b %}{{ totl }}{% endblock %}",
        "{% with x = 1 %}{{ totl }}{% endwith %}",
        "{{ [totl] }}",
    ],
)
def test_the_check_sees_through_expressions(text: str) -> None:
    with pytest.raises(CampaignError, match=r"there is no column 'totl'; did you mean 'total'\?"):
        message(text).bind(["name", "total"])


def test_the_check_covers_every_field(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('{% include "b.txt" %}')
    (tmp_path / "b.txt").write_text("\n{{ totl }}")
    with pytest.raises(CampaignError, match=r"^b\.txt, line 2: there is no column 'totl'; the table has 'x'$"):
        message(Path("a.txt"), folder=tmp_path).bind(["x"])
    with pytest.raises(
        CampaignError, match=r"^header 'X-A', line 1: there is no column 'y'; the table has no columns$"
    ):
        message("x", headers={"X-A": "{{ y }}"}).bind([])
    with pytest.raises(CampaignError, match=r"^to, line 1: there is no column 'emial'; did you mean 'email'\?$"):
        message("x", to="{{ emial }}").bind(["email"])


@pytest.mark.parametrize(
    "text",
    [
        "{% if name %}{{ totl }}{% endif %}",
        "{{ totl if name else 1 }}",
        "{% for i in rows %}{{ totl }}{% endfor %}",
        "{{ name and totl }}",
        "{% if totl %}x{% endif %}",
    ],
)
def test_an_unknown_column_behind_a_condition_is_the_rows_problem(text: str) -> None:
    (problem,) = problems(text, {"name": "Ana", "total": "1"})
    assert (problem.error, problem.cure) == ("there is no column 'totl'", "did you mean 'total'?")


def test_unknown_columns_may_be_asked_for() -> None:
    text = '{{ totl | default("-") }}{{ totl is defined }}{{ row.x | d("-") }}{% set y = 1 %}{{ y }}{{ name or z }}'
    assert rendered(text, {"name": "Ana"}) == "-False-1Ana"


def test_names_that_the_template_makes_are_no_columns(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("{% macro hi(n) %}Hi {{ n }}{% endmacro %}")
    (tmp_path / "inner.txt").write_text("{{ greeting }}")
    text = '{% from "m.txt" import hi %}{% set greeting = "Yo" %}{{ hi(name) }} {% include "inner.txt" %}'
    assert rendered(text, {"name": "Ana"}, folder=tmp_path) == "Hi Ana Yo"


def test_an_attribute_that_a_value_lacks_is_a_problem() -> None:
    (problem,) = problems("{{ name.foo }}", {"name": "Ana"})
    assert problem.error == "text, line 1: 'str object' has no attribute 'foo'"
    assert problem.columns == ("name",)


def test_many_columns_are_not_all_listed() -> None:
    with pytest.raises(CampaignError, match=r"the table has 'c0', .*'c7', …$"):
        message("{{ zzzzzz }}").bind([f"c{i}" for i in range(20)])


# --- Mistakes and malice ---


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("'a' + 1", "TypeError: "),
        ("x.__class__", "access to attribute '__class__' of 'str' object is unsafe."),
        ("x.__class__.__mro__", "access to attribute '__class__' of 'str' object is unsafe."),
        ("tags.append(1)", "access to attribute 'append' of 'list' object is unsafe"),
        ("range(10**9)", "OverflowError: Range too big"),
        ("x * 10**9", "a value that the template makes is over 16 MB"),
        ("10**9 * x", "a value that the template makes is over 16 MB"),
        ("2 ** 100000", "the template calculates a number of more than a thousand digits"),
        ("(10**1000) * (10**1000)", "the template calculates a number of more than a thousand digits"),
        ("x.upper", "TypeError: upper is a function: call it with ()"),
        ("include_nothing()", "there is no column 'include_nothing'"),
        ("x | date", "'x' is not a date such as 2026-11-30"),
        ("tags | date", "['t'] is not a date"),
        ("x | number", "'x' is not a number such as 1234.50"),
        ("true | number", "True is not a number such as 1234.50"),
        ("'1e999' | number(2)", "'1e999' is not a number such as 1234.50"),
        ("1 | number(99)", "a number has 0 to 12 decimals, not 99"),
    ],
)
def test_whatever_an_expression_does_wrong_is_the_rows_problem(expression: str, error: str) -> None:
    (problem,) = problems(f"{{% if x %}}\n{{{{ {expression} }}}}{{% endif %}}", {"x": "x", "tags": ["t"]})
    place = "" if "column" in error else "text, line 2: "
    assert problem.error.startswith(place + error)
    assert problem.cure


def test_a_field_beyond_what_an_email_can_hold_is_a_problem() -> None:
    text = "{% for i in range(100) %}{{ x * 400000 }}{% endfor %}"
    (problem,) = problems(text, {"x": "x"})
    assert problem.error == "text: text is over 16 MB"


def test_endless_recursion_is_a_problem() -> None:
    (problem,) = problems("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", {"x": "x"})
    assert "RecursionError" in problem.error


def test_doubling_text_is_bounded() -> None:
    text = "{% set n = namespace(t=x) %}{% for i in range(60) %}{% set n.t = n.t + n.t %}{% endfor %}{{ n.t }}"
    (problem,) = problems(text, {"x": "x"})
    assert "a value that the template makes is over 16 MB" in problem.error


def test_row_data_is_never_a_template() -> None:
    assert rendered("{{ x }}", {"x": "{{ 1 + 1 }}{% raw %}"}) == "{{ 1 + 1 }}{% raw %}"


def test_useless_and_unrepeatable_helpers_are_gone() -> None:
    for name in ("lipsum", "cycler"):
        with pytest.raises(CampaignError, match=f"no column '{name}'"):
            message(f"{{{{ {name}() }}}}").bind(["x"])
    with pytest.raises(CampaignError, match="No filter named 'random'"):
        message("{{ x | random }}")
    assert rendered("{{ range(3) | list }}{% set n = namespace(a=1) %}{{ n.a }}", {"x": "1"}) == "[0, 1, 2]1"


def test_a_value_that_cannot_be_read_is_the_rows_problem() -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    (problem,) = problems('{{ x | default("") }}', {"x": Broken()})
    assert problem.error == "column 'x' holds a value that can't be read (RuntimeError)"


def test_values_of_numpy_are_plain_values() -> None:
    row = {"n": np.int64(7), "tags": np.array(["a", "b"]), "pairs": {"k": np.float64(1.5)}, "set": {"b", "a"}}
    assert rendered("{{ n + 1 }} {{ tags | join('-') }} {{ pairs.k }} {{ set | join }}", row) == "8 a-b 1.5 ab"
    (problem,) = problems("{{ tags.tofile('x') }}", row)
    assert "has no attribute 'tofile'" in problem.error


# --- Compilation ---


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a\n{% if x %}", r"^text, line 2: Unexpected end of template\..*; correct the template$"),
        ("{{ x | numbr }}", r"^text, line 1: No filter named 'numbr'\.; did you mean 'number'\?$"),
        ("{{ x is zzzzz }}", r"^text, line 1: No test named 'zzzzz'\.; correct the template$"),
        ("{{ " + "(" * 5000, r"^text: the template is too complex \(RecursionError\); simplify it$"),
    ],
)
def test_a_syntax_error_is_the_campaigns_fault(text: str, error: str) -> None:
    with pytest.raises(CampaignError, match=error):
        message(text)


def test_a_template_file_is_named_in_errors(tmp_path: Path) -> None:
    (tmp_path / "receipt.txt").write_text("a\n{{ }")
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    (tmp_path / "outer.txt").write_text('{% include "receipt.txt" %}')
    with pytest.raises(CampaignError, match=r"^receipt\.txt, line 2: unexpected '}'; correct the template$"):
        message(Path("receipt.txt"), folder=tmp_path)
    with pytest.raises(CampaignError, match=r"^receipt\.txt, line 2: unexpected '}'"):
        message(Path("outer.txt"), folder=tmp_path)
    with pytest.raises(CampaignError, match=r"^text: template file 'none\.txt' not found; put the file there$"):
        message(Path("none.txt"), folder=tmp_path)
    with pytest.raises(CampaignError, match=r"is not UTF-8 text \(byte 0\); save the file as UTF-8$"):
        message(Path("latin.txt"), folder=tmp_path)


def test_template_files_are_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("\ufeffHi {{ name }}\r\n", newline="")
    assert rendered(Path("a.txt"), {"name": "Ana"}) == "Hi Ana\n"


def test_a_missing_folder_is_the_campaigns_fault(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"folder .* not found"):
        message("x", folder=tmp_path / "none")


# --- Included files ---


@pytest.mark.parametrize("name", ["../secret.txt", "link.txt", "sub/../../secret.txt", "{folder}/../secret.txt"])
@pytest.mark.parametrize("tag", ['{{% include "{}" %}}', '{{% extends "{}" %}}', '{{% import "{}" as m %}}'])
def test_nothing_outside_the_folder_can_be_included(tmp_path: Path, name: str, tag: str) -> None:
    folder = tmp_path / "campaign"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(CampaignError, match=r"lies outside the campaign's folder|is an absolute path"):
        message(tag.format(name.format(folder=folder)), folder=folder)


def test_a_cell_cannot_include_a_file_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "campaign"
    folder.mkdir()
    (problem,) = problems("{% include lang %}", {"lang": "../secret.txt"}, folder=folder)
    assert problem.error == "text, line 1: template '../secret.txt' lies outside the campaign's folder"
    assert problem.columns == ("lang",)


def test_includes_within_the_folder_work(tmp_path: Path) -> None:
    (tmp_path / "greet.txt").write_text("Dear {{ name }},\n")
    (tmp_path / "real.txt").write_text("real")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    (tmp_path / "base.txt").write_text("<{% block body %}{% endblock %}>")
    row = {"name": "Ana"}
    assert rendered('{% include "greet.txt" %}\nHi', row, folder=tmp_path) == "Dear Ana,\nHi"
    assert rendered('{% include "link.txt" %}{% include "no.txt" ignore missing %}', row, folder=tmp_path) == "real"
    text = '{% extends "base.txt" %}{% block body %}{{ name }}{% endblock %}'
    assert rendered(text, row, folder=tmp_path) == "<Ana>"


def test_an_included_file_counts_for_the_columns_of_a_problem(tmp_path: Path) -> None:
    (tmp_path / "inner.txt").write_text("{{ 1 / (n - n) }}")
    (problem,) = problems('x\n{% include "inner.txt" %}', {"a": "1", "n": 3}, folder=tmp_path)
    assert problem.columns == ("n",)
    assert problem.error == "inner.txt, line 1: ZeroDivisionError: division by zero"


# --- Layout and filters ---


def test_lines_of_tags_alone_leave_no_empty_line() -> None:
    text = "A\n{% if x %}\nB\n  {% endif %}\n{# note #}\nC {% if x %}D{% endif %}\nE\n{% set y = 1 -%}\n\n  F\n"
    assert rendered(text, {"x": "1"}) == "A\nB\nC D\nE\nF\n"


def test_line_numbers_survive_the_layout() -> None:
    with pytest.raises(CampaignError, match="text, line 4: there is no column 'y'"):
        message("{% if x %}\n{% endif %}\n{# c #}\n{{ y }}").bind(["x"])


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ('"2026-11-30" | date("%d.%m.%Y")', "30.11.2026"),
        ('when | date("%H:%M")', "14:05"),
        ("day | date", "2026-11-30"),
        ('"1234.5" | number(2)', "1234.50"),
        ('1234567.005 | number(2, thousands=".", decimal=",")', "1.234.567,01"),
        ("0.5 | number", "1"),
        ("price | number(1)", "-2.3"),
    ],
)
def test_dates_and_numbers_are_written_as_asked(expression: str, shown: str) -> None:
    when = dt.datetime(2026, 11, 30, 14, 5, tzinfo=dt.UTC)
    row = {"when": when, "day": when.date(), "price": Decimal("-2.25")}
    assert rendered(f"{{{{ {expression} }}}}", row) == shown
