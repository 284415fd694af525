"""The report page: what it says, in which order, what it leaves out and says so, and that nothing in it is code."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import io
import re
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import turbobatch as tb
from turbobatch import counting, page, plots
from turbobatch.delivery import DELIVERY_COLUMNS
from turbobatch.page import write_page
from turbobatch.policy import MEANINGS, Status
from turbobatch.results import CAMPAIGN, RowVerdict, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

HOSTILE = "</script></style><script>alert(1)</script><img src=https://x.example/ onerror=alert(2)>'\"&{{ 7 * 7 }}"
VOID = {"meta", "input"}


class Page(html.parser.HTMLParser):
    """A page's elements and what is read in it, by its section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.elements: dict[str, int] = {}
        self.attributes: dict[str, set[str | None]] = {}
        self.sections: dict[str, str] = {"": ""}
        self.open: list[str] = []
        self.script = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] = self.elements.get(tag, 0) + 1
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value)
        if tag == "section":
            self.sections[dict(attrs).get("id") or "table"] = ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] = self.elements.get(tag, 0) + 1
        assert {name for name, _ in attrs} <= {"style", "d", "x", "y", "transform"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.script += data
        elif not self.open or self.open[-1] != "style":
            self.sections[list(self.sections)[-1]] += data

    @property
    def text(self) -> str:
        return "".join(self.sections.values())


def verdict(status: Status, key: str, *errors: str, time: float = 1_795_400_000) -> RowVerdict:
    return RowVerdict(status, f"said of {key}", errors, None, 200, 1, time, 0.1, key)


def results(statuses: Iterable[Status] = tuple(Status), **own: Any) -> pd.DataFrame:
    """A row of each status."""
    verdicts = [
        verdict(status, f"key{number}", *(["'a@@x' 'to' email not valid"] * (status == Status.REJECTED)))
        for number, status in enumerate(statuses)
    ]
    emails = [f"person{number}@example{number % 3}.org" for number in range(len(verdicts))]
    return joined(pd.DataFrame({"email": emails, **own}), verdicts)


def page_of(*frames: pd.DataFrame) -> Page:
    file = io.StringIO()
    write_page(iter(frames), file)
    return Page(file.getvalue())


# What it says


def test_doubts_come_first_and_say_what_to_do() -> None:
    """Before any figure; with key, address and both commands."""
    found = page_of(results())
    assert list(found.sections) == ["", "in-doubt", "outcome", "pace-over-time", "causes", "domains", "failed", "rows"]
    doubts = found.sections["in-doubt"]
    commands = ("turbobatch reconcile CAMPAIGN", "turbobatch resolve CAMPAIGN --as sent", "--as pending")
    email = ("key7", "person7@example1.org", "said of key7", "2026-11-23 02:13:20")
    assert all(text in doubts for text in ("1 email is in doubt", *commands, *email))
    clean = page_of(results([Status.SENT]))
    assert "in-doubt" not in clean.sections
    assert "No email of this table is in doubt." in clean.text
    assert "No address failed." in clean.sections["causes"]


def test_the_page_is_called_like_the_campaign() -> None:
    frame = results()
    frame.attrs[CAMPAIGN] = "letters & more"
    assert "<title>letters &amp; more</title>" in page_of(frame).source
    assert "<h1>letters &amp; more</h1>" in page_of(frame).source
    assert "<h1>Report</h1>" in page_of(results()).source


def test_every_status_is_counted_and_explained() -> None:
    outcome = page_of(results()).sections["outcome"]
    assert all(f"{status}" in outcome and MEANINGS[status] in outcome for status in Status)
    assert re.search(r"all\s*7\s*8", outcome)  # emails, rows
    assert "12.5" not in outcome  # shares are of the emails
    assert "14.3 %" in outcome


def test_each_plot_has_a_name_a_text_and_a_table() -> None:
    """For those who don't see it; the elements that name it are there once."""
    found = page_of(results())
    assert found.elements["svg"] == found.elements["title"] - 1 == found.elements["desc"] == 3
    for ids in found.attributes["aria-labelledby"]:
        assert all(found.source.count(f'id="{name}"') == 1 for name in str(ids).split())
    assert "The same as a table" in found.sections["pace-over-time"]
    assert "example0.org: 2 of 3 failed" in found.sections["domains"]
    assert "refused by the API: " in found.sections["causes"] or "syntax: 1" in found.sections["causes"]


def test_failed_addresses_come_with_reason_and_suggestion() -> None:
    frame = results([Status.SENT, Status.REJECTED])
    frame["send_errors"] = [[], ["'ana@@gmail.com' 'to' email not valid"]]
    failed = page_of(frame).sections["failed"]
    assert all(text in failed for text in ("ana@@gmail.com", "syntax", "email not valid", "ana@gmail.com", "key1"))
    assert "Search these addresses" in failed


def test_deliveries_are_there_where_the_results_have_them() -> None:
    frame = results([Status.SENT] * 3).assign(
        delivery_status=pd.array(["bounced", "delivered", pd.NA], "string"), delivery_address=None, delivery_reason=None
    )
    delivery = page_of(frame).sections["delivery"]
    assert all(text in delivery for text in ("bounced", "delivered", "nothing known", "33.3 %"))
    assert "delivery" not in page_of(results()).sections


def test_failed_is_what_wasnt_sent_and_nothing_else() -> None:
    """What was sent and didn't arrive is called so, and the command for all of them asks for deliveries too."""
    frame = results([Status.SENT] * 3)
    told = page_of(frame.assign(delivery_status="bounced", delivery_address=None, delivery_reason=None))
    found = "failed, didn\N{RIGHT SINGLE QUOTATION MARK}t arrive or weren\N{RIGHT SINGLE QUOTATION MARK}t welcome"
    assert "0 failed" in " ".join(told.sections["outcome"].split())
    assert f"3 addresses of 3 emails {found}" in told.sections["causes"]
    assert f"Why emails {found}" in told.sections["causes"]
    assert "went wrong" in told.sections["domains"]
    assert all(found not in text and "went wrong" not in text for text in page_of(frame).sections.values())


@pytest.mark.parametrize("joined", [False, True])
def test_the_command_for_all_failures_fits_the_page(joined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "KEPT", 1)
    frame = results([Status.SENT, *[Status.REJECTED] * 3])
    if joined:
        frame = frame.assign(delivery_status=None, delivery_address=None, delivery_reason=None)
    command = f"turbobatch audit CAMPAIGN{' --delivery' if joined else ''} -o failed.csv"
    assert command in page_of(frame).sections["failed"]


def test_domains_show_what_is_sent_in_doubt_and_neither() -> None:
    """In doubt is never drawn as sent."""
    domains = page_of(results()).sections["domains"]
    assert "failed in doubt sent the rest" in " ".join(domains.split())
    assert "not failed" not in domains
    drawn = page_of(results([Status.IN_DOUBT, Status.PENDING]))
    assert "var(--doubt)" in drawn.source
    assert "var(--wait)" in drawn.source


def test_paper_shows_some_doubts_before_the_counts() -> None:
    """The screen shows all; paper says where the others are."""
    found = page_of(results([Status.IN_DOUBT] * 52))
    assert found.source.count('<tr class="off-paper">') == 2
    assert "On paper the first 50 of 52" in found.sections["in-doubt"]
    assert 'off-paper"' not in page_of(results([Status.IN_DOUBT] * 50)).source


def test_what_was_never_posted_has_no_pace() -> None:
    found = page_of(joined(pd.DataFrame({"email": ["a@x.example"]}), [RowVerdict(Status.PENDING)]))
    assert "Nothing was posted yet." in found.text
    assert "pace-over-time" not in found.sections


def test_results_without_rows_are_a_page_too() -> None:
    found = page_of(results().iloc[:0])
    assert "0 rows of the table make 0 emails" in found.text


@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_chunks_show_nowhere(size: int) -> None:
    """The same rows make the same page, byte for byte."""
    frame = results(note=["x" * number for number in range(8)])
    chunks = [frame.iloc[start : start + size] for start in range(0, len(frame), size)]
    assert page_of(*chunks).source == page_of(frame).source


# What it leaves out


def test_long_lists_are_cut_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many more there are, and where; the counts are those of all."""
    for module, name in ((counting, "KEPT"), (page, "SAMPLE"), (page, "_LINES")):
        monkeypatch.setattr(module, name, 2)
    page._environment.cache_clear()
    try:
        frame = results([Status.IN_DOUBT] * 5 + [Status.REJECTED] * 5)
        frame["send_errors"] = [[f"cause {'x' * number}"] for number in range(10)]
        found = page_of(frame)
    finally:
        page._environment.cache_clear()
    assert "3 more are not shown here: turbobatch report CAMPAIGN -o report.csv" in found.sections["in-doubt"]
    assert "The first 2 of 5" in found.sections["failed"]
    assert "turbobatch audit CAMPAIGN -o failed.csv" in found.sections["failed"]
    assert "others have 3 addresses more" in found.sections["causes"]
    assert re.search(r"all others\s*3\s*1", found.sections["domains"])
    assert "The first 2 rows" in found.sections["rows"]
    assert "8 more rows are not shown here" in found.sections["rows"]
    assert [f"key{number}" in found.text for number in range(10)] == [
        True,
        True,
        *[False] * 3,
        True,
        True,
        *[False] * 3,
    ]


def test_long_texts_are_cut_and_say_so() -> None:
    found = page_of(results([Status.SENT], note=["x" * 10_000]))
    assert "x… (9,500 more characters)" in found.sections["rows"]
    assert len(found.source) < 40_000


def test_rows_with_many_columns_are_not_for_paper() -> None:
    found = page_of(results(a=1), results(a=2))
    assert "Too many columns for paper" in found.sections["rows"]
    assert 'id="rows" class="wide"' in found.source
    assert "Too many" not in page_of(results()).text


def test_any_table_makes_a_page_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit, a check; cut with a note."""
    frame = pd.DataFrame(
        {"id": ["007", None], "n": [1.5, None], "when": pd.to_datetime(["2026-11-01", "NaT"], utc=True)}
    )
    found = page_of(frame, frame)
    assert "4 rows, 3 columns" in found.text
    assert "The first" not in found.text
    assert "<td><div>007</div></td>" in found.source
    assert "2026-11-01 00:00:00+00:00" in found.text
    assert not {"nan", "NaT", "None", "<NA>"} & set(found.text.split())
    assert found.elements["tr"] == 5
    monkeypatch.setattr(page, "_PLAIN_ROWS", 3)
    cut = page_of(frame, frame)
    assert "The first 3 rows of 4: a .csv, .parquet or .xlsx file has them all." in cut.text
    assert page_of(frame.iloc[:0]).elements["tr"] == 1


def test_an_audit_can_be_a_page(tmp_path: Path) -> None:
    written = tb.write_report(tb.audit(results()), tmp_path / "failed.html")
    found = Page(written.read_text(encoding="utf-8"))
    assert "a@@x" in found.text
    assert found.source.count(">row</th>") == 1  # the audit's own


# That nothing in it is code


def hostile(text: str) -> Iterator[pd.DataFrame]:
    """Results that say it wherever they can say something, and a table that is none."""
    frame = results([Status.SENT, Status.REJECTED, Status.IN_DOUBT, Status.FAILED])
    for name in ("send_message", "send_mid", "send_key"):
        frame[name] = pd.Series([f"{text}{number}" for number in range(4)], dtype=object)
    frame["send_errors"] = [[text], [text], [f"'{text}@gmial.com' 'to' email not valid"], [f"'{text}' email not valid"]]
    frame["send_status"] = pd.Series([text, *frame["send_status"][1:]], dtype=object)
    frame["email"] = pd.Series([f"a@{text}", text, f"{text}@{text}", text], dtype=object)
    for name in DELIVERY_COLUMNS:
        frame[name] = pd.Series([text] * 4, dtype=object)
    frame.columns = pd.Index([{"email": text}.get(name, name) for name in frame.columns], dtype=object)
    frame.attrs[CAMPAIGN] = text
    yield frame
    yield pd.DataFrame([[text], [1]], columns=pd.Index([text], dtype=object), dtype=object)


def test_every_cell_is_text() -> None:
    """Whatever it holds: the page's elements are its own, and only its own script may run."""
    for frame, plain in zip(hostile(HOSTILE), hostile("x"), strict=True):
        found, harmless = page_of(frame), page_of(plain)
        assert found.elements.keys() == harmless.elements.keys()
        assert found.elements["script"] == 1
        assert found.attributes.keys() == harmless.attributes.keys()
        assert found.attributes.keys().isdisjoint({"src", "href", "onerror", "srcdoc", "action"})
        digest = base64.b64encode(hashlib.sha256(found.script.encode()).digest()).decode()
        (policy,) = (value for value in found.attributes["content"] if value and "default-src" in value)
        assert policy == (
            "default-src 'none'; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
        )
        assert HOSTILE in found.text


@pytest.mark.parametrize(
    "odd", ["a\x00b\x07\x1b[31m\x9b", "half \ud800 of one \udcff", "\ufffe\uffff", "\r\n\t\u2028\u202e"]
)
def test_odd_characters_break_nothing(odd: str, tmp_path: Path) -> None:
    """The file is UTF-8, and no control character but tab and line break is in it."""
    for number, frame in enumerate(hostile(odd)):
        written = tb.write_report(frame, tmp_path / f"{number}.html")
        text = written.read_bytes().decode()
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]|\\ud", text)
        assert text.endswith("</html>\n")


