"""The inbox over HTTP: what programs may ask it, what its pages may load, and who may change something."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests
from typer.testing import CliRunner

from turbobatch.cli import app
from turbobatch.sandbox import FaultKind, Sandbox
from turbobatch.sandbox.events import EventKind
from turbobatch.sandbox.inbox.badges import Badge
from turbobatch.sandbox.inbox.catalogue import Catalogue, Filter, Show
from turbobatch.sandbox.inbox.routes import disposition
from turbobatch.sandbox.store import REFUSALS, MessageStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Until

V2 = {"consumerKey": "sandbox", "consumerSecret": "sandbox"}
MESSAGE = {"from": "Acme <shop@acme.example>", "to": "ana@x.example", "subject": "Hello", "content": "Hi Ana,"}
PAGES = ["/", "/help", "/inbox/faults", "/inbox/messages/1", "/?show=refused", "/inbox/refusals/1?show=refused"]


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def send(http: requests.Session, sandbox: Sandbox, **changes: Any) -> requests.Response | None:
    """Send MESSAGE with changes; None where no answer came."""
    try:
        return http.post(f"{sandbox.base_url('v2')}/mail/send", json=MESSAGE | changes, headers=V2, timeout=10)
    except requests.ConnectionError:
        return None


def get(http: requests.Session, sandbox: Sandbox, path: str) -> requests.Response:
    return http.get(sandbox.url + path, timeout=10)


def catalogue(sandbox: Sandbox) -> Catalogue:
    return Catalogue(sandbox._store)


def subjects(sandbox: Sandbox, **narrowed: Any) -> list[str]:
    """The subjects that the list shows, newest first."""
    return [line.data["subject"] for line in catalogue(sandbox).page(Filter(**narrowed))]


class BusyStore(MessageStore):
    """A message arrives each time somebody is about to take the store."""

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        with super().use() as db, db:
            db.execute("INSERT INTO sandbox_listing (campaign, fault, badges, key, line) VALUES ('', '', '', '', '{}')")
        with super().use() as db:
            yield db


class TestList:
    def test_it_is_newest_first_in_pages(self, sandbox: Sandbox, http: requests.Session) -> None:
        for number in range(53):
            send(http, sandbox, subject=f"Nr. {number}")
        first, second = (re.findall(r"Nr\. \d+", get(http, sandbox, f"/?page={page}").text) for page in (1, 2))
        assert (first[0], len(first), second) == ("Nr. 52", 50, ["Nr. 2", "Nr. 1", "Nr. 0"])
        assert "53 of <b>53</b>" in get(http, sandbox, "/?page=99").text

    @pytest.mark.parametrize("q", ["ANA", "cc@", "bcc@", "grüsse", "acme", "the text", "text cc@ grüsse", "<b>"])
    def test_a_search_looks_at_addresses_subject_and_text(
        self, sandbox: Sandbox, http: requests.Session, q: str
    ) -> None:
        send(http, sandbox, to="Ana <a@x.example>", cc="cc@x.example", bcc="bcc@x.example", subject="Grüsse <b>",
             content="The Text")  # fmt: skip
        send(http, sandbox, **{"from": "b@y.example"}, to="b@y.example", content="other")
        assert subjects(sandbox, q=q) == ["Grüsse <b>"]

    @pytest.mark.parametrize("q", ["row-17", "AUTUMN", "mid", "17 autumn"])
    def test_a_search_looks_at_what_the_sender_calls_it(self, sandbox: Sandbox, http: requests.Session, q: str) -> None:
        """The reference, the campaign, and the id that the answer told."""
        for reference, campaign in (("row-16", "Spring"), ("Row-17", "Autumn"), ("row-18", "Spring")):
            send(http, sandbox, subject=reference, reference_id=reference, **{"X-campaign-ID": campaign})
        q = sandbox.messages()[1]["mid"] if q == "mid" else q
        assert subjects(sandbox, q=q) == ["Row-17"]
        assert '<span class="chip" title="Reference"><bdi>Row-17</bdi>' in get(http, sandbox, "/").text
        send(http, sandbox, to="broken", reference_id="Row-17", **{"X-campaign-ID": "Autumn"})
        assert len(subjects(sandbox, q="row-17 autumn", show=Show.REFUSED)) == 1

    def test_a_name_does_not_turn_its_address_around(self, sandbox: Sandbox, http: requests.Session) -> None:
        """An override (U+202E) ends with the name."""
        word = base64.b64encode("Ana \u202e moc".encode()).decode()
        send(http, sandbox, to=f"=?utf-8?b?{word}?= <ana@x.example>, ben@x.example")
        send(http, sandbox, to="Ana \u202e moc <ana@x.example>, ben", **{"from": "Z \u202e <z>"})
        shown = '<bdi>Ana \u202e moc</bdi> <bdi dir="ltr">&lt;ana@x.example&gt;</bdi>, <bdi dir="ltr">ben'
        for path in ("/", "/?show=refused", "/inbox/refusals/1?show=refused"):
            assert shown in get(http, sandbox, path).text
        assert (
            '<bdi>Z \u202e</bdi> <bdi dir="ltr">&lt;z&gt;</bdi>'
            in get(http, sandbox, "/inbox/refusals/1?show=refused").text
        )

    @pytest.mark.parametrize("size", [1, 7, 60, 1000])
    def test_a_search_in_slices_finds_the_same(
        self, sandbox: Sandbox, http: requests.Session, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        monkeypatch.setattr("turbobatch.sandbox.inbox.catalogue._SLICE", size)
        send(http, sandbox)
        sandbox.clear()
        for number in range(60):
            send(http, sandbox, subject="other" if number == 30 else f"Nr. {number}")
        ids = [number for number in range(61, 1, -1) if number != 32]
        for number, wanted in ((1, ids[:50]), (2, ids[50:]), (9, ids[50:])):
            look = catalogue(sandbox).look(Filter(q="nr."), number)
            assert ([line.id for line in look.lines], look.total, look.last) == (wanted, 59, 61)
        look = catalogue(sandbox).look(Filter(q="nr."), 2, after=57)
        assert ([line.id for line in look.lines], look.fresh, look.total) == ([61, 60, 59, 58], 4, 59)

    def test_all_words_of_a_search_must_occur(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox, subject="one two")
        send(http, sandbox, subject="two")
        assert subjects(sandbox, q="two one") == ["one two"]
        assert subjects(sandbox, q="100%_") == []

    def test_messages_are_filtered_by_campaign(self, sandbox: Sandbox, http: requests.Session) -> None:
        for name in ("spring", "summer", "", "spring"):
            send(http, sandbox, subject=name or "none", **{"X-campaign-ID": name})
        assert subjects(sandbox, campaign="spring") == ["spring", "spring"]
        assert subjects(sandbox, campaign="") == ["none"]
        assert catalogue(sandbox).campaigns(Show.ACCEPTED) == [("spring", 2), ("", 1), ("summer", 1)]
        assert ">(no campaign) · 1<" in get(http, sandbox, "/").text

    def test_messages_are_filtered_by_badge(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox, subject="{{ a }}", reference_id="1")
        send(http, sandbox, subject="fair", reference_id="2")
        send(http, sandbox, subject="again", reference_id="2")
        assert subjects(sandbox, badge="any") == ["{{ a }}"]
        assert subjects(sandbox, badge=Badge.SECOND) == ["again"]
        assert catalogue(sandbox).badges(Show.ACCEPTED) == {Badge.TEMPLATE: 1, Badge.SECOND: 1}

    def test_outcomes_are_kept_apart(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox)
        for name in ("garbage", "reset-after", "500", "hang-on", "reject", "429"):
            send(http, sandbox, to=f"{name}@x.example", subject=name)
        send(http, sandbox, to="broken", subject="broken")
        http.post(f"{sandbox.base_url('v2')}/mail/send", json=MESSAGE, headers={}, timeout=10)
        http.post(f"{sandbox.base_url('v2')}/mail/send", data=b"{", headers=V2, timeout=10)
        assert subjects(sandbox, show=Show.SPOILED) == ["reset-after", "garbage"]
        assert subjects(sandbox, show=Show.FAILED) == ["429", "500"]
        assert subjects(sandbox, show=Show.REFUSED) == ["", "Hello", "broken", "reject"]
        assert len(sandbox.inbox()) == len(sandbox.messages()) == 4
        assert get(http, sandbox, "/count").json() == {"accepted": 4, "requests": 10}
        errors = [line.data["errors"] for line in catalogue(sandbox).page(Filter(Show.REFUSED))]
        assert errors == [
            ["the body is not a valid JSON object"], ["Invalid authorization token"], ["'broken' 'to' email not valid"],
            ["rejected on demand"],
        ]  # fmt: skip

    def test_only_the_last_refusals_are_kept_and_their_long_texts_are_cut(
        self, sandbox: Sandbox, http: requests.Session
    ) -> None:
        for _ in range(REFUSALS + 2):
            sandbox._vendor.unreadable("v2", "no")
        send(http, sandbox, to="broken", content="x" * 1_000_000, other=[{"a" * 400_000: 1}])
        with sandbox._store.use() as db:
            count, largest = db.execute("SELECT count(*), max(length(fields)) FROM sandbox_refusal").fetchone()
        assert count == REFUSALS
        assert largest < 1_000
        assert f'data-count="refused">{REFUSALS + 3:,}<' in get(http, sandbox, "/").text

    def test_credentials_of_refused_requests_are_not_kept(self, sandbox: Sandbox, http: requests.Session) -> None:
        url, data = f"{sandbox.base_url('v1')}/mail/send", MESSAGE | {"authuser": "user-71", "authpass": "pass-72"}
        assert http.post(url, data=data, timeout=10).status_code == 401
        with sandbox._store.use() as db:
            kept = "\n".join(db.iterdump())
        assert "Hello" in kept
        assert "user-71" not in kept
        assert "pass-72" not in kept


class TestDeliveries:
    def test_a_message_tells_what_became_of_it_at_each_recipient(
        self, sandbox: Sandbox, http: requests.Session
    ) -> None:
        send(http, sandbox, to="ana@x.example", cc="bounce@x.example", bcc="complain+b@x.example")
        page = get(http, sandbox, "/inbox/messages/1").text
        shown = re.findall(r'<bdi class="address">([^<]*)</bdi> <span class="chip(?: bad)?">(\w+)</span>', page)
        assert shown == [
            ("ana@x.example", "delivered"), ("bounce@x.example", "bounced"), ("complain+b@x.example", "complaint"),
        ]  # fmt: skip
        assert "<bdi>55" in page

    def test_the_list_marks_what_went_wrong(self, sandbox: Sandbox, http: requests.Session) -> None:
        for local_part in ("ana", "open", "bounce", "complain", "bounce"):
            send(http, sandbox, to=f"{local_part}@x.example")
        marked = r'data-id="(\d)"|made-up deliveries">(\w+)<'
        wanted = [("5", ""), ("", "dropped"), ("4", ""), ("", "complaint"), ("3", ""), ("", "bounced")]
        wanted += [("2", ""), ("1", "")]
        assert re.findall(marked, get(http, sandbox, "/").text) == wanted
        assert re.findall(marked, get(http, sandbox, "/inbox/news?after=0").json()["rows"]) == wanted

    def test_nothing_is_told_before_the_analytics_do(self, http: requests.Session) -> None:
        with Sandbox(analytics_delay=3600) as sandbox:
            send(http, sandbox, to="bounce@x.example")
            assert "shows later" in get(http, sandbox, "/inbox/messages/1").text
            assert "made-up deliveries" not in get(http, sandbox, "/").text

    @pytest.mark.parametrize("path", ["/inbox/faults", "/help"])
    def test_magic_addresses_are_named_and_copied(self, sandbox: Sandbox, http: requests.Session, path: str) -> None:
        page = get(http, sandbox, path).text
        for kind in (*EventKind, *FaultKind):
            assert f'data-copy="{kind}@example.com"' in page

    def test_the_commands_help_names_them(self) -> None:
        told = CliRunner().invoke(app, ["sandbox", "--help"]).output
        told = re.sub(r"-\s+", "-", told)  # lines may end behind a hyphen
        assert [kind for kind in (*EventKind, *FaultKind) if f"{kind}@" not in told] == []


class TestMisspelt:
    @pytest.mark.parametrize(
        "name",
        ["consumer_secret", "consumer-key", "authPass", "Auth_User", "CONSUMERSECRET", "authorization", "consumer key"],
    )
    @pytest.mark.parametrize("to", ["ana@x.example", "broken", "503@x.example"])
    def test_a_credential_is_hidden_wherever_it_stands(
        self, sandbox: Sandbox, http: requests.Session, name: str, to: str
    ) -> None:
        send(http, sandbox, **{name: "key-71"}, to=to, custom_headers={name.replace(" ", ""): "key-72", "X-A": "1"})
        v1 = {"authuser": "sandbox", "authpass": "sandbox", name: "key-73"} if name != "authPass" else {name: "key-73"}
        headers = json.dumps({name.replace(" ", ""): "key-74", "X-A": "1"})
        parts = {key: (None, value) for key, value in (MESSAGE | v1 | {"to": to, "custom_headers": headers}).items()}
        with contextlib.suppress(requests.ConnectionError):
            http.post(f"{sandbox.base_url('v1')}/mail/send", files=parts, params={name: "key-75"}, timeout=10)
        with sandbox._store.use() as db:
            kept = "\n".join(db.iterdump())
        assert "Hello" in kept
        assert "key-7" not in kept

    def test_a_field_without_bottom_is_answered(self, sandbox: Sandbox, http: requests.Session) -> None:
        body = json.dumps(MESSAGE)[:-1] + ', "deep": ' + "[" * 700 + "]" * 700 + "}"
        for to in ("ana@x.example", "503@x.example"):
            text = body.replace("ana@x.example", to)
            answer = http.post(f"{sandbox.base_url('v2')}/mail/send", data=text, headers=V2, timeout=10)
            assert answer.status_code in (200, 503)
        assert len(sandbox.inbox()) == 1


class TestPlaces:
    def test_neighbours_and_position_are_those_of_the_filter(self, sandbox: Sandbox, http: requests.Session) -> None:
        for number in range(6):
            send(http, sandbox, subject="even" if number % 2 == 0 else "odd")
        place = catalogue(sandbox).place(Filter(q="even"), 3)
        assert (place.position, place.total, place.newer, place.older) == (2, 3, 5, 1)
        page = get(http, sandbox, "/inbox/messages/3?q=even&tab=text").text
        assert "2 of 3" in page
        assert 'href="/inbox/messages/5?q=even&amp;tab=text"' in page

    def test_ends_have_no_neighbour(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox)
        place = catalogue(sandbox).place(Filter(), 1)
        assert (place.position, place.total, place.newer, place.older) == (1, 1, None, None)

    def test_messages_with_the_same_key_name_each_other(self, sandbox: Sandbox, http: requests.Session) -> None:
        for subject in ("one", "two"):
            send(http, sandbox, subject=subject, reference_id="7")
        assert '<a href="/inbox/messages/2">#2</a>' in get(http, sandbox, "/inbox/messages/1").text
        assert '<a href="/inbox/messages/1">#1</a>' in get(http, sandbox, "/inbox/messages/2").text


class TestFiles:
    def test_an_inbox_of_an_earlier_version_is_listed(self, http: requests.Session, tmp_path: Path) -> None:
        path = tmp_path / "inbox.db"
        with Sandbox(path=path) as sandbox:
            send(http, sandbox, subject="old", reference_id="1")
            send(http, sandbox, subject="older", reference_id="1")
        db = sqlite3.connect(path)
        for table in ("sandbox_listing", "sandbox_words", "sandbox_refusal"):
            db.execute(f"DROP TABLE {table}")
        db.commit()
        db.close()
        with Sandbox(path=path) as sandbox:
            assert subjects(sandbox, q="old") == ["older", "old"]
            assert subjects(sandbox, badge=Badge.SECOND) == ["older"]

    @pytest.mark.parametrize(
        ("name", "plain", "encoded"),
        [
            ("a.pdf", "a.pdf", "a.pdf"),
            ('a"\r\nX-Evil: 1.pdf', "a_X-Evil_ 1.pdf", "a%22X-Evil%3A%201.pdf"),
            ("../../etc/passwd", "passwd", "passwd"),
            ("c:\\x\\größe.bin", "gr__e.bin", "gr%C3%B6%C3%9Fe.bin"),
            ("..", "attachment", "attachment"),
        ],
    )
    def test_a_file_is_saved_under_a_harmless_name(self, name: str, plain: str, encoded: str) -> None:
        assert disposition(name) == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"

    @pytest.mark.parametrize("path", ["/inbox/messages/1", "/inbox/refusals/1?show=refused"])
    def test_a_cleared_message_leaves_a_page(self, sandbox: Sandbox, http: requests.Session, path: str) -> None:
        send(http, sandbox)
        send(http, sandbox, to="broken")
        assert get(http, sandbox, path).ok
        sandbox.clear()
        answer = get(http, sandbox, path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert '<a href="/">Go to the inbox</a>' in answer.text

    def test_an_attachment_is_never_a_page(self, sandbox: Sandbox, http: requests.Session) -> None:
        html = {"name": "a.html", "type": "text/html", "content": "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=="}
        send(http, sandbox, attachments=[html])
        answer = get(http, sandbox, "/inbox/messages/1/attachments/0")
        assert answer.content == b"<script>alert(1)</script>"
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")

    @pytest.mark.parametrize(
        "path",
        [
            "/inbox/messages/9",
            "/inbox/messages/9/html",
            "/inbox/messages/1/attachments/0",
            "/inbox/refusals/9",
            "/inbox/x",
        ],
    )
    def test_what_is_not_there_is_a_404(self, sandbox: Sandbox, http: requests.Session, path: str) -> None:
        send(http, sandbox)
        assert get(http, sandbox, path).status_code == 404


class TestPrograms:
    def test_wait_answers_once_so_many_are_there(self, sandbox: Sandbox, http: requests.Session) -> None:
        answers: list[Any] = []

        def wait() -> None:
            answers.append(requests.get(f"{sandbox.url}/wait?count=2&timeout=600", timeout=60).json())

        waiting = threading.Thread(target=wait)
        waiting.start()
        for _ in range(2):
            assert waiting.is_alive()
            send(http, sandbox)
        waiting.join(60)
        assert answers == [{"accepted": 2, "reached": True}]

    def test_wait_gives_up_in_time(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox)
        assert get(http, sandbox, "/wait?count=2&timeout=0.05").json() == {"accepted": 1, "reached": False}
        assert get(http, sandbox, "/wait?to=zoe&timeout=0").json() == {"accepted": 0, "reached": False}

    @pytest.mark.parametrize(
        "path", ["/wait?count=x", "/wait?timeout=nan", "/wait?timeout=-1", "/?page=x", "/refusals?show=accepted"]
    )
    def test_bad_values_are_refused(self, sandbox: Sandbox, http: requests.Session, path: str) -> None:
        answer = get(http, sandbox, path)
        assert (answer.status_code, answer.json()["message"]) == (400, "error")

    @pytest.mark.parametrize(
        "path",
        [
            "/messages/{}",
            "/messages/{}/raw",
            "/inbox/messages/{}",
            "/inbox/messages/1/attachments/{}",
            "/inbox/refusals/{}",
        ],
    )
    def test_a_number_without_end_is_nobodys(self, sandbox: Sandbox, http: requests.Session, path: str) -> None:
        send(http, sandbox)
        assert get(http, sandbox, path.format("9" * 21)).status_code == 404

    def test_json_without_bottom_is_refused(self, sandbox: Sandbox, http: requests.Session) -> None:
        answer = http.put(f"{sandbox.url}/faults", data=b"[" * 100_000, timeout=10)
        assert (answer.status_code, answer.json()["message"]) == (400, "error")

    def test_refusals_are_listed(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox, to="broken", reference_id="r-1")
        send(http, sandbox, to="503@x.example")
        (refused,) = get(http, sandbox, "/refusals?show=refused").json()["results"]
        assert (refused["status"], refused["errors"]) == (400, ["'broken' 'to' email not valid"])
        assert (refused["reference_id"], refused["fault"]) == ("r-1", "")
        assert [row["fault"] for row in get(http, sandbox, "/refusals").json()["results"]] == ["503"]

    def test_faults_are_told_and_changed(self, sandbox: Sandbox, http: requests.Session) -> None:
        url = f"{sandbox.url}/faults"
        assert http.get(url, timeout=10).json() == {"dice": {}}
        assert http.put(url, json={"503": "100%"}, timeout=10).json() == {"dice": {"503": 1.0}}
        answer = send(http, sandbox)
        assert answer is not None
        assert answer.status_code == 503
        wrongs: list[Any] = [{"5003": 1}, {"503": 2}, []]
        for wrong in wrongs:
            assert http.put(url, json=wrong, timeout=10).status_code == 400
        assert http.put(url, data=b"{", timeout=10).status_code == 400
        assert http.put(url, json={}, timeout=10).json() == {"dice": {}}

    def test_the_help_page_names_what_there_is(self, sandbox: Sandbox, http: requests.Session) -> None:
        page = get(http, sandbox, "/help").text
        for path in ("/count", "/wait?", "/messages", "/refusals", "/faults"):
            assert path in page


class TestLife:
    def test_clear_forgets_refusals_too(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox)
        send(http, sandbox, to="broken")
        assert http.delete(f"{sandbox.url}/messages", timeout=10).ok
        assert subjects(sandbox) == subjects(sandbox, show=Show.REFUSED) == []
        assert 'data-count="refused">0<' in get(http, sandbox, "/").text

    def test_a_stop_ends_open_pages_and_waits(self, http: requests.Session, until: Until) -> None:
        """They are told nothing more; the wait answers with what there is."""
        answers: list[Any] = []
        with Sandbox() as sandbox, http.get(f"{sandbox.url}/inbox/events", stream=True, timeout=60) as events:
            lines = events.iter_lines()
            assert next(line for line in lines if line.startswith(b"data"))
            waiting = threading.Thread(
                target=lambda: answers.append(requests.get(f"{sandbox.url}/wait?timeout=600", timeout=60).json())
            )
            waiting.start()
            until(lambda: len(sandbox._thread._server.server_state.tasks) >= 2)  # type: ignore[union-attr]  # it is running
            sandbox.stop()
            assert not [line for line in lines if line.startswith(b"data")]
            waiting.join(60)
        assert answers == [{"accepted": 0, "reached": False}]

    def test_events_tell_what_has_come(self, sandbox: Sandbox, http: requests.Session) -> None:
        with requests.get(f"{sandbox.url}/inbox/events", stream=True, timeout=60) as events:
            lines = (line for line in events.iter_lines() if line.startswith(b"data"))
            assert b'"accepted": 0' in next(lines)
            send(http, sandbox)
            assert b'"accepted": 1' in next(lines)

    def test_news_come_once_while_more_arrives(self) -> None:
        """A message comes whenever the store is free: none is told twice, none is left out, and the total is right."""
        store, seen, last = BusyStore(), [0], 0
        for _ in range(5):
            look = Catalogue(store).look(Filter(), after=last)
            assert [line.id for line in look.lines] == list(range(look.last, seen[-1], -1))
            assert (look.fresh, look.total) == (look.last - last, look.last)
            last = look.last
            seen.append(last)
        assert seen == list(range(6))
        store.close(forget=True)

    def test_news_bring_the_way_to_older_pages(self, sandbox: Sandbox, http: requests.Session) -> None:
        for _ in range(51):
            send(http, sandbox, subject="x")
        news = get(http, sandbox, "/inbox/news?after=0&q=x").json()
        assert (news["count"], news["total"]) == (51, 51)
        assert 'href="/?q=x&amp;page=2">Older</a>' in news["pages"]
        news = get(http, sandbox, "/inbox/news?after=9&q=x&page=2").json()
        assert 'rel="prev" href="/?q=x&amp;page=1"' in news["pages"]

    def test_news_are_what_came_after(self, sandbox: Sandbox, http: requests.Session) -> None:
        for subject in ("one", "two", "three"):
            send(http, sandbox, subject=subject)
        news = get(http, sandbox, "/inbox/news?after=1&q=t").json()
        assert (news["last"], news["count"]) == (3, 2)
        assert re.findall(r"<bdi>(\w+)</bdi></a>", news["rows"]) == ["three", "two"]


class TestGuard:
    @pytest.mark.parametrize("path", PAGES)
    def test_a_page_loads_nothing_but_its_own(self, sandbox: Sandbox, http: requests.Session, path: str) -> None:
        send(http, sandbox)
        send(http, sandbox, to="broken")
        answer = get(http, sandbox, path)
        assert answer.status_code == 200
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert not re.search(r"<script(?! src=\"/inbox/)|\son\w+=|\sstyle=", answer.text)

    def test_a_messages_html_has_an_origin_of_its_own(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox, html_content="<script>alert(1)</script>")
        policy = get(http, sandbox, "/inbox/messages/1/html").headers["Content-Security-Policy"]
        assert policy.startswith("sandbox; default-src 'none';")
        assert "allow" not in policy

    def test_a_messages_html_is_a_page_in_its_frame_only(self, sandbox: Sandbox, http: requests.Session) -> None:
        send(http, sandbox, html_content="<p>Hello</p>")
        url = f"{sandbox.url}/inbox/messages/1/html"
        for wanted, kind in (("iframe", "html"), ("document", "plain"), ("embed", "plain"), (None, "html")):
            answer = http.get(url, headers={"Sec-Fetch-Dest": wanted} if wanted else {}, timeout=10)
            assert answer.headers["Content-Type"] == f"text/{kind}; charset=utf-8"
            assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 303),
            ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 303),
            ({"Sec-Fetch-Site": "none"}, 303),
            ({"Origin": "SELF"}, 303),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site", "Origin": "SELF"}, 403),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": "http://localhost:1"}, 403),
        ],
    )
    def test_only_the_page_itself_and_programs_may_clear(
        self, sandbox: Sandbox, http: requests.Session, headers: dict[str, str], status: int
    ) -> None:
        send(http, sandbox)
        own = {name: value.replace("SELF", sandbox.url) for name, value in headers.items()}
        answer = http.post(f"{sandbox.url}/inbox/clear", headers=own, timeout=10, allow_redirects=False)
        assert answer.status_code == status
        assert len(sandbox.inbox()) == (1 if status == 403 else 0)

    @pytest.mark.parametrize(
        ("method", "path"),
        [("DELETE", "/messages"), ("PUT", "/faults"), ("POST", "/inbox/faults"), ("POST", "/api/mail/send")],
    )
    def test_nothing_else_is_changed_by_another_page(
        self, sandbox: Sandbox, http: requests.Session, method: str, path: str
    ) -> None:
        headers = {"Sec-Fetch-Site": "cross-site"}
        data = MESSAGE | {"authuser": "sandbox", "authpass": "sandbox"}
        assert http.request(method, sandbox.url + path, headers=headers, data=data, timeout=10).status_code == 403
        assert sandbox.inbox().empty

    @pytest.mark.parametrize(
        "path", [*PAGES, "/inbox/events", "/inbox/news", "/wait", "/faults", "/refusals", "/inbox/script.js"]
    )
    def test_a_host_that_is_not_loopback_is_refused(self, sandbox: Sandbox, http: requests.Session, path: str) -> None:
        answer = http.get(sandbox.url + path, headers={"Host": "evil.example"}, timeout=10)
        assert (answer.status_code, answer.text) == (400, "Invalid host header")

    def test_the_send_apis_answers_stay_the_vendors(self, sandbox: Sandbox, http: requests.Session) -> None:
        answer = send(http, sandbox)
        assert answer is not None
        assert {name.lower() for name in answer.headers} == {"date", "content-length", "content-type"}
