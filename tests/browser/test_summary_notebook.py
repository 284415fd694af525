"""A summary in a notebook that came from elsewhere: nobody has declared it trusted, and nothing of it is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import turbobatch as tb
from tests.browser.conftest import as_notebook
from tests.browser.looks import photograph
from turbobatch.results import RowVerdict, joined

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import Open

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.unmeasured]


def test_plots_and_tables_stay(open_notebook: Open, page: Page, tmp_path: Path) -> None:
    """The pictures are drawn, what is folded can be unfolded."""
    kinds = [
        RowVerdict(tb.Status.SENT, "OK", (), "1", 200, 1),
        RowVerdict(tb.Status.REJECTED, "error", ("'x@@y' 'to' email not valid",), None, 400, 1),
        RowVerdict(tb.Status.IN_DOUBT, "no answer", (), None, None, 1),
    ]
    verdicts = [kinds[row % 10 % 3]._replace(send_key=str(row), send_time=1.79e9 + row / 7) for row in range(90)]
    own = {"email": [f"person{row}@example{row % 4}.org" for row in range(90)]}
    shown = tb.summary(joined(pd.DataFrame(own), verdicts))._repr_html_()
    content = as_notebook(["tb.summary(results)"])
    content["cells"][0]["outputs"] = [
        {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/html": [shown]}}
    ]
    path = tmp_path / "elsewhere.ipynb"
    path.write_text(json.dumps(content), encoding="utf-8")
    output = open_notebook(path).output(0)
    output.get_by_text("Why emails failed").wait_for()
    photograph(page, "summary")
    assert output.locator("img").evaluate_all("all => all.map(img => img.complete && img.naturalWidth)") == [520, 520]
    assert output.get_by_text("27 in_doubt").count() == 2
    assert output.get_by_text("person2@example2.org").is_visible()
    assert not output.get_by_text("person1@example1.org").is_visible()
    output.get_by_text("27 failed addresses").click()
    assert output.get_by_role("cell", name="x@@y", exact=True).first.is_visible()
