"""The console in JupyterLab, clicked by a browser; what was sent is read in the sandbox's own ledger."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

import turbobatch as tb
from tests.browser.looks import faults_of
from tests.browser.panes import PATIENCE, Panes, keys, ledger

if TYPE_CHECKING:
    from tests.browser.conftest import Open
    from tests.browser.lab import JupyterLab

pytestmark = pytest.mark.xdist_group("browser")

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_console.ipynb"


def test_the_notebook(open_notebook: Open, lab: JupyterLab) -> None:
    """Preview, check, test, send and export the sample receipts, as the notebook invites to."""
    notebook = open_notebook(NOTEBOOK)
    notebook.run(0)
    assert "'sent': 20" in notebook.run(1).inner_text()
    panes = Panes(notebook.run(2))
    url = f"http://{re.search(r'127\.0\.0\.1:\d+', panes.text())[0]}"  # type: ignore[index]
    assert len(keys(url)) == 20

    preview(panes)
    faults = faults_of(notebook, panes.output, "preview")
    check(panes)
    panes.open("Check")
    faults += faults_of(notebook, panes.output, "check")
    test_to_oneself(panes, url)
    send_the_rest(panes, url)
    faults += faults_of(notebook, panes.output, "send")
    panes.open("Results")
    panes.says("187 sent")
    faults += faults_of(notebook, panes.output, "results")
    export(panes, lab)
    settle(panes)
    assert faults == []
    notebook.run(3)
    assert len(keys(url)) == len(set(keys(url))) == 189
