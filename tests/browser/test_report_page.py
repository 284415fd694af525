"""The report page in a real browser, opened as the file that it is: nothing is asked for, nothing of a cell runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import turbobatch as tb
from tests.browser.looks import SCREENSHOTS, photograph, publish
from turbobatch.results import CAMPAIGN, RowVerdict, joined
from turbobatch.samples import copy_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

    Open = Callable[..., Page]

pytestmark = [pytest.mark.xdist_group("report page"), pytest.mark.unmeasured]  # which share one report

PICTURE = {"width": 1400, "height": 1240}
PHONE = {"width": 390, "height": 844}
HOSTILE = (
    "</script></style></svg><script>document.title='owned'</script>"
    "<img src=https://x.example/i onerror=\"document.title='owned'\">"
    "<link rel=stylesheet href=https://x.example/s><a href=\"javascript:document.title='owned'\">a</a>"
)
EVENTS = {"bounce": 0.04, "complain": 0.01, "open": 0.4, "defer": 0.02}


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a report: `open_page(path, dark=True, …)`. It may ask for nothing, and complain of nothing."""
    asked: list[str] = []
    said: list[str] = []
    contexts: list[BrowserContext] = []

    def open_(path: Path, *, dark: bool = False, size: Any = PICTURE, **options: Any) -> Page:
        context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        asked.clear()
        page.goto(path.as_uri())
        assert asked == [path.as_uri()]
        return page

    yield open_
    for context in contexts:
        context.close()
    assert said == []
    assert len(asked) <= 1


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample receipts, sent through a sandbox that fails now and then and makes up deliveries."""
    folder = tmp_path_factory.mktemp("report")
    copy_sample("receipts", folder / "receipts")
    campaign = tb.Campaign.load(folder / "receipts").paced(rate="100/second", concurrency=8)
    faults = {"reject": 0.03, "reset-after": 0.01, "429": 0.01}
    with tb.Sandbox(faults=faults, events=EVENTS, seed=5) as sandbox:
        client = sandbox.client()
        results = tb.with_delivery(campaign.send(client=client, progress=False), client)
        client.close()
    return tb.write_report(results, folder / "report.html")


def many(rows: int, text: str = "cell") -> pd.DataFrame:
    """Results of which every other one failed, and one in fifty is in doubt."""
    doubt = RowVerdict(tb.Status.IN_DOUBT, f"no answer {text}", (), None, None, 1, 1.79e9, 0.1)
    bad = RowVerdict(tb.Status.REJECTED, "error", (f"'{text}@@x' 'to' email not valid",), None, 400, 1, 1.79e9, 0.1)
    sent = RowVerdict(tb.Status.SENT, "OK", (), "1", 200, 1, 1.79e9, 0.1)
    kinds = [doubt if row % 50 == 0 else (bad if row % 2 else sent) for row in range(rows)]
    verdicts = [kind._replace(send_key=f"{text}{row}", send_time=1.79e9 + row / 9) for row, kind in enumerate(kinds)]
    own = {"email": [f"{text}{row}@domain{row % 7}.example" for row in range(rows)], "note": text, f"<{text}>": text}
    frame = joined(pd.DataFrame(own), verdicts)
    frame.attrs[CAMPAIGN] = text
    return frame


def test_it_looks_well_by_day_and_by_night(open_page: Open, report: Path) -> None:
    """The first is what the README shows."""
    for name, dark in (("report", False), ("report-dark", True)):
        page = open_page(report, dark=dark)
        photograph(page, name)
        page.screenshot(path=SCREENSHOTS / f"{name}-whole.png", full_page=True)
        ink, paper = (
            page.evaluate(f"getComputedStyle(document.querySelector('section:not(.alert)')).{item}")
            for item in ("color", "backgroundColor")
        )
        assert (brightness(ink) > brightness(paper)) is dark
        assert abs(brightness(ink) - brightness(paper)) > 150
        bars = page.evaluate("getComputedStyle(document.querySelector('#causes svg path')).fill")
        assert bars.startswith("rgb(")
        text = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
        assert text == ink
    publish("report", "report")


def brightness(colour: str) -> float:
    """The mean of a colour's red, green and blue."""
    parts = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(parts) / 3


def test_every_section_is_there(open_page: Open, report: Path) -> None:
    """Doubts before all else."""
    page = open_page(report)
    assert page.locator("h1").inner_text() == page.title() == "receipts-2026-11"
    headings = page.locator("h2").all_inner_texts()
    assert "in doubt" in headings[0]
    assert [heading.partition(",")[0] for heading in headings[1:]] == [
        "What came of it", "At what pace", "Why emails failed", "By domain", "What was delivered",
        "Addresses that failed", "The first 200 rows",
    ]  # fmt: skip
    assert page.get_by_role("img").count() == 3
    assert page.get_by_role("img", name="Emails per second").is_visible()


