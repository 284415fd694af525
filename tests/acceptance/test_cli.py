"""The command line as its users meet it: exit codes, reports, and what arrives."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from email import message_from_string, policy
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from turbobatch.campaign import Campaign
from turbobatch.report import read_report
from turbobatch.reported import Counts
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Done = subprocess.CompletedProcess[str]
    Letters = Callable[..., Path]
    from conftest import Command

    from tests.conftest import Until


SAMPLES = Path(__file__).parents[2] / "sample_data"
COMMANDS = ("demo", "init", "check", "preview", "send", "status", "report", "audit", "resolve", "sandbox")

BAD_ROWS = {
    "campaign.toml": """
name = "bad-rows"
[recipients]
path = "people.csv"
key = "id"
[message]
from = "Acme <shop@acme.example>"
to = "{{ name }} <{{ email }}>"
subject = "Order {{ id }}"
text = "letter.txt"
attachments = ["{{ file | default('') }}"]
[message.headers]
"X-Tag" = "{{ tag | default('none') }}"
""",
    "letter.txt": "Dear {{ name }},{% if special %} {{ nosuch }}{% endif %}\n",
    "people.csv": """id,name,email,tag,file,special
001,Ana,ana@example.org,,,
002,Bea,broken@@example,,,
003,,cleo@example.org,,,
004,Dan,dan@example.org,"x
Bcc: evil@example.org",,
005,Eve,eve@example.org,,nope.pdf,
006,Fay,fay@example.org,,big.bin,
001,Gus,gus@example.org,,,
007,Hal,hal@example.org,,,yes
008,Ida,ida@example.org,,,
""",
}
VERDICTS = [
    ("sent", r"OK"),
    ("invalid", r"row 1 \(line 3 of people\.csv\): column 'email': 'broken@@example' 'to' email not valid; correct"),
    ("invalid", r"row 2 \(line 4 of people\.csv\): to: column 'name' is blank; fill the cell"),
    ("invalid", r"row 3 \(line 5 of people\.csv\): column 'tag': header 'X-Tag' holds a line break .*; remove it"),
    (
        "invalid",
        r"row 4 \(line 7 of people\.csv\): column 'file': attachment 'nope\.pdf' not found; put the file",
    ),
    ("invalid", r"row 5 \(line 8 of people\.csv\): .*email of \S+ MB is over the \d+ MB that v\d takes; send less"),
    ("duplicate", r"row 6 \(line 9 of people\.csv\): same key as row 0"),
    ("invalid", r"row 7 \(line 10 of people\.csv\): text: there is no column 'nosuch'; the table has 'id', 'name'"),
    ("sent", r"OK"),
]


def one_line(done: Done, code: int) -> str:
    """The one line on stderr that a failed command leaves, without its beginning."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


def subjects(sandbox: Sandbox) -> list[str]:
    return sorted(sandbox.inbox()["subject"])


def all_letters(rows: int) -> list[str]:
    return [f"Letter {number:03}" for number in range(rows)]


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Make sure that a process doesn't outlive its test."""
    with process:
        try:
            yield process
        finally:
            process.kill()


