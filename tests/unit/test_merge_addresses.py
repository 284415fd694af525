"""Address fields: the template decides the structure, a cell only fills it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turbobatch.addresses import Address
from turbobatch.errors import CampaignError
from turbobatch.merge import MailMerge, Merged


def merged(to: str, row: dict[str, Any], **fields: Any) -> Merged:
    merge = MailMerge(**{"from_": "Acme <shop@acme.example>", "to": to, "text": "x"} | fields)
    return merge.bind(tuple(row)).merge(list(row.values()))


def recipients(to: str, **row: Any) -> list[tuple[str, str]]:
    result = merged(to, row)
    assert result.email is not None, [str(problem) for problem in result.problems]
    return [(item.name, item.email) for item in result.email.to]


def errors(to: str, **row: Any) -> list[str]:
    result = merged(to, row)
    assert result.email is None
    assert result.digest is None
    return [problem.error for problem in result.problems]


ANA = "ana@acme.example"


def test_a_name_and_an_address_make_one_recipient() -> None:
    assert recipients("{{ name }} <{{ email }}>", name="Ana", email=ANA) == [("Ana", ANA)]


@pytest.mark.parametrize(
    "name",
    [
        "Doe, Jane",
        'Jane "JD" Doe',
        "Evil <evil@evil.example>, Jane",
        "evil@evil.example,",
        "Jane > <evil@evil.example",
        "back\\slash",
        "<",
    ],
)
@pytest.mark.parametrize("template", ["{{ name }} <{{ email }}>", '"{{ name }}" <{{ email }}>'])
def test_a_name_from_a_cell_is_a_name_whatever_it_holds(template: str, name: str) -> None:
    """Commas, quotes and brackets of a cell are no structure; quotes of the template are none of the name."""
    assert recipients(template, name=name, email=ANA) == [(name, ANA)]


def test_a_name_joined_from_several_cells_has_single_spaces() -> None:
    template = '{{ first }} {{ middle | default("") }} {{ last }} <{{ email }}>'
    assert recipients(template, first="Ana", middle=None, last="Doe", email=ANA) == [("Ana Doe", ANA)]


def test_a_blank_name_gives_no_name() -> None:
    assert recipients('{{ name | default("") }} <{{ email }}>', name=None, email=ANA) == [("", ANA)]


def test_an_address_in_brackets_is_trimmed() -> None:
    assert recipients("{{ name }} <{{ email }}>", name="Ana", email=f"  {ANA}\n") == [("Ana", ANA)]


def test_an_address_in_brackets_is_one_address() -> None:
    assert errors("x <{{ email }}>", email=f"{ANA}, evil@evil.example") == [
        f"'{ANA}, evil@evil.example' 'to' email not valid"
    ]


def test_a_cell_that_stands_alone_is_a_list() -> None:
    cell = f'{ANA}, "Doe, Jane" <jane@acme.example>'
    assert recipients("{{ emails }}", emails=cell) == [("", ANA), ("Doe, Jane", "jane@acme.example")]


def test_a_list_cell_is_a_list() -> None:
    cell = [ANA, "Jane <jane@acme.example>"]
    assert recipients("{{ emails }}", emails=cell) == [("", ANA), ("Jane", "jane@acme.example")]


def test_literal_items_and_cells_mix() -> None:
    template = '"Desk, Help" <help@acme.example>, {{ name }} <{{ email }}>, {{ more | default("") }},'
    assert recipients(template, name="A, B", email=ANA, more=None) == [
        ("Desk, Help", "help@acme.example"),
        ("A, B", ANA),
    ]


def test_escapes_in_the_templates_quotes_are_read() -> None:
    assert recipients(r'"The \"{{ name }}\" team" <{{ email }}>', name="A", email=ANA) == [('The "A" team', ANA)]


def test_a_literal_domain_completes_a_cell() -> None:
    assert recipients("{{ user }}@acme.example", user="ana") == [("", ANA)]


@pytest.mark.parametrize("user", ["evil@evil.example, ana", "Evil <evil@evil.example>, ana", "<evil@evil.example>"])
def test_a_cell_beside_literal_text_stays_within_one_address(user: str) -> None:
    assert errors("{{ user }}@acme.example", user=user) == [f"'{user}@acme.example' 'to' email not valid"]


def test_two_cells_without_brackets_are_one_bad_address() -> None:
    assert errors("{{ name }} {{ email }}", name="Ana", email=ANA) == [f"'Ana {ANA}' 'to' email not valid"]


def test_a_macro_keeps_the_structure() -> None:
    """What a macro or block rendered is still told apart from the cells in it."""
    macro = "{% macro person(n, e) %}{{ n }} <{{ e }}>{% endmacro %}{{ person(name, email) }}"
    assert recipients(macro, name="evil@evil.example, A", email=ANA) == [("evil@evil.example, A", ANA)]


def test_the_marks_around_values_cannot_be_forged() -> None:
    forged = "Ana\ufdd1, evil@evil.example, \ufdd0"
    assert recipients("{{ name }} <{{ email }}>", name=forged, email=ANA) == [("Ana, evil@evil.example,", ANA)]
    assert recipients("{{ tags[0] }} <{{ email }}>", tags=[forged], email=ANA) == [("Ana, evil@evil.example,", ANA)]


@pytest.mark.parametrize(
    "template",
    [
        '{{ name ~ " <" ~ email ~ ">" }}',
        '{{ name + " <" + email + ">" }}',
        '{{ "%s <%s>" % (name, email) }}',
        '{{ "%s <%s>" | format(name, email) }}',
        '{{ "{} <{}>".format(name, email) }}',
    ],
)
def test_an_address_assembled_by_an_expression_is_refused(template: str) -> None:
    """Once the parts are one value, a comma of the name would tear it."""
    with pytest.raises(CampaignError, match=r"to, line 1: an expression assembles an address; write it as text"):
        merged(template, {"name": "A", "email": ANA})


def test_ordinary_expressions_are_not_refused() -> None:
    assert recipients('{{ email.replace("<", "") }}', email=f"<{ANA}") == [("", ANA)]
    assert recipients('{{ emails | join(", ") }}', emails=[ANA]) == [("", ANA)]


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\x00", "\u2028", "\ud800", "\t"])
def test_a_control_character_in_a_name_is_refused_not_repaired(break_: str) -> None:
    found = merged("{{ name }} <{{ email }}>", {"name": f"Ana{break_}Bcc: x@y.example", "email": ANA}).problems
    assert [(item.error, item.columns) for item in found] == [
        ("name in 'to' holds a line break or control character", ("name",))
    ]


def test_a_control_character_in_a_name_within_a_list_cell_is_refused() -> None:
    assert errors("{{ emails }}", emails=f"Ana\nX <{ANA}>") == ["name in 'to' holds a line break or control character"]


def test_line_breaks_of_the_template_are_blanks() -> None:
    assert recipients("\n{{ name }}\n  <{{ email }}>\n", name="Ana", email=ANA) == [("Ana", ANA)]


def test_each_malformed_address_is_a_problem_of_its_own() -> None:
    assert errors("{{ emails }}", emails="broken@@@, ana@acme.example, worse") == [
        "'broken@@@' 'to' email not valid",
        "'worse' 'to' email not valid",
    ]


def test_a_malformed_address_names_its_column_and_a_likely_fix() -> None:
    row = {"name": "Ana", "email": "ana@@gmial.com"}
    (problem,) = merged("{{ name }} <{{ email }}>", row).problems
    assert problem.field == "to"
    assert problem.columns == ("email",)
    assert problem.cure == "correct the address (did you mean ana@gmail.com?)"
    assert str(problem) == (
        "column 'email': 'ana@@gmial.com' 'to' email not valid; correct the address (did you mean ana@gmail.com?)"
    )


@pytest.mark.parametrize("template", ["{{ name }} <{{ email }}", "{{ name }} <{{ email }}> x"])
def test_broken_brackets_make_a_bad_address(template: str) -> None:
    (error,) = errors(template, name="Ana", email=ANA)
    assert error.endswith("'to' email not valid")


def test_a_name_without_an_address_is_a_bad_address() -> None:
    assert errors('{{ name }} <{{ email | default("") }}>', name="Ana", email=None) == ["'Ana <>' 'to' email not valid"]


def test_no_recipients_is_a_problem() -> None:
    assert errors('{{ email | default("") }}', email=None) == ["missing recipients (to)"]


def test_cc_and_bcc_may_come_out_empty() -> None:
    result = merged(
        ANA, {"cc": None}, cc='{{ cc | default("") }}', bcc='Boss <{{ cc | default("boss@acme.example") }}>'
    )
    assert result.email is not None
    assert result.email.cc == ()
    assert result.email.bcc == (Address("boss@acme.example", "Boss"),)


def test_a_blank_address_does_not_hide_a_bad_one() -> None:
    problems = merged("{{ name }} <{{ email }}>", {"name": None, "email": "broken@@@"}).problems
    assert [item.error for item in problems] == ["column 'name' is blank", "'broken@@@' 'to' email not valid"]


def test_a_blank_leaves_no_second_fault_behind() -> None:
    assert errors("{{ user }}@acme.example", user=None) == ["column 'user' is blank"]


@pytest.mark.parametrize(
    ("field", "quoted"), [("cc", "cc"), ("bcc", "bcc"), ("reply_to", "reply-to"), ("from_", "from")]
)
def test_every_address_field_words_errors_like_the_api(field: str, quoted: str) -> None:
    (problem,) = merged(ANA, {"x": "broken@@@"}, **{field: "{{ x }}"}).problems
    assert problem.error == f"'broken@@@' '{quoted}' email not valid"
    assert problem.field == field.rstrip("_")


@pytest.mark.parametrize(("field", "quoted"), [("from_", "from"), ("reply_to", "reply-to")])
def test_from_and_reply_to_take_one_address(field: str, quoted: str) -> None:
    (problem,) = merged(ANA, {"x": "a@acme.example, b@acme.example"}, **{field: "{{ x }}"}).problems
    assert (problem.error, problem.cure) == (f"'{quoted}' holds 2 addresses", "give exactly one")


def test_a_sender_is_needed_and_a_reply_to_is_not() -> None:
    (problem,) = merged(ANA, {"x": None}, from_='{{ x | default("") }}').problems
    assert problem.error == "missing or not valid sender email (from)"
    result = merged(ANA, {"x": None}, reply_to='{{ x | default("") }}')
    assert result.email is not None
    assert result.email.reply_to is None


def test_a_bad_address_in_the_template_itself_is_the_campaigns_fault() -> None:
    with pytest.raises(CampaignError, match=r"from: 'broken@@@' 'from' email not valid; correct the address"):
        MailMerge(from_="broken@@@", to=ANA)


def test_a_list_cell_in_a_name_adds_no_recipient() -> None:
    assert recipients("{{ name }} <{{ email }}>", name=["0@0.example", "Jr."], email="a@b.example") == [
        ("0@0.example, Jr.", "a@b.example")
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"email": ANA, "copy": "bo@acme.example"}, [ANA, "bo@acme.example", "log@acme.example"]),
        ({"email": "Ana", "copy": "bo@acme.example"}, None),
        ({"email": None, "copy": "bo@acme.example"}, None),
        ({"email": "", "copy": "bo@acme.example"}, None),
        ({"email": ANA, "copy": "@"}, None),
    ],
)
def test_who_gets_an_email_is_known_without_merging_it(row: dict[str, Any], expected: list[str] | None) -> None:
    """Only the address fields are rendered: what else is wrong with the row doesn't show."""
    message = MailMerge(
        from_="shop@acme.example", to="{{ email }}", cc="{{ copy }}", bcc="log@acme.example", text="{{ 1 / 0 }}"
    )
    found = message.bind(tuple(row)).recipients(list(row.values()))
    assert (None if found is None else [item.email for item in found]) == expected


PIECES = st.lists(
    st.sampled_from(
        ["Ana", "Rossi", " ", "  ", ",", '"', "<", ">", "@", "ana@acme.example", "\n", "\t", "=?", "ü", "."]
    ),
    max_size=5,
).map("".join)


@pytest.mark.unmeasured
@given(name=PIECES, email=st.one_of(st.just(ANA), PIECES))
@example(name="Rossi,  Ana ", email=f" {ANA} ")
@example(name="", email=ANA)
def test_the_usual_form_is_read_as_any_other(name: str, email: str) -> None:
    """A blank more in the template is no usual form any more, and changes nothing: not the address, not the problem."""
    row = {"name": name, "email": email}
    usual = merged("{{ name }} <{{ email }}>", row)
    other = merged("{{ name }}  <{{ email }}> ", row)
    assert usual.email == other.email
    assert usual.problems == other.problems
