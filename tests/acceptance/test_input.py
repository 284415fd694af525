"""Hostile input, through the command line and through `Campaign`: rows, or one clear line with nothing sent."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import zipfile
from typing import TYPE_CHECKING, Any, Protocol

import openpyxl
import pandas as pd
import pytest

from turbobatch import Campaign, CampaignError, MailMerge, write_report
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from conftest import Command

    Letters = Callable[..., Path]

FILES = 200
"""Fuzzed tables; each is checked, every third one is sent too."""

TOML = """
name = "letters"
[recipients]
path = "{table}"
key = "id"
[message]
from = "Acme <shop@acme.example>"
to = "{{{{ name }}}} <{{{{ email }}}}>"
subject = "Letter {{{{ id }}}}"
text = "letter.txt"
"""
GOOD = {"id": ["1", "2"], "name": ["Ana", "Bea"], "email": ["ana@example.org", "bea@example.org"]}


class Call(Protocol):
    """Runs the command line in this process."""

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="module")
def vendor() -> Iterator[Sandbox]:
    """One sandbox for all; who counts clears it first."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def sandbox(vendor: Sandbox) -> Sandbox:
    """The sandbox, with nothing in it."""
    vendor.clear()
    return vendor


@pytest.fixture
def call(turbobatch: Command, vendor: Sandbox) -> Call:
    """The command line in this process, pointed at the sandbox; a process for each of many would take a second."""
    turbobatch.use(vendor)
    return turbobatch.here


