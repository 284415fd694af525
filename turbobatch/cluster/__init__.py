"""The same campaign over several processes and machines, on a Dask cluster, with the same promises.

The table is cut into parts, and each worker sends one after the other, with the engine that sends whole tables else.
What makes it safe is the journal in PostgreSQL: every email is claimed there before its POST, by whoever comes first,
under a lease. Dask may run a part twice; its emails leave once.
"""
