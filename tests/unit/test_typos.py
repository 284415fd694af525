"""Suggestions: what a broken address was meant to be, and that a good one is left in peace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.addresses import Address, AddressError
from turbobatch.mailboxes import COUNTRIES, DOMAINS, ENDINGS, GENERIC, NEIGHBOURS
from turbobatch.typos import has_mistyped_domain, slip_of, suggest

LOCALS = st.from_regex(r"[a-z0-9_+-]{1,12}(\.[a-z0-9]{1,8})?", fullmatch=True)
BROKEN = (
    st.text(max_size=30) | st.text("@.<>, agomil'\uff20\u200b", max_size=14) | st.text("anagmailcom.@", max_size=20)
)

SLIPS = [
    ("ana@gmial.com", "ana@gmail.com"),
    ("ana@gmali.com", "ana@gmail.com"),
    ("ana@gmai.com", "ana@gmail.com"),
    ("ana@gmaill.com", "ana@gmail.com"),
    ("ana@gmaul.com", "ana@gmail.com"),
    ("ana@mgail.com", "ana@gmail.com"),
    ("ana@gmall.com", "ana@gmail.com"),
    ("ana@hotmal.com", "ana@hotmail.com"),
    ("ana@hotmeil.it", "ana@hotmail.it"),
    ("ana@outlok.de", "ana@outlook.de"),
    ("ana@yahooo.co.uk", "ana@yahoo.co.uk"),
    ("ana@yhaoo.com.br", "ana@yahoo.com.br"),
    ("ana@t-onlin.de", "ana@t-online.de"),
    ("ana@wandaoo.fr", "ana@wanadoo.fr"),
    ("ana@rediffmial.com", "ana@rediffmail.com"),
    ("ana@hotmial.con", "ana@hotmail.com"),
    ("Ana <ana@gmial.com>", "ana@gmail.com"),
]
ENDING_SLIPS = [
    ("ana@gmail.con", "ana@gmail.com"),
    ("ana@gmail.cmo", "ana@gmail.com"),
    ("ana@gmail.ocm", "ana@gmail.com"),
    ("ana@gmail.co", "ana@gmail.com"),
    ("ana@hotmail.cm", "ana@hotmail.com"),
    ("ana@gmail", "ana@gmail.com"),
    ("ana@gmailcom", "ana@gmail.com"),
    ("ana@gmai.lcom", "ana@gmail.com"),
    ("ana@web.ed", "ana@web.de"),
    ("ana@libero.ti", "ana@libero.it"),
    ("ana@comcast.nett", "ana@comcast.net"),
    ("ana@yahoo.com.uk", "ana@yahoo.co.uk"),
    ("ana@acme.con", "ana@acme.com"),
    ("ana@shop.acme.ogr", "ana@shop.acme.org"),
]
SYNTAX = [
    ("ana@@gmail.com", "ana@gmail.com"),
    ("ana.@gmail.com", "ana@gmail.com"),
    ("ana..rossi@acme.example", "ana.rossi@acme.example"),
    ("ana@GMAIL.COM.", "ana@gmail.com"),
    ("ana@gmail,com", "ana@gmail.com"),
    ("ana@acme..example", "ana@acme.example"),
    ("ana @ acme . example", "ana@acme.example"),
    ("<ana@acme.example", "ana@acme.example"),
    ("Ana <ana@@acme.example>", "ana@acme.example"),
    ("ana@acme.example;", "ana@acme.example"),
    ("mailto:ana@acme.example", "ana@acme.example"),
    ("ana\uff20acme\uff0eexample", "ana@acme.example"),
    ("ana\u200b@acme.example\ufeff", "ana@acme.example"),
    ("ana(at)acme.example", "ana@acme.example"),
    ("anagmail.com", "ana@gmail.com"),
    ("ana.hotmail.com", "ana@hotmail.com"),
    ("ana gmx.de", "ana@gmx.de"),
]


@pytest.mark.parametrize(("text", "meant"), SLIPS + ENDING_SLIPS + SYNTAX)
def test_a_typo_and_what_was_meant(text: str, meant: str) -> None:
    """Slips of the hand, endings that don't exist, and what people type or copy around an address."""
    assert suggest(text) == meant