@pytest.fixture
def campaign(tmp_path: Path) -> Callable[..., Path]:
    """Make a campaign of a table, given as a file's content, and return its folder."""

    def make(name: str, content: bytes | None = None, letter: str = "Dear {{ name }}\n") -> Path:
        folder = tmp_path / "letters"
        folder.mkdir(exist_ok=True)
        for journal in folder.glob("*.journal.db*"):
            journal.unlink()
        (folder / "campaign.toml").write_text(TOML.format(table=name), encoding="utf-8")
        (folder / "letter.txt").write_text(letter, encoding="utf-8")
        if content is not None:
            (folder / name).write_bytes(content)
        return folder

    return make


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a refused command leaves; exit code 2."""
    lines = done.stderr.split("\n")
    assert (done.returncode, len(lines), lines[-1]) == (2, 2, ""), done.stderr
    assert lines[0].startswith("error: ")
    assert lines[0].isprintable()
    return lines[0].removeprefix("error: ")


def check_refused(folder: Path, call: Call, sandbox: Sandbox, message: str) -> None:
    """Both commands and the facade refuse a table with the same line, and nothing is sent."""
    with pytest.raises(CampaignError) as caught:
        Campaign.load(folder).check()
    report = folder.parent / "report.csv"
    said = {refusal(call("check", folder)), refusal(call("send", folder, "-o", report, "--yes")), str(caught.value)}
    assert len(said) == 1, said
    assert re.search(message, said.pop())
    assert sandbox.requests_seen() == 0
    assert not report.exists()
    assert not list(folder.glob("*.journal.db*"))


def recipients_of(sandbox: Sandbox) -> set[str]:
    """Every address that got something, by to, cc or bcc."""
    found = (message["addresses"][kind] for message in sandbox.messages() for kind in ("to", "cc", "bcc"))
    return {item["email"] for items in found for item in items}


# Text files, fuzzed

CELLS = (
    "", " ", "Ana", "Doe, Jane", 'Jane "JD" Doe', "O'Hara", '"', '""', ",", ";", "\t", "|", "two\nlines",
    "two\r\nlines", "\r", "\0", "\x1a", "\x0b\x0c", "\x85", "\u2028", "\ufeff", "é", "漢字", "🙂", "007", "NA",
    "nan", "=1+1", "{{ 7*7 }}", "{% raw %}", "ana@example.org", "bea@@example", "<x@example.org>", "\\", "x" * 5000,
)  # fmt: skip
ENCODINGS = (
    "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1", "shift_jis",
    "gb18030", "koi8-r", "utf-7", "cp500",
)  # fmt: skip
MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff", b"\x00", b"\x1f\x8b", b"PK\x03\x04")


def fuzzed(seed: int) -> bytes:
    """A table as nobody should write it; about half of them are good enough to be read."""
    dice = random.Random(seed)  # noqa: S311 - repeatable
    delimiter, end = dice.choice(",,;\t|"), dice.choice(("\n", "\r\n", "\r", None))
    width = dice.randint(0, 3)
    header = ["id", "name", "email", *(f"more {number}" for number in range(width))]
    if dice.random() < 0.1:
        header[dice.randrange(len(header))] = dice.choice(CELLS)
    rows = [header]
    for number in range(dice.randint(0, 8)):
        row = [str(number), dice.choice(CELLS), f"p{number}@example.org", *dice.choices(CELLS, k=width)]
        if dice.random() < 0.03:
            row = row[: dice.randrange(len(row))] if dice.random() < 0.5 else [*row, "more"]
        rows.append(row)
    text = "".join(line(row, delimiter, end, dice) for row in rows)
    return mutated(text.encode(dice.choice(ENCODINGS), "replace"), dice)


def line(row: list[str], delimiter: str, end: str | None, dice: random.Random) -> str:
    """One record; its quotes are right in most cases."""
    cells = []
    for cell in row:
        if dice.random() < 0.99:
            needed = any(char in cell for char in ('"', delimiter, "\r", "\n")) or dice.random() < 0.2
            cells.append('"' + cell.replace('"', '""') + '"' if needed else cell)
        else:
            cells.append(dice.choice((cell, f'"{cell}', f'{cell}"', f'"{cell}"x')))
    return delimiter.join(cells) + (end if end is not None else dice.choice(("\n", "\r\n", "\r", "\n\n")))


def mutated(content: bytes, dice: random.Random) -> bytes:
    """Now and then with bytes changed, put in, left out, said twice, or cut off."""
    spoilt = bytearray(content)
    while dice.random() < 0.3:
        at, length = dice.randrange(len(spoilt) + 1), dice.randint(1, 8)
        match dice.randrange(5):
            case 0:
                spoilt[at : at + length] = dice.randbytes(length)
            case 1:
                spoilt[at:at] = dice.choice((b'"', b"\0", b"\r", b"\xff", b"\xed\xa0\x80", *MARKS))
            case 2:
                del spoilt[at : at + length]
            case 3:
                spoilt[at:at] = spoilt[:at]
            case _:
                del spoilt[at:]
    return bytes(spoilt)


def test_any_text_file_ends_in_rows_or_one_line(
    campaign: Callable[..., Path], call: Call, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Encodings, delimiters, quotes, line ends, NULs and ragged rows at random: nothing else ever comes of them."""
    ends = {"rows": 0, "one line": 0}
    for seed in range(FILES):
        folder = campaign("people.csv", fuzzed(seed))
        problems, refused = checked(folder)
        ends["rows" if refused is None else "one line"] += 1
        assert refused is None or refused.isprintable(), seed
        if seed % 3 == 0:
            sandbox.clear()
            check_sent(call("send", folder, "-o", tmp_path / "report.csv", "--yes"), problems, tmp_path, sandbox)
    assert min(ends.values()) > FILES / 5, ends


def checked(folder: Path) -> tuple[pd.DataFrame | None, str | None]:
    """The table's problems, or why it can't be used."""
    try:
        return Campaign.load(folder).check(), None
    except CampaignError as error:
        return None, str(error)


def check_sent(
    done: subprocess.CompletedProcess[str], problems: pd.DataFrame | None, folder: Path, sandbox: Sandbox
) -> None:
    """A run does what the check before it foretold."""
    report = folder / "report.csv"
    if problems is None:
        refusal(done)
        assert sandbox.requests_seen() == 0
        assert not report.exists()
        return
    assert done.returncode == (1 if "invalid" in set(problems["status"]) else 0), done
    assert all(said.startswith("warning: ") for said in done.stderr.splitlines()), done.stderr
    written = pd.read_csv(report, dtype=str, keep_default_na=False)
    statuses = {int(row): status for row, status in zip(problems["row"], problems["status"], strict=True)}
    expected = [statuses.get(row, "sent") for row in range(len(written))]
    assert written["send_status"].tolist() == expected
    assert sandbox.requests_seen() == len(sandbox.inbox()) == expected.count("sent")
    report.unlink()


# Files that are too much, or not what their name says


