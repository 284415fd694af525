"""MailMerge as a whole: headers, digest, one-row rendering, and any cell whatsoever."""

from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turbobatch.addresses import CONTROL, Address, AddressError, split_list
from turbobatch.errors import CampaignError, InvalidEmail
from turbobatch.merge import MailMerge, Merged, Problem

if TYPE_CHECKING:
    from turbobatch.email import Email


def merged(row: dict[str, Any], **fields: Any) -> Merged:
    merge = MailMerge(**{"from_": "shop@acme.example", "to": "ana@acme.example", "text": "x"} | fields)
    return merge.bind(tuple(row)).merge(list(row.values()))


def email(row: dict[str, Any], **fields: Any) -> Email:
    result = merged(row, **fields)
    assert result.email is not None, [str(problem) for problem in result.problems]
    return result.email


def digest(row: dict[str, Any], **fields: Any) -> str:
    result = merged(row, **fields)
    assert result.digest is not None
    return result.digest


# --- Subject and headers ---


def test_the_fields_arrive_where_they_belong() -> None:
    row = {"n": "7", "name": "Ana"}
    sent = email(
        row,
        subject=" Receipt {{ n }}\n",
        headers={"X-Order": "{{ n }}", "X-None": "{{ none_such | default('') }}"},
        reference_id="ref-{{ n }}",
        reply_to="{{ name }} <help@acme.example>",
    )
    assert sent.subject == "Receipt 7"
    assert sent.custom_headers == {"X-Order": "7"}
    assert sent.reference_id == "ref-7"
    assert sent.reply_to == Address("help@acme.example", "Ana")


@pytest.mark.parametrize("break_", ["\r\nBcc: evil@evil.example", "\n", "\r", "\x00", "\x85", "\u2028", "\ud800"])
@pytest.mark.parametrize(
    ("fields", "field", "label"),
    [
        ({"subject": "{{ a }} {{ b }}"}, "subject", "subject"),
        ({"headers": {"X-A": "{{ a }} {{ b }}"}}, "headers", "header 'X-A'"),
        ({"reference_id": "{{ a }} {{ b }}"}, "reference_id", "reference_id"),
    ],
)
def test_a_cell_cannot_start_a_header(fields: Any, field: str, label: str, break_: str) -> None:
    (problem,) = merged({"a": "x", "b": f"y{break_}"}, **fields).problems
    assert problem == Problem(field, ("b",), f"{label} holds a line break or control character", "remove it")


def test_what_only_the_email_finds_wrong_is_a_problem_too() -> None:
    (problem,) = merged({"a": "x" * 701}, subject="{{ a }}").problems
    assert problem.error == "subject of 701 characters is longer than 700"
    assert problem.columns == ("a",)
    assert str(problem).startswith("column 'a': subject of 701")


def test_several_columns_are_all_named() -> None:
    (problem,) = merged({"a": "x" * 400, "b": "y" * 400, "c": ""}, subject="{{ a }}{{ b }}").problems
    assert str(problem).startswith("columns 'a', 'b': ")


@pytest.mark.parametrize("name", ["X A", "X:A", "", "Subject", "content-type"])
def test_a_header_name_must_be_one(name: str) -> None:
    with pytest.raises(CampaignError, match=r"^headers: header .*; correct the name$"):
        merged({}, headers={name: "x"})


def test_a_constant_that_breaks_a_header_is_the_campaigns_fault() -> None:
    with pytest.raises(CampaignError, match="subject holds a line break or control character"):
        merged({}, subject="a\nb")


# --- List-Unsubscribe ---


@pytest.mark.parametrize(
    ("template", "cell", "header"),
    [
        ("https://acme.example/u?{{ x }}", "7", "<https://acme.example/u?7>"),
        (
            "{{ x }}",
            "https://acme.example/u, mailto:u@acme.example",
            "<https://acme.example/u>, <mailto:u@acme.example>",
        ),
        ("{{ x }}", "https://acme.example/u?a=1,2", "<https://acme.example/u?a=1,2>"),
        ("mailto:u@acme.example, https://acme.example/{{ x | urlencode }}", "a b", None),
    ],
)
def test_unsubscribe_links_become_headers(template: str, cell: str, header: str | None) -> None:
    found = email({"x": cell}, list_unsubscribe=template).custom_headers
    assert found["List-Unsubscribe"] == (header or "<mailto:u@acme.example>, <https://acme.example/a%20b>")
    assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_one_click_needs_an_https_link() -> None:
    assert email({"x": "u"}, list_unsubscribe="mailto:{{ x }}@acme.example").custom_headers == {
        "List-Unsubscribe": "<mailto:u@acme.example>"
    }


