"""MailMerge: the message as templates."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turbobatch.email import Attachment, Email
from turbobatch.errors import CampaignError, Fault, InvalidEmail
from turbobatch.merge.addressing import refuse_assembled
from turbobatch.merge.bodies import require
from turbobatch.merge.cells import Head
from turbobatch.merge.environment import Environments
from turbobatch.merge.files import Folder
from turbobatch.merge.merger import Merger, constant_problems
from turbobatch.merge.message import Message, finisher
from turbobatch.merge.templates import Field, compile_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN = 40
_SHOWN_FIELDS = ("to", "subject", "text", "html", "markdown")
_UNSUBSCRIBE_HEADERS = frozenset({"list-unsubscribe", "list-unsubscribe-post"})


class MailMerge:
    """An email as Jinja templates: a `str` is a template's source, a `Path` its file.

    Args:
        from_: one address, also with a name: "Acme <shop@acme.example>".
        to: one or several addresses, separated by commas, as are `cc` and `bcc`.
        subject: one line.
        text: the plain text; derived from the HTML unless given ("" for none).
        html: the HTML, in which what a cell says is escaped.
        markdown: Markdown, of which the HTML is made; in place of `html`.
        cc: see `to`.
        bcc: see `to`.
        reply_to: one address.
        reference_id: the email's id in the vendor's analytics (v2); the row's key unless given.
        headers: more headers: a template by name.
        attachments: templates of paths.
        inline: templates of images' paths by content id: "logo" is shown by `<img src="cid:logo">`.
        inline_css: write what the HTML's style sheets say into its elements, as some mail programs need it.
        list_unsubscribe: an https or mailto link, or both, separated by a comma.
        folder: where files are read from, the working directory unless given; nothing that a template or a cell names
            can leave it.

    Raises:
        CampaignError: a template or file can't be used, or the fields contradict each other.
    """

    _bound: Merger | None = None

    def __init__(
        self,
        *,
        from_: str,
        to: str,
        subject: str = "",
        text: str | Path | None = None,
        html: str | Path | None = None,
        markdown: str | Path | None = None,
        cc: str | None = None,
        bcc: str | None = None,
        reply_to: str | None = None,
        reference_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        attachments: Sequence[str | Path] = (),
        inline: Mapping[str, str | Path] | None = None,
        inline_css: bool = False,
        list_unsubscribe: str | None = None,
        folder: str | Path | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name != "self"}
        headers, inline, links = dict(headers or {}), dict(inline or {}), list_unsubscribe
        _check_bodies(html, markdown, text, inline_css=inline_css)
        _check_header_names(headers, list_unsubscribe)
        _check_content_ids(inline)
        use = Environments(_folder(folder))
        self._message = Message(
            environments=use,
            from_=_addresses(use, "from", from_),
            to=_addresses(use, "to", to),
            cc=None if cc is None else _addresses(use, "cc", cc),
            bcc=None if bcc is None else _addresses(use, "bcc", bcc),
            reply_to=None if reply_to is None else _addresses(use, "reply_to", reply_to),
            subject=_line(use, "subject", subject),
            reference_id=None if reference_id is None else _line(use, "reference_id", reference_id),
            text=None if text is None else compile_field(use.plain, "text", text),
            html=None if html is None else compile_field(use.html, "html", html),
            markdown=None if markdown is None else compile_field(use.markdown, "markdown", markdown),
            headers=tuple((name, _line(use, "headers", value, f"header {name!r}")) for name, value in headers.items()),
            list_unsubscribe=None if links is None else _addresses(use, "list_unsubscribe", links),
            attachments=tuple(_line(use, "attachments", str(path), "attachment") for path in attachments),
            inline=tuple((cid, _line(use, "inline", str(path), f"inline {cid!r}")) for cid, path in inline.items()),
            finish=finisher(markdown=markdown is not None, css=inline_css, text=text is None),
        )
        self._given = given | {"headers": headers, "inline": inline, "folder": use.folder.root}
        self.sender = from_
        self.files = tuple(use.folder.root / item for item in (text, html, markdown) if isinstance(item, Path))
        self._texts = (*self.files, *sorted(use.folder.included))
        self._digest = _digest(self._texts)
        _check_constants(self._message)

    def bind(self, columns: Sequence[str]) -> Merger:
        """Check the templates against a table's columns, given by their names in order.

        Raises:
            CampaignError: a template prints an unknown column whatever the row.
        """
        return Merger(self._message, Head(columns))

    def render(self, row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] | None = None) -> Email:
        """Merge one row, given by its column names; `rows` are the rows of its group.

        Raises:
            InvalidEmail: with everything that is wrong with the row.
            CampaignError: a template prints an unknown column whatever the row.
        """
        columns = tuple(row)
        if self._bound is None or self._bound.columns != columns:
            self._bound = self.bind(columns)
        group = None if rows is None else [[item.get(name) for name in columns] for item in rows]
        merged = self._bound.merge(list(row.values()), group)
        if merged.email is None:
            raise InvalidEmail(Fault(problem.field, problem.error) for problem in merged.problems)
        return merged.email

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as what it was made of; the template files must be the same there."""
        return _again, (self._given, self._digest)

    def __repr__(self) -> str:
        shown = (f"{name}={_short(self._given[name])}" for name in _SHOWN_FIELDS if self._given[name])
        return f"MailMerge({', '.join(shown)})"


