"""Templates that try to run for ever, to fill the memory or to crash, by kind; and a program that renders them.

As a program: reads a JSON list of cases, renders each within limits of memory and processor time, and writes a line
about each. A case is `{"fields": …, "cell": …}`. What breaks a limit ends the program without that case's line.
"""
# ruff: noqa: E501, ISC004 - a template a line, some of them in two pieces

from __future__ import annotations

import json
import resource
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

MEMORY = 2 * 2**30
"""Bytes of address space for the whole program."""

STEPS = 10_000_000
"""An eighth of what is allowed, which shows the same and takes an eighth of the time."""

SECONDS = 20
"""Processor time for one case."""

FILES = {
    "twice.txt": "{% include 'twice.txt' %}{% include 'twice.txt' %}",
    "tree.txt": "{% if n %}{% with n = n - 1 %}{% include 'tree.txt' %}{% include 'tree.txt' %}{% endwith %}{% endif %}",
    "self.txt": "{% extends 'self.txt' %}",
    "base.txt": "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    "long.txt": "x" * 10_000,
    "many.txt": "{% for i in range(100000) %}{% include 'long.txt' %}{% endfor %}",
    "lib.txt": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}",
}

_DOUBLED = "{% set n = namespace(a=[1]) %}{% for i in range(60) %}{% set n.a = [n.a, n.a] %}{% endfor %}"
_DOUBLED_TUPLE = (
    "{% set n = namespace(a=(1,), b=(1,)) %}{% for i in range(60) %}"
    "{% set n.a = (n.a, n.a) %}{% set n.b = (n.b, n.b) %}{% endfor %}"
)
_DOUBLED_DICT = "{% set n = namespace(a={}) %}{% for i in range(60) %}{% set n.a = {'x': n.a, 'y': n.a} %}{% endfor %}"
_BIG = "{% set big = 'x' * 4000000 %}"
_WORDS = "{% set big = 'a ' * 4000000 %}"
_MANY = "{% set many = range(100000) | list * 10 %}"