def test_without_a_link_there_is_no_header() -> None:
    assert email({"x": None}, list_unsubscribe='{{ x | default("") }}').custom_headers == {}


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        ("http://acme.example", "unsubscribe link 'http://acme.example' is neither https nor mailto"),
        ("javascript:x", "unsubscribe link 'javascript:x' is neither https nor mailto"),
        ("https://", "unsubscribe link 'https://' is neither https nor mailto"),
        ("https://a.example/>, <https://evil", "holds a blank or a character that no link may hold"),
        ("https://a.example/\r\nX: y", "holds a blank or a character that no link may hold"),
        ("https://a.example/é", "holds a blank or a character that no link may hold"),
    ],
)
def test_a_bad_unsubscribe_link_is_the_rows_problem(cell: str, error: str) -> None:
    (problem,) = merged({"x": cell}, list_unsubscribe="{{ x }}").problems
    assert error in problem.error
    assert problem.columns == ("x",)


def test_unsubscribe_is_given_once() -> None:
    with pytest.raises(CampaignError, match="header 'List-unsubscribe' and list_unsubscribe are both given"):
        merged({}, list_unsubscribe="https://a.example", headers={"List-unsubscribe": "x"})


# --- One row ---


def test_render_merges_one_row() -> None:
    merge = MailMerge(from_="shop@acme.example", to="{{ email }}", text="{% for r in rows %}{{ r.n }}{% endfor %}")
    assert merge.render({"email": "ana@acme.example", "n": "1"}).content == "1"
    assert merge.render({"email": "ana@acme.example", "n": "1"}, [{"n": "1"}, {"n": "2"}]).content == "12"


def test_render_raises_with_everything_that_is_wrong() -> None:
    merge = MailMerge(from_="shop@acme.example", to="{{ email }}", text="{{ n }}")
    with pytest.raises(InvalidEmail) as caught:
        merge.render({"email": "broken@@@", "n": math.nan})
    assert caught.value.errors == ("'broken@@@' 'to' email not valid", "column 'n' is blank")
    assert [fault.field for fault in caught.value.faults] == ["to", "text"]


def test_a_row_must_have_the_tables_columns() -> None:
    merger = MailMerge(from_="shop@acme.example", to="ana@acme.example", text="x").bind(["a"])
    with pytest.raises(ValueError, match="zip"):
        merger.merge(["1", "2"])


def test_repr_is_short() -> None:
    merge = MailMerge(from_="a@acme.example", to="{{ email }}", subject="s" * 99, text="t" * 9999)
    assert repr(merge).startswith("MailMerge(to='{{ email }}', subject='sss")
    assert len(repr(merge)) < 150


# --- Digest ---

ROW = {"n": "7", "name": "Ana", "ref": "r1"}
FIELDS: dict[str, Any] = {
    "to": "{{ name }} <ana@acme.example>",
    "cc": "c@acme.example",
    "subject": "S {{ n }}",
    "html": "<p>{{ n }}</p>",
    "headers": {"X-N": "{{ n }}"},
    "reference_id": "{{ ref }}",
}