# Bad rows


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
@pytest.mark.parametrize(("api", "megabytes"), [("v1", 5), ("v2", 20)])
def test_bad_rows_are_named_and_the_good_ones_sent(
    api: str, megabytes: int, ending: str, turbobatch: Command, sandbox: Sandbox
) -> None:
    """Each kind of bad row gets a status and a message with row, column and cure; the others are sent; exit code 1."""
    for name, text in BAD_ROWS.items():
        (turbobatch.folder / name).write_text(text, encoding="utf-8")
    with (turbobatch.folder / "big.bin").open("wb") as file:
        file.truncate(megabytes * 2**20)
    turbobatch.use(sandbox, api)
    done = turbobatch("send", ".", "-o", f"report{ending}", "--yes")
    assert (done.returncode, done.stderr) == (1, "")
    report = read_report(turbobatch.folder / f"report{ending}")
    assert report["id"].tolist() == ["001", "002", "003", "004", "005", "006", "001", "007", "008"]
    assert report["send_status"].tolist() == [status for status, _ in VERDICTS]
    for message, (_, expected) in zip(report["send_message"], VERDICTS, strict=True):
        assert re.match(expected, message), message
        assert message.isprintable()
    assert [bool(errors) for errors in report["send_errors"]] == [status == "invalid" for status, _ in VERDICTS]
    assert report["send_attempts"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert report["send_key"].tolist() == report["id"].tolist()
    assert subjects(sandbox) == ["Order 001", "Order 008"]
    assert sandbox.requests_seen() == 2
    assert set(sandbox.inbox()["to"]) == {"Ana <ana@example.org>", "Ida <ida@example.org>"}


@pytest.mark.measured
def test_check_lists_the_same_problems_and_sends_nothing(turbobatch: Command, sandbox: Sandbox) -> None:
    """One line per problem with row, column and cure; `-o` writes them as a table; a clean campaign exits 0."""
    for name, text in BAD_ROWS.items():
        (turbobatch.folder / name).write_text(text, encoding="utf-8")
    with (turbobatch.folder / "big.bin").open("wb") as file:
        file.truncate(5 * 2**20)
    turbobatch.use(sandbox, "v1")  # whose limit the check goes by, since the credentials are its
    done = turbobatch.here("check", ".")
    assert (done.returncode, done.stderr) == (1, "")
    *problems, last = done.stdout.splitlines()
    assert last == "6 rows can't be sent"
    assert len(problems) == 7
    for line, (_, expected) in zip(problems, VERDICTS[1:-1], strict=True):
        assert line.startswith(re.match(r"row \d+ \(line \d+ of people\.csv\): ", line)[0])  # type: ignore[index]  # no match breaks the test
        assert line.partition(" (")[0] == expected.partition(" ")[0] + " " + expected.split()[1]
    assert "column email: 'broken@@example'" in problems[0]
    assert ": column 'name' is blank; " in problems[1]
    assert "column file: email of" in problems[4]
    assert ": text: there is no column 'nosuch'; " in problems[6]
    done = turbobatch.here("check", ".", "-o", "problems.csv")
    assert (done.returncode, done.stderr) == (1, "")
    written = pd.read_csv(turbobatch.folder / "problems.csv", dtype=str)
    assert written["row"].tolist() == ["1", "2", "3", "4", "5", "6", "7"]
    assert written["status"].tolist() == ["invalid"] * 5 + ["duplicate", "invalid"]
    assert sandbox.requests_seen() == 0
    assert not list(turbobatch.folder.glob("*.journal.db"))


def test_check_tells_what_left_otherwise_than_it_reads_now(turbobatch: Command, sandbox: Sandbox) -> None:
    """Counted over a table of several parts, also where its problems fill more than one."""
    rows = [f"{number:04},P{number},p{number}@example.org" for number in range(2500)]
    table = turbobatch.folder / "people.csv"
    table.write_text("\n".join(["id,name,email", *rows]), encoding="utf-8")
    (turbobatch.folder / "campaign.toml").write_text(
        'name = "n"\n[recipients]\npath = "people.csv"\nkey = "id"\n'
        '[message]\nfrom = "a@acme.example"\nto = "{{ email }}"\nsubject = "{{ name }}"\ntext = "t.txt"\n',
        encoding="utf-8",
    )
    (turbobatch.folder / "t.txt").write_text("Hello", encoding="utf-8")
    turbobatch.use(sandbox, "v2")
    assert turbobatch("send", ".", "-o", "r.csv", "--yes", "--limit", "3").returncode == 0
    changed = table.read_text(encoding="utf-8").replace(",P0,", ",Q,").replace(",p1", ",p1@")
    table.write_text(changed, encoding="utf-8")
    done = turbobatch.here("check", ".")
    lines = done.stdout.splitlines()
    bad = sum(",p1" in row for row in rows)
    assert len(lines) == bad + 2
    assert lines[-2:] == [
        "1 row was sent already and makes another email now: it stays sent",
        f"{bad} rows can't be sent",
    ]
    assert done.returncode == 1


# What is refused before anything is sent


def edit(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / "campaign.toml").read_text(encoding="utf-8")
        assert old in text
        (folder / "campaign.toml").write_text(text.replace(old, new), encoding="utf-8")

    return change


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def template(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "letter.txt").write_text(text, encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit('key = "id"', "key = id"), r"letters/campaign\.toml is no valid TOML: .*line 5"),
        (edit("key =", "kye ="), r"letters/campaign\.toml: \[recipients\] kye is not known: did you mean 'key'\?"),
        (
            edit('from = "Acme', 'bc = "Acme'),
            r"letters/campaign\.toml: \[message\] bc is not known: did you mean",
        ),
        (edit("= 2", '= "2"'), r"\[send\] concurrency must be a whole number above 0, not '2'"),
        (edit("= 2", '= 2\nrate = "fast"'), r"rate.*'fast'"),
        (edit('key = "id"', 'key = "ids"'), r"key names column 'ids', which the table hasn't: did you mean 'id'\?"),
        (template("Dear {{ nmae }}"), r"letter\.txt, line 1: there is no column 'nmae'; did you mean 'name'\?"),
        (template("Dear {% if %}"), r"letter\.txt.*line 1"),
        (remove("campaign.toml"), r"letters/campaign\.toml can't be read: No such file or directory; name a campaign"),
        (remove("people.csv"), r"people\.csv doesn't exist"),
        (remove("letter.txt"), r"letter\.txt.*not found"),
        (edit("= 2", '= 2\nsuppress = "x.csv"'), r"suppression list .*x\.csv doesn't exist"),
    ],
)
def test_a_broken_campaign_is_one_line(
    change: Callable[[Path], None], message: str, letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """Whatever is wrong with a campaign: exit 2, one line that says what and where, nothing sent, no report."""
    change(letters())
    said = one_line(turbobatch.here("send", "letters", "-o", "report.csv", "--yes"), 2)
    assert re.search(message, said), said
    assert sandbox.requests_seen() == 0
    assert not (turbobatch.folder / "report.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "report.docx", "--yes"], r"report\.docx: there is no report format '\.docx': use \.csv"),
        (["-o", "report", "--yes"], r"report: the name has no ending"),
        (["-o", "nowhere/report.csv", "--yes"], r"nowhere/report\.csv can't be written: there is no folder nowhere"),
        (["-o", "letters", "--yes"], r"letters"),
        (["-o", "letters/people.csv", "--yes"], r"letters/people\.csv is a file of the campaign itself"),
        (["--yes"], r"a report is missing: name it with -o"),
        (["-o", "report.csv"], r"there is no terminal to ask on: say --yes"),
        (["-o", "report.csv", "--yes", "--api", "v3"], r"there is no API 'v3'"),
        (["-o", "report.csv", "--yes", "--rate", "often"], r"rate.*'often'"),
        (["-o", "report.csv", "--yes", "--transport", "pigeon"], r"there is no transport 'pigeon'"),
        (["-o", "report.csv", "--yes", "--base-url", "http://api.example/api/v2"], r"in the clear: use https"),
        (["-o", "report.csv", "--yes", "--recipients", "nobody.csv"], r"nobody\.csv doesn't exist"),
        (["--test-to", "you@@example", "--yes"], r"'you@@example' is no address to send a test to"),
        (["--test-to", "you@example.org"], r"there is no terminal to ask on: say --yes"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str], message: str, letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """What can't be done is found out before anything is sent: exit 2 and one line."""
    folder = letters()
    said = one_line(turbobatch.here("send", folder.name, *arguments), 2)
    assert re.search(message, said), said
    assert sandbox.requests_seen() == 0
    assert (folder / "people.csv").read_text(encoding="utf-8").startswith("id,name,email\n")


def test_unknown_options_exit_with_2(turbobatch: Command) -> None:
    """Bad usage that the parser finds has the same exit code."""
    assert turbobatch.here("send", "--colour").returncode == 2
    assert turbobatch.here("sned").returncode == 2


@pytest.mark.measured
def test_no_credentials_is_one_line(letters: Letters, turbobatch: Command) -> None:
    """Without credentials in the environment nothing begins, and the line names the variables."""
    said = one_line(turbobatch.here("send", letters(), "-o", "report.csv", "--yes"), 2)
    assert said.startswith("no credentials: set TURBOSMTP_CONSUMER_KEY and TURBOSMTP_CONSUMER_SECRET (v2), or ")


@pytest.mark.measured
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_wrong_credentials_stop_the_run(api: str, letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """Exit 3, every row pending in the report, nothing accepted, and no secret in what is said."""
    turbobatch.use(sandbox, api, password="s3cr3t-w0rd")
    done = turbobatch("send", letters(5), "-o", "report.csv", "--yes")
    assert one_line(done, 3).startswith("the API refused the credentials (")
    assert read_report(turbobatch.folder / "report.csv")["send_status"].tolist() == ["pending"] * 5
    assert len(sandbox.inbox()) == 0
    assert "s3cr3t-w0rd" not in done.stdout + done.stderr


# Running again


@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_each_transport_does_the_job(transport: str, letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    done = turbobatch("send", letters(), "-o", "report.csv", "--yes", "--transport", transport)
    assert done.returncode == 0, done.stderr
    assert subjects(sandbox) == all_letters(sandbox.requests_seen())


@pytest.mark.measured
def test_a_second_run_sends_nothing(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """A finished campaign is finished: the same command posts nothing, reports the same and exits the same."""
    table = "id,name,email\n1,Ana,ana@example.org\n2,Bea,bea@@\n1,Ana,ana@example.org\n3,Cleo,reject@example.org\n"
    folder = letters(table=table)
    first = turbobatch("send", folder, "-o", "first.csv", "--yes")
    second = turbobatch("send", folder, "-o", "second.csv", "--yes")
    assert (first.returncode, second.returncode) == (1, 1)
    assert sandbox.requests_seen() == 2
    columns = ["send_status", "send_message", "send_key", "send_mid", "send_attempts"]
    one, two = (read_report(turbobatch.folder / name)[columns] for name in ("first.csv", "second.csv"))
    pd.testing.assert_frame_equal(one, two)
    assert "4 rows: up to 3 emails to send\n" in first.stdout
    refused = "1 was refused before: sent again only if the email has changed"
    assert f"4 rows (1 sent already): up to 2 emails to send; {refused}\n" in second.stdout


def test_a_limit_leaves_the_rest_pending_until_the_same_command_without_it(
    letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """`--limit 5` sends 5 emails and is no failure; without it the rest follows."""
    folder = letters(12)
    assert turbobatch("send", folder, "-o", "report.csv", "--yes", "--limit", 5).returncode == 0
    assert Counter(read_report(turbobatch.folder / "report.csv")["send_status"]) == {"sent": 5, "pending": 7}
    assert turbobatch("send", folder, "-o", "report.csv", "--yes").returncode == 0
    assert Counter(read_report(turbobatch.folder / "report.csv")["send_status"]) == {"sent": 12}
    assert subjects(sandbox) == all_letters(12)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_is_completed_by_the_same_command(
    number: signal.Signals, letters: Letters, turbobatch: Command, slow_sandbox: Sandbox, until: Until
) -> None:
    """Ctrl-C, or a batch system's SIGTERM: exit 3 with a report; the same command goes on; each key arrives once."""
    folder = letters(16)
    with ended(turbobatch.start("send", folder, "-o", "report.csv", "--yes")) as process:
        until(lambda: len(slow_sandbox.inbox()) >= 3)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert err.splitlines()[-1].startswith("error: stopped by the user: the rest is pending; ")
    counts = Counter(read_report(turbobatch.folder / "report.csv")["send_status"])
    assert set(counts) == {"sent", "pending"}
    assert counts["sent"] == len(slow_sandbox.inbox())
    assert turbobatch("send", folder, "-o", "report.csv", "--yes").returncode == 0
    assert subjects(slow_sandbox) == all_letters(16)


@pytest.mark.measured
@pytest.mark.usefixtures("signals")
def test_a_second_ctrl_c_leaves_at_once(letters: Letters, turbobatch: Command, sandbox: Sandbox, until: Until) -> None:
    """With an answer that never comes, a second Ctrl-C ends the process; the row in flight is in doubt."""
    folder = letters(table="id,name,email\n1,Ana,hang@example.org\n2,Bea,bea@example.org\n")
    with ended(turbobatch.start("send", folder, "-o", "report.csv", "--yes", "--concurrency", 1)) as process:
        until(lambda: sandbox.requests_seen() == 1)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)  # it waits for the answer
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert err.splitlines()[-1].startswith("error: left at once; ")
    status = json.loads(turbobatch.here("status", folder, "--json").stdout)
    assert status["statuses"] == {"in_doubt": 1, "pending": 1}
    assert status["in_doubt"] == ["1"]


def test_without_credit_the_rest_stays_pending(letters: Letters, turbobatch: Command) -> None:
    """`nocredit` stops the run (exit 3); with new credit the same command completes it."""
    folder = letters(9)
    with Sandbox(nocredit_after=4) as sandbox:
        turbobatch.use(sandbox)
        done = turbobatch("send", folder, "-o", "report.csv", "--yes")
        assert "the account has no credit left" in one_line(done, 3)
        assert len(sandbox.inbox()) == 4
        assert Counter(read_report(turbobatch.folder / "report.csv")["send_status"]) == {"sent": 4, "pending": 5}
        first = subjects(sandbox)
    with Sandbox() as sandbox:
        turbobatch.use(sandbox)
        assert turbobatch("send", folder, "-o", "report.csv", "--yes").returncode == 0
        assert sorted(first + subjects(sandbox)) == all_letters(9)


def test_a_journal_that_can_not_be_made_is_found_before_the_question(
    letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """Not after it, when somebody has said yes."""
    said = one_line(turbobatch.here("send", letters(), "-o", "report.csv", "--journal", "missing/x.db"), 2)
    assert "missing/x.db can't be made" in said
    assert sandbox.inbox().empty


@pytest.mark.usefixtures("signals")
def test_while_a_run_goes_on(letters: Letters, turbobatch: Command, slow_sandbox: Sandbox, until: Until) -> None:
    """What would write its journal is refused in one line, before any question; what only looks sees how far it is."""
    folder = letters(400)
    with ended(turbobatch.start("send", folder, "-o", "report.csv", "--yes")) as process:
        until(slow_sandbox.requests_seen)
        for arguments in (["send", folder, "-o", "other.csv"], ["resolve", folder, "--as", "sent"]):
            said = one_line(turbobatch(*arguments), 2)
            assert "letters.journal.db is in use by another process: wait until it ends" in said
        counted = json.loads(turbobatch("status", folder, "--json").stdout)["statuses"]
        assert sum(counted.values()) == 400
        assert counted["pending"]
        assert turbobatch("check", folder).returncode == 0
        assert turbobatch("audit", folder).returncode == 0
        assert turbobatch("report", folder, "-o", "now.csv").returncode == 0
        written = Counter(read_report(turbobatch.folder / "now.csv")["send_status"])
        assert written["sent"] >= counted.get("sent", 0)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_looks_at_a_run_invent_no_doubts(
    letters: Letters, turbobatch: Command, slow_sandbox: Sandbox, until: Until
) -> None:
    """Rows and doubts are one moment's; what is in flight isn't to be settled by hand."""
    folder = letters(4000)
    campaign = Campaign.load(folder)
    in_flight = 0
    with ended(turbobatch.start("send", folder, "-o", "report.csv", "--yes", "--concurrency", 16)) as process:
        until(slow_sandbox.requests_seen)
        for _ in range(50):
            if slow_sandbox.requests_seen() > 2000:
                break  # on a busy machine: the run isn't to end before it was told of
            counts = Counts()
            with campaign.look() as results:
                for chunk in results.frames():
                    counts.add(chunk)
                doubts = results.in_doubt()
                assert results.in_use
            assert counts.elsewhere(doubts) == []
            assert len(doubts) == counts.rows["in_doubt"] <= 16
            in_flight += len(doubts)
        process.send_signal(signal.SIGSTOP)
        said = [turbobatch("status", folder).stdout, turbobatch("report", folder, "-o", "now.csv").stdout]
        assert json.loads(turbobatch("status", folder, "--json").stdout)["in_progress"] is True
        assert process.poll() is None
    assert in_flight
    for text in said:
        assert "A run seems to be in progress" in text
        assert "not in this table" not in text
        assert "turbobatch resolve" not in text
    killed = turbobatch("status", folder).stdout
    assert "A run seems" not in killed
    assert ("turbobatch resolve" in killed) == ("In doubt, by key" in killed)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_run_that_breaks_can_be_gone_on_with(
    is_there: bool, letters: Letters, turbobatch: Command, sandbox: Sandbox, until: Until
) -> None:
    """If the table is changed while it is sent: exit 3, one line, and what was sent is in the report.

    A table that can't be read any more leaves the old report, and a line that says so.
    """
    rows = 2100  # more than are read at a time
    folder = letters(rows)
    send = ("send", folder, "-o", "report.csv", "--yes", "--concurrency", 16)
    assert turbobatch(*send, "--limit", 5).returncode == 0
    with ended(turbobatch.start(*send)) as process:
        until(lambda: sandbox.requests_seen() > 5)
        if is_there:
            os.utime(folder / "people.csv")
        else:
            (folder / "people.csv").unlink()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    again = f"turbobatch report {folder} -o report.csv"
    old = f"; the report report.csv is still the old one: write it with {again}"
    *_, last = err.splitlines()  # a slow machine has told how far it was before
    assert last == (
        "error: people.csv was changed while it was in use; what was sent before is in the journal: "
        f"run the same command again{'' if is_there else old}"
    )
    written = Counter(read_report(turbobatch.folder / "report.csv")["send_status"])
    sent = sandbox.requests_seen() if is_there else 5
    assert written == {"sent": sent, "pending": rows - sent}
    letters(rows)
    assert turbobatch(*send).returncode == 0
    assert subjects(sandbox) == sorted(f"Letter {number:03}" for number in range(rows))


# Asking


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    """Press until it is heard: a signal that comes just before a read begins leaves the read waiting."""
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)


@pytest.mark.measured
@pytest.mark.parametrize(("answer", "code"), [("n\n", 2), ("y\n", 0), ("", 3)])
@pytest.mark.usefixtures("signals")
def test_send_asks_on_a_terminal(
    answer: str, code: int, letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """It tells how many, from whom and to which host; "n" and Ctrl-C send nothing, "y" sends."""
    outside, inside = pty.openpty()
    process = turbobatch.start("send", letters(), "-o", "report.csv", stdin=inside)
    os.close(inside)
    with ended(process), os.fdopen(outside, "wb", buffering=0) as terminal:
        assert process.stdout is not None
        asked = ""
        while not asked.endswith("Send? [y/N]: "):
            char = process.stdout.read(1)
            assert char, asked
            asked += char
        if answer:
            terminal.write(answer.encode())
        else:
            press_ctrl_c(process)
        _, err = process.communicate(timeout=60)
    assert "3 rows: up to 3 emails to send" in asked
    assert re.search(r"from Acme <shop@acme\.example> through 127\.0\.0\.1:\d+ \(v2\)", asked)
    assert process.returncode == code, err
    assert len(sandbox.inbox()) == (3 if code == 0 else 0)
    assert (turbobatch.folder / "report.csv").exists() == (code == 0)
    assert "Traceback" not in err
    if code:
        assert err.splitlines()[-1].endswith("nothing was sent")


# Options of send


@pytest.mark.parametrize("limit", [None, 2])
def test_a_test_goes_to_one_address_only(
    limit: int | None, letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """`--test-to` sends the first rows to that address alone and leaves neither journal nor report."""
    folder = letters(toml=letters().joinpath("campaign.toml").read_text().replace("text =", 'cc = "c@x.org"\ntext ='))
    options = [] if limit is None else ["--limit", limit]
    done = turbobatch("send", folder, "--test-to", "me@example.org", "--yes", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert sandbox.inbox()["to"].tolist() == ["me@example.org"] * (limit or 1)
    assert set(sandbox.inbox()["cc"]) == set(sandbox.inbox()["bcc"]) == {""}
    assert subjects(sandbox) == all_letters(limit or 1)
    assert "row 0: sent" in done.stdout
    assert not list(folder.glob("*.journal.db"))


@pytest.mark.measured
def test_a_test_tells_of_bad_rows_and_refusals(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """A row that can't be merged is named and doesn't count; a refusal makes exit 1."""
    folder = letters(table="id,name,email\n1,,ana@example.org\n2,Bea,bea@example.org\n")
    done = turbobatch("send", folder, "--test-to", "reject@example.org", "--yes")
    assert (done.returncode, done.stderr) == (1, "")
    assert "row 0: row 0 (line 2 of people.csv): to: column 'name' is blank" in done.stdout
    assert "row 1: rejected rejected on demand" in done.stdout
    assert sandbox.requests_seen() == 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("429@example.org", (3, "HTTP 429")),
        ("reset-after@example.org", (1, "the email may have been accepted")),
    ],
)
def test_a_test_that_gets_no_verdict_is_one_line(
    address: str, expected: tuple[int, str], letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """Neither a refusal to answer nor an answer that was lost is a traceback; wrong credentials aren't either."""
    code, message = expected
    assert message in one_line(turbobatch.here("send", letters(), "--test-to", address, "--yes"), code)
    turbobatch.use(sandbox, password="wrong")
    assert "refused the credentials: " in one_line(turbobatch.here("send", letters(), "--test-to", address, "--yes"), 3)


def test_a_guessed_encoding_is_a_warning(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """It is told before anything is sent, and keeps nothing from being sent."""
    folder = letters()
    (folder / "people.csv").write_bytes("id,name,email\n1,Zo\u00eb,zoe@example.org\n".encode("cp1252"))
    done = turbobatch("send", folder, "-o", "report.csv", "--yes")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert done.stderr.startswith("warning: people.csv is not UTF-8: read as cp1252; ")
    assert sandbox.inbox()["to"].tolist() == ["Zo\u00eb <zoe@example.org>"]


def test_other_recipients_journal_and_rate(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """`--recipients`, `--journal` and `--rate` go before what the campaign says, also for status and report."""
    folder = letters()
    (turbobatch.folder / "others.tsv").write_text("id\tname\temail\n9\tZoe\tzoe@example.org\n", encoding="utf-8")
    others = ["--recipients", "others.tsv", "--journal", "others.db"]
    done = turbobatch("send", folder, "-o", "report.csv", "--yes", "--rate", "1000/second", *others)
    assert done.returncode == 0, done.stderr
    assert sandbox.inbox()["to"].tolist() == ["Zoe <zoe@example.org>"]
    assert (turbobatch.folder / "others.db").exists()
    assert not list(folder.glob("*.journal.db"))
    assert json.loads(turbobatch.here("status", folder, "--json", *others).stdout)["statuses"] == {"sent": 1}
    assert turbobatch.here("report", folder, "-o", "again.csv", *others).returncode == 0
    first, again = ((turbobatch.folder / name).read_text("utf-8") for name in ("report.csv", "again.csv"))
    assert first == again
    assert json.loads(turbobatch.here("status", folder, "--json").stdout)["statuses"] == {"pending": 3}


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".xlsx", ".html"])
def test_the_ending_picks_the_format(ending: str, letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """Each format that `-o` knows is written, by send and by report alike."""
    folder = letters()
    sent = turbobatch("send", folder, "-o", f"sent{ending}", "--yes")
    reported = turbobatch.here("report", folder, "-o", f"reported{ending}")
    assert (sent.returncode, reported.returncode) == (0, 0), sent.stderr + reported.stderr
    assert len(sandbox.inbox()) == 3
    paths = [turbobatch.folder / f"{name}{ending}" for name in ("sent", "reported")]
    if ending == ".html":
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert "3 rows of the table make 3 emails" in paths[0].read_text(encoding="utf-8")
    else:
        one, two = (read_report(path) for path in paths)
        pd.testing.assert_frame_equal(one, two)
        assert one["id"].tolist() == ["000", "001", "002"]
        assert one["send_status"].tolist() == ["sent"] * 3


def test_a_report_for_excel_runs_no_formula(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """`--for-excel` writes a byte order mark and makes formulas harmless; without it the cell is verbatim."""
    folder = letters(table="id,name,email,note\n1,Ana,ana@example.org,=1+1\n2,Bea,bea@example.org,-5\n")
    for options in ([], ["--for-excel"]):
        name = f"report{len(options)}.csv"
        assert turbobatch("send", folder, "-o", name, "--yes", *options).returncode == 0
    assert len(sandbox.inbox()) == 2
    plain, safe = ((turbobatch.folder / name).read_text(encoding="utf-8") for name in ("report0.csv", "report1.csv"))
    assert ",=1+1," in plain
    assert safe.startswith("\ufeffid,")
    assert ",'=1+1," in safe
    assert ",-5," in safe
    assert turbobatch.here("report", folder, "-o", "report0.csv", "--for-excel").returncode == 0
    assert (turbobatch.folder / "report0.csv").read_text(encoding="utf-8") == safe


# Looking


@pytest.mark.measured
def test_status_counts_from_the_journal(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """Before and after a run, in words and as JSON; looking makes no journal."""
    folder = letters(table="id,name,email\n1,Ana,ana@example.org\n2,Bea,reset-after@example.org\n3,Cleo,c@@\n")
    assert json.loads(turbobatch.here("status", folder, "--json").stdout)["statuses"] == {"pending": 3}
    assert not list(folder.glob("*.journal.db"))
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 1
    assert sandbox.requests_seen() == 2
    assert json.loads(turbobatch.here("status", folder, "--json").stdout) == {
        "campaign": "letters",
        "journal": str(folder / "letters.journal.db"),
        "in_progress": False,
        "rows": 3,
        "statuses": {"sent": 1, "in_doubt": 1, "invalid": 1},
        "in_doubt": ["2"],
        "in_doubt_elsewhere": [],
    }
    said = turbobatch.here("status", folder).stdout
    for line in ("1 sent ", "1 in_doubt ", "1 invalid ", "3 rows"):
        assert line in said
    assert "In doubt, by key: 2" in said
    assert re.search(r"^  row 1 +in_doubt +key 2  ", turbobatch.here("audit", folder).stdout, re.MULTILINE)


def test_a_journal_that_is_not_there_is_told(letters: Letters, turbobatch: Command) -> None:
    """It may be mistyped: named with --journal it is an error, else a line, as before the first run."""
    folder = letters()
    missing = "there is no journal at letters/letters.journal.db yet: nothing has been sent by it\n"
    for command in (["status", folder], ["report", folder, "-o", "report.csv"], ["audit", folder]):
        done = turbobatch.here(*command)
        assert (done.returncode, done.stderr) == (0, missing)
    (turbobatch.folder / "report.csv").unlink()
    for command in (["status", folder], ["report", folder, "-o", "report.csv"]):
        said = one_line(turbobatch.here(*command, "--journal", "mistyped.db"), 2)
        assert said == "there is no journal at mistyped.db yet: nothing has been sent by it"
    assert not (turbobatch.folder / "report.csv").exists()


@pytest.mark.measured
def test_doubts_whose_rows_have_left_are_told(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """An email in doubt stays one when its row goes: it is named, and no command is all right until it is settled."""
    folder = letters(table="id,name,email\n1,Ana,ana@example.org\n2,Bea,reset-after@example.org\n")
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 1
    letters(table="id,name,email\n1,Ana,ana@example.org\n")
    line = "In doubt, though not in this table (1), by key: 2\n"
    for command, code in (("send", 1), ("report", 0)):
        done = turbobatch(command, folder, "-o", "report.csv", *(["--yes"] if command == "send" else []))
        assert (done.returncode, line in done.stdout) == (code, True), done.stdout
    assert line in turbobatch.here("status", folder).stdout
    status = json.loads(turbobatch.here("status", folder, "--json").stdout)
    assert (status["statuses"], status["in_doubt"], status["in_doubt_elsewhere"]) == ({"sent": 1}, ["2"], ["2"])
    assert turbobatch.here("resolve", folder, "--as", "sent", "--key", "2").returncode == 0
    assert turbobatch("send", folder, "-o", "report.csv", "--yes").returncode == 0
    assert sandbox.requests_seen() == 2


@pytest.mark.parametrize("command", ["send", "report", "preview"])
def test_no_output_takes_the_journals_place(
    command: str, letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """Also before there is a journal, and by whatever way its path is written."""
    folder = letters()
    (turbobatch.folder / "way").symlink_to(turbobatch.folder)
    options = {"send": ["--journal", "letters/kept.csv", "--yes"], "report": ["--journal", "letters/kept.csv"]}
    output = f"way/letters/{'letters.journal.db-wal' if command == 'preview' else 'kept.csv'}"
    said = one_line(turbobatch.here(command, folder, "-o", output, *options.get(command, [])), 2)
    assert said == f"{output} is a file of the campaign itself: give the output another name"
    assert sandbox.requests_seen() == 0


@pytest.mark.measured
def test_failed_addresses_are_audited(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """From a report and from the campaign, on the terminal and into a file: address, field, reason, suggestion."""
    folder = letters(table="id,name,email\n1,Ana,ana@example.org\n2,Bea,bea@@gmail.con\n3,Cleo,reject@example.org\n")
    assert turbobatch.here("send", folder, "-o", "report.parquet", "--yes").returncode == 1
    assert len(sandbox.inbox()) == 1
    said = [turbobatch.here("audit", source) for source in ("report.parquet", folder, folder / "campaign.toml")]
    assert [done.returncode for done in said] == [0, 0, 0]
    assert len({done.stdout.partition("\n  turbobatch send ")[0] for done in said}) == 1  # but for the command to type
    assert "bea@@gmail.con  'bea@@gmail.con' 'to' email not valid (did you mean bea@gmail.com?)" in said[0].stdout
    assert "rejected on demand" in said[0].stdout
    assert turbobatch.here("audit", "report.parquet", "-o", "failed.csv").returncode == 0
    failed = pd.read_csv(turbobatch.folder / "failed.csv", dtype=str)
    assert failed[["address", "field", "status", "row", "name"]].fillna("").to_numpy().tolist() == [
        ["bea@@gmail.con", "to", "invalid", "1", "Bea"],
        ["", "", "rejected", "2", "Cleo"],
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.csv", "report nothing.csv can't be read: No such file or directory"),
        ("letters/people.csv", "letters/people.csv is no report: it has no column 'send_status'"),
        ("letters/letter.txt", "letters/letter.txt: there is no report format '.txt': use"),
    ],
)
def test_what_is_no_report_cannot_be_audited(source: str, message: str, letters: Letters, turbobatch: Command) -> None:
    """One line says what is wrong with the file."""
    letters()
    assert one_line(turbobatch.here("audit", source), 2).startswith(message)


@pytest.mark.measured
def test_rows_in_doubt_are_settled_by_hand(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """`resolve` settles the keys it is given, or all; an unknown key changes nothing and is one line."""
    rows = "".join(f"{n},Bea,reset-after+{n}@example.org\n" for n in (1, 2, 3))
    folder = letters(table=f"id,name,email\n{rows}9,Ida,ida@example.org\n")
    assert turbobatch("send", folder, "-o", "report.csv", "--yes").returncode == 1
    assert sandbox.requests_seen() == 4

    def statuses() -> dict[str, int]:
        found: dict[str, int] = json.loads(turbobatch.here("status", folder, "--json").stdout)["statuses"]
        return found

    resolve = ["resolve", folder, "--as"]
    for key, hint in (("7", "known are '1', '2', '3'"), ("9", "it is sent")):
        said = one_line(turbobatch.here(*resolve, "sent", "--key", "1", "--key", key), 2)
        assert said == f"key '{key}' is not in doubt, nothing was settled: {hint}"
        assert statuses() == {"in_doubt": 3, "sent": 1}
    assert turbobatch.here(*resolve, "sent", "--key", "1").stdout == "1 row in doubt settled as sent\n"
    assert statuses() == {"in_doubt": 2, "sent": 2}
    assert one_line(turbobatch.here(*resolve, "pending"), 2).startswith("there is no terminal to ask on: say --yes")
    assert statuses() == {"in_doubt": 2, "sent": 2}
    said_first = "2 emails may have been accepted: the next send posts them again, and they may arrive twice.\n"
    done = turbobatch.here(*resolve, "pending", "--yes")
    assert done.stdout == f"{said_first}2 rows in doubt settled as pending\n"
    assert statuses() == {"sent": 2, "pending": 2}
    assert turbobatch.here(*resolve, "maybe").returncode == 2


@pytest.mark.measured
def test_what_resolve_warns_of_is_in_doubt(letters: Letters, turbobatch: Command) -> None:
    """No warning before a key is known to be in doubt, none of a refusal, and one email isn't several."""
    table = "id,name,email\n1,Ana,ana@example.org\n2,Bea,reset-after@example.org\n3,Cleo,reject@example.org\n"
    folder = letters(table=table)
    with Sandbox() as sandbox:
        turbobatch.use(sandbox)
        assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 1
    pending = ("resolve", folder, "--as", "pending", "--yes")
    for keys in (["1"], ["7"], ["2", "7"]):
        done = turbobatch.here(*pending, *(word for key in keys for word in ("--key", key)))
        assert (done.returncode, done.stdout) == (2, ""), done.stdout
        assert f"key '{keys[-1]}' is not in doubt, nothing was settled" in done.stderr
    assert turbobatch.here(*pending, "--key", "3").stdout == "1 row in doubt settled as pending\n"
    done = turbobatch.here(*pending, "--key", "2", "--key", "2")
    said_first = "1 email may have been accepted: the next send posts it again, and it may arrive twice.\n"
    assert done.stdout == f"{said_first}1 row in doubt settled as pending\n"


def test_rows_in_doubt_are_sent_again_only_when_asked(letters: Letters, turbobatch: Command) -> None:
    """They are held by default; `--in-doubt resend` posts them again and says what that may mean."""
    folder = letters(1)
    with Sandbox(faults=["reset-after:1"]) as sandbox:
        turbobatch.use(sandbox)
        assert turbobatch("send", folder, "-o", "report.csv", "--yes").returncode == 1
    with Sandbox() as sandbox:
        turbobatch.use(sandbox)
        assert turbobatch("send", folder, "-o", "report.csv", "--yes").returncode == 1
        assert sandbox.requests_seen() == 0
        done = turbobatch("send", folder, "-o", "report.csv", "--yes", "--in-doubt", "resend")
        assert (done.returncode, sandbox.requests_seen()) == (0, 1)
        assert "some may have been accepted and would arrive twice" in done.stdout


def test_a_preview_shows_one_row(turbobatch: Command) -> None:
    """As text, as a page, as a mail file and as what travels; to the terminal or into a file."""
    shown = {form: turbobatch.here("preview", SAMPLES / "receipts", "--row", 7, "--format", form) for form in FORMATS}
    assert [(done.returncode, done.stderr) for done in shown.values()] == [(0, "")] * 4
    assert 'To: "Doe, Jane" <' in shown["text"].stdout
    assert "Subject: Your Acme receipt 0010417" in shown["text"].stdout
    assert "<img" in shown["html"].stdout
    assert 'src="cid:' not in shown["html"].stdout
    message = message_from_string(shown["eml"].stdout, policy=policy.default)
    assert message["to"].addresses[0].display_name == "Doe, Jane"
    assert message["subject"] == "Your Acme receipt 0010417"
    assert message.get_body(("html",)) is not None
    wire = json.loads(shown["wire"].stdout)
    assert wire["to"].startswith("=?utf-8?b?")
    assert wire["reference_id"] == "0010417"
    assert 'src="cid:logo@acme.example"' in wire["html_content"]
    assert "characters of base64" in wire["attachments"][0]["content"]
    done = turbobatch.here("preview", SAMPLES / "receipts", "-o", "seven.txt", "--row", 7)
    assert (done.returncode, done.stdout) == (0, "")
    assert (turbobatch.folder / "seven.txt").read_text(encoding="utf-8") + "\n" == shown["text"].stdout


FORMATS = ("text", "html", "eml", "wire")


@pytest.mark.measured
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--row", "204"], "receipts.csv has no row 204: rows count from 0"),
        (["--row", "52"], "row 52 (line 54 of receipts.csv): to: column 'email' is blank"),
        (["--format", "pdf"], "there is no format 'pdf': known are 'text', 'html', 'eml', 'wire'"),
        (["-o", "nowhere/x.txt"], "nowhere/x.txt can't be written: No such file or directory"),
    ],
)
def test_a_preview_that_cannot_be_is_one_line(arguments: list[str], message: str, turbobatch: Command) -> None:
    """No such row, a row that can't be merged, no such format, no such folder: exit 2."""
    assert one_line(turbobatch.here("preview", SAMPLES / "receipts", *arguments), 2).startswith(message)


# The rest of the commands


@pytest.mark.measured
def test_a_new_campaign_is_ready(turbobatch: Command) -> None:
    """`init` makes a campaign that checks and previews well, and never writes over anything."""
    assert turbobatch("init", "mine").returncode == 0
    done = turbobatch.here("check", "mine")
    assert (done.returncode, done.stdout) == (0, "Every row can be sent.\n")
    assert turbobatch.here("preview", "mine").returncode == 0
    (turbobatch.folder / "mine/campaign.toml").write_text("mine", encoding="utf-8")
    assert one_line(turbobatch.here("init", "mine"), 2) == "mine exists and isn't empty: name a new folder"
    assert one_line(turbobatch.here("init", "mine/campaign.toml"), 2).startswith(
        "mine/campaign.toml exists and isn't empty"
    )
    assert (turbobatch.folder / "mine/campaign.toml").read_text(encoding="utf-8") == "mine"


def test_groups_share_their_verdict(turbobatch: Command, sandbox: Sandbox) -> None:
    """The orders sample: 20 emails of 60 rows, and every row of an order has that order's verdict."""
    shutil.copytree(SAMPLES / "orders", turbobatch.folder / "orders", ignore=shutil.ignore_patterns("*.journal.db*"))
    done = turbobatch("send", "orders", "-o", "report.parquet", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    report = read_report(turbobatch.folder / "report.parquet")
    assert (len(report), set(report["send_status"])) == (60, {"sent"})
    assert len(sandbox.inbox()) == 20
    columns = ["send_key", "send_mid", "send_time", "send_attempts"]
    assert set(report.groupby("order_id")[columns].nunique().to_numpy().ravel()) == {1}
    assert report["send_mid"].nunique() == 20
    assert (report["send_key"] == report["order_id"]).all()


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sandbox_says_how_to_use_it(number: signal.Signals, letters: Letters, turbobatch: Command) -> None:
    """`sandbox` prints its URL and the environment that points the commands at it; Ctrl-C ends it with exit 0."""
    folder = letters()
    with ended(turbobatch.start("sandbox", "--port", 0)) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        assert re.match(r"Sandbox: http://127\.0\.0\.1:\d+ ", lines[0]), lines
        for line in (lines[2], lines[4]):
            exported = re.findall(r"(\w+)=(\S+)", line)
            turbobatch.environment = {
                name: value for name, value in turbobatch.environment.items() if not name.startswith("TURBOSMTP_")
            } | dict(exported)
            assert turbobatch("send", folder, "--test-to", "me@example.org", "--yes").returncode == 0
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_a_sandbox_that_cannot_start_is_one_line(turbobatch: Command, sandbox: Sandbox) -> None:
    """A port that is taken, or a fault that there isn't."""
    port = sandbox.url.rpartition(":")[2]
    assert "can't listen on port" in one_line(turbobatch.here("sandbox", "--port", port), 2)
    assert "unknown fault 'earthquake'" in one_line(
        turbobatch.here("sandbox", "--port", 0, "--fault", "earthquake:1"), 2
    )


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_a_help(command: tuple[str, ...], turbobatch: Command) -> None:
    """`--help` tells what it does and every option's meaning."""
    done = turbobatch(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: turbobatch {' '.join(command)}")
    if not command:
        assert all(re.search(rf"^  {name} +\w", done.stdout, re.MULTILINE) for name in COMMANDS)


def test_the_package_runs_as_a_module(turbobatch: Command) -> None:
    """`python -m turbobatch` is the same command."""
    done = subprocess.run(
        [sys.executable, "-m", "turbobatch", "check", SAMPLES / "starter"],
        env=turbobatch.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Every row can be sent.\n"), done.stderr


def test_a_journal_deleted_in_mid_run(
    turbobatch: Command, slow_sandbox: Sandbox, letters: Callable[..., Path], until: Callable[..., None]
) -> None:
    """One line, and a report by the process that still knows what was sent."""
    folder = letters(60)
    process = turbobatch.start("send", folder, "-o", folder / "report.csv", "--yes")
    until(lambda: slow_sandbox.requests_seen() >= 4)
    (folder / "letters.journal.db").unlink()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert err.splitlines()[-1].startswith("error: journal ")
    assert "was deleted, moved or replaced while it was in use: nothing more is sent" in err.splitlines()[-1]
    seen = slow_sandbox.requests_seen()
    counts = pd.read_csv(folder / "report.csv")["send_status"].value_counts().to_dict()
    assert counts == {"sent": seen, "pending": 60 - seen}


@pytest.mark.parametrize("point", ["report-begun", "report-chunk", "report-written", "before-rename"])
def test_a_report_cut_short_leaves_nothing_for_long(
    point: str, turbobatch: Command, sandbox: Sandbox, letters: Callable[..., Path]
) -> None:
    """Killed while it writes its report, the command leaves a hidden file; the same command again removes it."""
    folder = letters(25)
    arguments = ("send", str(folder), "-o", str(folder / "report.csv"), "--yes")
    failpoint = [sys.executable, str(Path(__file__).with_name("failpoint.py")), point, "1", "--", *arguments]
    killed = subprocess.run(failpoint, env=turbobatch.environment, cwd=folder, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(folder.glob(".report.csv.*.tmp"))) == 1
    assert turbobatch(*arguments).returncode == 0
    assert not list(folder.glob(".*"))
    assert sandbox.requests_seen() == 25
