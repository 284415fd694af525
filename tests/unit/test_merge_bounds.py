"""A template that loops for ever or grows a giant value is a problem of its row, without filling the memory."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from turbobatch.merge import MailMerge

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPS = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in [] %}{% else %}{% for b in range(99999) %}{% for c in 'x' * 99 %}{% endfor %}{% endfor %}{% endfor %}",
    "{% macro m() %}{% for b in range(9999) %}{% endfor %}{% endmacro %}{% for a in range(999) %}{{ m() }}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
]
GROWTHS = [
    "{% set n = namespace(s='x') %}{% for a in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "{% set n = namespace(s='x') %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{% set n = namespace(s=[1]) %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{{ 'x' * 10**10 }}",
    "{{ [1] * 10**10 }}",
    "{{ 10 ** (10 ** 10) }}",
    "{{ 'x'.center(10**11) }}",
    "{{ 'x'.ljust(10**11) }}",
    "{{ 'x'.zfill(10**11) }}",
    "{{ ('\t' * 9999).expandtabs(10**9) }}",
    "{{ 'x' | center(10**11) }}",
    "{{ ('x\n' * 9999) | indent(10**9) }}",
    "{{ '%99999999999d' % 1 }}",
    "{{ '%*d' % (10**11, 1) }}",
    "{{ '%99999999999d' | format(1) }}",
    "{{ '{:99999999999}'.format(1) }}",
    "{{ '{:{}}'.format(1, 10**11) }}",
    "{{ ('x' * 99999).replace('x', 'y' * 99999) }}",
    "{{ ('x' * 99999) | replace('x', 'y' * 99999) }}",
    "{{ ('x' * 99999).join(['y'] * 99999) }}",
    "{{ (['y'] * 99999) | join('x' * 99999) }}",
    "{{ [1] | batch(10**10, 0) | list }}",
]


@pytest.fixture
def _little_memory() -> Iterator[None]:
    """A giant value that is made after all is a MemoryError at once, not a machine that swaps."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def error_of(text: str) -> str:
    """The one problem of a row whose text has this template."""
    merger = MailMerge(from_="a@acme.example", to="{{ email }}", text="{{ email }}" + text).bind(["email"])
    (problem,) = merger.merge(["b@example.org"]).problems
    return problem.error


@pytest.mark.parametrize("template", LOOPS)
@pytest.mark.usefixtures("_little_memory")
def test_loops_end(template: str) -> None:
    """However deep they are nested, and whether they print anything or not."""
    error = error_of(template)
    assert "the template doesn't end: more than 1,000,000 loop rounds" in error or "RecursionError" in error


@pytest.mark.parametrize("template", GROWTHS)
@pytest.mark.usefixtures("_little_memory")
def test_values_stay_small(template: str) -> None:
    """Whatever operator, method or filter would make them large."""
    error = error_of(template)
    assert any(text in error for text in ("is over 32 MB", "thousand digits", "a width in a format"))


def test_each_field_and_row_counts_anew() -> None:
    """The bound is for one rendering, not for a campaign."""
    loop = "{% for a in range(90000) %}{% for b in range(4) %}{% endfor %}{% endfor %}"
    merger = MailMerge(from_="a@acme.example", to="{{ email }}", subject=loop, text=loop + "{{ email }}").bind(
        ["email"]
    )
    assert [merger.merge([f"b{number}@example.org"]).problems for number in range(3)] == [(), (), ()]


def test_loops_keep_their_variables() -> None:
    """Counting leaves `loop`, filters, `else` and recursion as they are."""
    text = (
        "{% for x in [3, 1, 2] if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ '' if loop.last else ', ' }}"
        "{% else %}none{% endfor %}"
        "{% for x in [] %}{% else %} empty{% endfor %}"
        "{% for x in [[1, [2]], 3] recursive %}"
        "{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}"
    )
    email = MailMerge(from_="a@acme.example", to="b@example.org", text=text).render({})
    assert email.content == "1/2:3, 2/2:2 empty(1(2))3"


def test_ordinary_texts_may_grow() -> None:
    """Padding, joining and formatting of what emails hold are no growth."""
    padded = "{{ 'a'.ljust(20) }}|{{ '%08.2f' % 1.5 }}|"
    text = padded + "{{ ['a', 'b'] | join(', ') }}|{{ 'a-b'.replace('-', '+') }}|{{ 'a' ~ 1 }}"
    email = MailMerge(from_="a@acme.example", to="b@example.org", text=text).render({})
    assert email.content == "a                   |00001.50|a, b|a+b|a1"
