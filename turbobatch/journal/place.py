"""Where a journal is: a file, or a PostgreSQL database by its URL, whose password shows nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from turbobatch.errors import CampaignError

_SCHEMES = ("postgresql:", "postgres:")
_SECRET = ("password", "sslpassword")
_FORM = "postgresql://USER@HOST/DATABASE, with a password's special characters as %XX, or the password in PGPASSWORD"


@dataclass(frozen=True, slots=True)
class JournalUrl:
    """A PostgreSQL database. Two URLs are the same if they differ only in their passwords.

    Attributes:
        text: the URL without its passwords, which is also what it shows as.
        conninfo: the URL as it was given, for PostgreSQL's own library alone.
    """

    text: str
    conninfo: str = field(repr=False, compare=False)

    def __str__(self) -> str:
        return self.text

    @property
    def secrets(self) -> tuple[str, ...]:
        """Its passwords, as they are and as they were written."""
        parts = urlsplit(self.conninfo)
        written = [parts.netloc.rpartition("@")[0].partition(":")[2]]
        written += [item.partition("=")[2] for item in parts.query.split("&") if _is_secret(item)]
        return tuple(form for item in written if item for form in {item, unquote(item)})

    def without_password(self) -> JournalUrl:
        """The same database, for whoever has the password from elsewhere."""
        return JournalUrl(self.text, self.text)

    def environment(self) -> dict[str, str]:
        """Its password as PostgreSQL's own library reads it: for a child process's environment, and nothing else."""
        parts = urlsplit(self.conninfo)
        given = [unquote(parts.password)] if parts.password else []
        pairs = (item.partition("=") for item in parts.query.split("&"))
        given += [unquote(value) for name, _, value in pairs if unquote(name).strip().lower() == "password"]
        return {"PGPASSWORD": given[-1]} if given else {}


Place = Path | JournalUrl


def journal_place(given: str | Path | JournalUrl) -> Place:
    """A path, absolute, or the URL of a database; a place as it is.

    Raises:
        CampaignError: it begins like such a URL and is none; its text isn't repeated, as it may hold a password.
    """
    if isinstance(given, JournalUrl):
        return given
    text = str(given)
    if not text.startswith(_SCHEMES):
        # A change of the working directory must not make another campaign of it.
        return Path(given).absolute()
    try:
        parts = urlsplit(text)
        host, path = parts.netloc.rpartition("@"), parts.path
        # A password with such a character in it would be taken for a host, and be shown.
        is_one = "//" in text and not any("@" in item for item in (host[0], path, parts.query)) and "#" not in text
    except ValueError:
        is_one = False
    if not is_one or not isinstance(given, str):
        raise CampaignError(f"the journal's URL can't be read: write {_FORM}")
    user = host[0].partition(":")[0]
    query = "&".join(item for item in parts.query.split("&") if not _is_secret(item))
    shown = f"{parts.scheme}://{user}{host[1]}{host[2]}{path}{'?' if query else ''}{query}"
    return JournalUrl(shown, text)


def without_password(given: str) -> str:
    """What was given for a journal, as it may be shown: a path as it is."""
    place = journal_place(given)
    return str(place) if isinstance(place, JournalUrl) else given


def _is_secret(parameter: str) -> bool:
    return unquote(parameter.partition("=")[0]).strip().lower() in _SECRET
