"""What notebooks and terminals show of the package's objects: escaped, plain, masked."""

from __future__ import annotations

import html.parser
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import turbobatch as tb
from turbobatch.events import Settled
from turbobatch.frames import AuditFrame, CheckFrame, Frame, ResultFrame, as_results, framed
from turbobatch.markup import Options, cause, escaped, masked
from turbobatch.preview import Preview
from turbobatch.progress import log_event
from turbobatch.results import RowVerdict, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&"
KEPT = frozenset(
    {"div", "span", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "details", "summary", "pre", "progress"}
)
"""The elements that JupyterLab leaves in the outputs of a notebook that isn't trusted, as far as we use them."""


class Reader(html.parser.HTMLParser):
    """Elements, attributes and text of a display."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.open: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"

    @property
    def lines(self) -> list[str]:
        return [text for text in map(str.strip, self.text.split("\n")) if text]


def markup(item: Any) -> Any:
    """What an object shows in a notebook."""
    return item._repr_html_()


def read(item: Any) -> Reader:
    """The same, read; the markup is whole and plain."""
    reader = Reader(markup(item))
    assert reader.open == []
    assert reader.elements - {"iframe"} <= KEPT
    assert reader.attributes <= {"style", "open", "value", "max", "sandbox", "srcdoc"}
    return reader


@pytest.fixture
def masking() -> Iterator[None]:
    tb.options.mask_addresses = True
    yield
    tb.options.mask_addresses = False


def results(rows: int = 3, note: str = "") -> pd.DataFrame:
    own = pd.DataFrame({"email": [f"ana.{number}@example.org" for number in range(rows)], "note": note})
    verdicts = [RowVerdict(tb.Status.SENT, "OK", send_key=str(number)) for number in range(rows)]
    verdicts[1:2] = [RowVerdict(tb.Status.REJECTED, "error", ("'broken@@example' 'to' email not valid",), send_key="1")]
    return as_results(joined(own, verdicts))


def email(**fields: Any) -> tb.Email:
    given = {
        "from_": "shop@acme.example",
        "to": "Ana <ana.rossi@example.org>",
        "subject": "Hello",
        "content": "Dear Ana",
    }
    return tb.Email(**given | fields)


def check(**columns: Any) -> pd.DataFrame:
    message = tb.MailMerge(from_="shop@acme.example", to="{{ email }}", subject="s", text="{{ name }}")
    campaign = tb.Campaign(name="test", message=message, key="id")
    table = {"id": ["1", "2", "3"], "name": "N", "email": ["a@example.org", "b@@example.org", "c@@example.org"]}
    return campaign.check(pd.DataFrame(table | columns))


# What is shown


def test_results_begin_with_their_counts() -> None:
    """Then come the rows, statuses as words, missing cells as nothing, long texts whole."""
    lines = read(results(note="x" * 300)).lines
    assert lines[:3] == ["3 rows:", "2 sent", "1 rejected"]
    assert "x" * 300 in lines
    assert "'broken@@example' 'to' email not valid" in lines
    assert not {"<NA>", "NaN", "NaT", "None"} & set(lines)


def test_a_check_begins_with_the_causes() -> None:
    """Problems that differ in their rows' values alone are counted together."""
    lines = read(check()).lines
    assert lines[:3] == ["2 problems in 2 rows:", "2 invalid", "2 \u00d7 … 'to' email not valid"]
    assert "'b@@example.org' 'to' email not valid" in lines
    assert read(check(email="a@example.org")).lines == ["No problems: every row can be sent."]


def test_a_check_tells_of_emails_that_have_changed() -> None:
    """As the command line does, also where nothing else is wrong."""
    found = check(email="a@example.org")
    found.attrs["turbobatch.changed"] = 2
    assert "rows that were sent already and make another email now: 2" in read(found).lines


