"""No credential ever shows: not in logs, messages, reprs, tracebacks, journals or reports, in no encoding."""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import traceback
import urllib.parse
import warnings
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import turbobatch as tb
from tests.integration.hosts import served
from turbobatch.engine import Engine
from turbobatch.policy import Policy
from turbobatch.report import read_report
from turbobatch.sandbox import FaultKind, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Each with a core that no percent-encoding changes, and with characters that every one of them does.
V1: dict[str, Any] = {"authuser": "Us3rKq7Zv@acme.example", "authpass": "Pa55Wx9Jd/+&=%~;"}
V2: dict[str, Any] = {"consumer_key": "K3yFm4Ht=/+%", "consumer_secret": "S3cr3tBn8Lg?&#+"}
CORES = ("Us3rKq7Zv", "Pa55Wx9Jd", "K3yFm4Ht", "S3cr3tBn8Lg")
ACCOUNTS: dict[str, dict[str, Any]] = {
    "v1 headers": V1,
    "v1 fields": {**V1, "auth_in": "fields"},
    "v1 query": {**V1, "auth_in": "query"},
    "v2": V2,
}
TIMEOUT = 0.3  # seconds that a client waits for an answer that never comes
POLICY = Policy(tries=2, first_wait=0.01, first_patience=0.1, threshold=1000)
EMAIL = tb.Email(from_="Acme <shop@acme.example>", to=["ana@example.org"], subject="Hello", content="Hi")
LOGGERS = {
    "urllib3", "urllib3.connectionpool", "urllib3.connection", "requests", "turbobatch", "turbobatch.sandbox",
    "asyncio", "http", "uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access",
}  # fmt: skip
EVERYTHING = 1  # the lowest level there is; uvicorn's TRACE is 5
MAGIC = [kind.value for kind in FaultKind if kind not in (FaultKind.REDIRECT, FaultKind.TOO_MANY_DATE)]


def forms(secret: str) -> Iterator[bytes]:
    """The ways in which a secret could be written down."""
    raw = secret.encode()
    yield raw
    yield secret.encode("utf-16-le")
    yield raw.hex().encode()
    yield raw[::-1]
    for quote in (urllib.parse.quote, urllib.parse.quote_plus):
        yield quote(secret).encode()
        yield quote(secret, safe="").lower().encode()
    for before in range(3):  # base64 of a text that has it in the midst depends on where it begins
        encoded = base64.b64encode(b"x" * before + raw)
        whole = encoded[4 if before else 0 : -4]
        yield whole
        yield whole.translate(bytes.maketrans(b"+/", b"-_"))


NEEDLES = frozenset(form.lower() for secret in (*V1.values(), *V2.values(), *CORES) for form in forms(secret))


