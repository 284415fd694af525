"""Badges: what a merge got wrong is seen, and what only looks like it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.sandbox import rules
from turbobatch.sandbox.inbox.badges import Badge, badges_in, badges_of, visible_text
from turbobatch.sandbox.inbox.entry import entry_of, key_of

FAIR = {"subject": "Your receipt", "content": "Hi Ana,\nthank you."}
FIELDS = {"from": "Acme <shop@acme.example>", "to": "Ana <ana@x.example>", "subject": "Receipt", "content": "Hi Ana,"}


def test_a_fair_message_has_none() -> None:
    markup = "<style>a{b{c}}</style><p>Hi Ana,</p><a href='https://x.example'>x</a><img src='cid:logo@x.example'>"
    assert badges_in(**FAIR, html_content=markup, files=[("logo@x.example", 3)]) == ()


@pytest.mark.parametrize(
    ("parts", "badge"),
    [
        ({"subject": "Hello {{ name }}"}, Badge.TEMPLATE),
        ({"content": "{% if x %}"}, Badge.TEMPLATE),
        ({"html_content": "<a href='https://x.example/%7B%7Bid%7D%7D'>"}, Badge.TEMPLATE),
        ({"names": ["{{ name }}"]}, Badge.TEMPLATE),
        ({"headers": ["{{ order }}"]}, Badge.TEMPLATE),
        ({"content": "*|FNAME|*"}, Badge.TEMPLATE),
        ({"content": "Total: nan EUR"}, Badge.MISSING),
        ({"content": "Dear None,"}, Badge.MISSING),
        ({"content": "Due: None"}, Badge.MISSING),
        ({"content": "Your order None is ready"}, Badge.MISSING),
        ({"subject": "Order NaT"}, Badge.MISSING),
        ({"html_content": "<td>null</td>"}, Badge.MISSING),
        ({"html_content": "<p>Hi undefined</p>"}, Badge.MISSING),
        ({"html_content": "Total &lt;NA&gt;"}, Badge.MISSING),
        ({"names": ["nan"]}, Badge.MISSING),
        ({"content": "Hi ,\n"}, Badge.GREETING),
        ({"content": "Sehr geehrter Herr ,"}, Badge.GREETING),
        ({"subject": "Dear , your receipt"}, Badge.GREETING),
        ({"html_content": "<p>Dear&nbsp;<b></b>,</p>"}, Badge.GREETING),
        ({"html_content": "<p>Hello <span> </span>,</p>"}, Badge.GREETING),
        ({"content": "GrÃ¼ÃŸe"}, Badge.ENCODING),
        ({"content": "itâ€™s"}, Badge.ENCODING),
        ({"subject": "Gr\ufffdsse"}, Badge.ENCODING),
        ({"subject": " \t"}, Badge.SUBJECT),
        ({"content": " ", "html_content": "<p>x"}, Badge.TEXT),
        ({"content": "", "html_content": "<style>p{}</style><p> &nbsp;</p>"}, Badge.EMPTY),
        ({"content": ""}, Badge.EMPTY),
        ({"html_content": "<img src='cid:logo'>", "files": [("logo@x.example", 3)]}, Badge.CID),
        ({"html_content": "<p style='background:url(cid:a)'>"}, Badge.CID),
        ({"html_content": "<a href=''>x</a>"}, Badge.LINK),
        ({"html_content": '<a HREF="https://">x</a>'}, Badge.LINK),
        ({"html_content": '<img src="">'}, Badge.LINK),
        ({"emails": ["a@x.example", "A@x.example"]}, Badge.TWICE),
        ({"files": [("", 0)]}, Badge.FILE),
        ({"html_content": "x" * 105_000}, Badge.LONG),
    ],
)
def test_a_defect_is_seen(parts: dict[str, object], badge: Badge) -> None:
    assert badge in badges_in(**(FAIR | parts))  # type: ignore[arg-type]  # by name, of several types
    assert badge.meaning


@pytest.mark.parametrize(
    "parts",
    [
        {"content": "None of these is yours. None are."},
        {"content": "Hi Ana,\nNone are left"},
        {"content": "Nan Goldin, nancy@nan.example, x-nan, https://x.example/null/undefined"},
        {"html_content": "<script>var a = null, b = undefined</script><style>a{b:none}</style><p class='null'>Hi"},
        {"html_content": "<!-- None, nan --><p>Hi Ana,</p>"},
        {"content": "Bonjour !\nUn chat , un chien"},
        {"content": "Hi there, all"},
        {"html_content": "<p>Dear <b>Ana</b>,</p>"},
        {"html_content": "@media x{a{b:c}}}} } 100%} {a}"},
        {"content": "Âge, São Paulo, ÃO"},
        {"html_content": "<img alt='' src='https://x.example/a.png'><input value=''>"},
        {"html_content": "<img src='https://x.example/a.png'>"},
    ],
)
def test_a_mere_likeness_is_none(parts: dict[str, str]) -> None:
    assert badges_in(**(FAIR | parts)) == ()  # type: ignore[arg-type]  # by name, of several types


def test_a_message_with_a_picture_alone_is_not_empty() -> None:
    assert badges_in(subject="x", html_content="<img src='https://x.example/a.png'>") == (Badge.TEXT,)


@pytest.mark.unmeasured
@given(st.text(), st.text(), st.text(alphabet="<>!-/ ,\"'={}%*|nNaoTe&;stylcrip:d\n"), st.lists(st.text(), max_size=3))
def test_any_text_is_judged(subject: str, content: str, markup: str, names: list[str]) -> None:
    found = badges_in(subject=subject, content=content, html_content=markup, names=names)
    assert list(found) == [badge for badge in Badge if badge in found]
    assert (Badge.SUBJECT in found) == (not subject.strip())


@given(st.text(alphabet=st.characters(exclude_characters="<&"), max_size=200))
def test_text_without_markup_shows_as_it_is(text: str) -> None:
    assert visible_text(text) == text


@given(st.text(alphabet="abc \n,", max_size=40), st.sampled_from(["nan", "NaT", "None", "null", "undefined"]))
def test_a_value_on_a_line_of_its_own_is_always_seen(text: str, word: str) -> None:
    for parts in ({"content": f"{text}\n{word}\n{text}"}, {"html_content": f"<p>{text}</p><td>{word}</td>{text}"}):
        assert Badge.MISSING in badges_in(**(FAIR | parts))  # type: ignore[arg-type]  # by name, of several types


@pytest.mark.parametrize(
    "markup", ["<!--" * 100_000, "<style>" * 70_000, "<" * 500_000, "Hi ,nan" * 70_000, "=''" * 160_000]
)
def test_hostile_markup_takes_no_more_time_than_its_length_is_worth(markup: str) -> None:
    """A search that began anew at each of these would not end while anybody waits."""
    badges_in(subject="x", content="x", html_content=markup)


def test_a_message_is_judged_by_all_its_parts() -> None:
    message = rules.read("v2", FIELDS | {"to": "nan <a@x.example>, a@x.example", "custom_headers": {"X-A": "{{ a }}"}})
    assert badges_of(message) == (Badge.TEMPLATE, Badge.MISSING, Badge.TWICE)


class TestKeys:
    def key(self, **changes: object) -> bytes:
        return key_of(rules.read("v2", FIELDS | changes))

    def test_a_campaign_and_its_reference_are_the_key(self) -> None:
        labels = {"reference_id": "7", "X-campaign-ID": "spring"}
        assert self.key(**labels) == self.key(**labels, subject="other", to="b@x.example")
        assert self.key(**labels) != self.key(**labels | {"reference_id": "8"})
        assert self.key(**labels) != self.key(**labels | {"X-campaign-ID": "summer"})

    @pytest.mark.parametrize(
        "changes",
        [
            {"to": "b@x.example"},
            {"cc": "b@x.example"},
            {"subject": "other"},
            {"content": "other"},
            {"html_content": "other"},
            {"attachments": [{"name": "a", "content": "aGk="}]},
        ],
    )
    def test_without_them_recipients_and_content_are(self, changes: dict[str, object]) -> None:
        assert self.key() == self.key(to="ANA@x.example")
        assert self.key() != self.key(**changes)


def test_an_entry_is_searched_in_small_letters_by_what_the_reader_sees() -> None:
    message = rules.read("v2", FIELDS | {"content": "", "html_content": "<p class='hidden'>Grüße aus KÖLN</p>"})
    entry = entry_of(message, mid="1", time="2026-11-23T10:00:00+00:00", size=10)
    assert "köln" in entry.words
    assert "hidden" not in entry.words