def test_a_check_tells_what_the_vendor_has_judged() -> None:
    """How many addresses were judged to be what."""
    found = check(email="a@example.org")
    found.attrs["turbobatch.validated"] = {"valid": 2, "catch_all": 1}
    lines = read(found).lines
    assert lines[-3:] == ["addresses that the vendor has judged:", "1 catch_all", "2 valid"]


def test_an_audit_begins_with_the_causes() -> None:
    """With how many there are of each kind, and how many addresses could be guessed."""
    own = pd.DataFrame({"email": ["ana@gmial.com", "bo"]})
    errors = [(f"'{address}' 'to' email not valid",) for address in own["email"]]
    found = tb.audit(joined(own, [RowVerdict(tb.Status.REJECTED, "error", item) for item in errors]))
    lines = read(found).lines
    assert lines[:3] == ["2 failures:", "1 domain typo", "1 syntax"]
    assert "1 with a suggestion" in lines[3]
    assert "ana@gmail.com" in lines
    assert read(tb.audit(results().iloc[:1])).lines == ["No address failed."]


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        ("'b@@x.y' 'to' email not valid", "… 'to' email not valid"),
        ("column 'First Name' is blank", "column 'First Name' is blank"),
        ("attachment 'invoices/7.pdf' not found", "attachment … not found"),
        ("same key as row 23", "same key as row …"),
        ("ana@x.y is suppressed (listed in stop.csv)", "… is suppressed (listed in stop.csv)"),
    ],
)
def test_a_cause_is_a_problem_without_its_own_values(problem: str, shown: str) -> None:
    assert cause(problem) == shown


def test_long_and_wide_frames_are_cut() -> None:
    """By pandas' own options; what is left out is marked and counted, and nothing of it is in the page."""
    long = results(1000)
    lines = read(long).lines
    assert lines[:3] == ["1,000 rows:", "999 sent", "1 rejected"]
    assert lines[-1] == "1,000 rows, 11 columns"
    assert [line for line in lines if line.startswith("ana.")] == [
        f"ana.{number}@example.org" for number in (0, 1, 2, 3, 4, 995, 996, 997, 998, 999)
    ]
    with pd.option_context("display.max_columns", 4):
        lines = read(results()).lines
        assert [line for line in lines if line in long.columns] == ["email", "note", "send_seconds", "send_key"]
        assert lines[-1] == "3 rows, 11 columns"
    many = framed(CheckFrame, pd.DataFrame({"row": range(99), "status": "invalid", "problem": "p", "cure": "c"}))
    lines = read(many).lines
    assert "59" in lines  # the first problems, not both ends of them
    assert "60" not in lines
    assert lines[-1] == "99 rows, 4 columns"


def test_an_email_shows_its_head_its_text_and_a_frame() -> None:
    """The text stays where the frame is stripped; the frame fetches and runs nothing."""
    reader = read(email(html_content="<p>Dear <b>Ana</b>", cc="c@example.org", custom_headers={"X-Order": "7"}))
    for text in ("Ana <ana.rossi@example.org>", "c@example.org", "X-Order", "Dear Ana"):
        assert text in reader.text
    assert "iframe" in reader.elements
    shown = markup(email(html_content="<p>x"))
    assert 'sandbox="" ' in shown
    assert 'srcdoc="&lt;meta http-equiv=&quot;Content-Security-Policy&quot; content=&quot;default-src' in shown
    assert "iframe" not in read(email()).elements
    assert "too much for a notebook to keep" in read(email(html_content="x" * 600_000)).text


def test_reprs_are_short() -> None:
    """One line, without the bodies."""
    attachment = tb.Attachment(b"secret", name="a.txt")
    shown = repr(email(content="x" * 5000, subject="s" * 200, cc=["c@x.example"], attachments=[attachment] * 2))
    assert shown == (f"<Email '{'s' * 59}…' from shop@acme.example to ana.rossi@example.org and 1 more, 2 attachments>")
    refused = tb.SendResult(status=tb.Status.REJECTED, message="error", errors=("'x' not valid",), http_status=400)
    assert repr(refused) == "<SendResult rejected: error; 'x' not valid, HTTP 400>"
    assert read(refused).lines == ["rejected", "error", "errors", "'x' not valid", "HTTP status", "400"]


