"""The sample campaigns keep what sample_data/README.md promises, judged on the files themselves."""

from __future__ import annotations

import csv
import re
import struct
import tomllib
import unicodedata
import zlib
from collections import Counter
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Never

import pytest
from jinja2 import StrictUndefined, Template, TemplateError, Undefined, UndefinedError
from jinja2.sandbox import SandboxedEnvironment
from markdown_it import MarkdownIt

from turbobatch.addresses import Address, AddressError
from turbobatch.typos import suggest

SAMPLES = Path(__file__).parents[2] / "sample_data"
CAMPAIGNS = ("receipts", "orders", "starter")
KEYS = {
    "": {"name", "recipients", "message", "send"},
    "recipients": {"path", "key", "group_by", "encoding", "delimiter", "sheet"},
    "message": {
        *("from", "to", "cc", "bcc", "reply_to", "reference_id", "subject", "text", "html", "markdown"),
        *("attachments", "inline", "inline_css", "list_unsubscribe", "headers"),
    },
    "send": {"api", "rate", "concurrency", "window", "suppress"},
}
VERBATIM = {
    7: ("name", "Doe, Jane"),
    19: ("name", 'Robert "Bob" O\'Neil'),
    21: ("company", "NA"),
    33: ("name", "Luna 🌙 Okafor"),
    41: ("email", "joerg@bücher.example"),
    52: ("email", ""),
    68: ("email", "broken@@@Address.@@"),
    97: ("email", "ines_moreau@gmail.con"),
    113: ("total", ""),
    131: ("email", "broken2@@@Address2.@@222"),
    148: ("invoice", "INV-2026-0999.pdf"),
}
SCRIPTS = ("LATIN SMALL LETTER E WITH", "LATIN CAPITAL LETTER L WITH", "GREEK", "CYRILLIC", "CJK UNIFIED", "HANGUL")

Row = dict[str, str]


class Missing(Undefined):
    """A blank cell: falsy, takes `default`, and fails when printed."""

    def __str__(self) -> Never:
        raise UndefinedError(f"{self._undefined_name} is blank")


def campaign(name: str) -> dict[str, Any]:
    return tomllib.loads((SAMPLES / name / "campaign.toml").read_text(encoding="utf-8"))


def table(name: str) -> list[Row]:
    recipients = campaign(name)["recipients"]
    path = SAMPLES / name / recipients["path"]
    with path.open(encoding=recipients.get("encoding", "utf-8"), newline="") as file:
        return list(csv.DictReader(file, delimiter=recipients.get("delimiter", ","), strict=True))


def context(row: Row) -> dict[str, object]:
    """Give a row's cells under their own names and their aliases, the blank ones as `Missing`."""
    cells: dict[str, object] = {name: text or Missing(name=name) for name, text in row.items()}
    return cells | {re.sub(r"\W+", "_", name).strip("_").lower(): cell for name, cell in cells.items()}


@cache
def templates(name: str, *, blocks: bool) -> dict[str, Template]:
    """Compile every template of a campaign; `blocks` switches jinja2's trim_blocks and lstrip_blocks on."""
    message = campaign(name)["message"]
    sources = {key: value for key, value in message.items() if isinstance(value, str)}
    sources |= message.get("headers", {}) | {f"attachment {n}": s for n, s in enumerate(message.get("attachments", []))}
    for key in {"text", "html", "markdown"} & message.keys():
        sources[key] = (SAMPLES / name / message[key]).read_text(encoding="utf-8")
    html, text = (
        SandboxedEnvironment(undefined=StrictUndefined, autoescape=escape, trim_blocks=blocks, lstrip_blocks=blocks)
        for escape in (True, False)
    )
    return {key: (html if key == "html" else text).from_string(source) for key, source in sources.items()}


def rendered(name: str, rows: list[Row], *, blocks: bool = False) -> dict[str, str]:
    """Merge some rows, as one group, into every template of a campaign; raises jinja2's errors."""
    first = context(rows[0])
    values = {**first, "row": first, "rows": [context(row) for row in rows]}
    return {key: template.render(values) for key, template in templates(name, blocks=blocks).items()}