class Ear:
    """Everything that was heard: logs, output, warnings, reprs, tracebacks, files."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def hear(self, *said: object) -> None:
        self.heard += [item if isinstance(item, bytes) else str(item).encode("utf-8", "replace") for item in said]

    def hear_object(self, *items: object) -> None:
        """However it may be printed."""
        for item in items:
            self.hear(repr(item), str(item), f"{item}", [item], {"it": item})
            for method in ("_repr_html_", "_repr_mimebundle_"):
                if hasattr(item, method):
                    self.hear(getattr(item, method)())

    def hear_error(self, error: BaseException) -> None:
        """With all that it was caused by, as every handler of tracebacks would show it."""
        self.hear(*traceback.format_exception(error))
        self.hear(*traceback.TracebackException.from_exception(error, capture_locals=False).format(chain=True))
        seen: list[BaseException | None] = [error]
        for item in seen:
            if item is not None:
                self.hear_object(item)
                self.hear(item.args, vars(item))
                seen += [other for other in (item.__cause__, item.__context__) if other not in seen]

    def hear_file(self, path: Path) -> None:
        """Its bytes, and what a compressed format has in it."""
        content = path.read_bytes()
        self.hear(path.name, content)
        if path.suffix == ".xlsx":
            with zipfile.ZipFile(io.BytesIO(content)) as zipped:
                self.hear(*map(zipped.read, zipped.namelist()))
        elif path.suffix == ".parquet":
            table = pq.read_table(path)
            self.hear(table.to_pydict(), table.schema.metadata)

    def check(self) -> None:
        """Nothing of it is a secret."""
        text = b"\n".join(self.heard).lower()
        assert len(text) > 100
        found = [needle for needle in NEEDLES if needle in text]
        assert not found, [text[max(0, text.index(one) - 200) :][:400] for one in found]


class _Listener(logging.Handler):
    """Hears every record, and at each looks at the journal, whose WAL is there only while a run goes on."""

    def __init__(self, ear: Ear, folder: Path) -> None:
        super().__init__(logging.NOTSET)
        self._ear = ear
        self._folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        self._ear.hear(self.format(record), repr(vars(record)))
        if record.name == "turbobatch":
            for path in self._folder.glob("*.journal.db*"):
                self._ear.hear(path.name, path.read_bytes())


@pytest.fixture
def ear(tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Ear]:
    """Listens to all loggers at every level, to output and warnings; checks at the end of the test."""
    ear = Ear()
    listener = _Listener(ear, tmp_path)
    caplog.set_level(EVERYTHING)
    names = [name for name, found in logging.root.manager.loggerDict.items() if isinstance(found, logging.Logger)]
    for name in {*names, *LOGGERS}:
        caplog.set_level(EVERYTHING, name)
    logging.root.addHandler(listener)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield ear
    logging.root.removeHandler(listener)
    ear.hear(*capfd.readouterr(), *warned)
    ear.check()


@pytest.fixture
def vendor() -> Iterator[Sandbox]:
    with Sandbox(**V1, **V2) as running:
        yield running


@contextmanager
def echoing(status: int) -> Iterator[str]:
    """A host that redirects to where the request came from, query and all, and repeats the URL in its answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Location", f"https://elsewhere.example{self.path}#{self.path}")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield url


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent-encoded": lambda text: urllib.parse.quote(text, safe=""),
    "percent-encoded twice": lambda text: urllib.parse.quote(urllib.parse.quote_plus(text).lower()),
    "as JSON in JSON": lambda text: json.dumps(json.dumps(text)).replace("/", "\\/"),
    "as HTML": html.escape,
    "in numbers": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "in capitals": str.upper,
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in base64 for URLs": lambda text: base64.urlsafe_b64encode(f"x{text}".encode()).decode(),
    "in hex": lambda text: text.encode().hex(),
}
ANSWERS: dict[str, Callable[[str], tuple[int, Any]]] = {
    "a refusal": lambda said: (400, {"message": "error", "errors": [f"bad {said}", {"sent": [said]}]}),
    "a refusal with 200": lambda said: (200, {"message": "error", "errors": f"{'x' * 480}{said}"}),
    "a message id": lambda said: (200, {"message": "OK", "mid": said}),
    "a message": lambda said: (418, {"message": said, "details": said}),
    "wrong credentials": lambda said: (401, {"message": f"Wrong credentials {said}", "details": [said]}),
    "an error": lambda said: (500, {"message": {"request": said}}),
    "no JSON": lambda said: (503, f"<p>{said}</p>"),
    "a page that says yes": lambda said: (200, said),
    "a redirect": lambda _: (307, ""),
}


def json_texts(body: str) -> list[str]:
    """The texts of a JSON object, if it is one."""
    try:
        return [text for text in json.loads(body).values() if isinstance(text, str)]
    except ValueError:
        return []