# Nothing of it is markup


def test_what_comes_from_cells_is_text() -> None:
    """In every display, in every place: names, cells, labels, messages, an email's fields."""
    table = results().set_index(pd.Index([HOSTILE] * 3, name=HOSTILE))
    table[HOSTILE] = pd.Series([HOSTILE, [HOSTILE], {HOSTILE: HOSTILE}], index=table.index, dtype=object)
    result = tb.SendResult(status=tb.Status.REJECTED, message=HOSTILE, errors=(HOSTILE,), mid=HOSTILE)
    checked = framed(CheckFrame, pd.DataFrame({"row": [1], "status": HOSTILE, "problem": HOSTILE}))
    audited = framed(AuditFrame, pd.DataFrame({"row": [1], "status": HOSTILE, "reason": HOSTILE}))
    sent = email(subject=HOSTILE, content=HOSTILE, html_content=HOSTILE, custom_headers={"X-A": HOSTILE})
    for item in (table, result, checked, audited, sent):
        assert "alert(1)" in read(item).text


def test_half_a_character_can_be_saved() -> None:
    """A notebook file is UTF-8, which has no lone surrogates."""
    assert escaped("a\ud800b").encode() == b"a?b"
    found = results()
    found["note"] = pd.Series(["a\ud800b"] * 3, dtype=object)
    assert "a?b" in read(found).lines


# Still DataFrames


def test_frames_stay_dataframes() -> None:
    """pandas' idioms keep the kind and its display; what no longer has the columns is shown by pandas."""
    whole = results()
    part = whole[whole["send_status"] == "rejected"]
    assert type(part) is ResultFrame
    assert isinstance(part, pd.DataFrame)
    assert read(part).lines[:2] == ["1 row:", "1 rejected"]
    assert len(pd.concat([whole, part])) == 4
    assert_frame_equal(whole, pd.DataFrame(whole))
    assert whole.to_csv() == pd.DataFrame(whole).to_csv()
    assert repr(whole) == repr(pd.DataFrame(whole))
    assert_frame_equal(pickle.loads(pickle.dumps(whole)), whole)  # noqa: S301 - our own
    plain = whole[["email", "note"]]
    assert markup(plain) == markup(pd.DataFrame(plain))
    twice = pd.concat([whole, whole], axis=1)
    assert "<td>" in markup(twice)
    with pd.option_context("display.notebook_repr_html", False):
        assert markup(whole) is None


def test_somebodys_own_kind_of_frame_stays() -> None:
    """A GeoDataFrame, say, gives results of that kind; an audit that is sent again gives results."""

    class Own(pd.DataFrame):
        pass

    assert type(as_results(Own({"a": [1]}))) is Own
    assert type(as_results(framed(AuditFrame, results()))) is ResultFrame


# Masking


