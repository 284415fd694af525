"""Emails and cells that would like to run scripts in the notebook or be fetched from elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.panes import Panes
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Open
    from tests.browser.lab import JupyterLab

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.unmeasured]

ELSEWHERE = "http://tracker.example"
RUN = "document.title = 'it ran'; parent.document.title = 'it ran'"
EMAIL = f"""
<html><head><link rel="stylesheet" href="{ELSEWHERE}/style.css"><script>{RUN}</script>
<meta http-equiv="refresh" content="0; url={ELSEWHERE}/refresh"></head>
<body onload="{RUN}"><p>Dear {{{{ name }}}}</p>
<img src="{ELSEWHERE}/pixel.png" onerror="{RUN}"><img src="nowhere.png" onerror="{RUN}">
<p style="background: url({ELSEWHERE}/back.png)">Good news</p>
<iframe src="{ELSEWHERE}/frame"></iframe><video src="{ELSEWHERE}/film.mp4" autoplay></video>
<form action="{ELSEWHERE}/form"><button>Answer</button></form>
<a href="{ELSEWHERE}/link">Read on</a><a href="{ELSEWHERE}/self" target="_self">More</a>
<a href="{ELSEWHERE}/top" target="_top">All</a></body></html>
"""
CELL = f"""<img src="{ELSEWHERE}/cell.png" onerror="{RUN}"><script>{RUN}</script>"""
SETUP = f"""
import pandas as pd
import turbobatch as tb

people = pd.DataFrame({{"id": [{CELL + "1"!r}, {CELL + "2"!r}], "name": {CELL!r}, "email": ["a@x.example", {CELL!r}]}})
message = tb.MailMerge(
    from_="Acme <shop@acme.example>", to="{{{{ email }}}}", subject="News for {{{{ name }}}}", html={EMAIL!r}
)
campaign = tb.Campaign(name="news", message=message, key="id")
client = tb.TurboClient(consumer_key="sandbox", consumer_secret="sandbox", base_url=BASE_URL)
"""
CONSOLE = "tb.Console(campaign, people, client)"


def test_nothing_runs_and_nothing_is_fetched(open_notebook: Open, page: Page, lab: JupyterLab) -> None:
    """In no pane; neither when a link in the email is clicked. The page's fixture watches what is asked for."""
    assert lab.url
    with Sandbox() as sandbox:
        notebook = open_notebook("news.ipynb", [SETUP.replace("BASE_URL", repr(sandbox.base_url("v2"))), CONSOLE])
        title = page.title()
        notebook.run(0)
        panes = Panes(notebook.run(1))
        panes.email.get_by_text("Good news").wait_for()
        for name in ("Read on", "More", "All", "Answer"):
            panes.email.get_by_text(name).click(force=True)  # where it is, whether it answers or not
        panes.email.get_by_text("Read on").press("Enter")
        for form, shown in (
            ("Text", "Dear <img"),
            ("Wire fields", '"html_content"'),
            ("Row", "<script>"),
            ("HTML", ""),
        ):
            panes.press(form)
            panes.says(re.compile(re.escape(shown)))
        panes.email.get_by_text("Good news").wait_for()

        panes.open("Check")
        panes.press("Check all rows")
        panes.says(re.compile("2 rows: 1 problem of 1 kind; 1 row can't be sent"))
        panes.press("1 row")
        panes.press("row 1")
        panes.says(re.compile("makes no email: row 1"))

        panes.open("Send")
        panes.press("Count what there is to send")
        panes.says(re.compile("up to 2 emails"))
        panes.field("Type the number of emails").fill("2")
        panes.says("ready")
        panes.press("Start")
        panes.says(re.compile("^2 of 2 rows; .* over "))
        panes.open("Results")
        panes.says("1 sent")
        panes.says(re.compile("<script>"))

        made = panes.output.locator(f"script, [onerror], [src^='{ELSEWHERE}'], [href^='{ELSEWHERE}']")
        assert made.count() == 0
        assert page.title() == title
        assert len(sandbox.inbox()) == 1
