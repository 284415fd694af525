"""A cluster that fails before anything is sent is told in one line, and nothing is sent."""

from __future__ import annotations

import sys
import threading
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import turbobatch as tb
from tests.dask_cluster import DaskCluster
from turbobatch.cluster.pool import open_pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Until


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler and a worker."""
    made = DaskCluster(tmp_path_factory.mktemp("dask"), {})
    made.add()
    yield made.ready(1)
    made.close()


def endless() -> Any:
    """A Dask DataFrame whose one partition is never done."""
    import dask.dataframe as dd
    from dask.delayed import delayed

    form = pd.DataFrame({"id": pd.Series(dtype="object"), "email": pd.Series(dtype="object")})
    return dd.from_delayed([delayed(time.sleep)(3600)], meta=form)


def test_a_cluster_of_its_own_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is started: every user of the machine could have run code in it."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(tb.CampaignError) as caught, open_pool("local:1", {}):
        pass
    assert str(caught.value) == 'such a cluster needs cryptography: pip install "turbobatch-mail[cluster]"'


TOLD = {
    "scheduler": "the cluster failed while its workers looked at the table (",
    "worker": "the cluster has no workers any more: start some, and run the same command again",
}


@pytest.mark.parametrize("lost", TOLD)
def test_what_is_lost_while_workers_look_at_the_table(
    lost: str, database: str, cluster: DaskCluster, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("turbobatch.cluster.pool"), "_ALONE", 1.0)
    (worker,) = cluster.workers
    message = tb.MailMerge(from_="shop@acme.example", to="{{ email }}", subject="{{ id }}", text="Hello")
    campaign = tb.Campaign(name="letters", message=message, key="id", journal=database)

    def kill() -> None:
        until(lambda: any(cluster.busy().values()))
        (cluster.scheduler if lost == "scheduler" else worker).kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(tb.CampaignError) as caught:
        campaign.plan(endless(), on=cluster.address)
    killer.join()
    assert str(caught.value).startswith(TOLD[lost])
    assert "\n" not in str(caught.value)
    worker.kill()  # it would wait for its task
