"""Merger: one row into an email, or into everything that is wrong with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from turbobatch.addresses import CONTROL, Address, holds_control
from turbobatch.email import Attachment, Email, is_body
from turbobatch.errors import CampaignError, InvalidEmail
from turbobatch.merge.addressing import read_addresses
from turbobatch.merge.cells import RESERVED, Blank, BlankUsedError, Head, Row, cell, is_plain
from turbobatch.merge.files import FileError, StoredFile
from turbobatch.merge.problems import Problem, distinct
from turbobatch.merge.templates import Field, blank
from turbobatch.merge.unsubscribe import read_links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from turbobatch.merge.addressing import Malformed
    from turbobatch.merge.message import Message

_OWN_NAMES = {"content": "text", "html_content": "html", "custom_headers": "headers"}
_CHANGING_HEADERS = frozenset({"date", "message-id"})

_constant_addresses = lru_cache(maxsize=64)(read_addresses)


@dataclass(frozen=True, slots=True)
class Merged:
    """What a row became.

    Attributes:
        email: None exactly when there are problems.
        digest: 32 hex digits over what was rendered and the attachments' bytes, the same in every run. What is made
            of the rendering by libraries (inlined CSS, Markdown's HTML, a derived text) and `reference_id` stay out.
        problems: everything that is wrong with the row.
    """

    email: Email | None
    digest: str | None
    problems: tuple[Problem, ...]


class Merger:
    """A message bound to a table's columns.

    Raises:
        CampaignError: a template prints an unknown column whatever the row.
    """

    def __init__(self, message: Message, head: Head) -> None:
        _check_names(message, head)
        self._message = message
        self._head = head
        self._used = {field: field.used.columns(head) for field in message.fields()}
        self._globals = dict(message.environments.plain.globals)

    @property
    def columns(self) -> tuple[str, ...]:
        """The table's columns."""
        return self._head.columns

    def columns_behind(self, *fields: str) -> tuple[str, ...]:
        """The columns that fields of these names print, each once."""
        columns = (column for field, used in self._used.items() if field.name in fields for column in used)
        return tuple(dict.fromkeys(columns))

    def merge(self, values: Sequence[Any], rows: Sequence[Sequence[Any]] | None = None) -> Merged:
        """Merge one row: its values in the columns' order, None where missing. `rows` are the rows of its group."""
        return self._work(values, rows).merged()

    def recipients(self, values: Sequence[Any], rows: Sequence[Sequence[Any]] | None = None) -> list[Address] | None:
        """Whom the row's email goes to (to, cc, bcc); nothing else is rendered. None where something is wrong there."""
        work = self._work(values, rows)
        to, cc, bcc = map(work.addresses, (self._message.to, self._message.cc, self._message.bcc))
        return [*to, *cc, *bcc] if to and not work.problems else None

    def _work(self, values: Sequence[Any], rows: Sequence[Sequence[Any]] | None) -> _Work:
        work = _Work(self._message, self._head, self._used)
        row = work.row(values)
        group = [row] if rows is None else [work.row(item) for item in rows]
        named = {name: work.cells[position] for name, position in self._head.names.items()}
        work.context = self._globals | named | {"row": row, "rows": group}
        return work


class _Work:
    """The merging of one row: renders field by field and gathers what is wrong."""

    __slots__ = ("_head", "_message", "_seen", "_used", "cells", "context", "problems")

    def __init__(self, message: Message, head: Head, used: dict[Field, tuple[str, ...]]) -> None:
        self._message = message
        self._head = head
        self._used = used
        self._seen: list[str] = []
        self.cells: tuple[Any, ...] = ()
        self.context: dict[str, Any] = {}
        self.problems: list[Problem] = []

    def row(self, values: Sequence[Any]) -> Row:
        """Take in one row's values; the first row's are the ones that problems quote."""
        cells = tuple(
            [
                value if is_plain(value) else self._cell(value, column)
                for value, column in zip(values, self._head.columns, strict=True)
            ]
        )
        self.cells = self.cells or cells
        return Row(self._head, cells)

    def merged(self) -> Merged:
        """Render everything, then build the email unless something is wrong."""
        message = self._message
        sender = self.one_address(message.from_)
        if sender is None and not self.problems:
            self._report(message.from_, "missing or not valid sender email (from)", "give the sender's address")
        to, cc, bcc = self.addresses(message.to), self.addresses(message.cc), self.addresses(message.bcc)
        if not to and not any(problem.field == "to" for problem in self.problems):
            self._report(message.to, "missing recipients (to)", "fill the cell")
        reply_to = self.one_address(message.reply_to)
        subject, reference_id = self.line(message.subject), self.line(message.reference_id)
        text, source = self.body(message.text), self.body(message.html or message.markdown)
        headers = self.headers()
        files = [*self.attached()]
        if self.problems:
            return Merged(None, None, distinct(self.problems))
        content, html = self.finished(text, source)
        email = self.email(
            from_=sender,
            to=to,
            cc=cc,
            bcc=bcc,
            subject=subject,
            content=content,
            html_content=html,
            custom_headers=headers,
            reply_to=reply_to,
            attachments=[Attachment(file.content, file.name, content_id=cid) for file, cid in files],
            reference_id=reference_id or None,
        )
        if email is None:
            return Merged(None, None, distinct(self.problems))
        return Merged(email, _digest(email, text, source, files), ())

    def text(self, field: Field | None, *, partial: bool = False) -> str:
        """Render a field; empty where the message has none or something is wrong (or `partial`, without its blanks)."""
        if field is None:
            return ""
        rendered = ""
        try:
            rendered = field.render(self.context)
        except BlankUsedError as error:
            self._seen.append(str(error.message))
        except Exception as error:  # noqa: BLE001 - whatever a template does wrong is the row's problem
            if not self._seen:  # else it may only follow from the blank
                self.problems.append(field.problem(error, self._used[field], self._head))
        if self._seen:
            self.problems += [blank(field.name, column) for column in self._seen]
            self._seen.clear()
            return rendered if partial else ""
        return rendered

    def line(self, field: Field | None) -> str:
        """Render a field that goes into a header: a line break could start a header of its own."""
        rendered = self.text(field)
        if field is not None and holds_control(rendered):
            columns = self._holding(field, holds_control)
            self._report(field, f"{field.label} holds a line break or control character", "remove it", columns)
        return rendered

    def body(self, field: Field | None) -> str:
        """Render a body."""
        rendered = self.text(field)
        if field is not None and not is_body(rendered):
            columns = self._holding(field, lambda text: not is_body(text))
            self._report(field, f"{field.name} holds a NUL or half a character", "remove it", columns)
        return rendered

    def addresses(self, field: Field | None) -> list[Address]:
        """Render and read an address field."""
        if field is None:
            return []
        read = read_addresses if field.constant is None else _constant_addresses
        before = len(self.problems)
        found, malformed = read(self.text(field, partial=True), field.name.replace("_", "-"))
        if len(self.problems) > before:  # what a blank left behind is no fault of its own; a cell's whole text is
            cells = [self._quoted(name) for name in self._used[field]]
            malformed = [item for item in malformed if any(item.text in shown for shown in cells)]
        self._report_all(field, malformed)
        return found

    def one_address(self, field: Field | None) -> Address | None:
        """Render and read a field that takes one address."""
        found = self.addresses(field)
        if field is not None and len(found) > 1:
            self._report(field, f"'{field.name.replace('_', '-')}' holds {len(found)} addresses", "give exactly one")
        return found[0] if found else None

    def headers(self) -> dict[str, str]:
        """Render the custom headers; one that comes out empty is left out."""
        rendered = {name: self.line(field) for name, field in self._message.headers}
        field = self._message.list_unsubscribe
        if field is not None:
            links, malformed = read_links(self.text(field))
            self._report_all(field, malformed)
            rendered |= links
        return {name: value for name, value in rendered.items() if value}

    def attached(self) -> Iterator[tuple[StoredFile, str | None]]:
        """Find the attachments and inline images, each with its content id."""
        for field in self._message.attachments:
            yield from ((file, None) for file in self.file(field))
        for content_id, field in self._message.inline:
            yield from ((file, content_id) for file in self.file(field))

    def file(self, field: Field) -> Iterator[StoredFile]:
        """Render a path and read its file; an empty path means none."""
        path = self.text(field)
        if not path:
            return
        try:
            stored = self._message.environments.folder.read(path)
            Attachment(b"", stored.name)
        except FileError as error:
            optional = ", or leave the cell blank" if field.constant is None else ""
            self._report(field, f"attachment {path!r} {error.reason}", f"{error.cure}{optional}")
        except InvalidEmail as error:
            self._report(field, str(error), "rename the file")
        else:
            yield stored

    def finished(self, text: str, source: str) -> tuple[str, str]:
        """The text and HTML parts."""
        body = self._message.html or self._message.markdown
        if body is None:
            return text, ""
        try:
            html, derived = self._message.finish(source)
        except Exception as error:  # noqa: BLE001 - three libraries, each with errors of its own
            self._report(body, f"{body.name} can't be converted: {CONTROL.sub(' ', str(error))}", "correct the HTML")
            return text, ""
        return (text if self._message.text else derived), html

    def email(self, **fields: Any) -> Email | None:
        """Build the email; what only it finds wrong becomes problems too."""
        if self.problems:
            return None
        try:
            return Email(**fields)
        except InvalidEmail as error:
            for fault in error.faults:
                name = _OWN_NAMES.get(fault.field, fault.field)
                columns = [column for field, used in self._used.items() if field.name == name for column in used]
                self.problems.append(Problem(name, tuple(dict.fromkeys(columns)), fault.text, f"correct the {name}"))
            return None

    def _cell(self, value: Any, column: str) -> Any:
        try:
            return cell(value, column, self._seen)
        except Exception as error:  # noqa: BLE001 - a table can hold objects of any make
            text = f"column {column!r} holds a value that can't be read ({type(error).__name__})"
            self.problems.append(Problem("row", (column,), text, "put text or a number there"))
            return Blank(column, self._seen)

    def _report(self, field: Field, error: str, cure: str, columns: tuple[str, ...] | None = None) -> None:
        self.problems.append(Problem(field.name, self._used[field] if columns is None else columns, error, cure))

    def _report_all(self, field: Field, malformed: Iterable[Malformed]) -> None:
        for item in malformed:
            self._report(field, item.error, item.cure, self._behind(field, item.text))

    def _behind(self, field: Field, text: str) -> tuple[str, ...]:
        """The columns that a faulty text most likely came from."""
        columns = self._used[field]
        cells = {name: self._quoted(name).strip() for name in columns}
        for fits in (lambda shown: shown == text, lambda shown: text in shown, lambda shown: shown in text):
            found = tuple(name for name, shown in cells.items() if shown and fits(shown))
            if found:
                return found
        return columns

    def _holding(self, field: Field, is_fault: Callable[[str], bool]) -> tuple[str, ...]:
        columns = self._used[field]
        return tuple(name for name in columns if is_fault(self._quoted(name))) or columns

    def _quoted(self, column: str) -> str:
        value = self.cells[self._head.index[column]]
        return str(value) if isinstance(value, (str, int, float)) else ""


def constant_problems(message: Message) -> tuple[Problem, ...]:
    """What is wrong with the fields that are the same for every row."""
    work = _Work(message, Head(()), dict.fromkeys(message.fields(), ()))
    for field in (message.from_, message.to, message.cc, message.bcc, message.reply_to):
        if field is not None and field.constant is not None:
            work.addresses(field)
    for field in (message.subject, message.reference_id, *(field for _, field in message.headers)):
        if field is not None and field.constant is not None:
            work.line(field)
    for field in (*message.attachments, *(field for _, field in message.inline)):
        if field.constant is not None:
            list(work.file(field))
    return distinct(work.problems)


def _check_names(message: Message, head: Head) -> None:
    for field in message.fields():
        for name, place, of_row in field.used.required:
            known = name in head.index or hasattr(Row, name) if of_row else name in head.names or name in RESERVED
            if not known:
                raise CampaignError(f"{place}: there is no column {name!r}; {head.hint(name)}")


def _digest(email: Email, text: str, source: str, files: list[tuple[StoredFile, str | None]]) -> str:
    headers = sorted((name.lower(), value) for name, value in email.headers.items()) if email.headers else ()
    parts = [
        ("from", str(email.from_)),
        *[("to", str(item)) for item in email.to],
        *[("cc", str(item)) for item in email.cc],
        *[("bcc", str(item)) for item in email.bcc],
        *[(f"header {name}", value) for name, value in headers if name not in _CHANGING_HEADERS],
        ("subject", email.subject),
        ("text", text),
        ("source", source),
        *[(f"file {content_id} {file.digest}", file.name) for file, content_id in files],
    ]
    content = []
    for kind, part in parts:
        encoded = part.encode()
        content.append(b"%b %d:%b" % (kind.encode(), len(encoded), encoded))  # lengths part them
    return hashlib.sha256(b"".join(content)).hexdigest()[:32]
