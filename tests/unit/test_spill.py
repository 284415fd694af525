"""What is remembered of a table's rows is remembered exactly, however many there are, and not in memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch import spill as spill_module
from turbobatch.errors import CampaignError
from turbobatch.spill import Spill

KEYS = st.text(st.characters(), max_size=4)  # NULs and lone surrogates too: a group may be any text


@given(st.lists(st.tuples(KEYS, st.integers(0, 2**60), st.booleans())), st.integers(0, 5))
def test_it_does_what_a_dict_does(steps: list[tuple[str, int, bool]], few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill_module, "_FEW", few)
        check(steps)


def check(steps: list[tuple[str, int, bool]]) -> None:
    """Play the same on a dictionary."""
    spill, model = Spill[int](), dict[str, int]()
    for key, value, replaces in steps:
        if replaces:
            spill[key] = model[key] = value
        else:
            assert spill.setdefault(key, value) == model.setdefault(key, value)
    for key, value in model.items():
        assert spill[key] == value
        assert key in spill
        assert (key + "a" in spill) is (key + "a" in model)


@given(st.lists(st.lists(KEYS, max_size=4), max_size=6), st.integers(0, 5))
def test_many_at_once_are_remembered_one_after_the_other(batches: list[list[str]], few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill_module, "_FEW", few)
        spill, model = Spill[int](), dict[str, int]()
        for number, keys in enumerate(batches):
            values = range(10 * number, 10 * number + len(keys))
            assert spill.setdefaults(keys, values) == list(map(model.setdefault, keys, values))


def test_what_was_never_remembered_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="b"):
        Spill[str]()["b"]


def test_not_even_among_many() -> None:
    spill = Spill[int]()
    for number in range(60_000):
        spill[str(number)] = number
    assert spill["7"] == 7
    with pytest.raises(KeyError, match="b"):
        spill["b"]


@pytest.mark.unmeasured
def test_it_holds_a_million_keys_in_little_memory() -> None:
    """A dict of them takes some 190 MB; that they come back shows that none was lost on the way."""
    script = """
import resource
from turbobatch.spill import Spill
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
spill = Spill()
for number in range(1_000_000):
    spill.setdefault(f"{number * 7919 % 1_000_003:032d}", number)
assert all(spill.setdefault(f"{number * 7919 % 1_000_003:032d}", -1) == number for number in range(0, 1_000_000, 999))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60


def test_a_full_temporary_folder_is_one_line() -> None:
    spill = Spill[int]()
    spill._db.execute("PRAGMA max_page_count = 10")

    def fill() -> None:
        for number in range(100_000):
            spill[f"{number:032d}"] = number

    with pytest.raises(CampaignError, match=r"the temporary folder can't hold the table's keys \(.*full\): make room"):
        fill()