@pytest.mark.usefixtures("masking")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ana.rossi@example.org", "a…@example.org"),
        ("Ana Rossi <ana.rossi@example.org>, b@x.y", "Ana Rossi <a…@example.org>, b…@x.y"),
        ("'broken@@@address.@@' 'to' email not valid", "'b…@@@a…@@' 'to' email not valid"),
        ("o'brien@x.y o&#39;brien@x.y &#39;bo@x.y", "o…@x.y o…@x.y &#39;b…@x.y"),
        ('"john doe"@x.y', '"j…@x.y'),
        ("https://acme.example/stop?u=ana%40x.y&t=1", "https://acme.example/stop?u…%40x.y&t=1"),
        ("größe@x.y", "g…@x.y"),
        ("meet @ five, @acme", "meet @ five, @acme"),
        ("", ""),
    ],
)
def test_addresses_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.usefixtures("masking")
def test_every_display_is_masked_and_no_data_is() -> None:
    """Html and plain, in cells, lists, labels and messages; what is written or taken out is whole."""
    found = check()
    table = results().set_index("email", drop=False)
    table["note"] = pd.Series([["to ana.rossi@example.org"], {"a": "ana.rossi@example.org"}, None], index=table.index)
    table["kind"] = pd.Categorical(["ana.rossi@example.org"] * 3)
    many = results(1000)
    levels = results().set_index(["email", "note"])
    audited = tb.audit(results())
    inbox = framed(Frame, pd.DataFrame({"to": ["ana.rossi@example.org"]}))
    whole = email(html_content="<a href='mailto:ana.rossi@example.org'>", content="We wrote to ana.rossi@example.org")
    result = tb.SendResult(status=tb.Status.REJECTED, message="error", errors=("'ana.rossi@example.org' not valid",))
    seen = Preview(row=0, key="ana.rossi@example.org", email=whole)
    unseen = Preview(row=0, key=None, email=None, message="row 0: 'broken@@x' 'to' email not valid")
    for item in (found, table, many, levels, audited, inbox, whole, result, seen, unseen):
        for text in (repr(item), str(item), markup(item)):
            assert "@" in text
            assert not [local for local in ("ana.", "rossi", "b@@", "broken", "shop@") if local in text]
    assert "[1000 rows x 11 columns]" in repr(many)
    assert list(table["email"]) == [f"ana.{number}@example.org" for number in range(3)]
    assert "ana.0@example.org" in table.to_csv()
    assert whole.content == "We wrote to ana.rossi@example.org"


@pytest.mark.usefixtures("masking")
def test_log_lines_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    """They stand in saved notebooks too."""
    log_event(Settled(number=1, size=1, key="k", status=tb.Status.INVALID, message="'broken@@x' 'to' email not valid"))
    assert caplog.messages == ["row 1 invalid: 'b…@@x' 'to' email not valid"]


@pytest.mark.parametrize(
    ("value", "is_masked"), [(None, False), ("", False), ("0", False), ("off", False), ("1", True), ("yes", True)]
)
def test_the_environment_sets_masking(value: str | None, is_masked: bool) -> None:
    environ = {} if value is None else {"TURBOBATCH_MASK_ADDRESSES": value}
    assert Options(environ).mask_addresses is is_masked
    with pytest.raises(AttributeError):
        Options(environ).mask_adresses = True  # type: ignore[attr-defined]  # misspelt on purpose


def test_masking_takes_time_by_length_alone() -> None:
    """A long text without an address is no trap."""
    script = (
        "import turbobatch as tb; tb.options.mask_addresses = True\n"
        "from turbobatch.markup import masked\nassert len(masked('A' * 3_000_000 + ' @')) == 3_000_002"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


# df.turbobatch


@pytest.mark.parametrize(
    "script",
    [
        "import pandas as pd\nimport turbobatch as tb",
        "import turbobatch as tb\nimport pandas as pd\ntb.Campaign",
        "import turbobatch as tb\ntb.Campaign\nimport pandas as pd\nimport turbobatch.accessor",
        """
from turbobatch import Campaign, MailMerge
message = MailMerge(from_="a@x.example", to="{{ email }}", subject="s", text="t")
campaign = Campaign(name="test", message=message)
import pandas as pd
campaign.check(pd.DataFrame({"email": ["a@x.example"]}))
""",
    ],
)
def test_frames_have_the_accessor(script: str) -> None:
    """Whichever is imported first; nobody waits for pandas who doesn't use it."""
    then = "assert pd.DataFrame({'a': [1]}).turbobatch.check"
    subprocess.run([sys.executable, "-W", "error", "-c", f"{script}\n{then}"], check=True)


def test_a_frame_that_is_no_table_has_no_accessor() -> None:
    """As pandas asks of accessors."""
    levels = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]))
    for frame in (pd.DataFrame(), levels):
        assert not hasattr(frame, "turbobatch")
