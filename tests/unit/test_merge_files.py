"""Attachments and inline images: found by templates of paths, never outside the campaign's folder."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from turbobatch.errors import CampaignError
from turbobatch.merge import MailMerge, Merged, Problem
from turbobatch.merge import files as merge_files
from turbobatch.merge.files import FileError, Folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "campaign"
    (folder / "invoices").mkdir(parents=True)
    (folder / "invoices" / "7.pdf").write_bytes(b"%PDF 7")
    (folder / "logo.png").write_bytes(b"\x89PNG")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def merged(folder: Path, row: dict[str, Any], **fields: Any) -> Merged:
    merge = MailMerge(from_="a@acme.example", to="b@acme.example", text="x", folder=folder, **fields)
    return merge.bind(tuple(row)).merge(list(row.values()))


def fault(folder: Path, path: str, template: str = "{{ path }}") -> Problem:
    (problem,) = merged(folder, {"path": path}, attachments=[template]).problems
    return problem


def test_each_row_gets_its_own_file(folder: Path) -> None:
    result = merged(folder, {"n": "7"}, attachments=["invoices/{{ n }}.pdf"], inline={"logo": "logo.png"})
    assert result.email is not None
    pdf, logo = result.email.attachments
    assert (pdf.name, pdf.type, pdf.content, pdf.content_id) == ("7.pdf", "application/pdf", b"%PDF 7", None)
    assert (logo.name, logo.type, logo.content, logo.content_id) == ("logo.png", "image/png", b"\x89PNG", "logo")


def test_an_empty_path_attaches_nothing(folder: Path) -> None:
    result = merged(folder, {"p": None}, attachments=['{{ p | default("") }}'], inline={"x": '{{ p | default("") }}'})
    assert result.email is not None
    assert result.email.attachments == ()


@pytest.mark.parametrize("path", ["../secret.txt", "invoices/../../secret.txt", "link.txt", "out/secret.txt"])
def test_a_path_that_leads_out_of_the_folder_is_refused(folder: Path, path: str) -> None:
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "out").symlink_to(folder.parent)
    assert fault(folder, path).error == f"attachment {path!r} lies outside the campaign's folder"


def test_absolute_paths_are_refused_even_inside(folder: Path) -> None:
    assert fault(folder, str(folder / "logo.png")).error.endswith("is an absolute path")


def test_a_cell_cannot_climb_out_of_a_literal_folder(folder: Path) -> None:
    problem = fault(folder, "../../secret.txt", "invoices/{{ path }}")
    assert problem.error == "attachment 'invoices/../../secret.txt' lies outside the campaign's folder"
    assert problem.columns == ("path",)


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "same.png").symlink_to(folder / "logo.png")
    result = merged(folder, {"p": "same.png"}, attachments=["{{ p }}"])
    assert result.email is not None
    assert result.email.attachments[0].name == "same.png"


def test_a_missing_file_is_the_rows_problem(folder: Path) -> None:
    assert fault(folder, "8", "invoices/{{ path }}.pdf") == Problem(
        "attachments",
        ("path",),
        "attachment 'invoices/8.pdf' not found",
        "put the file there, or leave the cell blank",
    )


def test_what_is_no_regular_file_is_refused_without_waiting(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "null").symlink_to("/dev/null")
    (folder / "loop").symlink_to(folder / "loop")
    assert "is no regular file" in fault(folder, "pipe").error
    assert "lies outside" in fault(folder, "null").error
    assert "is a directory" in fault(folder, "invoices").error
    assert "is a directory" in fault(folder, ".").error
    assert "can't be read" in fault(folder, "loop").error or "lies outside" in fault(folder, "loop").error


def test_names_that_no_file_can_have_are_refused(folder: Path) -> None:
    assert "holds a NUL character" in fault(folder, "a\0b").error
    assert "not found" in fault(folder, "a/" * 10 + "b").error
    assert "can't be read" in fault(folder, "x" * 5000).error
    assert fault(folder, "\ud800").error.startswith("attachment '\\ud800'")


def test_a_name_that_could_break_a_header_is_refused(folder: Path) -> None:
    (folder / "a\r\nBcc: x.pdf").write_bytes(b"x")
    assert "holds a control character" in fault(folder, "a\r\nBcc: x.pdf").error


def test_an_unreadable_file_is_the_rows_problem(folder: Path) -> None:
    (folder / "7.bin").write_bytes(b"x")
    (folder / "7.bin").chmod(0)
    if os.access(folder / "7.bin", os.R_OK):
        pytest.skip("this user reads everything")
    assert "can't be read (Permission denied)" in fault(folder, "7.bin").error


def test_a_file_larger_than_any_email_is_refused_unread(folder: Path) -> None:
    with (folder / "huge.bin").open("wb") as stream:
        stream.truncate(33 * 1024 * 1024)
    assert fault(folder, "huge.bin").error == "attachment 'huge.bin' of 33.0 MB is over 32 MB"


@pytest.mark.parametrize("fields", [{"inline": {"logo": "none.png"}}, {"attachments": ["none.png"]}])
def test_a_missing_constant_file_is_the_campaigns_fault(folder: Path, fields: Any) -> None:
    with pytest.raises(CampaignError, match=r"attachment 'none\.png' not found; put the file there$"):
        merged(folder, {}, **fields)


def test_a_content_id_must_be_one(folder: Path) -> None:
    with pytest.raises(CampaignError, match="inline: attachment content_id 'lo go' not valid"):
        merged(folder, {}, inline={"lo go": "logo.png"})


def test_a_file_is_read_once_while_it_stays_the_same(folder: Path) -> None:
    store = Folder(folder)
    first = store.read("logo.png")
    assert store.read("logo.png") is first
    assert store.read("./logo.png") is first
    (folder / "logo.png").write_bytes(b"another")
    assert store.read("logo.png").content == b"another"


def test_the_cache_is_bounded_and_keeps_what_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge_files, "_CACHED", 10)
    store = Folder(folder)
    logo = store.read("logo.png")
    for number in range(5):
        (folder / f"{number}.bin").write_bytes(b"12345")
        first = store.read(f"{number}.bin")
        assert store.read("logo.png") is logo
    assert store.read("4.bin") is first
    assert store.read("0.bin").content == b"12345"


def test_a_file_that_vanishes_while_it_is_read_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(path: str, flags: int) -> int:
        raise FileNotFoundError(2, "gone", path, flags)

    monkeypatch.setattr(os, "open", vanish)
    with pytest.raises(FileError, match="not found"):
        Folder(folder).read("logo.png")


def test_a_message_travels_with_its_texts_alone(tmp_path: Path) -> None:
    """Another process makes the same emails, or none: where a template, or what one includes, isn't the same there."""
    (tmp_path / "letter.txt").write_text("Dear {{ name }} {% include 'foot.txt' %}", "utf-8")
    (tmp_path / "foot.txt").write_text("Bye", "utf-8")
    message = MailMerge(
        from_="shop@acme.example",
        to="{{ email }}",
        subject="{{ name }}",
        text=Path("letter.txt"),
        headers={"X-Name": "{{ name }}"},
        folder=tmp_path,
    )
    row = {"name": "Ana", "email": "ana@example.org"}
    travelled = pickle.dumps(message)
    assert pickle.loads(travelled).render(row) == message.render(row)  # noqa: S301 - our own
    (tmp_path / "foot.txt").write_text("Good bye", "utf-8")
    with pytest.raises(CampaignError, match=r"a template \(letter.txt, foot.txt\) was changed"):
        pickle.loads(travelled)  # noqa: S301 - our own