def test_ten_thousand_columns(campaign: Callable[..., Path], call: Call, sandbox: Sandbox, tmp_path: Path) -> None:
    """They are merged and reported; a misspelt one is still told."""
    columns = ["id", "name", "email", *(f"c{number}" for number in range(9_997))]
    rows = [columns, ["1", "Ana", "ana@example.org", *["x"] * 9_996, "last"]]
    content = "\n".join(map(",".join, rows)).encode()
    folder = campaign("people.csv", content, letter="{{ name }} {{ c9996 }}")
    assert call("check", folder).returncode == 0
    assert call("send", folder, "-o", tmp_path / "report.csv", "--yes").returncode == 0
    assert sandbox.inbox()["content"].tolist() == ["Ana last"]
    with (tmp_path / "report.csv").open(encoding="utf-8") as file:
        header, row = csv.reader(file)
    assert (len(header), row[9_999], row[10_000]) == (10_009, "last", "sent")
    folder = campaign("people.csv", content, letter="{{ c9997 }}")
    sandbox.clear()
    said = refusal(call("send", folder, "-o", tmp_path / "again.csv", "--yes"))
    assert "there is no column 'c9997'" in said
    assert sandbox.requests_seen() == 0


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_cell_of_fifty_megabytes_in_a_text_file(
    quote: str, campaign: Callable[..., Path], call: Call, sandbox: Sandbox
) -> None:
    """No cell for an email has that: one line says where it is and what it may be."""
    cell = quote + "x" * 50_000_000 + quote
    table = f"id,name,email,more\n1,Ana,ana@example.org,y\n2,Bea,b@example.org,{cell}\n"
    message = r"^people\.csv, line 3: a cell is too long \(.*\); shorten it, or close the quote"
    check_refused(campaign("people.csv", table.encode()), call, sandbox, message)


