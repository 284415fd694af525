"""A real browser on a real JupyterLab.

Chromium is looked for on the PATH, or is what TURBOBATCH_CHROMIUM names. Without it, or without playwright, these tests
are skipped; where CI is set they fail instead, so that they can't go missing unnoticed.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.lab import JupyterLab, Notebook
from tests.browser.looks import TALL, photograph

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from playwright.sync_api import Browser, Page

    Open = Callable[..., Notebook]

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--no-sandbox",  # containers have no user namespaces
    "--disable-gpu",
    "--force-prefers-reduced-motion",
    "--animation-duration-scale=0",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
log = logging.getLogger(__name__)  # what the page complains of is shown where a test fails
_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether a test failed, for the fixtures that end after it."""
    report = yield
    item.stash[_failed] = item.stash.get(_failed, False) or (call.when == "call" and report.failed)
    return report


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path."""
    missing = [name for name in ("jupyterlab", "playwright") if importlib.util.find_spec(name) is None]
    found = os.environ.get("TURBOBATCH_CHROMIUM") or next(filter(None, map(shutil.which, _BROWSERS)), "")
    if not found:
        missing.append("chromium (or TURBOBATCH_CHROMIUM, the path of a browser of its kind)")
    if missing:
        reason = f"the notebook isn't tested in a browser: {' and '.join(missing)} missing"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    """JupyterLab, one for all tests; not started where there is no browser."""
    assert chromium
    with JupyterLab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Chromium, new for each file; its tests have contexts of their own, which share nothing.

    No longer: playwright leaves an event loop in this thread for as long as it runs.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=list(_QUIET))
        try:
            yield found
        finally:
            found.close()


@pytest.fixture
def page(browser: Browser, lab: JupyterLab, request: pytest.FixtureRequest) -> Iterator[Page]:
    """An empty page; whatever it asks of another host than this machine is refused, and fails the test."""
    context = browser.new_context(viewport=TALL, service_workers="block")
    outside: list[str] = []

    def refuse(route: Any) -> None:
        outside.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith((lab.url, "data:", "blob:", "about:")), refuse)
    page = context.new_page()
    page.on("console", lambda said: log.warning(said.text) if said.type == "error" else None)
    try:
        yield page
    finally:
        if request.node.stash.get(_failed, False):
            name = re.sub(r"\W+", "-", request.node.name).strip("-")
            photograph(page, f"failed-{name}")
        context.close()
        lab.end_kernels()
    assert outside == []


@pytest.fixture
def open_notebook(page: Page, lab: JupyterLab) -> Open:
    """Open a notebook: `open_notebook(path)`, or `open_notebook(name, [cell, …])` to make one of code cells."""

    def open_(name: str | Path, cells: list[str] | None = None) -> Notebook:
        target = lab.work / Path(name).name
        if cells is None:
            shutil.copyfile(name, target)
        else:
            target.write_text(json.dumps(as_notebook(cells)), encoding="utf-8")
        return Notebook(page, f"{lab.url}doc/tree/{target.name}")

    return open_


def as_notebook(cells: list[str]) -> dict[str, Any]:
    """A notebook of these code cells, in its file's format."""
    code: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    return {
        "cells": [{**code, "id": f"cell-{number}", "source": source} for number, source in enumerate(cells)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
