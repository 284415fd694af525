"""An outage that lasts over several runs, as a cron job meets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from turbobatch.policy import Policy
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path
    from typing import Protocol

    class Command(Protocol):
        """What conftest's `turbobatch` can do."""

        def use(self, sandbox: Sandbox) -> None: ...
        def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]: ...


def test_each_restart_costs_few_rows(letters: Callable[..., Path], turbobatch: Command) -> None:
    """However many POSTs may be in flight, a run that never gets a healthy answer begins one after the other."""
    folder = letters(200)
    with Sandbox(faults=["500:100%"]) as sandbox:
        turbobatch.use(sandbox)
        for runs in (1, 2, 3):
            done = turbobatch("send", folder, "-o", "report.csv", "--yes", "--concurrency", 32)
            assert (done.returncode, sandbox.requests_seen()) == (3, runs * Policy().threshold), done.stderr
    statuses = json.loads(turbobatch("status", folder, "--json").stdout)["statuses"]
    assert statuses == {"in_doubt": 3 * Policy().threshold, "pending": 200 - 3 * Policy().threshold}