@pytest.mark.parametrize("column", ["name", "email", "more"])
def test_a_cell_of_fifty_megabytes_elsewhere(
    column: str, campaign: Callable[..., Path], call: Call, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Its row is invalid, in few words; the others are sent and all are reported."""
    folder = campaign("people.parquet", letter="{{ name }} {{ more }}")
    table = pd.DataFrame({**GOOD, "more": ["x", "y"]})
    table.loc[0, column] = "x" * 50_000_000
    table.to_parquet(folder / "people.parquet", compression="zstd")
    done = call("check", folder)
    assert (done.returncode, done.stderr) == (1, "")
    assert "over 16 MB" in done.stdout
    assert call("send", folder, "-o", tmp_path / "report.parquet", "--yes").returncode == 1
    report = pd.read_parquet(tmp_path / "report.parquet")
    assert report["send_status"].tolist() == ["invalid", "sent"]
    assert report["send_message"].str.len().max() < 1000
    assert sandbox.requests_seen() == 1


def test_a_long_text_for_an_address_is_not_told_in_full(
    campaign: Callable[..., Path], call: Call, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A megabyte in the wrong column doesn't fill terminal, journal and report."""
    row = "1,Ana," + "x" * 1_000_000
    folder = campaign("people.csv", f"id,name,email\n{row}\n2,Bea,bea@example.org\n".encode())
    done = call("check", folder)
    assert (done.returncode, len(done.stdout) < 5000) == (1, True)
    assert re.search(r"column email: 'x+…' 'to' email not valid", done.stdout)
    assert call("send", folder, "-o", tmp_path / "report.csv", "--yes").returncode == 1
    assert sandbox.requests_seen() == 1
    assert sum(path.stat().st_size for path in folder.glob("*.journal.db*")) < 100_000


@pytest.mark.parametrize("depth", [100, 300, 700, 980, 1_000, 100_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_json_in_json_in_json(
    brackets: str, depth: int, campaign: Callable[..., Path], call: Call, sandbox: Sandbox
) -> None:
    """One line at any depth, before anything is sent: a report's formats have their own limits."""
    begin, end = ("[", "]") if brackets == "[]" else ('{"a":', "}")
    row = json.dumps({name: cells[0] for name, cells in GOOD.items()})
    nested = f'{row[:-1]}, "more": {begin * depth}1{end * depth}}}'
    folder = campaign("people.jsonl", f"{row}\n{nested}\n".encode())
    check_refused(folder, call, sandbox, r"^people\.jsonl, line 2 is nested more than 48 levels deep")


def parquet() -> bytes:
    file = io.BytesIO()
    pd.DataFrame(GOOD).to_parquet(file)
    return file.getvalue()


def workbook(cells: Mapping[str, list[str]] = GOOD) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.create_sheet("people", 0)
    for row in (list(cells), *map(list, zip(*cells.values(), strict=True))):
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("make", [parquet, workbook])
def test_a_file_that_was_cut_off(make: Callable[[], bytes], campaign: Callable[..., Path]) -> None:
    """Parquet and Excel, wherever they end."""
    whole, name = make(), "people.parquet" if make is parquet else "people.xlsx"
    dice = random.Random(7)  # noqa: S311 - repeatable
    for size in (0, 1, 4, 8, len(whole) - 1, *(dice.randrange(len(whole)) for _ in range(60))):
        folder = campaign(name, whole[:size])
        with pytest.raises(CampaignError, match=r"^people\.(parquet|xlsx) can't be read as") as caught:
            Campaign.load(folder).check()
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("people.parquet", parquet()[:-100], r"people\.parquet can't be read as Parquet: "),
        ("people.parquet", b"id,name,email\n1,Ana,ana@example.org\n", r"people\.parquet can't be read as Parquet: "),
        ("people.xlsx", archive(a=b"a"), r"people\.xlsx can't be read as an Excel workbook: "),
        (
            "people.xlsx",
            archive(**{"word/document.xml": b"<w/>"}),
            r"people\.xlsx can't be read as an Excel workbook: ",
        ),
        ("people.xlsx", archive(**{"xl/workbook.xml": b"<x"}), r"people\.xlsx can't be read as an Excel workbook: "),
        ("people.xlsx", archive(**{"[Content_Types].xml": b""}), r"people\.xlsx can't be read as an Excel workbook: "),
        ("people.xlsx", workbook()[:-30], r"people\.xlsx can't be read as an Excel workbook: "),
        ("people.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), r"people\.xlsx can't be read as an Excel"),
        ("people.xlsx", b"id,name,email\n", r"people\.xlsx can't be read as an Excel workbook: "),
        ("people.csv", workbook(), r"people\.csv"),
        ("people.csv", parquet(), r"people\.csv"),
        ("people.csv", b"", r"people\.csv is empty: its first line must name the columns"),
        ("people.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, r"people\.csv"),
        ("people.jsonl", b"\x1f\x8b\x08\x00", r"people\.jsonl, line 1 is not valid UTF-8"),
        ("people.jsonl", b'[{"id": 1}]', r"people\.jsonl, line 1 is no JSON object"),
        ("people.docx", b"", r"people\.docx is no table that can be read: its name must end in one of \.csv "),
        ("people", b"id,name,email\n", r"people is no table that can be read: its name must end in one of \.csv "),
    ],
)
def test_a_file_that_is_something_else(  # noqa: PLR0917 - pytest passes them by name
    name: str, content: bytes, message: str, campaign: Callable[..., Path], call: Call, sandbox: Sandbox
) -> None:
    """One line names it, nothing is sent."""
    check_refused(campaign(name, content), call, sandbox, message)


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (lambda path: path.mkdir(), "is a folder: name the file in it"),
    "dangling link": (lambda path: path.symlink_to("nowhere.csv"), "doesn't exist: check the path of the recipients"),
    "link to itself": (lambda path: path.symlink_to(path.name), "can't be read: |doesn't exist"),
    "nothing": (lambda path: path, "doesn't exist: check the path of the recipients"),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx", ".jsonl"])
def test_a_path_that_is_no_file(
    ending: str, kind: str, campaign: Callable[..., Path], call: Call, sandbox: Sandbox
) -> None:
    """One line names it, nothing is sent."""
    make, message = SPECIAL[kind]
    folder = campaign(f"people{ending}")
    make(folder / f"people{ending}")
    check_refused(folder, call, sandbox, rf"people\{ending} .*({message})")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_file_without_an_end(kind: str, campaign: Callable[..., Path], turbobatch: Command, vendor: Sandbox) -> None:
    """A pipe that nobody writes to, or a device that never ends, doesn't hold the command up."""
    turbobatch.use(vendor)
    folder = campaign("people.csv")
    if kind == "pipe":
        os.mkfifo(folder / "people.csv")
    else:
        (folder / "people.csv").symlink_to("/dev/zero")
    for arguments in (["check", folder], ["send", folder, "-o", "report.csv", "--yes"]):
        assert "people.csv is no regular file" in refusal(turbobatch(*arguments))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(campaign: Callable[..., Path], call: Call, sandbox: Sandbox) -> None:
    """One line says so."""
    folder = campaign("people.csv", b"id,name,email\n")
    (folder / "people.csv").chmod(0)
    check_refused(folder, call, sandbox, r"people\.csv can't be read: Permission denied")


def test_the_installed_command_says_the_same(
    campaign: Callable[..., Path], turbobatch: Command, vendor: Sandbox
) -> None:
    """A few of the above as processes: one line, no traceback, no warning, exit 2."""
    turbobatch.use(vendor)
    vendor.clear()
    for name, content in (
        ("people.csv", b'id,name,email\n1,"Ana,ana@example.org\n'),
        ("people.csv", b"id,name,email\n1,Ana\0,ana@example.org\n"),
        ("people.parquet", parquet()[:-100]),
        ("people.xlsx", archive(**{"[Content_Types].xml": b""})),
        ("people.jsonl", b"[" * 100_000),
    ):
        said = refusal(turbobatch("send", campaign(name, content), "-o", "report.csv", "--yes"))
        assert said.startswith(name)
    assert vendor.requests_seen() == 0


# Cells that want to be more than text

TEMPLATES = (
    "{{ 7*7 }}", "{% include '/etc/passwd' %}", "{{ row }}", "{{ ''.__class__.__mro__ }}", "{# gone #}", "{{ name",
    "{% raw %}", "{% for x in rows %}x{% endfor %}", "${7*7} #{7*7} <%= 7*7 %>", "%(id)s %s {0} {id}", "\\{{ 7*7 }}",
)  # fmt: skip


def test_template_syntax_in_cells_is_text(sandbox: Sandbox, tmp_path: Path) -> None:
    """Row data is never template source, in no field and by no detour."""
    rows = [{"id": str(number), "name": text, "email": "ana@example.org"} for number, text in enumerate(TEMPLATES)]
    message = MailMerge(
        from_="Acme <shop@acme.example>",
        to="{{ name }} <{{ email }}>",
        subject="{{ name }}",
        text='{% set again = name %}{{ name }}|{{ again }}|{{ row["name"] }}|{{ rows[0].name }}',
        html="<p>{{ name }}</p>",
        headers={"X-Name": "{{ name }}"},
        reference_id="{{ name }}",
    )
    campaign = Campaign(name="templates", message=message, key="id", journal=tmp_path / "journal.db")
    results = campaign.send(pd.DataFrame(rows), sandbox.client(), progress=False)
    assert set(results["send_status"]) == {"sent"}
    found = {received["subject"]: received for received in sandbox.messages()}
    assert set(found) == set(TEMPLATES)
    for text, received in found.items():
        assert received["content"] == "|".join([text] * 4)
        assert received["addresses"]["to"] == [{"name": text, "email": "ana@example.org"}]
        assert received["custom_headers"] == {"X-Name": text}
        assert received["reference_id"] == text
        page = received["html_content"]
        assert "49" not in page
        assert [page.count(bracket) for bracket in "{}"] == [text.count(bracket) for bracket in "{}"]


def test_template_syntax_in_a_path_names_no_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """An attachment's cell is a name in the campaign's folder, whatever it holds."""
    (tmp_path / "49").write_text("seven times seven", encoding="utf-8")
    hostile = (
        "{{ 7*7 }}",
        "{% include '/etc/passwd' %}",
        "/etc/passwd",
        "../../etc/passwd",
        "a/\0b",
        "https://x.example/",
    )
    rows = [{"id": str(number), "file": text} for number, text in enumerate(hostile)]
    message = MailMerge(from_="shop@acme.example", to="ana@example.org", attachments=["{{ file }}"], folder=tmp_path)
    campaign = Campaign(name="files", message=message, key="id", journal=tmp_path / "journal.db")
    results = campaign.send(pd.DataFrame(rows), sandbox.client(), progress=False)
    assert set(results["send_status"]) == {"invalid"}
    assert sandbox.requests_seen() == 0


EVIL = "evil@evil.example"
INJECTIONS = (
    f"Ana\r\nBcc: {EVIL}", f"Ana\nBcc: {EVIL}", f"Ana\rBcc: {EVIL}", f"Ana\u2028Bcc: {EVIL}", f"Ana\x85Bcc: {EVIL}",
    f"Ana\0, {EVIL}", f"Ana, {EVIL}", f"Ana <{EVIL}>", f"Ana <{EVIL}>,", f'Ana" <{EVIL}>, "x', f"Ana>, <{EVIL}",
    f"<{EVIL}>", f"ana@example.org, {EVIL}", f"ana@example.org>, {EVIL} <{EVIL}", f"ana@example.org\r\nBcc: {EVIL}",
    f"all: {EVIL};", f"(ana) {EVIL}", f'\\", {EVIL} <{EVIL}', "=?utf-8?q?Ana=0D=0ABcc:_evil@evil.example?=",
    "=?utf-8?b?QW5hLCBldmlsQGV2aWwuZXhhbXBsZQ==?=", f"Ana\ufdd1, {EVIL}, \ufdd0",
)  # fmt: skip
FIELDS: dict[str, dict[str, Any]] = {
    "a name in to": {"to": "{{ cell }} <ana@example.org>"},
    "a quoted name in to": {"to": '"{{ cell }}" <ana@example.org>'},
    "an address in to": {"to": "Ana <{{ cell }}>"},
    "a name in cc": {"cc": "{{ cell }} <ana@example.org>"},
    "a name in bcc": {"bcc": "{{ cell }} <ana@example.org>"},
    "a name in from": {"from_": "{{ cell }} <shop@acme.example>"},
    "a name in reply-to": {"reply_to": "{{ cell }} <ana@example.org>"},
    "the subject": {"subject": "{{ cell }}"},
    "a header": {"headers": {"X-Tag": "{{ cell }}"}},
    "part of a header": {"headers": {"X-Tag": "tag={{ cell }}; x"}},
    "the reference": {"reference_id": "{{ cell }}"},
    "an unsubscribe link": {"list_unsubscribe": "https://acme.example/?u={{ cell | urlencode }}"},
}


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_no_cell_adds_a_recipient_or_a_header(api: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """Whatever a cell holds and wherever it is printed: it stays where it is, or its row is invalid."""
    sent = 0
    rows = pd.DataFrame({"id": [str(number) for number in range(len(INJECTIONS))], "cell": INJECTIONS})
    for name, fields in FIELDS.items():
        plain = {"from_": "shop@acme.example", "to": "ana@example.org", "subject": "s", "text": "{{ cell | length }}"}
        message = MailMerge(**{**plain, **fields})
        campaign = Campaign(name=name, message=message, key="id", journal=tmp_path / f"{name}.db", concurrency=4)
        results = campaign.send(rows, sandbox.client(api=api), progress=False)
        assert set(results["send_status"]) <= {"sent", "invalid"}, name
        assert all(text.isprintable() for text in results["send_message"])
        sent += (results["send_status"] == "sent").sum()
    assert sent == len(sandbox.inbox()) > 100
    assert recipients_of(sandbox) == {"ana@example.org"}
    known = {"x-tag", "list-unsubscribe", "list-unsubscribe-post", "reply-to"}
    for received in sandbox.messages():
        assert {header.lower() for header in received["custom_headers"]} <= known
        for text in (received["subject"], *received["custom_headers"].values()):
            assert not re.search(r"[\r\n\0]", text)
        assert not re.search(rb"(?im)^(bcc|to|cc):.*evil@evil\.example *$", sandbox.raw(received["id"]))


FORMULAS = (
    "=1+1", '=HYPERLINK("http://evil.example","x")', "+1+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(1+1)",
    "\t=1+2", "\r=1+3",
)  # fmt: skip


@pytest.fixture
def formulas(sandbox: Sandbox, tmp_path: Path) -> pd.DataFrame:
    """Results of a table whose header, cells and keys are formulas, and whose failures quote them."""
    rows = pd.DataFrame({"=id": FORMULAS, "name": FORMULAS, "email": ["ana@example.org", *FORMULAS[1:]], "n": [-5] * 7})
    message = MailMerge(from_="shop@acme.example", to="{{ email }}", subject="s", text="{{ name }}")
    campaign = Campaign(name="formulas", message=message, key="=id", journal=tmp_path / "journal.db")
    results = campaign.send(rows, sandbox.client(), progress=False)
    assert results["send_status"].tolist() == ["sent", *["invalid"] * 6]
    return results


def test_formulas_in_an_excel_report_are_text(formulas: pd.DataFrame, tmp_path: Path) -> None:
    """openpyxl, like Excel, finds strings and numbers, and no string that would become a formula once it is edited."""
    book = openpyxl.load_workbook(write_report(formulas, tmp_path / "report.xlsx"))
    cells = [cell for row in book.worksheets[0].iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s", "n"}
    texts = [str(cell.value) for cell in cells if cell.data_type == "s"]
    assert not [text for text in texts if text[0] in "=+-@\t\r"]
    assert texts.count("'=1+1") == 3
    book.close()


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_formulas_in_a_report_for_excel_are_text(ending: str, formulas: pd.DataFrame, tmp_path: Path) -> None:
    """No cell of it, the header's included, begins as a formula does; numbers stay numbers."""
    path = write_report(formulas, tmp_path / f"report{ending}", for_excel=True)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter="," if ending == ".csv" else "\t"))
    number = rows[0].index("n")
    assert {row[number] for row in rows[1:]} == {"-5"}
    cells = [cell for row in rows for place, cell in enumerate(row) if place != number and cell]
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r"]
    assert rows[0][0] == "'=id"


# Names that no file can have, and errors that nobody has thought of

LONG = "x" * 300


@pytest.mark.parametrize(
    "command",
    [
        ("check", LONG),
        ("check", "letters", "--recipients", f"{LONG}.csv"),
        ("check", "letters", "-o", f"{LONG}.csv"),
        ("preview", "letters", "-o", LONG),
        ("send", "letters", "--yes", "-o", f"{LONG}.csv"),
        ("send", "letters", "--yes", "-o", "r.csv", "--journal", LONG),
        ("send", "letters", "--yes", "-o", "r.csv", "--recipients", LONG),
        ("status", "letters", "--journal", LONG),
        ("report", "letters", "-o", f"{LONG}.csv"),
        ("report", "letters", "-o", f"{LONG}/r.csv"),
        ("audit", LONG),
        ("audit", f"{LONG}.csv"),
        ("resolve", "letters", "--as", "sent", "--journal", LONG),
        ("init", LONG),
        ("demo", "--dir", LONG),
    ],
    ids=" ".join,
)
def test_a_name_that_is_too_long_is_one_line(
    command: tuple[str, ...],
    campaign: Callable[..., Path],
    call: Call,
    sandbox: Sandbox,
) -> None:
    """Wherever it is given; nothing is sent."""
    campaign("people.csv", b"id,name,email\n1,Ana,ana@example.org\n")
    assert LONG in refusal(call(*command))
    assert sandbox.requests_seen() == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "letters"', f'name = "{LONG}"'),
        ('path = "people.csv"', f'path = "{LONG}.csv"'),
        ('text = "letter.txt"', f'text = "{LONG}"'),
        ('text = "letter.txt"', f'text = "letter.txt"\nattachments = "{LONG}"'),
        ('text = "letter.txt"', f'text = "letter.txt"\n[send]\nsuppress = "{LONG}"'),
    ],
    ids=["name", "path", "text", "attachments", "suppress"],
)
def test_a_name_in_the_campaign_that_is_too_long_is_told(
    old: str, new: str, campaign: Callable[..., Path], call: Call, sandbox: Sandbox
) -> None:
    """In one line too."""
    folder = campaign("people.csv", b"id,name,email\n1,Ana,ana@example.org\n")
    file = folder / "campaign.toml"
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    refusal(call("check", folder))
    refusal(call("send", folder, "--yes", "-o", folder / "r.csv"))
    assert sandbox.requests_seen() == 0


def test_an_unexpected_error_is_no_verdict_on_rows(
    campaign: Callable[..., Path], call: Call, turbobatch: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with its kind and place, not its text, which may be anything; the traceback is there for the asking."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ana@example.org")

    folder = campaign("people.csv", b"id,name,email\n1,Ana,ana@example.org\n")
    monkeypatch.setattr("turbobatch.campaign.checking", broken)
    done = call("check", folder)
    assert done.returncode == 3
    assert re.fullmatch(
        r"error: unexpected ZeroDivisionError in campaign\.py, line \d+: please report it, with what "
        r"TURBOBATCH_DEBUG=1 shows; the journal knows what was sent, and the same command goes on\n",
        done.stderr,
    )
    turbobatch.environment["TURBOBATCH_DEBUG"] = "1"
    assert "Traceback (most recent call last)" in call("check", folder).stderr
