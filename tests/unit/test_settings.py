"""campaign.toml: every key is known, every value has its type, and every error says where."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turbobatch.errors import CampaignError
from turbobatch.settings import MessageSettings, RecipientsSettings, SendSettings, Settings, load_settings, mail_merge

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[str], Path]

SAMPLES = Path(__file__).parents[2] / "sample_data"
LEAST = """
name = "least"
[message]
from = "shop@acme.example"
to = "{{ email }}"
"""
FULL = """
name = "Grüße 2026-11"
[recipients]
path = "people.csv"
key = ["order", "line"]
group_by = "order"
encoding = "utf-16"
delimiter = ";"
sheet = "Sheet 2"
[message]
from = "Acme <shop@acme.example>"
to = "{{ email }}"
cc = "{{ cc }}"
bcc = "archive@acme.example"
reply_to = "help@acme.example"
reference_id = "{{ order }}"
subject = "Hello"
text = "a.txt"
html = "a.html"
markdown = "a.md"
attachments = "one.pdf"
inline = { logo = "logo.png" }
inline_css = true
list_unsubscribe = "https://acme.example/u"
[message.headers]
"X-Order" = "{{ order }}"
[send]
api = "v1"
rate = "20/second"
concurrency = 3
window = "Mon-Fri 09:00-18:00 Europe/Rome"
suppress = "no.csv"
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a campaign.toml and return its path."""

    def make(text: str) -> Path:
        path = tmp_path / "campaign.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def refused(path: Path) -> str:
    """The one line that refuses a campaign."""
    with pytest.raises(CampaignError) as caught:
        load_settings(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(str(path)).removeprefix(": ")


def test_all_that_can_be_set_is_read(write: Write) -> None:
    """Each key of the design lands in its field; one text stands for a list of one."""
    path = write(FULL)
    assert load_settings(path) == Settings(
        name="Grüße 2026-11",
        file=path,
        folder=path.parent,
        recipients=RecipientsSettings(
            path="people.csv",
            key=("order", "line"),
            group_by=("order",),
            encoding="utf-16",
            delimiter=";",
            sheet="Sheet 2",
        ),
        message=MessageSettings(
            from_="Acme <shop@acme.example>",
            to="{{ email }}",
            cc="{{ cc }}",
            bcc="archive@acme.example",
            reply_to="help@acme.example",
            reference_id="{{ order }}",
            subject="Hello",
            text="a.txt",
            html="a.html",
            markdown="a.md",
            attachments=("one.pdf",),
            inline={"logo": "logo.png"},
            inline_css=True,
            list_unsubscribe="https://acme.example/u",
            headers={"X-Order": "{{ order }}"},
        ),
        send=SendSettings(
            api="v1",
            rate="20/second",
            concurrency=3,
            window="Mon-Fri 09:00-18:00 Europe/Rome",
            suppress=("no.csv",),
        ),
    )


def test_what_is_left_out_has_its_default(write: Write) -> None:
    """A name, a sender and a recipient are enough."""
    found = load_settings(write(LEAST))
    assert (found.recipients, found.send) == (RecipientsSettings(), SendSettings())
    assert (found.send.concurrency, found.message.subject, found.message.headers) == (16, "", {})


def test_what_may_be_empty(write: Write) -> None:
    """A subject, a list of attachments, and a delimiter that is a tab."""
    found = load_settings(write(LEAST + 'subject = ""\nattachments = []\n[recipients]\ndelimiter = "\t"\n'))
    assert (found.message.subject, found.message.attachments, found.recipients.delimiter) == ("", (), "\t")


@pytest.mark.parametrize("name", ["receipts", "orders", "starter"])
def test_a_folder_stands_for_its_file(name: str) -> None:
    """The samples load, by folder and by file."""
    assert load_settings(SAMPLES / name) == load_settings(str(SAMPLES / name / "campaign.toml"))


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    """Some editors write one."""
    (tmp_path / "campaign.toml").write_text(LEAST, encoding="utf-8-sig")
    assert load_settings(tmp_path).name == "least"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "Gr', 'nmae = "Gr', "nmae is not known: did you mean 'name'?"),
        ("[send]", "[sned]", "sned is not known: did you mean 'send'?"),
        ("path =", "pth =", "[recipients] pth is not known: did you mean 'path'?"),
        ('from = "', 'form = "', "[message] form is not known: did you mean 'from'?"),
        ("rate =", "speed =", "[send] speed is not known: known are 'api', 'rate', 'concurrency', 'window'"),
        ("from =", "from_ =", "[message] from_ is not known: did you mean 'from'?"),
        ('name = "Grüße 2026-11"\n', "", "name is missing: it tells this campaign and its journal from others"),
        ('from = "Acme <shop@acme.example>"\n', "", "[message] from is missing"),
        ('to = "{{ email }}"\n', "", "[message] to is missing"),
        ('"Grüße 2026-11"', "7", "name must be a text without slashes; it names the journal"),
        ('"Grüße 2026-11"', '" "', "name must be a text without slashes; it names the journal"),
        ('"Grüße 2026-11"', '"a/b"', "name must be a text without slashes; it names the journal"),
        ('"Grüße 2026-11"', r'"a\\b"', "name must be a text without slashes; it names the journal"),
        ('"Grüße 2026-11"', r'"a\nb"', "name must be a text without slashes; it names the journal"),
        ('"20/second"', '""', "[send] rate is blank: leave it out to mean none"),
        ('"Mon-Fri 09:00-18:00 Europe/Rome"', '" "', "[send] window is blank: leave it out to mean none"),
        ('"no.csv"', '""', "[send] suppress is blank: leave it out to mean none"),
        ('"no.csv"', '["vendor", ""]', "[send] suppress is blank: leave it out to mean none"),
        ('"no.csv"', '["vendor", 3]', "[send] suppress must be a text or a list of texts, not ['vendor', 3]"),
        ('api = "v1"', 'api = ""', "[send] api is blank"),
        ('["order", "line"]', "[]", "[recipients] key is blank: leave it out to mean none"),
        ('["order", "line"]', '""', "[recipients] key is blank: leave it out to mean none"),
        ('["order", "line"]', '["order", " "]', "[recipients] key is blank: leave it out to mean none"),
        ('group_by = "order"', "group_by = []", "[recipients] group_by is blank"),
        ('"{{ cc }}"', '""', "[message] cc is blank"),
        ('"one.pdf"', '[""]', "[message] attachments is blank"),
        ("= 3", "= 0", "[send] concurrency must be a whole number above 0, not 0"),
        ("= 3", "= true", "[send] concurrency must be a whole number above 0, not True"),
        ("= 3", "= 2.5", "[send] concurrency must be a whole number above 0, not 2.5"),
        ("inline_css = true", "inline_css = 1", "[message] inline_css must be true or false, not 1"),
        ('"one.pdf"', '["a", 1]', "[message] attachments must be a text or a list of texts, not ['a', 1]"),
        ('{ logo = "logo.png" }', '"logo.png"', "[message] inline must be a table of texts, not 'logo.png'"),
        ('{ logo = "logo.png" }', "{ logo = 1 }", "[message] inline must be a table of texts, not {'logo': 1}"),
        ('subject = "Hello"', "subject = 2026-11-01", "[message] subject must be a text, not datetime.date(2026"),
        (
            '"X-Order" = "{{ order }}"',
            '"X-Order" = 1',
            "[message] headers must be a table of texts, not {'X-Order'",
        ),
    ],
)
def test_each_mistake_is_named(old: str, new: str, message: str, write: Write) -> None:
    """An unknown key with the nearest known one, a missing one, a value of the wrong type: where, and what."""
    assert old in FULL
    assert refused(write(FULL.replace(old, new, 1))).startswith(message)


def test_a_section_must_be_a_table(write: Write) -> None:
    """`send = 1` is no section."""
    assert refused(write("send = 1\n" + LEAST)) == "send must be a table: [send]"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = \n", r"is no valid TOML: .*line 1"),
        (b"\xff\xfen\x00", r"is not UTF-8: save it as UTF-8"),
        (b'a = 1\na = 2\nname = "x"', r"is no valid TOML: .*line 2"),
    ],
)
def test_a_file_that_is_no_toml(content: bytes, message: str, write: Write) -> None:
    """What the parser says, with its line."""
    path = write("")
    path.write_bytes(content)
    assert re.match(message, refused(path).strip())


def test_a_missing_file_names_the_cure(tmp_path: Path) -> None:
    """Neither a folder without a campaign nor a name that leads nowhere is a traceback."""
    cure = "name a campaign.toml or its folder, or make one with: turbobatch init "
    assert refused(tmp_path).endswith(f"campaign.toml can't be read: No such file or directory; {cure}{tmp_path}")
    assert cure in refused(tmp_path / "nowhere")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8"), max_size=40) | st.text("=[]{}\"'.,\n#ab1", max_size=40))
def test_any_text_is_settings_or_one_line(write: Write, text: str) -> None:
    """No content of a file becomes anything else than settings or a CampaignError."""
    path = write(text)
    found: Settings | str
    try:
        found = load_settings(path)
    except CampaignError as error:
        found = str(error)
    assert isinstance(found, Settings) or found.startswith(str(path))


@pytest.mark.parametrize("field", ["text", "html", "markdown"])
@pytest.mark.parametrize("kind", ["dots", "absolute", "link", "linked folder"])
def test_a_template_outside_the_campaigns_folder_is_refused(field: str, kind: str, tmp_path: Path) -> None:
    """Whoever sends somebody a campaign doesn't get somebody's files by mail."""
    folder = tmp_path / "campaign"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "out").symlink_to(tmp_path)
    name = {
        "dots": "../secret.txt",
        "absolute": str(tmp_path / "secret.txt"),
        "link": "link.txt",
        "linked folder": "out/secret.txt",
    }[kind]
    (folder / "campaign.toml").write_text(f'{LEAST}{field} = "{name}"\n')
    with pytest.raises(CampaignError) as caught:
        mail_merge(load_settings(folder))
    reason = "is an absolute path" if kind == "absolute" else "lies outside the campaign's folder"
    assert str(caught.value).startswith(f"{folder / 'campaign.toml'}: [message] {field} {name!r} {reason}; ")
    (folder / "link.txt").unlink()
    (folder / "inside").mkdir()
    (folder / "inside" / "letter.txt").write_text("Hello")
    (folder / "link.txt").symlink_to("inside/letter.txt")
    (folder / "campaign.toml").write_text(f'{LEAST}{field} = "link.txt"\n')
    assert "Hello" in mail_merge(load_settings(folder)).render({"email": "a@example.org"}).content
