"""Addresses are read, judged and written so that the other side reads the same names and mailboxes again."""

from __future__ import annotations

import contextlib
import re
from email.header import decode_header, make_header

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.addresses import (
    CONTROL,
    Address,
    AddressError,
    digest_of,
    encoded_word,
    format_list,
    holds_control,
    parse_list,
    split_list,
)

LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(lambda text: text[2:4] != "--")
EMAILS = st.builds(
    "{}@{}.{}".format,
    st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[A-Za-z0-9_+-]{1,10})?", fullmatch=True),
    LABEL,
    st.sampled_from(["com", "org", "co.uk", "example"]),
)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=60) | st.text(
    ' "\\,<>()@:;[].=?éa', max_size=12
)
ADDRESSES = st.builds(Address.of, NAMES, EMAILS)


def decoded(item: str) -> Address:
    """Read a list item as a mail program does: encoded words are decoded, a quoted string is taken as it is."""
    address = Address.parse(item)
    if item.startswith('"'):
        return address
    return Address(address.email, str(make_header(decode_header(address.name))))


class TestParse:
    @pytest.mark.parametrize(
        ("text", "email", "name"),
        [
            ("ana@x.example", "ana@x.example", ""),
            ("  ana@x.example\n", "ana@x.example", ""),
            ("<ana@x.example>", "ana@x.example", ""),
            ("Ana <ana@x.example>", "ana@x.example", "Ana"),
            ("Ana<ana@x.example>", "ana@x.example", "Ana"),
            ("  Ana   < ana@x.example >  ", "ana@x.example", "Ana"),
            ('"Doe, Jane" <jane@x.example>', "jane@x.example", "Doe, Jane"),
            ("Doe, Jane <jane@x.example>", "jane@x.example", "Doe, Jane"),
            (r'"Jane \"J\" Doe \\" <jane@x.example>', "jane@x.example", 'Jane "J" Doe \\'),
            ("a <b> c <ana@x.example>", "ana@x.example", "a <b> c"),
            ('"" <ana@x.example>', "ana@x.example", ""),
            ('" Ana " <ana@x.example>', "ana@x.example", "Ana"),
            ("Zoë 💌 <zoe@x.example>", "zoe@x.example", "Zoë 💌"),
            ("O'Brien <o'brien@x.example>", "o'brien@x.example", "O'Brien"),
            ("Ana.B+tag@X.EXAMPLE", "Ana.B+tag@x.example", ""),
            ("a@bücher.example", "a@xn--bcher-kva.example", ""),
            ("a@BÜCHER.example", "a@xn--bcher-kva.example", ""),
            ("a@例え.jp", "a@xn--r8jz45g.jp", ""),
        ],
    )
    def test_what_is_an_address(self, text: str, email: str, name: str) -> None:
        assert Address.parse(text) == Address(email, name)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "ana",
            "@x.example",
            "ana@",
            "ana@@x.example",
            "ana@x",
            "ana@localhost",
            "ana@[127.0.0.1]",
            "ana@-x.example",
            "a b@x.example",
            ".ana@x.example",
            "ana.@x.example",
            "an..a@x.example",
            "ana@x..example",
            '"a b"@x.example',
            "jané@x.example",
            "ana@x.example, bob@x.example",
            "ana@x.example>",
            "Ana ana@x.example>",
            "Ana <>",
            "<ana@x.example> Ana",
            "ana@" + "x" * 250 + ".example",
            "ana@x.example\nBcc: eve@x.example",
            "ana\u2028@x.example",
            "\ud800@x.example",
        ],
    )
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(AddressError) as caught:
            Address.parse(text)
        assert caught.value.text == text.strip()
        assert not CONTROL.search(caught.value.reason)

    @pytest.mark.parametrize("char", ["\r", "\n", "\0", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"])
    def test_a_name_with_a_control_character_is_refused(self, char: str) -> None:
        with pytest.raises(AddressError, match="control character"):
            Address.parse(f"Ana{char}Bcc: eve <ana@x.example>")
        with pytest.raises(AddressError, match="control character"):
            Address.of(f"Ana{char}", "ana@x.example")

    @given(st.text() | st.text('@.<>", \\a\r\n\ud800é', max_size=30))
    def test_any_text_is_an_address_or_an_address_error(self, text: str) -> None:
        try:
            address = Address.parse(text)
        except AddressError:
            return
        assert address.email.isascii()
        assert not CONTROL.search(str(address))

    def test_the_domain(self) -> None:
        assert Address.parse("Ana <ana@Mail.X.example>").domain == "mail.x.example"


class TestWrite:
    @given(ADDRESSES)
    def test_what_was_written_reads_the_same(self, address: Address) -> None:
        assert Address.parse(address.header()) == address
        assert str(address) == address.header()

    @given(ADDRESSES)
    def test_a_list_item_has_no_comma_and_decodes_to_the_same(self, address: Address) -> None:
        item = address.list_item()
        assert "," not in item
        assert decoded(item) == address

    @pytest.mark.unmeasured
    @given(st.lists(ADDRESSES, max_size=5))
    def test_a_list_survives_a_split_at_every_comma(self, addresses: list[Address]) -> None:
        items = [item for item in format_list(addresses).split(",") if item]
        assert [decoded(item) for item in items] == addresses

    @pytest.mark.parametrize("special", list('(),.:;<>@[]"\\'))
    def test_specials_are_quoted_and_escaped(self, special: str) -> None:
        escaped = f"\\{special}" if special in '"\\' else special
        assert Address.of(f"a{special}b", "a@x.example").header() == f'"a{escaped}b" <a@x.example>'

    def test_a_plain_name_stays_plain(self) -> None:
        assert Address.of("Zoë O'Brien-Smith", "z@x.example").list_item() == "Zoë O'Brien-Smith <z@x.example>"

    @pytest.mark.parametrize("name", ["=?utf-8?b?RXZl?=", "Ana =?utf-8?q?Eve?= B"])
    def test_a_name_that_looks_encoded_is_not_taken_for_it(self, name: str) -> None:
        address = Address.of(name, "a@x.example")
        assert address.header() == f'"{name}" <a@x.example>'
        assert str(make_header(decode_header(address.list_item()))) == f"{name} <a@x.example>"

    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
    def test_encoded_words_are_short_ascii_and_decode_one_by_one(self, text: str) -> None:
        words = encoded_word(text).split(" ")
        assert all(len(word) <= 75 and word.isascii() and "," not in word for word in words)
        assert "".join(str(make_header(decode_header(word))) for word in words) == text


class TestLists:
    @pytest.mark.parametrize(
        ("text", "items"),
        [
            ("", []),
            (" , ,", []),
            ("a@x.example", ["a@x.example"]),
            ("a@x.example,b@x.example", ["a@x.example", "b@x.example"]),
            (" a@x.example ,, B <b@x.example>, ", ["a@x.example", "B <b@x.example>"]),
            ('"Doe, Jane" <j@x.example>, b@x.example', ['"Doe, Jane" <j@x.example>', "b@x.example"]),
            (r'"a \", b" <j@x.example>, b@x.example', [r'"a \", b" <j@x.example>', "b@x.example"]),
            ('"a\\\\", b@x.example', ['"a\\\\"', "b@x.example"]),
            ('"a < b" <j@x.example>, b@x.example', ['"a < b" <j@x.example>', "b@x.example"]),
            ("<a,b@x.example>, c@x.example", ["<a,b@x.example>", "c@x.example"]),
        ],
    )
    def test_commas_in_quotes_and_brackets_do_not_separate(self, text: str, items: list[str]) -> None:
        assert list(split_list(text)) == items

    @pytest.mark.unmeasured
    @given(st.lists(ADDRESSES, max_size=5))
    def test_headers_joined_by_commas_come_apart_again(self, addresses: list[Address]) -> None:
        assert parse_list(", ".join(address.header() for address in addresses)) == addresses

    def test_the_first_bad_item_is_named(self) -> None:
        with pytest.raises(AddressError, match="'broken'"):
            parse_list("a@x.example, broken, worse")


NEARLY = st.builds(
    "{}{}{}".format,
    st.text("ab.c+_-0Pé ", max_size=70) | st.sampled_from(["postmaster", "Postmaster", "INFO", "a" * 64, "a" * 65]),
    st.sampled_from(["@", "@", "@", "", "@@"]),
    st.sampled_from(
        [
            "example.com",
            "EXAMPLE.com",
            "bücher.example",
            "xn--bcher-kva.example",
            "a_b.example",
            "localhost",
            "x.test",
            "[1.2.3.4]",
            "",
            "-a.example",
            "a..example",
            ".".join(["d" * 60] * 4),
            ".".join(["ü" * 50] * 3) + ".example",
            ".".join(["d" * 60, "d" * 60, "d" * 60, "com"]),
        ]
    ),
)


@given(NEARLY | EMAILS)
def test_an_address_is_judged_as_email_validator_judges_it(text: str) -> None:
    """Also the many whose domain alone is validated, once for all of them."""
    text = text.strip()
    expected: str | None = None
    with contextlib.suppress(EmailNotValidError):
        found = validate_email(text, check_deliverability=False, allow_smtputf8=False, allow_quoted_local=False)
        expected = f"{found.local_part}@{found.ascii_domain}"
    read: str | None = None
    with contextlib.suppress(AddressError):
        read = Address.of("", text).email
    assert read == expected


@given(st.text())
def test_control_characters_are_found_wherever_they_are(text: str) -> None:
    assert holds_control(text) == (CONTROL.search(text) is not None)


def test_a_digest_tells_who_is_addressed_and_nothing_else() -> None:
    """In any order, under any name, in any case; one address more or less is another digest."""
    ana, bo = Address("ana@acme.example", "Ana"), Address("bo@acme.example")
    assert re.fullmatch("[0-9a-f]{16}", digest_of([ana, bo]))
    assert digest_of([bo, Address("ANA@acme.example"), bo]) == digest_of([ana, bo])
    assert len({digest_of([]), digest_of([ana]), digest_of([bo]), digest_of([ana, bo])}) == 4


def test_a_text_that_is_far_too_long_is_no_address() -> None:
    """Told at once, not after the minute that reading it character by character takes."""
    for text in ("x" * 10_000_000, f"a@{'x.' * 5_000_000}example", f"{'a' * 10_000_000}@example.org"):
        with pytest.raises(AddressError, match="an address has at most 254 characters") as caught:
            Address.parse(text)
        assert caught.value.text == text