def test_the_digest_is_the_same_in_every_instance_and_process(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    fields = FIELDS | {"attachments": ["a.txt"], "folder": str(tmp_path)}
    expected = digest(ROW, **fields)
    assert len(expected) == 32
    assert set(expected) <= set("0123456789abcdef")
    assert digest(ROW, **fields) == expected
    code = (
        "from turbobatch.merge import MailMerge\n"
        f"m = MailMerge(from_='shop@acme.example', text='x', **{fields!r})\n"
        f"print(m.bind({list(ROW)!r}).merge({list(ROW.values())!r}).digest)"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == expected


@pytest.mark.parametrize(
    "change",
    [
        {"from_": "other@acme.example"},
        {"to": "{{ name }}! <ana@acme.example>"},
        {"cc": "d@acme.example"},
        {"cc": None, "bcc": "c@acme.example"},
        {"subject": "T {{ n }}"},
        {"html": "<b>{{ n }}</b>"},
        {"text": "y"},
        {"headers": {"X-N": "8"}},
        {"reply_to": "help@acme.example"},
        {"attachments": ["a.txt"]},
        {"attachments": ["b.txt"]},
        {"inline": {"b": "b.txt"}},
    ],
)
def test_the_digest_follows_the_content(change: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    assert digest(ROW, **FIELDS | {"folder": tmp_path} | change) != digest(ROW, **FIELDS)


def test_the_digest_follows_an_attachments_bytes(tmp_path: Path) -> None:
    merger = MailMerge(from_="a@acme.example", to="b@acme.example", attachments=["{{ n }}.txt"], folder=tmp_path).bind(
        ["n"]
    )
    (tmp_path / "7.txt").write_text("a")
    first = merger.merge(["7"]).digest
    (tmp_path / "7.txt").write_text("bb")
    assert first != merger.merge(["7"]).digest


def test_the_digest_ignores_the_reference_and_what_libraries_make() -> None:
    expected = digest(ROW, **FIELDS | {"text": None})
    assert digest(ROW | {"ref": "r2"}, **FIELDS | {"text": None}) == expected
    assert digest(ROW, **FIELDS | {"text": None, "inline_css": True}) == expected
    assert digest(ROW, **FIELDS | {"text": ""}) == expected


# --- Any cell whatsoever ---

NASTY = [
    "ana@acme.example",
    "a@acme.example, evil@evil.example",
    'x" <evil@evil.example>, "y',
    "Evil <evil@evil.example>",
    "\r\nBcc: evil@evil.example",
    "\ufdd0,evil@evil.example,\ufdd1",
    "../../etc/passwd",
    "/dev/zero",
    "{{ 1/0 }}",
    "[x](http://evil.example)",
    "<script>",
    "\x00",
    "\ud800",
]
texts = st.text(st.characters(exclude_categories=()), max_size=20) | st.sampled_from(NASTY)
scalars = (
    st.none()
    | texts
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.binary(max_size=5)
    | st.decimals()
    | st.dates()
    | st.just(dt.timedelta(1))
)
cells = (
    scalars
    | st.lists(scalars | st.lists(scalars, max_size=2), max_size=3)
    | st.dictionaries(texts, scalars, max_size=2)
)

COLUMNS = ("name", "email", "more", "Order No", "n", "path")
HERE = Path(__file__).parent
MESSAGE = MailMerge(
    from_="{{ name | default('Acme') }} <shop@acme.example>",
    to="{{ name | default('') }} <{{ email }}>",
    cc="{{ more | default('') }}",
    bcc="{{ n }}@acme.example",
    reply_to="{% if email %}{{ email }}{% endif %}",
    subject="Order {{ order_no }}",
    headers={"X-N": "{{ n }}", "X-Row": "{{ row['Order No'] | default('') }}"},
    list_unsubscribe="https://acme.example/{{ n | urlencode }}, {{ more | default('') }}",
    reference_id="{{ order_no }}",
    text="{{ name }} {{ n | int + 1 }} {{ n * 2 }} {{ more | join(', ') }} {{ rows | length }}",
    html="<p class='{{ name | lower }}'>{{ more | tojson }} {{ row }} {{ n | date }}{{ path | number(2) }}</p>",
    attachments=["{{ path | default('') }}"],
    inline_css=True,
    folder=HERE,
)
MILD = MailMerge(
    from_="shop@acme.example",
    to="{{ name | default('') }} <{{ email }}>",
    cc="{% macro m(x) %}{{ x }}{% endmacro %}{{ m(more | default('')) }}",
    bcc="{{ n | default('x') }}@acme.example",
    subject="{{ order_no | default('') | replace('\n', ' ') }}",
    markdown="# {{ name | default('x') }}\n\n{{ more | default('') }}",
)
PLAIN = MailMerge(
    from_="shop@acme.example",
    to="{{ name | default('') }} <{{ email }}>",
    subject="Order {{ order_no | default('') }}",
    text="{{ name | default('') }}{% for item in rows %}{{ item.more | default('') }}{% endfor %}",
    html="{{ more | default('') }} {{ path | default('') | upper }} <b title='{{ n | default('') }}'></b>",
    headers={"X-N": "{{ n | default('') | string | urlencode }}"},
    inline_css=True,
)


def addresses_in(cell: Any) -> set[str]:
    found = set()
    for text in cell if isinstance(cell, list) else [cell]:
        for item in split_list(str(text)):
            try:
                found.add(Address.parse(item).email)
            except AddressError:
                continue
    return found


@pytest.mark.unmeasured
@pytest.mark.parametrize("merge", [MESSAGE, MILD, PLAIN])
@settings(max_examples=300, deadline=None)
@given(row=st.tuples(*[cells] * len(COLUMNS)), address=st.booleans())
def test_any_cells_give_a_valid_email_or_problems(merge: MailMerge, row: tuple[Any, ...], address: bool) -> None:
    """Never an exception, never a recipient that isn't in the cell meant for it, never a header broken."""
    values = [row[0], "ana@acme.example" if address else row[1], *row[2:]]
    result = merge.bind(COLUMNS).merge(values)
    assert (result.email is None) == bool(result.problems) == (result.digest is None)
    for problem in result.problems:
        str(problem).encode()
        assert not CONTROL.search(problem.error)
        assert set(problem.columns) <= set(COLUMNS)
    if result.email is not None:
        for api in ("v1", "v2"):
            result.email.to_wire(api)
        assert len(result.email.to) == 1
        assert {item.email for item in result.email.to} <= addresses_in(values[1])
        assert {item.email for item in result.email.cc} <= addresses_in(values[2])
        assert {item.domain for item in result.email.bcc} <= {"acme.example"}
        assert result.email.from_.email == "shop@acme.example"
