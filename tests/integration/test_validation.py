"""Addresses judged by the vendor before anything is sent: what is asked, what it costs, and that it costs that once."""

from __future__ import annotations

import json
import sqlite3
import stat
import tempfile
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import turbobatch as tb
from tests.integration.hosts import Answering, account_at
from turbobatch.check import VALIDATED
from turbobatch.validation import ListGoesOn
from turbobatch.validation.asking import GIVEN_UP, Asking
from turbobatch.validation.store import Store, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turbobatch.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("folder")


def campaign(**changes: Any) -> tb.Campaign:
    """A campaign made in Python."""
    message = tb.MailMerge(
        from_="shop@acme.example", to="{{ email }}", cc="{{ cc | default('') }}", subject="Hi", text="Dear {{ id }}"
    )
    return tb.Campaign(**{"name": "letters", "message": message, "key": "id", **changes})


def people(*emails: str, cc: str = "") -> pd.DataFrame:
    """A row for each; the first one has the `cc`."""
    copies = [cc if number == 0 else "" for number in range(len(emails))]
    return pd.DataFrame({"id": range(len(emails)), "email": emails, "cc": copies})


# What a check says


def test_what_isnt_fine_is_a_problem_and_no_obstacle(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Row, field, column and cure; the row is sent all the same, which its status says."""
    table = people(
        "ana@example.org", "bounce@example.org", "bea@gmial.com", "unknown@example.org", cc="abuse@x.example"
    )
    found = campaign().check(table, client=client, validate=True)
    assert found[["row", "status", "field", "columns", "problem", "cure", "send_key"]].to_numpy().tolist() == [
        [0, "warning", "cc", "cc", "the vendor judges abuse@x.example abuse", CORRECT, "0"],
        [1, "warning", "to", "email", "the vendor judges bounce@example.org invalid (mailbox_not_found)", CORRECT, "1"],
        [2, "warning", "to", "email", "the vendor judges bea@gmial.com invalid (possible_typo)", GUESSED, "2"],
    ]
    assert found.attrs[VALIDATED] == {"invalid": 2, "abuse": 1, "unknown": 1, "valid": 1}
    assert sandbox.validations() == 5
    assert sandbox.requests_seen() == 0


CORRECT = "leave the row out, or correct the address"
GUESSED = "did you mean bea@gmail.com?"


def test_only_what_could_be_sent_is_paid_for(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Not what is sent already, suppressed or invalid; each address once, in whatever letter case."""
    client.import_suppressions(["p1@example.org"], "x")
    letters = campaign(suppress="vendor")
    letters.send(people("p0@example.org"), client, progress=False)
    table = people(
        "p0@example.org", "p1@example.org", "no address", "p3@example.org", "P3@Example.org", "p4@example.org"
    )
    found = letters.check(table, client=client, validate=True)
    assert found["status"].tolist() == ["suppressed", "invalid"]
    assert found.attrs[VALIDATED] == {"valid": 2}
    assert sandbox.validations() == 2


def test_without_a_key_what_is_sent_is_left_out_too(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Its content tells it."""
    letters = campaign(key=None)
    letters.send(people("p0@example.org"), client, progress=False)
    letters.check(people("p0@example.org", "p1@example.org", "p2@example.org"), client=client, validate=True)
    assert sandbox.validations() == 2


def test_a_judgement_is_used_again(sandbox: Sandbox, client: tb.TurboClient, folder: Path) -> None:
    """What is new is paid for, alone where it is one address; a file beside the journal remembers."""
    for emails, paid in ((["a"], 1), (["a"], 1), (["a", "b", "c"], 3), (["c", "b", "d"], 4)):
        table = people(*(f"{name}@example.org" for name in emails))
        assert campaign().check(table, client=client, validate=True).attrs[VALIDATED] == {"valid": len(emails)}
        assert sandbox.validations() == paid
    campaign(name="others").check(people("a@example.org"), client=client, validate=True)
    assert sandbox.validations() == 5  # another campaign's
    file = folder / "letters.validated.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert campaign().reads(file)


def test_it_needs_v2(sandbox: Sandbox) -> None:
    """Which is said before any row is merged."""
    with pytest.raises(tb.CampaignError, match="needs v2 credentials"):
        campaign().check(people("x"), client=sandbox.client("v1"), validate=True)
    with pytest.raises(tb.CampaignError, match="no credentials"):
        campaign().check(people("x"), validate=True)


def test_nobody_has_to_pay(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Who is asked may say no; what is known by then is told the next time."""

    def refuse(need: Any) -> None:
        asked.append(need)
        raise tb.CampaignError("too much")

    asked: list[tuple[int, int]] = []
    campaign().check(people("a@example.org"), client=client, validate=True)
    with pytest.raises(tb.CampaignError, match="too much"):
        list(campaign().checking(people("a@example.org", "b@example.org"), client, validate=refuse))
    assert (asked, sandbox.validations()) == ([(1, 1)], 1)


def test_one_check_at_a_time_pays(client: tb.TurboClient, sandbox: Sandbox) -> None:
    """Another one is told to wait."""
    with Store(campaign().validated_path), pytest.raises(tb.CampaignError, match="in use by another check: wait"):
        campaign().check(people("a@example.org"), client=client, validate=True)
    assert sandbox.validations() == 0


@pytest.mark.parametrize("content", [b"no database, but long enough to be taken for one" * 100, "other"])
def test_another_file_isnt_touched(content: bytes | str, client: tb.TurboClient) -> None:
    """Whatever has the name of the file of judgements stays as it is."""
    path = campaign().validated_path
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE mine (a)")
        other.close()
    before = path.read_bytes()
    with pytest.raises(tb.CampaignError, match="move it away"):
        campaign().check(people("a@example.org"), client=client, validate=True)
    assert path.read_bytes() == before


# A host that fails, and what is paid then


class Host:
    """A vendor that counts what is paid, and whose calls can go wrong.

    Attributes:
        paid: addresses, each time that one is judged.
        moves: whether lists that were started do.
        trouble: what to do at a call, by its last word: "before" or "after" it is done, hang up; or a status to answer.
        results: whether a list that is done has them.
    """

    def __init__(self) -> None:
        self.paid: list[str] = []
        self.lists: list[list[str]] = []
        self.started: set[int] = set()
        self.moves = self.results = True
        self.trouble: dict[str, str | int] = {}

    def answer(self, path: str, body: str) -> tuple[int, Any] | None:
        """Status and JSON; None hangs up."""
        words = path.partition("?")[0].split("/")
        trouble = self.trouble.pop(words[-1], None)
        if trouble == "before":
            return None
        if isinstance(trouble, int):
            return trouble, {"message": "error", "errors": ["trouble"]}
        found = self._do(words, body, is_first_page="page=1&" in path)
        return None if trouble == "after" else found

    def _do(self, words: list[str], body: str, *, is_first_page: bool) -> tuple[int, Any]:
        match words[words.index("emailvalidation") + 1 :]:
            case ["validateEmail"]:
                self.paid.append(json.loads(body)["email"])
                return 200, {"status": "valid"}
            case ["upload"]:
                self.lists.append([line for line in body.splitlines() if "@" in line])
                return 201, {"list_id": len(self.lists) - 1, "total_emails": len(self.lists[-1])}
            case ["lists", number, *_] if int(number) >= len(self.lists):
                return 404, {"message": "list_not_found"}
            case ["lists", number, "validate"]:
                self.started.add(int(number))
                self.paid += self.lists[int(number)]
                return 200, {}
            case ["lists", number, "emails"]:
                rows = [{"email": item, "status": "valid"} for item in self.lists[int(number)][1:]]
                return 200, {"results": rows if self.results and is_first_page else []}
            case ["lists", number]:
                is_done = int(number) in self.started and self.moves
                return 200, {"is_processed": is_done, "percentage": 100 if is_done else 0}
        raise AssertionError(words)


@contextmanager
def serving(host: Host) -> Iterator[tb.TurboClient]:
    """A client of the host."""

    class Handler(Answering, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            found = host.answer(self.path, body)
            if found is None:
                self.close_connection = True
                return
            content = json.dumps(found[1]).encode()
            self.send_response(found[0])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - http.server's name

    with account_at(Handler) as client:
        yield client


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def run(client: tb.TurboClient, folder: Path, clock: Clock, *addresses: str) -> dict[str, int]:
    """One check's validation of these addresses; what they were judged to be."""
    with Store(folder / "x.validated.db", clock=clock) as store:
        for number, address in enumerate(addresses):
            store.want(Wanted(number, f"row {number}", "to", address, str(number)))
        asking = Asking(store, client, sleep=clock.sleep, clock=clock, now=clock)
        asking.take_up()
        asking.ask(lambda _: None)
        return store.counts()


THREE = ("a@x.example", "b@x.example", "c@x.example")
JUDGED = {"valid": 2, "unknown": 1}  # the host says nothing of a list's first address


@pytest.mark.parametrize(("trouble", "says"), [("before", "gave no word"), ("after", "gave no word"), (400, "trouble")])
def test_an_upload_that_fails_costs_nothing(trouble: str | int, says: str, folder: Path) -> None:
    """Whether it was done or not: the next run uploads anew."""
    host, clock = Host(), Clock()
    host.trouble["upload"] = trouble
    with serving(host) as client:
        with pytest.raises(tb.ManagementError, match=f"{says}.*; nothing was paid: run the same command again$"):
            run(client, folder, clock, *THREE)
        assert host.paid == []
        assert run(client, folder, clock, *THREE) == JUDGED
    assert host.paid == list(THREE)


@pytest.mark.parametrize("trouble", [400, 401, 429])
def test_a_start_that_is_refused_costs_nothing(trouble: int, folder: Path) -> None:
    """As without credit: the next run begins anew."""
    host, clock = Host(), Clock()
    host.trouble["validate"] = trouble
    with serving(host) as client:
        with pytest.raises((tb.ManagementError, tb.AuthenticationError)):
            run(client, folder, clock, *THREE)
        assert run(client, folder, clock, *THREE) == JUDGED
    assert host.paid == list(THREE)


def test_a_start_without_an_answer_that_was_done_is_found(folder: Path) -> None:
    """The list moves, so it was."""
    host, clock = Host(), Clock()
    host.trouble["validate"] = "after"
    with serving(host) as client:
        assert run(client, folder, clock, *THREE) == JUDGED
    assert host.paid == list(THREE)


@pytest.mark.parametrize("is_done", [True, False])
def test_a_start_that_nobody_knows_of_is_waited_for(is_done: bool, folder: Path) -> None:
    """For a day nothing else is started; then a list that doesn't move never was."""
    host, clock = Host(), Clock()
    host.trouble["validate"] = "after" if is_done else "before"
    host.moves = False
    with serving(host) as client:
        for _ in range(3):
            with pytest.raises(tb.ManagementError, match="whether list 0 of 3 addresses was started isn't known yet"):
                run(client, folder, clock, *THREE)
            clock.now += GIVEN_UP / 5
        assert (len(host.lists), host.paid) == (1, list(THREE) if is_done else [])
        host.moves = True
        if not is_done:
            clock.now += GIVEN_UP
        assert run(client, folder, clock, *THREE) == JUDGED
    assert host.paid == list(THREE)


def test_a_list_that_is_gone_is_given_up_a_day_later(folder: Path) -> None:
    """It may be another account's; that is said."""
    host, clock = Host(), Clock()
    host.moves = False
    host.trouble["validate"] = "before"
    with serving(host) as client:
        with pytest.raises(tb.ManagementError):
            run(client, folder, clock, *THREE)
        host.lists.clear()
        with pytest.raises(tb.ManagementError, match="list 0 was begun with another account"):
            run(client, folder, clock, *THREE)
        clock.now += GIVEN_UP
        host.moves = True
        assert run(client, folder, clock, *THREE) == JUDGED


def test_one_address_without_an_answer_isnt_asked_about_again(folder: Path) -> None:
    """For a day it counts as unknown, whether it was paid for or not."""
    for trouble in ("before", "after"):
        host, clock = Host(), Clock()
        host.trouble["validateEmail"] = trouble
        address = f"{trouble}@x.example"
        with serving(host) as client:
            with pytest.raises(tb.ManagementError, match=f"{address} counts as unknown for a day"):
                run(client, folder, clock, address)
            assert run(client, folder, clock, address) == {"unknown": 1}
            assert len(host.paid) == (trouble == "after")
            clock.now += GIVEN_UP + 1
            assert run(client, folder, clock, address) == {"valid": 1}


@pytest.mark.parametrize("trouble", [400, 401])
def test_one_address_that_is_refused_costs_nothing(trouble: int, folder: Path) -> None:
    """It is asked about again."""
    host, clock = Host(), Clock()
    host.trouble["validateEmail"] = trouble
    with serving(host) as client:
        with pytest.raises((tb.ManagementError, tb.AuthenticationError)):
            run(client, folder, clock, THREE[0])
        assert run(client, folder, clock, THREE[0]) == {"valid": 1}
    assert host.paid == [THREE[0]]


def test_results_that_cant_be_had_are_asked_for_again(folder: Path) -> None:
    """None, or no answer: the list is paid for, and stays noted."""
    host, clock = Host(), Clock()
    host.results = False
    with serving(host) as client:
        with pytest.raises(tb.ManagementError, match="list 0 is done and has no results yet: the list goes on"):
            run(client, folder, clock, *THREE)
        host.results = True
        host.trouble["emails"] = 400
        with pytest.raises(tb.ManagementError, match="trouble; the list goes on at the vendor and is paid for once"):
            run(client, folder, clock, *THREE)
        assert run(client, folder, clock, *THREE, "d@x.example") == {"valid": 3, "unknown": 1}
    assert host.paid == [*THREE, "d@x.example"]


def test_an_interrupt_leaves_the_list_to_the_next_run(folder: Path) -> None:
    """Wherever it strikes while the list is looked at."""
    host = Host()
    host.moves = False
    clock = Clock()

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with serving(host) as client:
        clock.sleep = interrupt  # type: ignore[assignment,method-assign]  # it is interrupted there
        with pytest.raises(ListGoesOn, match="list 0 goes on at the vendor; the same command goes on"):
            run(client, folder, clock, *THREE)
        host.moves = True
        assert run(client, folder, clock, *THREE) == JUDGED
    assert host.paid == list(THREE)


def test_an_old_judgement_is_paid_for_again(folder: Path) -> None:
    """After 30 days; what is unknown after one."""
    host, clock = Host(), Clock()
    with serving(host) as client:
        for days, paid in ((0, 3), (0.9, 3), (0.2, 4), (28.8, 4), (0.2, 6)):
            clock.now += days * 86_400
            run(client, folder, clock, *THREE)
            assert len(host.paid) == paid, days


LETTERS = "abcdefghijkl"
CALLS = ("upload", "validate", "validateEmail", "emails")
TROUBLES = [{call: trouble} for call in CALLS for trouble in ("before", "after", 400)]
SETS = st.lists(st.sets(st.sampled_from(LETTERS), min_size=2, max_size=3), min_size=6, max_size=6)


@pytest.mark.unmeasured
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(SETS, st.permutations(TROUBLES))
def test_whatever_goes_wrong_nobody_pays_twice(sets: list[set[str]], troubles: list[dict[str, str | int]]) -> None:
    """Within a day; and a day later, at the latest, everything is judged."""
    host, clock = Host(), Clock()
    with tempfile.TemporaryDirectory() as name, serving(host) as client:
        assert client._management is not None
        client._management._sleep = lambda _: None  # between tries of the same call
        for addresses, trouble in zip(sets, troubles, strict=False):
            host.trouble = dict(trouble)
            with suppress(tb.ManagementError, tb.AuthenticationError):
                run(client, Path(name), clock, *sorted(f"{item}@x.example" for item in addresses))
            clock.now += 60
        host.trouble.clear()
        everybody = [f"{item}@x.example" for item in LETTERS]
        with suppress(tb.ManagementError):  # what was begun isn't known to be
            run(client, Path(name), clock, *everybody)
        assert len(host.paid) == len(set(host.paid))
        clock.now += GIVEN_UP + 1
        assert sum(run(client, Path(name), clock, *everybody).values()) == len(everybody)
    assert set(host.paid) == set(everybody)