@contextmanager
def parrot(spell: Callable[[str], str]) -> Iterator[str]:
    """A host that repeats all that it was sent, in its answer and among its headers; the recipient names the answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            fields = (pair for part in (self.path.partition("?")[2], body) for pair in urllib.parse.parse_qsl(part))
            sent = [self.path, *self.headers.values(), *(value for _, value in fields)]
            sent.sort(key=lambda text: not any(core in text for core in CORES))  # since it may be cut off
            said = spell("; ".join(text for text in sent if text.isascii()))
            recipient = next(text for text in (*sent, *json_texts(body)) if text.endswith("@example.org"))
            status, content = list(ANSWERS.values())[int(recipient.partition("@")[0])](said)
            written = (content if isinstance(content, str) else json.dumps(content)).encode()
            line = " ".join(said.split())
            self.send_response(status, line)
            self.send_header("Content-Length", str(len(written)))
            for name in ("Location", "Set-Cookie", "Retry-After", "X-Sent", "X-Sent: x\r\nno header", "Content-Type"):
                self.send_header(name, f"https://elsewhere.example/{line}" if name == "Location" else line)
            self.end_headers()
            self.wfile.write(written)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield url


def client_at(account: str, url: str, **changes: Any) -> tb.TurboClient:
    path = "/api" if account.startswith("v1") else "/api/v2"
    return tb.TurboClient(**{**ACCOUNTS[account], "base_url": url + path, "timeout": TIMEOUT, **changes})


def campaign_in(folder: Path, name: str) -> tb.Campaign:
    message = tb.MailMerge(from_="shop@acme.example", to="{{ email }}", subject="{{ id }}", text="Hello")
    return tb.Campaign(name=name, message=message, key="id", journal=folder / f"{name}.journal.db", policy=POLICY)


def run_all(ear: Ear, folder: Path, client: tb.TurboClient, *local_parts: str) -> set[str]:
    """Run a campaign of these recipients and listen to all that there is of it; tells the rows' statuses."""
    addresses = [f"{part}@example.org" for part in local_parts]
    people = pd.DataFrame({"id": [str(number) for number in range(len(addresses))], "email": addresses})
    campaign = campaign_in(folder, "letters")
    run = campaign.start(people, client)
    assert isinstance(run._engine, Engine)
    ear.hear_object(campaign, client, client.api, run, run._engine, run._engine.transport)
    run.wait()
    ear.hear_object(run, run.progress, run.stop_reason, run.stop_message)
    try:
        run.raise_if_stopped()
    except tb.TurboBatchError as error:
        ear.hear_error(error)
    results = campaign.results(people)
    ear.hear_object(results, tb.audit(results), campaign.preview(people), campaign.check(people))
    ear.hear(results.to_csv(), results.attrs)
    for ending in (".csv", ".tsv", ".parquet", ".xlsx", ".html"):
        ear.hear_file(tb.write_report(results, folder / f"report{ending}"))
    for path in folder.glob("*.journal.db*"):
        ear.hear_file(path)
    return set(results["send_status"])


def send_one(ear: Ear, client: tb.TurboClient, local_part: str = "ana") -> str:
    """Send one email and listen; tells what came of it."""
    try:
        result = client.send(EMAIL.replace(to=[f"{local_part}@example.org"]))
    except tb.TurboBatchError as error:
        ear.hear_error(error)
        return type(error).__name__
    finally:
        ear.hear_object(client, client._single)
        client.close()
    ear.hear_object(result)
    return str(result.status)


ONE = {
    "429": "NotSentError", "429-date": "NotSentError", "redirect": "NotSentError", "reject": "rejected", "ana": "sent",
    **dict.fromkeys(("500", "502", "503", "reset-before", "hang", "reset-after", "close-after", "garbage", "truncated"),
                    "InDoubtError"),
}  # fmt: skip


