"""The notebook console: preview, check, send and results of one campaign, in core ipywidgets.

    tb.Console(campaign, recipients, client)

The state and what follows from it are pure (`state`, `send_state`, `results_state`, `causes`, `figures`, `words`);
`work`, `rows` and `loading` do what takes time, off the kernel's main thread; the `…actions` modules are what the
buttons do, the `…view` modules show it, in widgets of one `kit`. The run itself belongs to the campaign: it outlives
the page and the console, and another console finds it.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from turbobatch.console.actions import Actions
from turbobatch.console.words import counts_of
from turbobatch.errors import JournalError
from turbobatch.journal import JournalUrl, read_journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from turbobatch.campaign import Campaign
    from turbobatch.client import TurboClient
    from turbobatch.cluster.campaign import On
    from turbobatch.console.state import State
    from turbobatch.console.view import View
    from turbobatch.journal import Place

__all__ = ["Console"]

_shown: weakref.WeakValueDictionary[tuple[Place, str], View] = weakref.WeakValueDictionary()
"""The view of each campaign that is shown, by journal and name: a new one takes its place."""

_REPLACED = "Another console of this campaign has been opened."


class Console:
    """A campaign's console for a notebook; let it be a cell's last line. Running the cell again finds the run again.

    Where there are no widgets it reads as plain text. Colab shows what happens in the background only when Refresh is
    pressed; `Campaign.send`, which waits and shows a bar, is the other way there.

    Args:
        campaign: the campaign.
        recipients: a DataFrame or the path of a table; else the campaign's own.
        client: else one with the credentials in the environment; preview and check go without.
        on: a cluster that counts and sends, as `Campaign.send` takes it. One that is opened for it (local:4) lasts from
            the first count to the run's end, or until the console is closed.
    """

    def __init__(
        self,
        campaign: Campaign,
        recipients: pd.DataFrame | str | Path | None = None,
        client: TurboClient | None = None,
        *,
        on: On | None = None,
    ) -> None:
        self._campaign = campaign
        self._actions = Actions(campaign, recipients, client, on)
        self._view: View | None = None

    @property
    def state(self) -> State:
        """What it shows, as data."""
        return self._actions.store.state

    @property
    def view(self) -> View:
        """The widgets, made when they are wanted first, or again after another console has taken their place.

        Raises:
            ImportError: ipywidgets isn't installed.
        """
        if self._view is None or self._view.is_closed:
            from turbobatch.console.view import View

            identity = self._campaign.journal_place, self._campaign.name
            if (before := _shown.get(identity)) is not None:
                before.close(_REPLACED)
            self._view = _shown[identity] = View(self._actions)
            self._actions.open()
        return self._view

    def close(self) -> None:
        """Show nothing more, and read nothing more; a run goes on."""
        if self._view is not None:
            self._view.close("Closed.")

    def wait(self, is_so: Callable[[State], bool], timeout: float) -> bool:
        """Wait until `is_so` says yes to the state, `timeout` seconds at most; tells whether it does."""
        return self._actions.store.wait(is_so, timeout)

    def __repr__(self) -> str:
        place = self._campaign.journal_place
        shown = place if isinstance(place, JournalUrl) else place.name
        lines = [f"Campaign {self._campaign.name!r}, journal {shown}"]
        try:
            with read_journal(place, self._campaign.name) as journal:  # the table alone might take seconds to open
                counts = ", ".join(f"{count:,} {status}" for status, count in counts_of(journal.counts()))
            lines.append(f"Emails in the journal: {counts or 'none'}")
        except JournalError as error:
            lines.append(str(error))
        if (run := self._campaign.running) is not None:
            lines.append(f"A run is in progress: {run!r}")
        lines.append("The console needs a notebook with widgets; without: campaign.check(), campaign.send()")
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        plain: dict[str, Any] = {"text/plain": repr(self)}
        try:
            widget = self.view.widget._repr_mimebundle_()
        except ImportError:
            return plain
        return {**(widget or {}), **plain}
