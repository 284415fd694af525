"""How the console looks: pictures at two widths in both themes, and boxes that neither overlap nor are cut off."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, ViewportSize

    from tests.browser.lab import Notebook

SCREENSHOTS = Path(__file__).parent / "screenshots"
WIDE: ViewportSize = {"width": 1280, "height": 800}
NARROW: ViewportSize = {"width": 900, "height": 800}
# Where nothing needs to be scrolled: after a scroll Chromium may give the next click to a frame that was just there.
TALL: ViewportSize = {"width": 1280, "height": 2400}
_FRAME = 200  # pixels of JupyterLab's bars above and below

# What a person reads or presses, without what is inside it. A pixel is forgiven: borders are drawn on half ones.
_FAULTS = """output => {
    const edge = output.getBoundingClientRect();
    const shown = item => item.checkVisibility({visibilityProperty: true}) && item.getBoundingClientRect().width > 0;
    const name = item => `${item.className || item.tagName} "${(item.innerText || item.value || "").slice(0, 40)}"`;
    const leaves = [...output.querySelectorAll(
        "button, input, select, textarea, iframe, img, progress, .progress, .widget-label, .widget-html-content, " +
        ".widget-readout"
    )].filter(shown);
    const faults = [];
    for (const item of leaves) {
        const box = item.getBoundingClientRect();
        if (box.right > edge.right + 1 || box.left < edge.left - 1) faults.push(`${name(item)} is cut off`);
        const style = getComputedStyle(item);
        const scrolls = ["auto", "scroll"].includes(style.overflowX) || ["INPUT", "IFRAME"].includes(item.tagName);
        if (!scrolls && item.scrollWidth > item.clientWidth + 1) faults.push(`${name(item)} doesn't fit its box`);
    }
    for (const [index, one] of leaves.entries()) for (const other of leaves.slice(index + 1)) {
        if (one.contains(other) || other.contains(one)) continue;
        const a = one.getBoundingClientRect(), b = other.getBoundingClientRect();
        const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (width > 1 && height > 1) faults.push(`${name(one)} lies over ${name(other)}`);
    }
    const area = output.querySelector(".jp-OutputArea-output");
    if (area && area.scrollWidth > area.clientWidth + 1) faults.push("the output scrolls sideways");
    return faults;
}"""

_HEIGHT = """output => new Promise(done => {
    const look = () => {
        const height = output.getBoundingClientRect().height;
        if (height > 0) done(height); else requestAnimationFrame(look);
    };
    look();
})"""


def photograph(page: Page, name: str) -> None:
    """Keep a picture of the page."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def publish(name: str, shown_as: str) -> None:
    """Keep a picture of that name for the documents too, in the folder that TURBOBATCH_PICTURES names, if any."""
    if folder := os.environ.get("TURBOBATCH_PICTURES"):
        shutil.copyfile(SCREENSHOTS / f"{name}.png", Path(folder) / f"{shown_as}.png")


def faults_of(notebook: Notebook, output: Locator, name: str) -> list[str]:
    """What overlaps or is cut off in an output, by window and theme; pictures of each are kept under `name`.

    They are taken through a window that is high enough for all of the output.
    """
    found = []
    page = notebook.page
    for theme in ("light", "dark"):
        notebook.use_theme(dark=theme == "dark")
        for size in (NARROW, WIDE):
            page.set_viewport_size({**size, "height": max(size["height"], _height(output) + _FRAME)})
            output.scroll_into_view_if_needed()
            page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            photograph(page, f"{name}-{size['width']}-{theme}")
            found += [f"{name}, {size['width']} px, {theme}: {fault}" for fault in output.evaluate(_FAULTS)]
    notebook.use_theme(dark=False)
    page.set_viewport_size(TALL)
    return found


def _height(output: Locator) -> int:
    """How high an output is, once it has a height: it has none for a moment when JupyterLab changes its theme."""
    height: float = output.evaluate(_HEIGHT)
    return round(height)
