"""Where the workers are: a Dask Client, a scheduler's address, or a cluster of this machine's own (`local:4`)."""

from __future__ import annotations

import logging
import queue
import re
import threading
import time
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from turbobatch._version import __version__
from turbobatch.cluster.signals import ANSWER
from turbobatch.errors import CampaignError, TurboBatchError
from turbobatch.events import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from distributed import Client, Future

    from turbobatch.cluster.orders import Account, Orders

_LOCAL = re.compile(r"local(?::([1-9]\d{0,2}))?")
_ADDRESS = re.compile(r"(?:tcp|tls|ws|wss|ucx|inproc)://\S+")
_LOOK = 5.0  # seconds from one look at the workers to the next, while nothing comes
_ALONE = 15.0  # seconds without any worker until nothing is waited for
_HANGS = 30.0  # seconds that a worker may take to say what it has
_lock = threading.Lock()
_levels: list[list[int]] = []
"""What Dask's logs had before anybody here used a cluster, once for each that does now."""

_LOGS = ("distributed", "distributed.client")  # Dask gives the latter a level of its own


@contextmanager
def open_pool(on: Client | str, environment: Mapping[str, str]) -> Iterator[Client]:
    """Give a Dask Client for what `on=` or `--on` names; what was made for it ends with the block.

    `environment` is given to workers on this machine that are started here, beside its own; not to others.

    Raises:
        CampaignError: Dask isn't installed, `on` is no cluster, or it can't be reached.
    """
    distributed = _dask()
    with ExitStack() as held:
        held.enter_context(_set({"distributed.admin.large-graph-warning-threshold": "1 TB"}))  # a table may be large
        yield on if isinstance(on, distributed.Client) else _connected(on, environment, held)


