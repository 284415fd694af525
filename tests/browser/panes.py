"""The console as a person sees it: panes, buttons, fields and lines, found by their words."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from re import Pattern

    from playwright.sync_api import FrameLocator, Locator

PATIENCE = 60_000  # milliseconds after which a test gives up

_PLACE = "(list, beginning) => [...list.options].findIndex(option => new RegExp(beginning).test(option.text))"


class Panes:
    """A console that a cell has opened."""

    def __init__(self, output: Locator) -> None:
        self.output = output
        self.tab("Preview").wait_for(timeout=PATIENCE)

    def tab(self, name: str) -> Locator:
        """A pane's tab."""
        return self.output.get_by_role("tab", name=name, exact=True)

    def open(self, name: str) -> None:
        """Show a pane."""
        from playwright.sync_api import expect  # here, so that the tests can be collected where it is missing

        self.tab(name).click()
        expect(self.tab(name)).to_have_attribute("aria-selected", "true", timeout=PATIENCE)

    def button(self, name: str | Pattern[str]) -> Locator:
        """A button that is to be seen; the same word may stand in two panes."""
        return self.output.get_by_role("button", name=name, exact=True)

    def press(self, name: str | Pattern[str]) -> None:
        """Press a button, once it can be pressed."""
        self.button(name).click(timeout=PATIENCE)

    def field(self, name: str) -> Locator:
        """A line to type in, by its label."""
        return self.output.get_by_label(name, exact=True).locator("visible=true")

    def box(self, placeholder: str) -> Locator:
        """A line to type in, by what stands in it while it is empty."""
        return self.output.get_by_placeholder(placeholder, exact=True).locator("visible=true")

    def choose(self, beginning: str) -> None:
        """Pick the option that begins like this, whichever list it stands in."""
        pattern = re.compile(
            rf"^{re.escape(beginning)}".replace(r"\ ", r"\s")
        )  # lists write their blanks as no-break ones
        option = self.output.page.locator("option", has_text=pattern)
        found = self.output.locator("select:visible", has=option).first
        # In one look, once it is there: a list that is filled anew has no options for a moment.
        index: int = found.evaluate(_PLACE, pattern.pattern, timeout=PATIENCE)
        found.select_option(index=index)

    def says(self, text: str | Pattern[str]) -> None:
        """Wait until this is to be read somewhere."""
        from playwright.sync_api import expect

        expect(self.output.get_by_text(text).locator("visible=true").first).to_be_visible(timeout=PATIENCE)

    def lists(self, count: int) -> None:
        """Wait until so many emails are listed in doubt."""
        from playwright.sync_api import expect

        expect(self.doubts.locator("option")).to_have_count(count, timeout=PATIENCE)

    @property
    def doubts(self) -> Locator:
        """The list of emails in doubt."""
        return self.output.locator("select[multiple]")

    def text(self) -> str:
        """Everything that is to be read."""
        return self.output.inner_text()

    @property
    def email(self) -> FrameLocator:
        """The HTML of the email that is previewed."""
        return self.output.frame_locator("iframe")


def ledger(url: str) -> list[dict[str, Any]]:
    """What a sandbox has accepted, as its own API tells."""
    with urllib.request.urlopen(f"{url}/messages?limit=10000", timeout=60) as answer:  # noqa: S310 - this machine's
        found: list[dict[str, Any]] = json.load(answer)["results"]
    return found


def keys(url: str) -> list[str]:
    """The key of each email that a sandbox has accepted, sorted; a key that arrived twice stands there twice."""
    return sorted(item["reference_id"] for item in ledger(url) if item["reference_id"])
