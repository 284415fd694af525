"""campaign.toml → frozen settings. Every key is known, every value has its type, every error says where."""

from __future__ import annotations

import os
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from turbobatch.errors import CampaignError, did_you_mean
from turbobatch.journal import JournalUrl
from turbobatch.merge import MailMerge
from turbobatch.merge.files import FileError, Folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from turbobatch.journal import Place

FILE_NAME = "campaign.toml"
_LONGEST = 200  # bytes of a name


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientsSettings:
    """Where the rows come from, and what tells them apart."""

    path: str | None = None
    key: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSettings:
    """The templates; `text`, `html` and `markdown` name files."""

    from_: str
    to: str
    cc: str | None = None
    bcc: str | None = None
    reply_to: str | None = None
    reference_id: str | None = None
    subject: str = ""
    text: str | None = None
    html: str | None = None
    markdown: str | None = None
    attachments: tuple[str, ...] = ()
    inline: dict[str, str] = field(default_factory=dict)
    inline_css: bool = False
    list_unsubscribe: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSettings:
    """How the emails leave."""

    api: str | None = None
    rate: str | None = None
    concurrency: int = 16
    window: str | None = None
    suppress: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One campaign.toml, `file`. Paths in it are relative to `folder`."""

    name: str
    file: Path
    folder: Path
    recipients: RecipientsSettings
    message: MessageSettings
    send: SendSettings


def load_settings(path: str | Path) -> Settings:
    """Read a campaign.toml, or the one in a folder.

    Raises:
        CampaignError: it is missing, no TOML, or has a key or value that isn't as it should be.
    """
    path = Path(path)
    file = path
    try:
        file = path / FILE_NAME if path.is_dir() else path
        table = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        cure = f"; name a campaign.toml or its folder, or make one with: turbobatch init {path}"
        raise CampaignError(f"{file} can't be read: {error.strerror}{cure}") from error
    except UnicodeDecodeError as error:
        raise CampaignError(f"{file} is not UTF-8: save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise CampaignError(f"{file} is no valid TOML: {error}") from error
    return _Reader(file).settings(table)


_Section = TypeVar("_Section", RecipientsSettings, MessageSettings, SendSettings)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns TOML tables into settings; knows the file for its messages."""

    file: Path

    def settings(self, table: dict[str, Any]) -> Settings:
        self._check_keys("", table, ("name", "recipients", "message", "send"))
        if "name" not in table:
            raise self._error("name", "is missing: it tells this campaign and its journal from others", "")
        name = table["name"]
        if fault := name_fault(name):
            raise self._error("name", fault, "")
        return Settings(
            name=name,
            file=self.file.absolute(),
            folder=self.file.parent.absolute(),
            recipients=self._section(RecipientsSettings, "recipients", table),
            message=self._section(MessageSettings, "message", table),
            send=self._section(SendSettings, "send", table),
        )

    def _section(self, kind: type[_Section], section: str, table: dict[str, Any]) -> _Section:
        values = table.get(section, {})
        if not isinstance(values, dict):
            raise self._error(section, f"must be a table: [{section}]", "")
        known = {item.name.rstrip("_"): item for item in fields(kind)}
        self._check_keys(section, values, tuple(known))
        for name, item in known.items():
            if name not in values and item.default is MISSING and item.default_factory is MISSING:
                raise self._error(name, "is missing", section)
        checked = {known[name].name: self._value(section, name, str(known[name].type), values[name]) for name in values}
        return kind(**checked)

    def _value(self, section: str, name: str, kind: str, value: Any) -> Any:
        """Check a value against its field's annotation; one text stands for a list of one."""
        match kind:
            case "bool":
                wanted, good = "true or false", isinstance(value, bool)
            case "int":
                wanted, good = "a whole number above 0", type(value) is int and value > 0
            case "tuple[str, ...]":
                value = (value,) if isinstance(value, str) else value
                wanted, good = "a text or a list of texts", isinstance(value, (list, tuple)) and _all_texts(value)
                value = tuple(value) if good else value
            case "dict[str, str]":
                wanted, good = "a table of texts", isinstance(value, dict) and _all_texts(value.values())
            case _:
                wanted, good = "a text", isinstance(value, str)
        if not good:
            raise self._error(name, f"must be {wanted}, not {value!r}", section)
        if _is_blank(value, kind, section):
            # An empty rate, window or key would switch off what it was written for.
            raise self._error(name, "is blank: leave it out to mean none", section)
        return value

    def _check_keys(self, section: str, table: dict[str, Any], known: Sequence[str]) -> None:
        for name in table:
            if name not in known:
                raise self._error(name, f"is not known: {did_you_mean(name, known)}", section)

    def _error(self, name: str, text: str, section: str) -> CampaignError:
        place = f"[{section}] " if section else ""
        return CampaignError(f"{self.file}: {place}{name} {text}")