def test_the_search_narrows_the_list(open_page: Open, tmp_path: Path) -> None:
    """By all words, in any case, in any cell; what is shown is counted, and without words it is all there again."""
    page = open_page(tb.write_report(many(100), tmp_path / "r.html"))
    rows, search = page.locator("#failed-addresses tbody tr"), page.get_by_label("Search these addresses")
    shown = rows.filter(visible=True)
    assert (rows.count(), shown.count()) == (50, 50)
    search.fill("SYNTAX cell17")
    assert shown.count() == 1
    assert "cell17" in shown.inner_text()
    assert page.locator("#failed output").inner_text() == "1 of 50"
    search.fill("nothing of the kind")
    assert (shown.count(), page.locator("#failed output").inner_text()) == (0, "0 of 50")
    search.fill("")
    assert (shown.count(), page.locator("#failed output").inner_text()) == (50, "")


def test_it_is_whole_without_script(open_page: Open, tmp_path: Path) -> None:
    """But for the search, of which nothing is seen then."""
    page = open_page(tb.write_report(many(100), tmp_path / "r.html"), java_script_enabled=False)
    assert page.locator("#failed-addresses tbody tr").filter(visible=True).count() == 50
    assert page.get_by_role("searchbox").count() == 0


def test_on_a_phone_nothing_but_tables_scrolls_sideways(open_page: Open, report: Path, tmp_path: Path) -> None:
    """Neither with the sample's cells nor with long words."""
    for name, path in (("phone", report), ("long", tb.write_report(many(60, "x" * 300), tmp_path / "r.html"))):
        page = open_page(path, size=PHONE, is_mobile=True, has_touch=True)
        page.screenshot(path=SCREENSHOTS / f"report-{name}.png", full_page=True)
        assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]


def test_on_paper_nothing_is_cut_and_the_doubts_are_there(open_page: Open, tmp_path: Path) -> None:
    """In black on white, without what can only be clicked, also after a search and from a dark screen."""
    page = open_page(tb.write_report(many(400), tmp_path / "r.html"), dark=True)
    page.get_by_label("Search these addresses").fill("cell17")
    page.set_viewport_size({"width": 688, "height": 1000})  # what A4 has between its margins
    page.emulate_media(media="print", color_scheme="dark")
    doubts = page.locator("#in-doubt tbody tr")
    assert (doubts.count(), doubts.filter(visible=True).count()) == (8, 8)
    assert page.locator("#failed-addresses tbody tr").filter(visible=True).count() == 200
    assert page.get_by_role("searchbox").filter(visible=True).count() == 0
    cut = page.evaluate(
        """() => [...document.querySelectorAll("table, td, th, p, svg, .scroll, section")].filter(item => {
            const box = item.getBoundingClientRect();
            return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1 ||
                (getComputedStyle(item).overflowY !== "visible" && item.scrollHeight > item.clientHeight + 1));
        }).map(item => `${item.tagName} ${item.className} ${item.textContent.slice(0, 40)}`)"""
    )
    assert cut == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('svg text')).fill") == "rgb(0, 0, 0)"
    printed = page.pdf(path=SCREENSHOTS / "report.pdf", format="A4")
    assert printed.startswith(b"%PDF-")
    assert printed.count(b"/Type /Page\n") > 3


def test_nothing_of_a_cell_runs_or_is_fetched(open_page: Open, tmp_path: Path) -> None:
    """Whatever stands in names, keys, reasons and column names."""
    page = open_page(tb.write_report(many(60, HOSTILE), tmp_path / "r.html"))
    assert page.title() == HOSTILE[:500]
    assert page.locator("img, link, a, iframe").count() == 0
    assert page.locator("script").count() == 1
    assert "</script></style></svg><script>" in page.locator("#in-doubt").inner_text()
    page.get_by_label("Search these addresses").fill("<script>")
    assert page.title() == HOSTILE[:500]


def test_code_that_came_into_the_page_wouldnt_run(open_page: Open, report: Path, tmp_path: Path) -> None:
    """The page's own policy lets its one script run and nothing else, and fetches nothing."""
    path = tmp_path / "r.html"
    bad = "<script>document.title = 'owned'</script><p onclick=\"document.title = 'owned'\">here</p>"
    path.write_text(report.read_text(encoding="utf-8").replace("<main>", f"<main>{bad}"), encoding="utf-8")
    context = open_page(report).context
    page = context.new_page()
    page.goto(path.as_uri())
    page.get_by_text("here", exact=True).click()
    assert page.title() == "receipts-2026-11"
    page.get_by_label("Search these addresses").fill("nothing")
    assert page.locator("#failed output").inner_text().startswith("0 of ")