HOSTILE: dict[str, list[str]] = {
    "recursion": [
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{% macro m(n) %}{% if n %}{% set a = m(n-1) %}{% set b = m(n-1) %}{% endif %}{% endmacro %}{{ m(60) }}",
        "{% macro m(n) %}{% if n %}{{ caller() }}{% call m(n-1) %}{{ caller() }}{{ caller() }}{% endcall %}{% endif %}"
        "{% endmacro %}{% call m(60) %}x{% endcall %}",
        "{% macro a(n) %}{% if n %}{{ b(n-1) }}{{ b(n-1) }}{% endif %}{% endmacro %}"
        "{% macro b(n) %}{% if n %}{{ a(n-1) }}{{ a(n-1) }}{% endif %}{% endmacro %}{{ a(60) }}",
        "{% for x in [1, 2] recursive %}{{ loop([1, 2]) if loop.depth < 60 }}{% endfor %}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% for x in range(9999) recursive %}{{ loop(range(99999)) if loop.depth < 3 }}{% endfor %}",
        "{% for x in range(9999) if x < 0 or x > 9990 recursive %}{{ loop(range(99999)) }}{% endfor %}",
        "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
        "{% set n = namespace(d=0) %}{% block a scoped %}{% set n.d = n.d + 1 %}{% if n.d < 10**9 %}{{ self.a() }}"
        "{% endif %}{% endblock %}",
        "{% include 'twice.txt' %}",
        "{% set n = 60 %}{% include 'tree.txt' %}",
        "{% extends 'self.txt' %}",
        "{% extends 'base.txt' %}{% block a %}{{ super() }}{{ super() }}{% endblock %}",
        "{% from 'lib.txt' import m %}{{ m(60) }}",
        "{% import 'lib.txt' as lib %}{{ lib.m(60) }}",
        "{% include ['no'] * 1000000 ignore missing %}",
        "{% for i in range(100000) %}{% include 'no/' ~ i ignore missing %}{% endfor %}",
    ],
    "loops": [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in [] %}{% else %}{% for b in range(99999) %}{% for c in 'x' * 99 %}{% endfor %}{% endfor %}"
        "{% endfor %}",
        "{% macro m() %}{% for b in range(9999) %}{% endfor %}{% endmacro %}{% for a in range(9999) %}{{ m() }}{% endfor %}",
        "{% for a in range(99999) if a < 0 %}{% endfor %}" * 200,
        "{% for a in range(99999) %}{% for b in range(99999) if b < 0 %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ loop.length }}{% break %}{% endfor %}{% endfor %}"
        .replace("{% break %}", ""),
        "{% for a in range(99999) %}{% set x = 1 - 2 / 3 // 4 - 5 / 6 // 7 - 8 / 9 // 10 %}{% endfor %}" * 100,
        "{% for a in range(99999) %}{{ range(99999) | list | length }}{% endfor %}",
        "{% macro m() %}{{ varargs | length }}{% endmacro %}"
        "{% for a in range(99999) %}{{ m(*range(99999)) }}{% endfor %}",
        "{% for a in range(99999) %}{{ dict(a=1, **{'b': 2}) | length }}{{ '-'.join(['a'] * 9999) }}{% endfor %}",
        "{% set j = joiner('x' * 10000) %}{% for a in range(100000) %}{{ j() }}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ loop.cycle(*range(9999)) }}{% endfor %}{% endfor %}",
    ],
    "growth": [
        "{% set n = namespace(s='x') %}{% for a in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{% set n = namespace(s='x') %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s=[1]) %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s=(1,)) %}{% for a in range(99) %}{% set n.s = n.s * 2 %}{% endfor %}",
        "{% set n = namespace(s='x') %}{% for a in range(99) %}{% set s %}{{ n.s }}{{ n.s }}{% endset %}"
        "{% set n.s = s %}{% endfor %}",
        "{% set n = namespace(s='\"') %}{% for a in range(99) %}{% set n.s = n.s | forceescape %}{% endfor %}",
        "{% set n = namespace(l=[]) %}{% for a in range(9999) %}{% set n.l = n.l + [[0] * 900000] %}{% endfor %}",
        "{% set n = namespace(l=[]) %}{% for a in range(9999) %}{% set n.l = [n.l, '\u20ac' * 9000000] %}{% endfor %}",
        "{% set s %}{% for a in range(100000) %}" + "x" * 10_000 + "{% endfor %}{% endset %}",
        "{% macro m() %}{% for a in range(100000) %}" + "x" * 10_000 + "{% endfor %}{% endmacro %}{{ m() | length }}",
        "{% filter upper %}{% for a in range(100000) %}" + "x" * 10_000 + "{% endfor %}{% endfilter %}",
        "{% import 'many.txt' as many %}{{ many }}",
        "{% include 'many.txt' without context %}",
        "{% call(x) namespace() %}{% endcall %}{{ 'x' * 10**10 }}",
        "{{ [1] * 10**10 }}", "{{ (1,) * 10**10 }}", "{{ 10 ** (10 ** 10) }}", "{{ 2 ** 2 ** 2 ** 2 ** 2 ** 2 }}",
        "{{ 'x'.center(10**11) }}", "{{ 'x'.ljust(10**11) }}", "{{ 'x'.rjust(10**11) }}", "{{ 'x'.zfill(10**11) }}",
        "{{ ('\t' * 9999).expandtabs(10**9) }}", "{{ 'x' | center(10**11) }}", "{{ (1).to_bytes(10**11, 'big') }}",
        "{{ ('x\n' * 9999) | indent(10**9) }}", "{{ ('x\n' * 9999) | indent('x' * 99999) }}",
        "{{ '%99999999999d' % 1 }}", "{{ '%99999999999f' % 1.5 }}", "{{ '%*d' % (10**11, 1) }}",
        "{{ '%.99999999d' % 1 }}", "{{ '%(a)99999999d' % {'a': 1} }}", "{{ '%99999999999d' | format(1) }}",
        "{{ '%99999999999d' is odd }}", "{{ '%99999999999d' is divisibleby 3 }}",
        _BIG + "{{ ('%(a)s' * 9999) % {'a': big} }}", _BIG + "{{ ('{0}' * 9999).format(big) }}",
        _BIG + "{{ ('{a}' * 9999).format_map({'a': big}) }}",
        "{{ '{:99999999999}'.format(1) }}", "{{ '{:{}}'.format(1, 10**11) }}", "{{ ('{:999}' * 99999).format(*range(99999)) }}",
        "{{ ('x' * 99999).replace('x', 'y' * 99999) }}", "{{ ('x' * 99999) | replace('x', 'y' * 99999) }}",
        "{{ ('x' * 99999).join(['y'] * 99999) }}", "{{ (['y'] * 99999) | join('x' * 99999) }}",
        "{{ ('x' * 99999).join('y' * 99999) }}", "{{ ('y' * 99999) | join('x' * 99999) }}",
        "{{ ('x' * 9999999).translate({120: 'y' * 9999999}) }}",
        "{{ [1] | batch(10**10, 0) | list }}", "{{ [1] | slice(10**10) | list }}", "{{ [1] | slice(999999) | list }}",
        "{{ ('http://a.bc ' * 99999) | urlize(rel='x' * 99999) }}",
        "{{ ('x ' * 99999) | wordwrap(1, wrapstring='y' * 99999) }}",
        "{{ [[[[1]]]] | tojson(indent=10**9) }}", "{{ 5 | round(-10**9) }}", "{{ 5 | round(10**9) }}",
        "{{ 5 | round(10**9, 'ceil') }}", "{{ 'f' * 9999999 | int(0, 16) }}", "{{ ('f' * 9999999) | int(0, 16) }}",
        "{{ cell | date('%999Y' * 99999) }}",
    ],
    "nesting": [
        *(
            _DOUBLED + use
            for use in (
                "{{ n.a }}", "{{ n.a ~ '' }}", "{{ n.a | string }}", "{{ n.a | tojson }}", "{{ n.a | list }}",
                "{{ n.a | join }}", "{{ n.a | pprint }}", "{{ '%s' % n.a }}", "{{ '{}'.format(n.a) }}",
                "{{ n.a | upper }}", "{{ n.a | urlencode }}", "{{ n }}", "{{ n.a is lower }}", "{{ [n.a] | sort }}",
                "{{ 1 in n.a }}", "{{ n.a in [n.a[0], [n.a[1]]] }}", "{{ n.a.count(1) }}", "{{ n.a | date }}",
                "{{ range(3).index(n.a) }}", "{{ {}[n.a] }}", "{{ [n.a, 1][n.a] }}", "{{ ''.join(n.a) }}",
                "{{ n.a | replace('a', 'b') }}", "{{ n.a | sum(start=[]) }}", "{{ [n.a] | map('string') | list }}",
                "{{ n.a | select('eq', n.a[0]) | list }}", "{{ n.a | xmlattr }}", "{{ n.a | escape }}",
            )
        ),
        *(
            _DOUBLED_TUPLE + use
            for use in (
                "{{ n.a == n.b }}", "{{ n.a < n.b }}", "{{ n.a in [n.b] }}", "{{ {n.a: 1} }}", "{{ {}.get(n.a) }}",
                "{{ [n.a, n.b] | unique | list }}", "{{ [n.a, n.b] | sort }}", "{{ [n.a, n.b] | max }}",
                "{{ [n.a, n.b] | groupby(0) }}", "{{ n.a is eq n.b }}", "{{ dict([(n.a, 1)]) }}", "{{ {}.keys() - [n.a] }}",
                "{% for x in [n.a, n.b] %}{{ loop.changed(x) }}{% endfor %}", "{{ {1: 2}[n.a] }}",
            )
        ),
        *(_DOUBLED_DICT + use for use in ("{{ n.a }}", "{{ n.a | tojson }}", "{{ n.a == n.a.x.copy() }}", "{{ n.a.items() }}")),
        "{% set n = namespace(a=1) %}{% for i in range(60) %}{% set n.a = namespace(x=n.a, y=n.a) %}{% endfor %}{{ n.a }}",
        "{% set n = namespace(a=[1]) %}{% for i in range(100000) %}{% set n.a = [n.a] %}{% endfor %}{{ n.a }}",
        "{% set n = namespace(a=[1]) %}{% for i in range(100000) %}{% set n.a = n.a | map('upper') %}{% endfor %}",
        "{% set n = namespace(a=[1]) %}{% for i in range(100000) %}{% set n.a = n.a | batch(1) %}{% endfor %}"
        "{{ n.a | string }}",
        "{% set n = namespace() %}{% set n.n = n %}{{ n }}{{ [n, n] | string }}",
        "{{ [row] * 999999 }}", "{{ ([row] * 100000) | sort(attribute='cell') | length }}",
        "{{ ([row] * 100000) == ([rows[0]] * 100000) }}",
    ],
    "scans": [
        *(
            "{% for i in range(100000) %}" + use + "{% endfor %}"
            for use in (
                "{{ 'y' in cell }}", "{{ cell.count('y') }}", "{{ cell.split('y') | length }}", "{{ cell | wordcount }}",
                "{{ cell | title | length }}", "{{ cell | striptags | length }}", "{{ cell | urlize | length }}",
                "{{ cell | replace('x', 'y') | length }}", "{{ cell | wordwrap(1) | length }}", "{{ cell.upper() | length }}",
                "{{ cell[::-1] | length }}", "{{ cell[1:] | length }}", "{{ cell | list | length }}", "{{ cell | trim | length }}",
                "{{ (cell ~ i) | length }}", "{{ (cell + 'x') | length }}", "{{ cell | escape | length }}",
                "{{ cell.splitlines() | length }}", "{{ cell == cell ~ '' }}", "{{ cell | tojson | length }}",
                "{{ cell | urlencode | length }}", "{{ cell | reverse | length }}", "{{ cell | lower is lower }}",
                "{{ {cell: i} | length }}", "{% set s %}{{ cell }}{% endset %}", "{{ cell | center(99999) | length }}",
                "{{ (cell,) | xmlattr if 0 else {'a': cell} | xmlattr | length }}",
            )
        ),
        _WORDS + "{{ big.split() | length }}", _WORDS + "{{ big | title | length }}", _WORDS + "{{ big | wordwrap(1) | length }}",
        _WORDS + "{{ big | urlize | length }}", _WORDS + "{{ big | wordcount }}",
        _BIG + "{{ big | wordwrap(1) | length }}", _BIG + "{{ (')' * 4000000 ~ 'x') | urlize | length }}",
        "{{ ('<>' * 4000000) | striptags | length }}", "{{ ('<!---->' * 999999) | striptags | length }}",
        _BIG + "{{ big.rfind('y' ~ 'x' * 2000000) }}", _BIG + "{{ big.find('x' * 2000000 ~ 'y') }}",
        "{{ ('x' * 4000000).strip('y' * 4000000 ~ 'x') }}", "{{ ('x' * 4000000) | trim('y' * 4000000 ~ 'x') | length }}",
        "{{ ('\u00e4' * 4000000).encode('punycode') | length }}", "{{ ('a' * 4000000).encode('idna') | length }}",
        _MANY + "{{ many | map('string') | map('upper') | map('list') | sort | unique | list | length }}",
        _MANY + "{{ many | map('string') | map('center', 9999) | list | length }}",
        _MANY + "{{ many | groupby(0) | length }}", _MANY + "{{ many | batch(1) | sum(start=[]) | length }}",
        _MANY + "{{ many | select('in', many) | list | length }}", _MANY + "{{ many | sum }}{{ many | min }}{{ many | max }}",
        "{{ ('ab' * 50000) | map(attribute='0.' * 50000 ~ '0') | list | length }}",
        "{{ range(100000) | map('string') | list | join | length }}" * 200,
    ],
}  # fmt: skip