@pytest.mark.parametrize(("text", "is_typo"), [(SLIPS, True), (ENDING_SLIPS, True), (SYNTAX, False)])
def test_a_mistyped_domain_is_told_from_broken_syntax(text: list[tuple[str, str]], *, is_typo: bool) -> None:
    assert {has_mistyped_domain(item) for item, _ in text} == {is_typo}


@pytest.mark.parametrize(
    "text",
    [
        *("", "ana", "@gmail.com", "ana@", "ana@nowhere", "a b@gmail.com", "\u2026@\u2026", "@@", "x" * 5000),
        "ana@hotmail",  # which of its twenty?
        "tommymail.com",  # @mail.com or @ymail.com?
        *("www.gmail.com", "al.gmx.de", "gus.example.org", "http://gmail.com"),
        *("ana@gmail.com;bo@gmail.com", "ana@bo@gmail.com"),
    ],
)
def test_no_guess_without_a_good_one(text: str) -> None:
    assert suggest(text) is None


@pytest.mark.parametrize(
    "domain",
    [
        *(
            "grail.com",
            "cloud.com",
            "itcloud.com",
            "fmail.com",
            "wahoo.com",
            "overlook.com",
            "outbook.com",
            "yahoos.com",
        ),
        *(
            "libera.it",
            "liberi.it",
            "mail.co",
            "me.co",
            "email.org",
            "acme.co",
            "apl.com",
            "ao.com",
            "gmd.de",
            "wef.de",
        ),
        *(
            "never.com",
            "plant.nl",
            "roger.com",
            "hello.at",
            "telia.se",
            "gmail.example",
            "free.de",
            "onlin.de",
            "liv.com",
        ),
        *(
            "gmail.de",
            "yahoo.ru",
            "orange.de",
            "homemail.com",
            "hotsail.com",
            "hotel.com",
            "protomax.com",
            "skynet.com",
        ),
    ],
)
def test_somebody_elses_domain_is_no_slip(domain: str) -> None:
    """A wrong guess sends mail to a stranger: near isn't enough."""
    assert suggest(f"ana@{domain}") is None


@pytest.mark.parametrize("domain", [*DOMAINS, *sorted(NEIGHBOURS)])
def test_a_providers_domain_is_never_another_ones_slip(domain: str) -> None:
    """gmx.de and gmx.net, mail.com and gmail.com, live.it: each is what was meant."""
    assert slip_of(domain) is None
    assert suggest(f"Ana <ana@{domain}>") is None


def test_the_lists_are_in_order() -> None:
    """Domains are as addresses have them; an ending that is in use is nobody's slip."""
    assert len(DOMAINS) == len(set(DOMAINS))
    assert all(Address.parse(f"a@{domain}").domain == domain for domain in (*DOMAINS, *NEIGHBOURS))
    assert not set(DOMAINS) & NEIGHBOURS
    assert not ENDINGS.keys() & COUNTRIES
    assert {domain.rpartition(".")[2] for domain in DOMAINS} - COUNTRIES <= {"com", "net", "org", "info"}
    assert {domain.partition(".")[0] for domain in DOMAINS} >= GENERIC


@given(LOCALS, st.sampled_from(DOMAINS))
def test_a_good_address_of_a_provider_gets_no_other(local: str, domain: str) -> None:
    """However it is written."""
    try:
        Address.parse(f"{local}@{domain}")
    except AddressError:
        return
    assert suggest(f"{local}@{domain}") is None
    assert suggest(f" {local}@{domain.upper()} ") is None


@given(BROKEN | st.builds("{}@{}".format, LOCALS, st.text("gmailyhotu.cnde", max_size=12)))
def test_a_guess_is_a_valid_address_that_needs_no_other(text: str) -> None:
    guess = suggest(text)
    if guess is not None:
        assert guess != text.strip()
        assert Address.parse(guess).email == guess
        assert suggest(guess) is None
