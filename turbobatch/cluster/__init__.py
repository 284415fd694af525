"""The same campaign over several processes and machines, on a Dask cluster, with the same promises.

The table is cut into parts, and each worker sends one after the other, with the engine that sends whole tables else.
What makes it safe is the journal in PostgreSQL: every email is claimed there before its POST, by whoever comes first,
under a lease. Dask may run a part twice; its emails leave once.
"""

from turbobatch.cluster.dispatch import Dispatch
from turbobatch.cluster.orders import Account, Orders, Sending, shared_journal
from turbobatch.cluster.pool import check_workers, open_pool, workers_of
from turbobatch.cluster.survey import ClusterPlan, survey

__all__ = [
    "Account",
    "ClusterPlan",
    "Dispatch",
    "Orders",
    "Sending",
    "check_workers",
    "open_pool",
    "shared_journal",
    "survey",
    "workers_of",
]