def merges(name: str, row: Row) -> bool:
    """Tell whether a row makes an email: all is printed, the address is one, the attachments exist."""
    try:
        texts = rendered(name, [row])
        Address.parse(texts["to"])
    except (TemplateError, AddressError):
        return False
    return all((SAMPLES / name / text).exists() for key, text in texts.items() if key.startswith("attachment"))


@cache
def verdicts(name: str) -> list[str]:
    """Judge each row as the engine would, in the table's order."""
    settings = campaign(name)
    suppress = settings["send"].get("suppress")
    unwanted = (SAMPLES / name / suppress).read_text(encoding="utf-8").split()[1:] if suppress else []
    found, keys = [], set()
    for row in table(name):
        key = row[settings["recipients"]["key"]]
        verdict = "sent" if merges(name, row) else "invalid"
        if verdict == "sent" and row["email"] in unwanted:
            verdict = "suppressed"
        found.append("duplicate" if key in keys else verdict)
        keys.add(key)
    return found


def groups(name: str) -> dict[str, list[Row]]:
    """Gather a table's rows by the campaign's group_by column."""
    found: dict[str, list[Row]] = {}
    for row in table(name):
        found.setdefault(row[campaign(name)["recipients"]["group_by"]], []).append(row)
    return found


def decimal(text: str) -> Decimal:
    return Decimal(text.replace(",", "."))


def unknown_keys(settings: dict[str, Any]) -> set[str]:
    unknown = settings.keys() - KEYS[""]
    for section in KEYS.keys() - {""}:
        unknown |= settings.get(section, {}).keys() - KEYS[section]
    return unknown


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_campaign_uses_known_keys_only(name: str) -> None:
    """No sample teaches a key that campaign.toml doesn't have."""
    assert unknown_keys(campaign(name)) == set()


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_named_files_exist(name: str) -> None:
    """Templates, table, inline images and suppression list lie beside campaign.toml."""
    settings = campaign(name)
    message = settings["message"]
    named = [settings["recipients"]["path"], *(message[key] for key in ("text", "html", "markdown") if key in message)]
    named += [*message.get("inline", {}).values(), *filter(None, [settings.get("send", {}).get("suppress")])]
    assert [path for path in named if not (SAMPLES / name / path).is_file()] == []