@pytest.mark.parametrize("account", ACCOUNTS)
class TestEveryAccount:
    def test_one_email_at_a_time(self, account: str, vendor: Sandbox, ear: Ear) -> None:
        """Success, refusal and every fault, each with all that it raises."""
        client = client_at(account, vendor.url)
        assert {name: send_one(ear, client, name) for name in ONE} == ONE
        assert set(ONE) == {"ana", *FaultKind}

    def test_a_campaign_with_every_fault(self, account: str, vendor: Sandbox, ear: Ear, tmp_path: Path) -> None:
        """Journal and WAL, reports, events and results of rows of every kind."""
        client = client_at(account, vendor.url)
        found = run_all(ear, tmp_path, client, "ana", *MAGIC, "no address")
        assert found == {"sent", "rejected", "in_doubt", "invalid"}
        assert any(name.endswith(b"-wal") for name in ear.heard)
        ear.hear(vendor.messages(), vendor.inbox().to_dict())

    def test_wrong_credentials(self, account: str, ear: Ear, tmp_path: Path) -> None:
        """Those that are refused are secrets too: most likely one letter of them is wrong."""
        with Sandbox() as vendor:
            assert run_all(ear, tmp_path, client_at(account, vendor.url), "ana", "bea") == {"pending"}
            assert send_one(ear, client_at(account, vendor.url)) == "AuthenticationError"

    def test_no_credit(self, account: str, ear: Ear, tmp_path: Path) -> None:
        with Sandbox(**V1, **V2, nocredit_after=1) as vendor:
            assert run_all(ear, tmp_path, client_at(account, vendor.url), *["ana"] * 20) == {"sent", "pending"}
            assert send_one(ear, client_at(account, vendor.url)) == "rejected"

    def test_nobody_listens(self, account: str, vendor: Sandbox, ear: Ear, tmp_path: Path) -> None:
        vendor.stop()
        assert run_all(ear, tmp_path, client_at(account, vendor.url), "ana", "bea") == {"failed"}
        assert send_one(ear, client_at(account, vendor.url)) == "NotSentError"

    def test_an_unknown_host(self, account: str, ear: Ear) -> None:
        assert send_one(ear, client_at(account, "https://nowhere.invalid", timeout=5)) == "NotSentError"

    @pytest.mark.parametrize("status", [307, 400, 500])
    def test_a_host_that_repeats_the_url(self, account: str, status: int, ear: Ear, tmp_path: Path) -> None:
        """A redirect, or anything else, may name the URL with its query: it isn't followed, nor shown."""
        with echoing(status) as url:
            assert run_all(ear, tmp_path, client_at(account, url), "ana") in ({"pending"}, {"in_doubt"}, {"failed"})
            assert send_one(ear, client_at(account, url)) in {"NotSentError", "InDoubtError"}

    def test_the_sandbox_logs_nothing_of_a_request(self, account: str, ear: Ear) -> None:
        """Started while every logger tells all: where the sandbox's own server would, it is told not to."""
        with Sandbox(**V1, **V2) as vendor:
            assert send_one(ear, client_at(account, vendor.url)) == "sent"
            assert send_one(ear, client_at(account, vendor.url), "redirect") == "NotSentError"

    @pytest.mark.unmeasured
    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_a_host_that_repeats_what_it_was_sent(self, account: str, spelling: str, ear: Ear, tmp_path: Path) -> None:
        """In any answer, in any spelling: journal, reports, output and objects have asterisks there."""
        with parrot(SPELLINGS[spelling]) as url:
            client = client_at(account, url, timeout=5)
            numbers = list(map(str, range(len(ANSWERS))))
            assert run_all(ear, tmp_path, client, *numbers) == {"sent", "rejected", "pending", "in_doubt"}
            for number in numbers:
                send_one(ear, client, number)
        assert any(b"***" in said for said in ear.heard)

    @pytest.mark.parametrize("start", ["https://api.example", "http://127.0.0.1:9"])
    def test_a_base_url_with_credentials_in_it(self, account: str, start: str, ear: Ear) -> None:
        """It is refused, and its text isn't quoted."""
        user, secret = (value for name, value in ACCOUNTS[account].items() if name != "auth_in")
        scheme, _, host = start.partition("://")
        quoted = urllib.parse.quote(secret, safe="")
        for url in (
            f"{scheme}://{urllib.parse.quote(user)}:{quoted}@{host}",
            f"{scheme}://{user}:{secret}@{host}",
            f"{start}?authpass={quoted}",
            f"{start}#{quoted}",
            f"{scheme}://{secret}@{host}:port",
            f"{user}:{secret}@{host}",
        ):
            with pytest.raises(tb.CampaignError) as caught:
                client_at(account, url)
            ear.hear_error(caught.value)

    def test_an_object_of_each_kind(self, account: str, vendor: Sandbox, ear: Ear, tmp_path: Path) -> None:
        """Whatever a notebook or a debugger's line could print by itself."""
        client = client_at(account, vendor.url)
        request = client.api.request(EMAIL)
        travels = b"".join([request.body, request.url.encode(), *map(str.encode, request.headers.values())])
        assert any(core.encode() in travels for core in CORES)
        transport = client.open_transport(2)
        ear.hear_object(client, client.api, request, transport, [request], campaign_in(tmp_path, "x"), EMAIL, vendor)
        ear.hear(EMAIL.to_wire("v1"), EMAIL.to_wire("v2"), client.host, client.base_url)
        transport.close()


