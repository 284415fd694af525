"""The vendor's validation as a part of a check: addresses come in with the rows, problems and counts go out."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Self

from turbobatch.check import Checked, CheckedProblem
from turbobatch.client import TurboClient
from turbobatch.errors import CampaignError
from turbobatch.validation.asking import Asking
from turbobatch.validation.store import Store, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from turbobatch.feed import Ready
    from turbobatch.merge import Merger
    from turbobatch.units import Unit
    from turbobatch.validation.store import Judged, Need

WARNING = "warning"
"""A problem's status where the row is sent all the same."""

BAD = ("invalid", "spamtrap", "abuse", "do_not_mail")
"""The judgements that are problems. The others (valid, catch_all, unknown, new words) are counted."""

_FIELDS = ("to", "cc", "bcc")
_CHUNK = 1000  # problems


@contextmanager
def account(client: TurboClient | None) -> Iterator[TurboClient]:
    """The client, else one of the environment, which is closed at the end.

    Raises:
        CampaignError: there is none with v2 credentials.
    """
    if client is None:
        with closing(TurboClient.from_env(api="v2")) as found:
            yield found
        return
    if client.api.name != "v2":
        raise CampaignError("the validation of addresses needs v2 credentials: make the client with them")
    yield client


class Validating:
    """One check's validation; `with` closes its store.

    Args:
        path: of the store.
        merger: tells which columns an email's field is made of.

    Raises:
        CampaignError: the store can't be used, or another process has it.
    """

    def __init__(self, path: Path, merger: Merger) -> None:
        self._store = Store(path)
        self._columns = {field: ", ".join(merger.columns_behind(field)) for field in _FIELDS}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.__exit__()

    def want(self, unit: Unit, ready: Ready) -> None:
        """Note whom a row's email goes to."""
        where = unit.where
        for field, addresses in zip(_FIELDS, ready.addresses, strict=True):
            for address in addresses:
                self._store.want(Wanted(unit.number, where, field, address.email.lower(), ready.key))

    def need(self) -> Need:
        """How many of the addresses have to be judged, and how many are already."""
        return self._store.need()

    def ask(self, client: TurboClient, consent: Callable[[Need], object], tick: Callable[[int], object]) -> None:
        """Have the vendor judge what isn't yet; what is raised is `Asking`'s."""
        asking = Asking(self._store, client, tick=tick)
        asking.take_up()
        asking.ask(consent)

    def parts(self) -> Iterator[Checked]:
        """The problems, part by part, the last one with the counts."""
        found: list[CheckedProblem] = []
        for item in self._store.judged(BAD):
            found.append(self._problem(item))
            if len(found) == _CHUNK:
                yield Checked(0, 0, tuple(found))
                found = []
        yield Checked(0, 0, tuple(found), self._store.counts())

    def _problem(self, item: Judged) -> CheckedProblem:
        number, where, field, address, key = item.wanted
        more = f" ({item.sub_status})" if item.sub_status else ""
        problem = f"the vendor judges {address} {item.status}{more}"
        guess = item.did_you_mean
        cure = f"did you mean {guess}?" if guess else "leave the row out, or correct the address"
        return CheckedProblem(number, where, WARNING, field, self._columns[field], problem, cure, key)