def _connected(on: object, environment: Mapping[str, str], held: ExitStack) -> Client:
    distributed = _dask()
    local = _LOCAL.fullmatch(on) if isinstance(on, str) else None
    if local is None and not (isinstance(on, str) and _ADDRESS.fullmatch(on)):
        raise CampaignError(
            f"{on!r} is no cluster: give a Dask Client, a scheduler's address (tcp://HOST:8786), or local:4"
        )
    address: Any = on
    held.enter_context(_quiet())
    try:
        if local is not None:
            address = held.enter_context(_local_cluster(int(local[1]) if local[1] else None, environment))
        client: Client = held.enter_context(distributed.Client(address, timeout=ANSWER, set_as_default=False))
    except (OSError, TimeoutError, ValueError, RuntimeError, TypeError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        cure = "check its address, or start it"
        if local is not None:  # each process begins with the main script
            cure = 'a script has to start it beneath if __name__ == "__main__":'
        raise CampaignError(f"the cluster {on} can't be used ({said}): {cure}") from error
    return client


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what Dask says of each connection; what matters of it, the run tells."""
    logs = [logging.getLogger(name) for name in _LOGS]
    with _lock:
        _levels.append([log.level for log in logs] if not _levels else _levels[0])
        for log in logs:
            log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        with _lock:
            levels = _levels.pop()
            for log, level in zip(logs, levels, strict=True) if not _levels else ():
                log.setLevel(level)


def _local_cluster(workers: int | None, environment: Mapping[str, str]) -> Any:
    return _dask().LocalCluster(
        n_workers=workers,
        threads_per_worker=1,  # a part takes a process
        processes=True,
        dashboard_address="127.0.0.1:0",  # without a host all of the network could look
        security=_own_keys(),
        env=dict(environment),
        preload=["turbobatch.cluster.preload"],
        silence_logs=logging.CRITICAL,
    )


def _own_keys() -> Any:
    """Keys of one cluster alone, in memory: other users of this machine, who reach its ports too, haven't got them."""
    from distributed.security import Security

    try:
        return Security.temporary()
    except ImportError:
        raise CampaignError('such a cluster needs cryptography: pip install "turbobatch-mail[cluster]"') from None


def addresses_of(dask: Client) -> list[str]:
    """The workers that there are now.

    Raises:
        OSError: the scheduler doesn't answer (TimeoutError), or is gone.
    """
    return list(dask.sync(dask.scheduler.ncores, workers=None, callback_timeout=ANSWER))


def running_of(dask: Client) -> set[str]:
    """Those of them that begin what they are given: not one that Dask has paused for its memory, or that retires.

    Raises:
        OSError: the scheduler doesn't answer (TimeoutError), or is gone.
    """
    return set(dask.sync(dask.scheduler.ncores_running, workers=None, callback_timeout=ANSWER))


def workers_of(dask: Client) -> Workers:
    """How many workers there are now, where, and where Dask shows them."""
    link = ""
    with suppress(Exception):  # no dashboard, or a link of its own making that this environment has no values for
        link = str(dask.dashboard_link or "")
    return Workers(len(addresses_of(dask)), dask.scheduler.address, link if _may_be_shown(link) else "")


def _may_be_shown(link: str) -> bool:
    """Whether a notebook may show it: a page, and no secret that some services put into it."""
    parts = urlsplit(link)
    is_page = parts.scheme in ("http", "https") or (not parts.scheme and not parts.netloc and link.startswith("/"))
    return is_page and not (parts.query or parts.fragment or "@" in parts.netloc)


def check_workers(
    dask: Client,
    orders: Orders,
    account: Account | None = None,
    workers: Sequence[str] | None = None,
    patience: float | None = None,
) -> set[str]:
    """Ask each worker, or these, whether it can do its part; with an account, whether it can send. Gives them.

    `patience`: seconds that each may take for an answer.

    Raises:
        CampaignError: there is none, or one can't, or doesn't answer; it says which, and why.
    """
    patience = _HANGS if patience is None else patience
    versions = _asked(dask, workers, patience, version)
    if not versions:
        raise CampaignError("the cluster has no workers: start one, such as with dask worker tcp://HOST:8786")
    for worker, found in versions.items():
        if found != __version__:
            raise CampaignError(f"worker {worker} has turbobatch {found}, and this is {__version__}: install the same")
    _asked(dask, workers, patience, try_out, orders, account)
    return set(versions)


def silent_ones(dask: Client, workers: Sequence[str] | None = None) -> list[str]:
    """Those workers, or these, that don't say anything, whatever they are busy with; each has ANSWER seconds."""
    asked = addresses_of(dask) if workers is None else workers
    return [worker for worker, said in _answers(dask, asked, ANSWER, version).items() if isinstance(said, Exception)]


def version() -> str:
    """What a worker has installed, asked before it is given anything that another version may not know."""
    return __version__


def try_out(orders: Orders, account: Account | None) -> None:
    """What a worker finds out about itself.

    Raises:
        TurboBatchError: it doesn't reach the journal, or has no credentials, or another account's.
    """
    orders.read_journal().close()
    if account is not None:
        account.open().close()


def is_executing(dask_worker: Any) -> bool:
    """Whether a worker is at some task."""
    return bool(dask_worker.state.executing_count)


class NoWorkersError(CampaignError):
    """A cluster has no workers any more, or one hangs, or is paused."""


def until_done(dask: Client, futures: Sequence[Future], tell: Callable[[Any], object]) -> list[Any]:
    """Wait for tasks, and tell what each came to; not for workers that aren't there any more. Gives all of that.

    Raises:
        NoWorkersError: none is left that gets on, for some seconds or from the beginning on.
        Exception: what a task raised.
    """
    done: queue.SimpleQueue[Future] = queue.SimpleQueue()
    for each in futures:
        each.add_done_callback(done.put)
    found: dict[str, Any] = {}
    watch, patience = Watch(dask), _HANGS
    watch.seen_at = watch.clock() if addresses_of(dask) else -_ALONE
    while len(found) < len(futures):
        future: Future | None = None
        try:
            future = done.get(timeout=_LOOK)
            said = future.result(timeout=patience)
        except (queue.Empty, TimeoutError):
            if future is not None and future.status == "error":
                raise  # the task's own
            if future is not None:  # what it came to takes its time, or was lost with its worker and is made again
                done.put(future)
                patience *= 2
            watch.look()
        else:
            found[future.key], watch.seen_at = said, watch.clock()
            tell(said)
    return [found[each.key] for each in futures]


@dataclass(slots=True)
class Watch:
    """A look now and then at the workers while nothing comes."""

    dask: Client
    clock: Callable[[], float] = time.monotonic
    seen_at: float = 0.0  # by the clock: there was somebody from whom something might come

    def look(self) -> None:
        """Tell whether something may come still.

        Raises:
            NoWorkersError: for some seconds nothing has, as no worker is left, or those who have it are paused.
        """
        there = addresses_of(self.dask)
        paused = set(there) - running_of(self.dask)
        # A paused one ends what it has begun. What it hasn't it keeps from the others, who may have nothing else to do.
        if there and not (paused and self._are_idle(there)):
            self.seen_at = self.clock()
        if self.clock() - self.seen_at <= _ALONE:
            return
        if paused:
            raise NoWorkersError(
                f"Dask has paused {len(paused)} of {len(there)} workers, as their memory is full: end what fills it, "
                "or give them more, and run the same command again"
            )
        raise NoWorkersError("the cluster has no workers any more: start some, and run the same command again")

    def _are_idle(self, workers: Sequence[str]) -> bool:
        return all(said is False for said in _answers(self.dask, workers, ANSWER, is_executing).values())


@contextmanager
def in_one_line(doing: str, meaning: str = "") -> Iterator[None]:
    """Raise a CampaignError of whatever else fails in a cluster; `meaning` says what that means."""
    try:
        yield
    except TurboBatchError:
        raise
    except Exception as error:
        raise CampaignError(f"the cluster failed while {doing} ({_line(error)}){meaning}") from error


def _asked(
    dask: Client, workers: Sequence[str] | None, patience: float, question: Callable[..., Any], *given: object
) -> Mapping[str, Any]:
    with in_one_line("its workers were asked what they have"):
        asked = addresses_of(dask) if workers is None else workers
        answers = _answers(dask, asked, patience, question, *given)
    for worker, said in answers.items():
        if isinstance(said, Exception):
            raise CampaignError(f"worker {worker} can't take part: {_line(said)}") from said
    return answers


def _answers(
    dask: Client, asked: Sequence[str], patience: float, question: Callable[..., Any], *given: object
) -> Mapping[str, Any]:
    """What these say; where somebody doesn't answer, each is asked by itself, so that it is known who."""
    try:
        found: Mapping[str, Any] = dask.run(
            question, *given, workers=asked, on_error="return", callback_timeout=patience
        )
    except TimeoutError:
        if len(asked) > 1:
            each = [_answers(dask, [worker], patience, question, *given) for worker in asked]
            return {worker: said for answer in each for worker, said in answer.items()}
        silent = CampaignError(f"it hasn't answered for {patience:.0f} seconds: end it, and start another")
        return dict.fromkeys(asked, silent)
    return found


def _line(error: Exception) -> str:
    said = " ".join(str(error).split())
    return said if isinstance(error, TurboBatchError) else f"{type(error).__name__}: {said}"


def _set(values: Mapping[str, Any]) -> AbstractContextManager[object]:
    from dask import config

    found: AbstractContextManager[object] = config.set(values)
    return found


def _dask() -> Any:
    try:
        import distributed
    except ImportError:
        raise CampaignError('a cluster needs Dask: pip install "turbobatch-mail[cluster]"') from None
    return distributed