BAD = {
    "a line break": "Pa55Wx9Jd\n",
    "a letter that is not ASCII": "Pa55Wx9Jdé",
    "a blank at its end": "Pa55Wx9Jd ",
    "a half character": "Pa55Wx9Jd\ud800",
}


@pytest.mark.parametrize("secret", BAD.values(), ids=BAD)
@pytest.mark.parametrize("name", [*V1, *V2])
def test_a_credential_that_cannot_travel_is_not_quoted(name: str, secret: str, ear: Ear) -> None:
    """The message names it and says what is wrong with it."""
    account = V1 if name in V1 else V2
    with pytest.raises(tb.CampaignError, match=f"^{name} ") as caught:
        tb.TurboClient(**{**account, name: secret})
    ear.hear_error(caught.value)
    names = {
        "authuser": "AUTHUSER",
        "authpass": "AUTHPASS",
        "consumer_key": "CONSUMER_KEY",
        "consumer_secret": "CONSUMER_SECRET",
    }
    environ = {f"TURBOSMTP_{names[key]}": value for key, value in {**account, name: secret}.items()}
    with pytest.raises(tb.CampaignError) as caught:
        tb.TurboClient.from_env(environ=environ)
    ear.hear_error(caught.value)


def test_the_ear_hears(tmp_path: Path) -> None:
    """Each form of a secret would be found, wherever it stands."""
    secret = V1["authpass"]
    for said in (
        secret, repr(secret), urllib.parse.urlencode({"authpass": secret}), secret.encode().hex(), secret.upper(),
        *(base64.b64encode(f"{'x' * before}:{secret}".encode()).decode() for before in range(4)),
    ):  # fmt: skip
        ear = Ear()
        ear.hear("x" * 100, said)
        with pytest.raises(AssertionError):
            ear.check()
    for ending in (".xlsx", ".parquet"):
        ear = Ear()
        table = pd.DataFrame({"said": [f"it is {secret}"]})
        table.to_parquet(tmp_path / "t.parquet", compression="zstd")
        table.to_excel(tmp_path / "t.xlsx")
        ear.hear_file(tmp_path / f"t{ending}")
        with pytest.raises(AssertionError):
            ear.check()


# The command line