def _again(given: Mapping[str, Any], digest: str) -> MailMerge:
    """Make the message anew, in another process.

    Raises:
        CampaignError: its template files aren't there, or aren't the same.
    """
    made = MailMerge(**given)
    if made._digest != digest:  # noqa: SLF001 - its own module
        names = ", ".join(path.name for path in made._texts)  # noqa: SLF001 - its own module
        raise CampaignError(f"a template ({names}) was changed while it was in use, or is another one on this machine")
    return made


def _digest(files: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in files:
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _folder(given: str | Path | None) -> Folder:
    path = Path.cwd() if given is None else Path(given)
    if not path.is_dir():
        raise CampaignError(f"folder {str(path)!r} not found; name the folder of the campaign's files")
    return Folder(path)


def _addresses(use: Environments, name: str, source: str) -> Field:
    return compile_field(use.marked, name, source, strip=True, check=refuse_assembled)


def _line(use: Environments, name: str, source: str, label: str | None = None) -> Field:
    return compile_field(use.plain, name, source, label=label, strip=True)


def _check_bodies(html: object, markdown: object, text: object, *, inline_css: bool) -> None:
    if html is not None and markdown is not None:
        raise CampaignError("html and markdown are both given; keep one of them")
    if markdown is not None:
        require("markdown_it", "markdown")
    if inline_css and (html is not None or markdown is not None):
        require("css_inline", "inline_css")
    if text is None and (html is not None or markdown is not None):
        require("inscriptis", 'a text part made from the HTML (text = "" sends none)')


def _check_constants(message: Message) -> None:
    for problem in constant_problems(message):
        raise CampaignError(str(problem))


def _check_header_names(headers: Mapping[str, str], list_unsubscribe: str | None) -> None:
    try:
        Email(from_="a@example.org", to="a@example.org", custom_headers=dict.fromkeys(headers, "x"))
    except InvalidEmail as error:
        raise CampaignError(f"headers: {error}; correct the name") from error
    twice = [name for name in headers if name.lower() in _UNSUBSCRIBE_HEADERS]
    if list_unsubscribe is not None and twice:
        raise CampaignError(f"header {twice[0]!r} and list_unsubscribe are both given; keep one of them")


def _check_content_ids(inline: Mapping[str, str | Path]) -> None:
    for content_id in inline:
        try:
            Attachment(b"", "image.png", content_id=content_id)
        except InvalidEmail as error:
            raise CampaignError(f"inline: {error}; use letters, digits, `.`, `_` and `-`") from error


def _short(value: str | Path) -> str:
    text = repr(str(value))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 2]}…'"
