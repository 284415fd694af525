"""The links of a message are listed with what is wrong with them; nobody is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.sandbox.inbox.links import links_in, problems_of, unsubscribe_links


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "empty"),
        ("https://x.example/{{ id }}", "a piece of a template is left over"),
        ("https://x.example/%7B%7Bid%7D%7D", "a piece of a template is left over"),
        ("/orders/7", "relative: an email has no place to begin from"),
        ("www.x.example", "relative: an email has no place to begin from"),
        ("http://x.example", "not encrypted: http"),
        ("https://", "malformed"),
        ("https://x..example", "malformed"),
        ("https://a b.example", "malformed"),
        ("https://https://x.example", "malformed"),
        ("https://[::1", "malformed"),
        ("https://x.example:port", "malformed"),
        ("https://localhost/a", "the host has no dot: it is no name on the internet"),
        ("#", "leads nowhere"),
        ("javascript:alert(1)", "no mail program runs scripts"),
        ("ftp://x.example", "unusual: ftp:"),
        ("mailto:", "malformed"),
    ],
)
def test_a_problem_is_named(url: str, problem: str) -> None:
    assert problem in problems_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://x.example/a?b=c#d",
        "mailto:a@x.example",
        "mailto:?to=a@x.example",
        "tel:+391",
        "#top",
        "cid:logo@x.example",
    ],
)
def test_a_fair_one_has_none(url: str) -> None:
    assert problems_of(url) == ()


def test_links_are_listed_in_their_order_with_what_is_clicked() -> None:
    markup = (
        '<a href="https://x.example/?a=1&amp;b=2"><b>Your</b> order</a><img src="/logo.png" alt="Logo"><a id="x">no</a>'
    )
    found = links_in("See http://y.example/a. Bye", markup)
    assert [(link.place, link.url, link.text) for link in found] == [
        ("link", "https://x.example/?a=1&b=2", "Your order"),
        ("picture", "/logo.png", "Logo"),
        ("text", "http://y.example/a", ""),
    ]
    assert [bool(link.problems) for link in found] == [False, True, True]


def test_ways_to_unsubscribe_are_listed() -> None:
    given_ = "<https://x.example/u>, <mailto:u@x.example>"
    web, mail = unsubscribe_links([("list-unsubscribe", given_)])
    assert (web.url, web.problems) == ("https://x.example/u", ("no List-Unsubscribe-Post: one click doesn't do",))
    assert (mail.url, mail.problems) == ("mailto:u@x.example", ())
    post = ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
    assert [link.problems for link in unsubscribe_links([("List-Unsubscribe", given_), post])] == [(), ()]
    assert unsubscribe_links([("List-Unsubscribe", "https://x.example")])[0].problems[0] == "not in angle brackets"
    assert unsubscribe_links([]) == []


@given(st.text())
def test_any_address_is_judged(url: str) -> None:
    problems_of(url)


@given(st.text(), st.text(alphabet="<>a href='\"&;/!-=img src:"))
def test_any_message_is_read(content: str, markup: str) -> None:
    links_in(content, markup)
