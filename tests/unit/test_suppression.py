"""Lists of those who get nothing: read from tables, and from the vendor page by page."""

from __future__ import annotations

import tracemalloc
from datetime import date
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.errors import CampaignError
from turbobatch.suppression import VENDOR, Suppressed, asks_vendor, load_suppressed, suppression_lists

if TYPE_CHECKING:
    from pathlib import Path


# What `suppress` names


def test_one_list_or_several_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths become absolute, so that a change of the working directory makes no other list of them."""
    monkeypatch.chdir(tmp_path)
    stop, frame = tmp_path / "stop.csv", pd.DataFrame({"email": ["a@b.example"]})
    assert suppression_lists(None) == ()
    assert suppression_lists("stop.csv") == (stop,)
    assert suppression_lists(["stop.csv", VENDOR], tmp_path / "x") == (tmp_path / "x" / "stop.csv", VENDOR)
    assert suppression_lists(frame)[0] is frame


def test_a_file_may_be_called_like_the_vendors_list(tmp_path: Path) -> None:
    """A path that is written as one is none but a path."""
    assert asks_vendor(suppression_lists(VENDOR))
    for given_path in ("./vendor", tmp_path / "vendor"):
        lists = suppression_lists(given_path, tmp_path)
        assert not asks_vendor(lists)
        assert lists == (tmp_path / "vendor",)


# Tables


@pytest.mark.parametrize("column", ["email", "Address", "RECIPIENT", "E-Mail", "Email address"])
def test_the_column_of_addresses_is_found(column: str) -> None:
    """In any letter case; a reason may stand beside it."""
    frame = pd.DataFrame({"id": [1, 2], column: [" Ana@Example.org", None], "Reason": ["spam", "x"]})
    found = load_suppressed([frame])
    assert (found.get("ana@example.org"), found.get("bea@example.org")) == ("spam", None)


def test_addresses_are_compared_as_emails_have_them(tmp_path: Path) -> None:
    """A display name, letter case and the spelling of an international domain make no difference."""
    path = tmp_path / "no.csv"
    path.write_text('who\n"Ana <ANA@example.org>"\njörg@bücher.example\nx@bücher.example\nno address\n', "utf-8")
    found = load_suppressed([path])
    for address in ("ana@example.org", "x@xn--bcher-kva.example", "jörg@bücher.example", "no address"):
        assert found.get(address) == "listed in no.csv"


def test_a_list_without_a_header_loses_no_address(tmp_path: Path) -> None:
    """The first line of a bare list is an address too."""
    path = tmp_path / "no.csv"
    path.write_text("ana@example.org\nbea@example.org\n", encoding="utf-8")
    found = load_suppressed([path])
    assert all(map(found.get, ("ana@example.org", "bea@example.org")))


def test_an_empty_list_suppresses_nobody(tmp_path: Path) -> None:
    """It is there, and has no addresses."""
    (tmp_path / "no.csv").write_text("email\n", encoding="utf-8")
    found = load_suppressed([tmp_path / "no.csv"])
    assert not found
    assert found.get("ana@example.org") is None


def test_an_unclear_list_is_refused(tmp_path: Path) -> None:
    """Nobody is to get an email because a column was guessed wrong, or a file not found."""
    with pytest.raises(CampaignError, match="the DataFrame has no column 'email': give the column"):
        load_suppressed([pd.DataFrame({"a": ["x"], "b": ["y"]})])
    with pytest.raises(CampaignError, match=r"suppression list \S*no\.csv doesn't exist: check the path[^,]*$"):
        load_suppressed([tmp_path / "no.csv"])
    with pytest.raises(CampaignError, match=r'Vendors doesn\'t exist: .*, or write "vendor" for the vendor\'s own$'):
        load_suppressed([tmp_path / "Vendors"])


# Many lists, many addresses


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=6), max_size=4))
def test_the_first_reason_stays(lists: list[list[str]]) -> None:
    """Whichever list an address is on, and however often."""
    found = Suppressed()
    first: dict[str, str] = {}
    for number, names in enumerate(lists):
        found.add([f"{name.upper()}@x.example" for name in names], [f"list {number}"] * len(names))
        for name in names:
            first.setdefault(name, f"list {number}")
    assert {name: found.get(f"{name}@x.example") for name in "abcdef"} == {name: first.get(name) for name in "abcdef"}
    assert bool(found) == bool(first)


@pytest.mark.unmeasured
def test_a_long_list_stays_out_of_memory() -> None:
    """What is held doesn't grow with the list."""
    found = Suppressed()
    tracemalloc.start()
    try:
        for start in range(0, 120_000, 1000):
            numbers = range(start, start + 1000)
            found.add([f"p{number}@example.org" for number in numbers], [f"{date(2026, 1, 1)}: bounce"] * 1000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2_000_000  # bytes; a dictionary takes 20 million
    assert found.get("p119999@example.org") == "2026-01-01: bounce"
    assert found.get("p120000@example.org") is None