def outcome(fields: dict[str, str], cell: str, folder: str) -> dict[str, object]:
    """Merge one row into one message: the problem's text, or the sizes of the parts."""
    from turbobatch.errors import CampaignError
    from turbobatch.merge import MailMerge

    given: dict[str, Any] = {"from_": "a@acme.example", "to": "b@example.org", "folder": folder, **fields}
    if not {"text", "html", "markdown"} & fields.keys():
        given["text"] = ""
    try:
        merger = MailMerge(**given).bind(["cell"])
    except CampaignError as error:
        return {"error": f"campaign: {error}"}
    merged = merger.merge([cell])
    if merged.email is None:
        return {"error": "; ".join(problem.error for problem in merged.problems)}
    return {"size": len(merged.email.content) + len(merged.email.html_content)}


def main() -> None:
    """Render the cases of standard input; the arguments name the folder, and which part of MAX_SIZE is the limit."""
    from turbobatch.merge import meter

    meter.MAX_STEPS = STEPS
    meter.MAX_SIZE //= int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for case in json.load(sys.stdin):
        used = resource.getrusage(resource.RUSAGE_SELF)
        before = used.ru_utime + used.ru_stime
        resource.setrlimit(resource.RLIMIT_CPU, (int(before) + SECONDS, resource.RLIM_INFINITY))
        told = outcome(case["fields"], case.get("cell", "x" * 100_000), sys.argv[1])
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = used.ru_utime + used.ru_stime - before
        sys.stdout.write(json.dumps(told | {"seconds": seconds, "kilobytes": used.ru_maxrss}) + "\n")
        sys.stdout.flush()


def write_files(folder: Path) -> None:
    """Write the files that the templates include."""
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