CAMPAIGN = """
name = "letters"
[recipients]
path = "people.csv"
key = "id"
[message]
from = "shop@acme.example"
to = "{{ email }}"
subject = "{{ id }}"
text = "letter.txt"
"""
BROKEN = """
import faulthandler, sys
import turbobatch.client, turbobatch.engine, turbobatch.report
import turbobatch.transport.curl, turbobatch.transport.requests
from turbobatch import cli
def broken(*arguments, **options):
    raise RuntimeError("broken on purpose")
{fault}
sys.argv = ["turbobatch", *sys.argv[1:]]
cli.main()
"""
CRASHES = {
    "requests": "turbobatch.transport.requests._read = lambda *_: faulthandler._sigabrt()",
    "curl": "turbobatch.transport.curl._headers = lambda lines: faulthandler._sigabrt()",
}
FAULTS = {
    "in the loop": "turbobatch.engine.judge = broken",
    "in a thread that posts": "turbobatch.transport.requests.Poster.post = broken",
    "in the multi interface": "turbobatch.transport.curl._headers = broken",
    "in the request": "turbobatch.sendapi.v1.check_size = turbobatch.sendapi.v2.check_size = broken",
    "in the client": "turbobatch.client._transport_factory = broken",
    "in the report": "turbobatch.report.replacing = broken",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A campaign's folder."""
    rows = "".join(f"{part},{part}@example.org\n" for part in ("ana", "reject", "reset-after"))
    for name, text in {"campaign.toml": CAMPAIGN, "people.csv": f"id,email\n{rows}", "letter.txt": "Hi"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def environment(account: str, url: str) -> dict[str, str]:
    """For a process that tells all that Python has to tell."""
    kept = {
        name: value for name, value in os.environ.items() if name.startswith(("COVERAGE_", "COV_CORE_", "PYTHONPATH"))
    }
    secrets = (
        {"TURBOSMTP_AUTHUSER": V1["authuser"], "TURBOSMTP_AUTHPASS": V1["authpass"]}
        if account == "v1"
        else {"TURBOSMTP_CONSUMER_KEY": V2["consumer_key"], "TURBOSMTP_CONSUMER_SECRET": V2["consumer_secret"]}
    )
    base_url = f"{url}/api" if account == "v1" else f"{url}/api/v2"
    return {"PATH": os.defpath, "PYTHONFAULTHANDLER": "1", "TURBOSMTP_BASE_URL": base_url, **secrets, **kept}


def hear_folder(ear: Ear, folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_file():
            ear.hear_file(path)


@pytest.mark.unmeasured
@pytest.mark.parametrize("account", ["v1", "v2"])
def test_the_command_line_in_development_mode(account: str, folder: Path, ear: Ear) -> None:
    """With every warning on, through success, refusal and faults: no secret, and nothing to warn of."""
    with Sandbox(**V1, **V2) as vendor:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-m", "turbobatch", "send", folder, "-o", folder / "report.csv", "--yes"],
            env=environment(account, vendor.url),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    assert "Warning" not in done.stderr
    assert read_report(folder / "report.csv")["send_status"].tolist() == ["sent", "rejected", "in_doubt"]
    ear.hear(done.stdout, done.stderr)
    hear_folder(ear, folder)


def run_broken(account: str, vendor: Sandbox, folder: Path, fault: str) -> subprocess.CompletedProcess[str]:
    """Run `send` with something broken on purpose."""
    transport = "requests" if "requests" in fault else "curl"
    arguments: list[str | Path] = ["send", folder, "-o", "r.csv", "--yes", "--transport", transport]
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", BROKEN.format(fault=fault), *arguments],
        env=environment(account, vendor.url),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(("fault", "account"), list(zip(FAULTS, itertools.cycle(["v2", "v1"]), strict=False)))
def test_an_unexpected_error_shows_no_secret(account: str, fault: str, folder: Path, ear: Ear) -> None:
    """A fault of our own ends in one line, or in rows in doubt; nowhere is a local variable."""
    with Sandbox(**V1, **V2) as vendor:
        done = run_broken(account, vendor, folder, FAULTS[fault])
    assert done.returncode > 0
    report = folder / "r.csv"
    told = any(word in done.stderr for word in ("RuntimeError", "broken on purpose"))
    assert told or "RuntimeError" in report.read_text(encoding="utf-8")
    ear.hear(done.stdout, done.stderr)
    hear_folder(ear, folder)


@pytest.mark.unmeasured
@pytest.mark.parametrize(("transport", "account"), [("requests", "v1"), ("requests", "v2"), ("curl", "v1")])
def test_a_crash_leaves_no_secret(account: str, transport: str, folder: Path, ear: Ear) -> None:
    """The process dies in the midst of a POST with a dump of its threads; it leaves a journal and its WAL."""
    with Sandbox(**V1, **V2) as vendor:
        done = run_broken(account, vendor, folder, CRASHES[transport])
    assert done.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in done.stderr
    assert ("in post" if transport == "requests" else "in poll") in done.stderr
    assert (folder / "letters.journal.db-wal").stat().st_size
    ear.hear(done.stdout, done.stderr)
    hear_folder(ear, folder)