def test_samples_are_small_data_only() -> None:
    """Nothing is over 100 KB, and no code is among the data."""
    files = [path for path in SAMPLES.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert all(path.stat().st_size <= 100_000 for path in files if ".journal.db" not in path.name)
    assert [path for path in files if path.suffix == ".py"] == []


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_nobody_real_is_addressed(name: str) -> None:
    """Every address lies in a reserved domain, but for one in a top-level domain that doesn't exist."""
    domains = {Address.parse(row["email"]).domain for row in table(name) if row["email"] and "@@" not in row["email"]}
    reserved = re.compile(r"(.+\.)?example(\.(com|org|net))?")
    expected = {"gmail.con"} if name == "receipts" else set()
    assert {domain for domain in domains if not reserved.fullmatch(domain)} == expected
    # Gmail allows no underscore, so that even the suggested fix is nobody's address.
    assert suggest("ines_moreau@gmail.con") == "ines_moreau@gmail.com"


def test_receipts_come_out_as_the_readme_counts_them() -> None:
    """204 rows: 196 sent, 5 invalid, 1 duplicate, 2 suppressed, at the rows that the README names."""
    found = verdicts("receipts")
    assert Counter(found) == {"sent": 196, "invalid": 5, "duplicate": 1, "suppressed": 2}
    where = {verdict: [n for n, each in enumerate(found) if each == verdict] for verdict in set(found) - {"sent"}}
    assert where == {"invalid": [52, 68, 113, 131, 148], "duplicate": [160], "suppressed": [84, 176]}
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert table("receipts")[160] == table("receipts")[23]
    assert f"order {table('receipts')[23]['order_id']} once more" in readme
    assert f"Of its {len(found)} rows" in readme
    for verdict, count in Counter(found).items():
        line = next(line for line in readme.splitlines() if line.startswith(f"| {verdict} | {count} |"))
        assert all(re.search(rf"\b{row}\b", line) for row in where.get(verdict, []))


@pytest.mark.parametrize(("row", "cell"), VERBATIM.items())
def test_receipts_special_rows_hold_their_traps(row: int, cell: tuple[str, str]) -> None:
    """The rows that the README singles out hold what it says."""
    column, text = cell
    assert table("receipts")[row][column] == text
    assert f"{row}" in (SAMPLES / "README.md").read_text(encoding="utf-8")


def test_receipts_totals_are_the_sums_of_their_lines() -> None:
    """Amounts have two digits after the point, trailing zeros too, and add up."""
    rows = table("receipts")
    for row in rows:
        assert row["total"] == "" or re.fullmatch(r"\d+\.\d\d", row["total"])
        amounts = [Decimal(line.split(" = ")[1]) for line in row["items"].split("; ")]
        assert row["total"] in ("", f"{sum(amounts)}")
    assert {"12.50", "100.00"} <= {row["total"] for row in rows}


def test_receipts_identifiers_have_leading_zeros() -> None:
    """Order and customer numbers break when they are read as numbers; a repeated customer keeps the number."""
    rows = table("receipts")
    assert all(re.fullmatch(r"00\d{5}", row["order_id"]) and re.fullmatch(r"\d{5}", row["customer_id"]) for row in rows)
    assert sum(row["customer_id"].startswith("0") for row in rows) > 10
    for n in (61, 120, 190):
        earlier = [row for row in rows[:n] if row["email"] == rows[n]["email"]]
        assert {row["customer_id"] for row in earlier} == {rows[n]["customer_id"]}


@pytest.mark.parametrize("script", SCRIPTS)
def test_receipts_names_are_of_many_scripts(script: str) -> None:
    """Names come with accents and in scripts other than the Latin."""
    assert any(unicodedata.name(char).startswith(script) for row in table("receipts") for char in row["name"])


def test_receipts_optional_cells_are_filled_and_blank() -> None:
    """Both branches of every `{% if %}` and `default` are met, and the column without an identifier is used."""
    rows = table("receipts")
    for column in ("company", "First Name", "invoice"):
        assert {bool(row[column]) for row in rows} == {True, False}
    assert "{{ first_name |" in (SAMPLES / "receipts/receipt.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("blocks", [False, True])
def test_receipts_read_well_with_and_without_optional_cells(*, blocks: bool) -> None:
    """The text has no holes where a cell is blank, whatever jinja2's block trimming, and both parts tell the same."""
    for row, verdict in zip(table("receipts"), verdicts("receipts"), strict=True):
        if verdict == "invalid":
            continue
        texts = rendered("receipts", [row], blocks=blocks)
        assert "\n\n\n" not in texts["text"]
        lines = row["items"].replace("; ", "\n* ")
        assert f"\n\n* {lines}\n\nTotal:" in texts["text"]
        assert all(line == line.strip() for line in texts["text"].splitlines())
        assert ("Your invoice is attached" in texts["text"]) == ("Your invoice is attached" in texts["html"])
        assert (texts["attachment 0"] == "") == (row["invoice"] == "")
        for part in (texts["text"], texts["html"]):
            assert f"{row['total']} {row['currency']}" in part
            assert (f", {row['First Name']}!" if row["First Name"] else ", dear customer!") in part


def test_receipts_html_is_escaped_and_names_its_inline_image() -> None:
    """A company with an ampersand stays one, and the logo is an inline image of the campaign."""
    row = next(row for row in table("receipts") if row["company"] == "Brown & Sons")
    html = rendered("receipts", [row])["html"]
    assert "Brown &amp; Sons" in html
    assert re.findall(r'src="cid:(\w+)"', html) == list(campaign("receipts")["message"]["inline"])


def test_invoices_are_whole_pdfs_and_each_is_used_once() -> None:
    """Each PDF's cross-reference table points at its objects; each belongs to the row that names it."""
    named = Counter(row["invoice"] for row in table("receipts") if row["invoice"])
    invoices = {path.name: path.read_bytes() for path in (SAMPLES / "receipts/invoices").iterdir()}
    assert named == Counter([*invoices, "INV-2026-0999.pdf"])
    assert len(invoices) == 8
    for name, pdf in invoices.items():
        assert len(pdf) < 2048
        start = int(pdf.rpartition(b"startxref\n")[2].split()[0])
        assert pdf[start:].startswith(b"xref\n0 7\n")
        for n, offset in enumerate(re.findall(rb"(\d{10}) 00000 n", pdf[start:]), 1):
            assert pdf[int(offset) :].startswith(b"%d 0 obj" % n)
        row = next(row for row in table("receipts") if row["invoice"] == name)
        assert f"({row['total']} {row['currency']})".encode() in pdf


def test_logo_is_a_sound_png() -> None:
    """The logo's chunks have right checksums and its pixels unpack to the size it declares."""
    png = (SAMPLES / "receipts/logo.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(png) < 3072
    chunks, at = {}, 8
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        chunks[kind] = png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length)[0] == zlib.crc32(kind + chunks[kind])
        at += 12 + length
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (width, height, depth, colour) == (96, 96, 8, 6)
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + 4 * width)


def test_orders_are_lines_with_a_byte_order_mark_some_apart() -> None:
    """60 lines of 20 orders; the lines of five orders don't stand together."""
    assert (SAMPLES / "orders/orders.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    lines = [row["order_id"] for row in table("orders")]
    runs = Counter(order for order, before in zip(lines, [None, *lines], strict=False) if order != before)
    assert (len(lines), len(runs)) == (60, 20)
    assert sorted(runs.values())[-5:] == [2, 2, 2, 2, 2]


def test_orders_add_up_and_agree_with_their_first_line() -> None:
    """Line totals sum up to the order total, and only the line's own columns change within an order."""
    for rows in groups("orders").values():
        assert sum(decimal(row["Line Total"]) for row in rows) == decimal(rows[0]["Order Total"])
        for row in rows:
            assert int(row["quantity"]) * decimal(row["Unit Price"]) == decimal(row["Line Total"])
            own = ("sku", "product", "quantity", "Unit Price", "Line Total")
            assert {k: v for k, v in row.items() if k not in own} == {k: v for k, v in rows[0].items() if k not in own}


@pytest.mark.parametrize("blocks", [False, True])
def test_orders_make_one_table_row_per_line(*, blocks: bool) -> None:
    """Every order merges, and its Markdown is a table with one row per order line."""
    markdown = MarkdownIt("commonmark").enable("table")
    for rows in groups("orders").values():
        texts = rendered("orders", rows, blocks=blocks)
        Address.parse(texts["to"])
        html = markdown.render(texts["markdown"])
        assert html.count("<tr>") == 1 + len(rows)
        assert f"{len(rows)} item" in texts["subject"]
        assert f"<strong>Total: {rows[0]['Order Total']} EUR</strong></p>" in html
        assert ("Your gift note" in html) == bool(rows[0]["Gift Note"])
        assert "|" not in html


@pytest.mark.parametrize("blocks", [False, True])
def test_starter_sends_all(*, blocks: bool) -> None:
    """The starter's three rows are sent, one of them with a blank cell and no hole in its text."""
    assert verdicts("starter") == ["sent", "sent", "sent"]
    texts = [rendered("starter", [row], blocks=blocks) for row in table("starter")]
    assert all("\n\n\n" not in text["text"] for text in texts)
    assert ["city is known" in text[part] for part in ("text", "html") for text in texts] == [True, True, False] * 2
    assert "wherever you are" in texts[2]["html"]


def test_starter_shows_every_option() -> None:
    """With its comments taken for settings, the starter is valid and has every key that there is."""
    source = (SAMPLES / "starter/campaign.toml").read_text(encoding="utf-8")
    settings = tomllib.loads(re.sub(r'^# (?=\[|"?[\w-]+"? = )', "", source, flags=re.MULTILINE))
    assert unknown_keys(settings) == set()
    assert {section: set(settings[section]) for section in KEYS if section} == {k: v for k, v in KEYS.items() if k}