def name_fault(name: object) -> str | None:
    """What is wrong with a campaign's name, which is its journal's too."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or {"/", "\\"} & set(name):
        return "must be a text without slashes; it names the journal"
    # A file's name may have 255 bytes on most systems, and `.journal.db-journal` comes after.
    return f"must have {_LONGEST} bytes at most; it names the journal" if len(name.encode()) > _LONGEST else None


def checked_concurrency(given: int) -> int:
    """Return it if so many POSTs can be in flight.

    Raises:
        CampaignError: they can't.
    """
    if type(given) is not int or given < 1:
        raise CampaignError(f"concurrency is {given!r}: give a whole number above 0")
    return given


def _is_blank(value: Any, kind: str, section: str) -> bool:
    """Whether a setting says nothing: an empty text where there could be none, or a list of such."""
    if kind == "str | None":
        return not value or (not value.strip() and value != "\t")  # a tab is a delimiter
    if kind == "tuple[str, ...]":
        return not all(map(str.strip, value)) or (not value and section == "recipients")
    return False


def _all_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(item, str) for item in values)


def mail_merge(settings: Settings) -> MailMerge:
    """The message that a campaign.toml describes.

    Raises:
        CampaignError: a template or file can't be used.
    """
    message = settings.message
    return MailMerge(
        from_=message.from_,
        to=message.to,
        cc=message.cc,
        bcc=message.bcc,
        reply_to=message.reply_to,
        reference_id=message.reference_id,
        subject=message.subject,
        text=_file(settings, "text", message.text),
        html=_file(settings, "html", message.html),
        markdown=_file(settings, "markdown", message.markdown),
        attachments=message.attachments,
        inline=message.inline,
        inline_css=message.inline_css,
        list_unsubscribe=message.list_unsubscribe,
        headers=message.headers,
        folder=settings.folder,
    )


def _file(settings: Settings, field: str, name: str | None) -> Path | None:
    """A template's file, which must lie in the campaign's folder: a campaign from elsewhere mails no other file."""
    if name is None:
        return None
    try:
        Folder(settings.folder).locate(name)
    except FileError as error:
        raise CampaignError(f"{settings.file}: [message] {field} {name!r} {error.reason}; {error.cure}") from error
    return Path(name)


@overload
def shown(path: Path) -> Path: ...
@overload
def shown(path: Place) -> Place: ...
def shown(path: Place) -> Place:
    """A path as people write it: relative where it lies below the working directory. A URL without its password."""
    if isinstance(path, JournalUrl):
        return path
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def is_one_of(path: Path, files: Sequence[Path]) -> bool:
    """Whether a path leads to one of these files, also before they exist and by whatever way it is written.

    A folder among them is a table in parts: all that is in it counts, and whatever would be new there.
    """
    # Not pathlib's resolve and exists: they raise for a link to itself, and for a name that no file can have.
    real = os.path.realpath(path)
    if real in map(os.path.realpath, files):
        return True
    folders = [item for item in files if os.path.isdir(item)]  # noqa: PTH112 - Path's would raise
    if os.path.dirname(real) in map(os.path.realpath, folders):  # noqa: PTH120 - `real` is a text
        return True
    parts = [item / name for item in folders for name in os.listdir(item)]  # noqa: PTH208 - names are enough
    there = [item for item in (*files, *parts) if os.path.exists(item)]  # noqa: PTH110 - Path's would raise
    return os.path.exists(path) and any(path.samefile(item) for item in there)  # noqa: PTH110 - Path's would raise


def names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """One column's name, several or none, as a tuple."""
    return (given,) if isinstance(given, str) else tuple(given or ())
