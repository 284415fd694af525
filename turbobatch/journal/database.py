"""A journal's PostgreSQL database: connecting to it, its tables and their versions, and its errors in one line each."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError, JournalError
from turbobatch.journal.named import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import Connection

    from turbobatch.journal.place import JournalUrl

_PATIENCE = 3  # seconds until a host that says nothing counts as out of reach; libpq knows whole seconds, at least 2
_STANDSTILL = "30s"  # of a session in a transaction, after which the server ends it: nobody waits longer for its locks
_SESSION = (
    # What was committed must outlive a crash of the server: an intent whose POST may have begun, above all.
    """SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')""",
    f"SET idle_in_transaction_session_timeout = '{_STANDSTILL}'",
    "SET lock_timeout = '10s'",
)
_NAMED = 3  # keys that a message names at most

LEASE_ENDED = "TB001"
CONTRADICTION = "TB002"
"""What `turbobatch_commit` raises."""


def sql(name: str) -> Any:
    """A statement of postgres.sql by its name."""
    return statements("postgres.sql")[name].encode()  # as bytes it may be any text, for who checks types


def connect(url: JournalUrl) -> Connection:
    """A session that commits each statement, durably.

    Raises:
        CampaignError: psycopg isn't installed.
        JournalError: the database can't be reached, or doesn't let us in.
    """
    try:
        import psycopg
    except ImportError as error:
        raise CampaignError('a journal in PostgreSQL needs psycopg: pip install "turbobatch-mail[cluster]"') from error
    said = ""
    try:
        connection = psycopg.connect(
            url.conninfo,
            autocommit=True,
            connect_timeout=_PATIENCE,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
            application_name="turbobatch",
        )
        try:
            for statement in _SESSION:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
    except psycopg.ProgrammingError:  # it quotes what it can't read
        said = "PostgreSQL's library can't read the URL: check its parts"
    except (psycopg.Error, OSError, UnicodeError) as error:
        said = f"{_one_line(error, url)}: check that the server runs, and the URL's user, host and database"
    else:
        return connection
    # Raised here, so that nothing that has held the password hangs on it.
    raise JournalError(
        f"journal {url} can't be reached ({said}); nothing is sent without it, and the same command goes on"
    )


def forgetful(connection: Connection) -> list[str]:
    """The settings by which a server that crashes may forget what it has said is written."""
    return [name for (name,) in connection.execute(sql("forgetful_settings"))]


def version_of(connection: Connection) -> int | None:
    """The version of the tables; None where there are none."""
    if not _one(connection, "schema_exists"):
        return None
    version = _one(connection, "select_version")
    return None if version is None else int(version)


@cache
def migrations() -> Mapping[int, str]:
    """What makes each version of the tables of the one before."""
    folder = files("turbobatch.journal").joinpath("migrations")
    found = {item.name: item for item in folder.iterdir() if re.fullmatch(r"\d{4}\.sql", item.name)}
    return {int(name[:4]): found[name].read_text(encoding="utf-8") for name in sorted(found)}


def migrate(connection: Connection, url: JournalUrl, steps: Mapping[int, str]) -> None:
    """Bring the tables to the newest version; of several processes at once, one does.

    Raises:
        JournalError: a newer program has made them.
    """
    if check_version(version_of(connection), url, steps):
        return
    with connection.transaction():
        connection.execute(sql("advisory_lock"))
        connection.execute(sql("make_version"))
        version = version_of(connection) or 0
        if check_version(version, url, steps):
            return
        for number in range(version + 1, max(steps) + 1):
            connection.execute(steps[number].encode())  # as bytes, several statements at once
            connection.execute(sql("insert_version"), {"version": number})


def check_version(version: int | None, url: JournalUrl, steps: Mapping[int, str]) -> bool:
    """Whether the tables are as this program knows them; False where they are older or not there.

    Raises:
        JournalError: they are newer.
    """
    if version is not None and version > max(steps):
        raise JournalError(f"journal {url} was written by a newer turbobatch: upgrade to go on with it")
    return version == max(steps)


@contextmanager
def one_line_errors(url: JournalUrl) -> Iterator[None]:
    """Turn what psycopg raises into a JournalError that says what to do."""
    import psycopg

    said = ""
    try:
        yield
    except (psycopg.Error, OSError, UnicodeError) as error:
        said = _diagnosis(error, url)
    if said:
        raise JournalError(said)


def lease_ended(url: JournalUrl) -> JournalError:
    """The error for a process whose lease has ended with POSTs in flight."""
    return JournalError(
        f"the lease on journal {url} was lost: this process was paused, or cut off from it, for too long; "
        "what it had in flight is in doubt; run the same command again"
    )


def is_lost(connection: Connection) -> bool:
    """Whether the session has ended, for whatever reason."""
    return bool(connection.closed or connection.broken)


def _one(connection: Connection, name: str, **values: Any) -> Any:
    row = connection.execute(sql(name), values).fetchone()
    return None if row is None else row[0]


def _diagnosis(error: Exception, url: JournalUrl) -> str:
    import psycopg

    code = getattr(error, "sqlstate", None) or ""
    if code == LEASE_ENDED:
        return str(lease_ended(url))
    if code == CONTRADICTION and isinstance(error, psycopg.Error):
        keys = json.loads(error.diag.message_detail or "[]")
        named = ", ".join(map(repr, keys[:_NAMED])) + (" …" if len(keys) > _NAMED else "")
        what = error.diag.message_primary
        return f"{url} contradicts this run ({what} of {named}): nothing new was posted; run the same command again"
    said = _one_line(error, url)
    if code.startswith("42") or code == "3F000":  # a privilege or a schema that isn't there
        return f"journal {url} can't be used ({said}): check its user's rights and the search_path"
    if code.startswith("22") or isinstance(error, (UnicodeError, psycopg.DataError)):
        return f"journal {url} can't hold this ({said}): correct the key or cell"
    return f"journal {url} can't be written ({said}): run the same command again once it can be reached"


def _one_line(error: Exception, url: JournalUrl) -> str:
    import psycopg

    said = (error.diag.message_primary if isinstance(error, psycopg.Error) else "") or str(error) or "no connection"
    for secret in url.secrets:
        said = said.replace(secret, "***")
    return " ".join(said.strip().split("\n")[0].split())
