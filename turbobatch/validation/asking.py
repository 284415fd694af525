"""Having addresses judged, never paid for twice: what costs is noted before its POST, and the next run takes it up.

One address is asked about directly, several in a list that is uploaded (free), noted, started (paid) and then looked at
until it is done. A list whose start nobody has confirmed is looked at, never started again: once it moves it was
started, and if it hasn't moved a day later it never was.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn

from turbobatch.errors import AuthenticationError, CampaignError, ManagementError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from turbobatch.client import TurboClient
    from turbobatch.management import Validation, ValidationList
    from turbobatch.validation.store import Need, Pending, Store

GIVEN_UP = 86_400.0  # seconds after which a list that doesn't move, or isn't there, is taken for never started

_LONGEST_LIST = 100_000  # addresses
_FIRST_WAIT = 0.1  # seconds from one look at a list to the next; it doubles
_LONGEST_WAIT = 5.0
_PATIENCE = 20.0  # seconds in which a list that was started moves, mostly
_LONGEST = 3600.0  # seconds that a list is looked at
_PAGE = 1000  # results
_AGAIN = "run the same command again"


class ListGoesOn(KeyboardInterrupt):
    """Ctrl-C while a list is judged: it goes on at the vendor, and the next run takes it up."""


class Asking:
    """Has the vendor judge what the store wants to know.

    Args:
        store: what is judged and wanted.
        client: a v2 account.
        tick: is told how many addresses were judged since.
        sleep: waits for so many seconds.
        clock: seconds that never run backwards.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        client: TurboClient,
        *,
        tick: Callable[[int], object] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._client = client
        self._tick = tick
        self._sleep = sleep
        self._clock = clock
        self._now = now

    def take_up(self) -> None:
        """Wait for the list that an earlier run has begun, if there is one; it is paid for already.

        Raises:
            AuthenticationError, ManagementError: it couldn't be had; the next run takes it up again.
            ListGoesOn: Ctrl-C.
        """
        if (pending := self._store.pending()) is not None:
            self._follow(pending)

    def ask(self, consent: Callable[[Need], object]) -> None:
        """Have all judged that isn't yet.

        `consent` is told before anything is paid for, and raises what is to be raised where it isn't given.

        Raises:
            AuthenticationError, ManagementError: as `take_up`.
            ListGoesOn: Ctrl-C.
        """
        need = self._store.need()
        if need.new:
            consent(need)
        while addresses := self._store.new(_LONGEST_LIST):
            if len(addresses) == 1:
                self._judge_one(addresses[0])
                self._tick(1)
            else:
                self._judge_list(addresses)

    def _judge_one(self, address: str) -> None:
        self._store.note(address)
        try:
            found = self._client.validate_address(address)
        except ManagementError as error:
            if error.in_doubt:
                self._tell(error, f"{address} counts as unknown for a day, so that it isn't paid for twice")
            self._store.forget(address)
            self._tell(error, f"nothing was paid: {_AGAIN}")
        except (AuthenticationError, CampaignError):
            self._store.forget(address)
            raise
        self._store.keep(address, found)

    def _judge_list(self, addresses: Sequence[str]) -> None:
        try:
            made = self._client.upload_validation_list(addresses)
        except ManagementError as error:
            self._tell(error, f"nothing was paid: {_AGAIN}")
        self._store.note_list(made.list_id, addresses)
        try:
            self._start(made.list_id)
            self.take_up()
        except ListGoesOn:
            raise
        except KeyboardInterrupt:
            self._interrupted(made.list_id)

    def _start(self, list_id: str) -> None:
        """Start a list that is noted. Without an answer it may have been: that is for who looks at it to find out."""
        try:
            self._client.start_validation(list_id)
        except ManagementError as error:
            if not error.in_doubt:
                self._store.drop_list()
                self._tell(error, f"nothing was paid: {_AGAIN}")
        except (AuthenticationError, CampaignError):
            self._store.drop_list()
            raise
        else:
            self._store.confirm_list()

    def _follow(self, pending: Pending) -> None:
        """Look at a list until it is done, and keep what it has brought; or find that it never was started."""
        try:
            if self._is_done(pending):
                self._store.finish_list(self._results(pending))
            else:
                self._store.drop_list()
        except KeyboardInterrupt:
            self._interrupted(pending.list_id)

    def _is_done(self, pending: Pending) -> bool:
        """Wait until it is; False if it was never started."""
        begun, wait, told = self._clock(), _FIRST_WAIT, 0
        is_sure = pending.is_sure
        while (state := self._look(pending)) is not None:
            if not is_sure and (state.is_processed or state.percentage > 0):
                is_sure = True
                self._store.confirm_list()
            done = pending.total if state.is_processed else int(pending.total * state.percentage / 100)
            self._tick(max(done - told, 0))
            told = max(done, told)
            if state.is_processed:
                return True
            waited = self._clock() - begun
            if not is_sure and self._is_old(pending):
                return False
            if not is_sure and waited >= _PATIENCE:
                said = f"whether list {pending.list_id} of {pending.total} addresses was started isn't known yet"
                raise ManagementError(f"{said}: nothing is paid for again, so {_AGAIN} in a few minutes")
            if waited >= _LONGEST:
                raise ManagementError(f"list {pending.list_id} is at {state.percentage:g} %: {_goes_on()}")
            self._sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
        return False

    def _look(self, pending: Pending) -> ValidationList | None:
        """How far the list is; None where the vendor has long had none of this number."""
        try:
            return self._client.validation_list(pending.list_id)
        except ManagementError as error:
            if error.http_status == 404:  # noqa: PLR2004 - HTTP's "not found"
                if self._is_old(pending):
                    return None
                self._tell(error, f"list {pending.list_id} was begun with another account, or {_AGAIN} later")
            self._tell(error, _goes_on())

    def _results(self, pending: Pending) -> Iterator[Validation]:
        count = 0
        try:
            for found in self._client.validated(pending.list_id, page_size=_PAGE):
                count += 1
                yield found
        except ManagementError as error:
            self._tell(error, _goes_on())
        if not count and not self._is_old(pending):
            raise ManagementError(f"list {pending.list_id} is done and has no results yet: {_goes_on()}")

    def _is_old(self, pending: Pending) -> bool:
        return self._now() - pending.time > GIVEN_UP

    def _interrupted(self, list_id: str) -> NoReturn:
        raise ListGoesOn(f"list {list_id} goes on at the vendor; the same command goes on") from None

    def _tell(self, error: ManagementError, what: str) -> NoReturn:
        raise ManagementError(f"{error}; {what}", http_status=error.http_status, in_doubt=error.in_doubt) from error


def _goes_on() -> str:
    return f"the list goes on at the vendor and is paid for once: {_AGAIN}"