def test_addresses_can_be_masked_in_a_page(tmp_path: Path) -> None:
    """Wherever they stand, but not in data; what notebooks mask is another matter."""
    frame = results(note="write to ana.rossi@example.net")
    text = tb.write_report(frame, tmp_path / "r.html", mask_addresses=True).read_text(encoding="utf-8")
    assert not re.search(r"person\d@|rossi", text)
    assert text.count("a…@example.net") == 8
    assert "p…@example1.org" in Page(text).sections["in-doubt"]
    tb.options.mask_addresses = True
    try:
        assert "person7@example1.org" in page_of(frame).sections["in-doubt"]
    finally:
        tb.options.mask_addresses = False
    with pytest.raises(tb.CampaignError, match=r"r\.csv: only a page \(\.html\) can have its addresses masked"):
        tb.write_report(frame, tmp_path / "r.csv", mask_addresses=True)
    assert not (tmp_path / "r.csv").exists()


def test_a_missing_library_is_told_before_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line that names the cure; a notebook does without pictures."""
    monkeypatch.setattr(plots, "find_spec", lambda _: None)
    with pytest.raises(
        tb.CampaignError, match=r"^a report page needs matplotlib: pip install \"turbobatch-mail\[report\]\"$"
    ):
        tb.write_report(results(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
    assert "<img" not in tb.summary(results())._repr_html_()
