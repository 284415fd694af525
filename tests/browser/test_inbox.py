"""The sandbox's inbox page in a real browser: what it shows, what moves, and what no message can make it do."""

from __future__ import annotations

import base64
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.browser.looks import photograph
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, ViewportSize

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.unmeasured]

V2 = {"consumerKey": "sandbox", "consumerSecret": "sandbox"}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SIZES: dict[str, ViewportSize] = {"wide": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
RUN = "document.documentElement.dataset.ran = 1; top.document.documentElement.dataset.ran = 1"
INJECTIONS = (
    f"<script>{RUN}</script>",
    f"<img class=injected src=x onerror='{RUN}'>",
    f'\'"><svg class=injected onload="{RUN}">',
    f"</title></textarea></style></option></select><b class=injected onclick='{RUN}'>x</b>",
    "{{ 7 * 7 }}{% raw %}",
    f"javascript:{RUN}",
    f"</pre></iframe><iframe class=injected srcdoc='<script>{RUN}</script>'></iframe>",
)


def send(sandbox: Sandbox, **changes: Any) -> None:
    """Send a message; where no answer comes, that is what the fault wants."""
    message = {
        "from": "Acme <shop@acme.example>", "to": "Ana <ana@x.example>", "subject": "Your receipt",
        "content": "Hi Ana,\nthank you.", "html_content": "<h1>Hi Ana,</h1><p>thank you.</p>",
    }  # fmt: skip
    with requests.Session() as http:
        http.trust_env = False
        try:
            http.post(f"{sandbox.base_url('v2')}/mail/send", json=message | changes, headers=V2, timeout=10)
        except requests.ConnectionError:
            return


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def page(browser: Browser, sandbox: Sandbox) -> Iterator[Page]:
    """The inbox; the test fails if the page complains of anything or asks another host."""
    context = browser.new_context(viewport=SIZES["wide"], service_workers="block", accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=sandbox.url)
    complaints: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    outside: list[str] = []
    page.on(  # what is kept back counts as a request too, but is never answered
        "response", lambda sent: outside.append(sent.url) if not sent.url.startswith((sandbox.url, "data:")) else None
    )
    page.goto(sandbox.url)
    try:
        yield page
    finally:
        context.close()
    assert outside == []
    # The browser says so when it keeps a message's HTML from running something: that is the point.
    expected = ("sandboxed", "Content Security Policy", "status of 400", "ERR_")
    assert [text for text in complaints if not any(words in text for words in expected)] == []


def subjects(page: Page) -> list[str]:
    return page.locator("#rows a.subject").all_inner_texts()


def test_the_empty_page_tells_how_to_send_here(page: Page, sandbox: Sandbox) -> None:
    """The page's own button copies it."""
    page.get_by_text("Nothing has arrived yet").wait_for()
    page.locator("button.copy").first.click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"export TURBOSMTP_BASE_URL={sandbox.base_url('v2')} TURBOSMTP_CONSUMER_KEY=")


def test_messages_appear_as_they_arrive(page: Page, sandbox: Sandbox) -> None:
    """In place at the top; counts move; a search is kept and only takes what it finds."""
    send(sandbox, subject="first")
    page.locator("#rows").get_by_text("first").wait_for()
    page.locator("input[name=q]").fill("wanted")
    page.keyboard.press("Enter")
    page.get_by_text("Nothing found").wait_for()
    for subject in ("wanted one", "other", "wanted two"):
        send(sandbox, subject=subject)
    page.locator("#rows").get_by_text("wanted two").wait_for()
    page.locator("#live-text", has_text="4 accepted").wait_for()
    assert subjects(page) == ["wanted two", "wanted one"]
    assert page.locator("input[name=q]").input_value() == "wanted"


def test_a_page_that_was_open_before_gets_its_way_to_older_messages(page: Page, sandbox: Sandbox) -> None:
    """And counts what there is, whenever it looked."""
    for number in range(53):
        send(sandbox, subject=f"Nr. {number}")
    page.locator("#total", has_text="50 of 53,").wait_for()
    page.get_by_role("link", name="Older").click()
    page.get_by_text("Nr. 2", exact=True).wait_for()
    assert subjects(page) == ["Nr. 2", "Nr. 1", "Nr. 0"]
    send(sandbox, subject="Nr. 53")
    page.locator("#total", has_text="53 of 54,").wait_for()


def test_refusals_that_were_cleared_elsewhere_go(page: Page, sandbox: Sandbox) -> None:
    send(sandbox, to="broken")
    page.goto(f"{sandbox.url}/?show=refused")
    page.locator("#rows li").wait_for()
    page.locator("#live.on").wait_for()
    sandbox.clear()
    page.get_by_text("None so far").wait_for()


def test_a_list_that_is_scrolled_stays_where_it_is(page: Page, sandbox: Sandbox) -> None:
    """News are counted on a button, which shows them."""
    for number in range(40):
        send(sandbox, subject=f"Nr. {number}")
    page.reload()
    page.get_by_text("Nr. 5", exact=True).scroll_into_view_if_needed()
    page.wait_for_function("scrollY > 300")
    before = subjects(page)
    for _ in range(3):
        send(sandbox, subject="news")
    page.locator("#news", has_text="3 new").wait_for()
    assert subjects(page) == before
    page.locator("#news").click()
    page.locator("#rows").get_by_text("news").first.wait_for()
    assert subjects(page)[:4] == ["news", "news", "news", "Nr. 39"]


def test_one_goes_through_a_filter_by_buttons_and_keys(page: Page, sandbox: Sandbox) -> None:
    """The open tab goes along."""
    for number in range(5):
        send(sandbox, subject=f"{'even' if number % 2 == 0 else 'odd'} {number}", **{"X-campaign-ID": "spring"})
    send(sandbox, subject="other campaign", to="b@x.example")
    page.reload()
    page.get_by_label("Campaign").select_option("spring")
    page.wait_for_url("**campaign=spring*")
    page.locator("input[name=q]").fill("even")
    page.keyboard.press("Enter")
    page.get_by_text("3, newest first").wait_for()
    page.get_by_text("even 4").click()
    page.get_by_text("1 of 3").wait_for()
    page.get_by_role("link", name="Text", exact=True).click()
    page.get_by_role("link", name="Older").click()
    page.get_by_role("heading", name="even 2").wait_for()
    page.keyboard.press("j")
    page.get_by_role("heading", name="even 0").wait_for()
    page.get_by_text("3 of 3").wait_for()
    assert "tab=text" in page.url
    page.keyboard.press("k")
    page.get_by_role("heading", name="even 2").wait_for()
    page.keyboard.press("ArrowLeft")
    page.get_by_role("heading", name="even 4").wait_for()
    page.keyboard.press("u")
    page.get_by_text("3, newest first").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="even 4").wait_for()


def test_a_message_is_shown_in_all_its_parts(page: Page, sandbox: Sandbox) -> None:
    """HTML with its inline picture, text, headers, source, attachments, request, links."""
    logo = {"name": "logo.png", "type": "image/png", "content_id": "logo", "content": PNG}
    file = {"name": '../evil".html', "type": "text/html", "content": base64.b64encode(b"<script>").decode()}
    markup = '<p>Hello <a href="http://x.example/{{ id }}">there</a></p><img src="cid:logo@acme.example" width="50">'
    send(
        sandbox, html_content=markup, attachments=[logo, file], consumerSecret="sandbox",
        custom_headers={"X-Order": "7", "List-Unsubscribe": "<https://x.example/u>"},
    )  # fmt: skip
    page.reload()
    page.locator("#rows a.subject").click()
    frame = page.frame_locator("iframe")
    frame.get_by_text("Hello").wait_for()
    assert frame.locator("img").evaluate("image => image.naturalWidth") == 1
    wide = page.locator("iframe").bounding_box()
    page.get_by_role("link", name="Phone").click()
    page.locator("iframe.phone").wait_for()
    narrow = page.locator("iframe").bounding_box()
    assert wide is not None
    assert narrow is not None
    assert (wide["width"] > 900, narrow["width"]) == (True, 375)
    tab = page.get_by_label("Parts of the message").get_by_role("link")
    for name, shown in (
        ("Text", "thank you."), ("Headers", "List-Unsubscribe"), ("Source", "Content-Transfer-Encoding"),
        ("Request", '"consumerSecret": "•••"'), ("Links", "a piece of a template is left over"),
        ("Links", "no List-Unsubscribe-Post"), ("Links", "not encrypted: http"), ("Attachments", "text/html, 8 B"),
    ):  # fmt: skip
        tab.filter(has_text=name).click()
        page.locator(".pane").get_by_text(shown).first.wait_for()
    with page.expect_download() as saved:
        page.locator(".files a").nth(1).click()
    assert saved.value.suggested_filename == "evil_.html"
    assert saved.value.path().read_bytes() == b"<script>"


@contextmanager
def tracker() -> Iterator[tuple[str, list[str]]]:
    """A server that notes who connects, even without a request."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            seen.append("a connection")
            super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hostile_markup(elsewhere: str, own: str) -> str:
    """An email that tries everything."""
    return f"""<!doctype html><html><head><link rel="stylesheet" href="{elsewhere}/style.css">
    <link rel="preconnect" href="{elsewhere}"><link rel="prefetch" href="{elsewhere}/prefetch">
    <link rel="dns-prefetch" href="{elsewhere}"><link rel="preload" as="image" href="{elsewhere}/preload">
    <script>{RUN}</script><script src="{elsewhere}/script.js"></script><script src="{own}/inbox/script.js"></script>
    <meta http-equiv="refresh" content="0; url={elsewhere}/refresh"><base href="{elsewhere}/base/">
    <style>@import url({elsewhere}/import.css); @font-face {{ font-family: x; src: url({elsewhere}/font) }}
    p {{ background: url({elsewhere}/back.png); font-family: x }}</style></head>
    <body onload="{RUN}" background="{elsewhere}/body.png"><p>Good news</p>
    <img src="{elsewhere}/pixel.png" onerror="{RUN}"><img srcset="{elsewhere}/set.png 2x"><svg onload="{RUN}"></svg>
    <iframe src="{elsewhere}/frame"></iframe><object data="{elsewhere}/object"></object><embed src="{elsewhere}/embed">
    <video src="{elsewhere}/film" poster="{elsewhere}/poster" autoplay></video><audio src="{elsewhere}/a"></audio>
    <form action="{elsewhere}/form" method="post"><button>Answer</button></form>
    <form action="{own}/inbox/clear" method="post" target="_top"><button>Clear</button></form>
    <a href="{elsewhere}/link">Read on</a> <a href="{elsewhere}/self" target="_self">More</a>
    <a href="{elsewhere}/top" target="_top">All</a>
    <a href="{elsewhere}/blank" target="_blank" ping="{elsewhere}/ping">New</a>
    </body></html>"""


def test_a_messages_html_runs_and_loads_nothing(page: Page, sandbox: Sandbox) -> None:
    """Nor when its links and buttons are pressed; nor does it lead the page away."""
    with tracker() as (elsewhere, seen):
        send(sandbox, html_content=hostile_markup(elsewhere, sandbox.url))
        page.goto(f"{sandbox.url}/inbox/messages/1")
        frame = page.frame_locator("iframe")
        frame.get_by_text("Good news").wait_for()
        before = page.url
        for name in ("Read on", "More", "All", "New", "Answer", "Clear"):
            frame.get_by_text(name, exact=True).click(force=True)  # where it is, whether it answers or not
            frame.get_by_text(name, exact=True).press("Enter")
        assert page.url == before
        assert len(page.context.pages) == 1
        assert page.locator("html").get_attribute("data-ran") is None
        page.goto(f"{sandbox.url}/inbox/messages/1/html")  # by itself, without the frame
        page.get_by_text("Good news").wait_for()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.locator("html").get_attribute("data-ran") is None
        assert page.evaluate("origin") == "null"
        page.goto(sandbox.url)
        assert seen == []
    assert len(sandbox.inbox()) == 1


# Links and buttons in all the ways to write them; {0} is the address of another server.
HOSTILE_LINKS = (
    '<a href="{0}/double">press</a>',
    "<a href='{0}/single'>press</a>",
    "<a href={0}/bare>press</a>",
    '<A HREF\n=\n"{0}/upper" target=_top>press</A>',
    '<a title=\'href="\' href="{0}/quotes" target=_blank>press</a>',
    '<a x="y"href="{0}/close"ping="{0}/ping">press</a>',
    '<a/href="{0}/slash">press</a>',
    '<a href="#" href="{0}/second">press</a>',
    '<svg width="90" height="30"><a xlink:href="{0}/svg"><text y="20">press</text></a></svg>',
    '<svg width="90" height="30"><a><set attributeName="href" to="{0}/set"/><text y="20">press</text></a></svg>',
    '<svg width="90"><a><animate attributeName="&#104;ref" values="{0}/an"/><text y="20">press</text></a></svg>',
    '<math href="{0}/math"><mtext>press</mtext></math>',
    '<form action="{0}/form"><button>press</button><button formaction="{0}/button">press</button></form>',
    '<form id="f" ACTION = "{0}/form"></form><button form="f" type="submit">press</button>',
    '<base href="{0}/base/"><a href="relative">press</a>',
)
BEGINNINGS = ("", "<!--><textarea>--></textarea>", "<!-- --!><textarea>--></textarea>", "<!---><title>--></title>")


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_no_link_of_a_message_leads_anywhere(page: Page, sandbox: Sandbox, beginning: str) -> None:
    """They take no clicks, whatever comes before them; would they take any, nobody else is asked for anything."""
    with tracker() as (elsewhere, seen):
        send(sandbox, html_content=beginning + "".join(f"<p>{item}</p>" for item in HOSTILE_LINKS).format(elsewhere))
        page.goto(f"{sandbox.url}/inbox/messages/1")
        before = page.url
        pressed = page.frame_locator("iframe").get_by_text("press", exact=True)
        pressed.last.wait_for(state="attached")
        assert page.frames[1].evaluate("document.documentElement.inert")
        page.frames[1].evaluate("document.documentElement.inert = false")
        for place in range(pressed.count()):
            pressed.nth(place).click(force=True)
            pressed.nth(place).click(force=True, button="middle")
            pressed.nth(place).press("Enter")
        assert page.url == before
        page.goto(f"{sandbox.url}/inbox/messages/1/html")  # by itself it is no page
        assert page.evaluate("document.contentType") == "text/plain"
        assert page.locator("a").count() == 0
        page.goto(sandbox.url)
        assert seen == []


def test_a_long_message_scrolls_in_its_frame(page: Page, sandbox: Sandbox) -> None:
    """And is laid out by its own doctype."""
    doctype = (
        '<!-- made by hand -->\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x"><html lang="de"><body>'
    )
    send(sandbox, html_content=doctype + "<p>line</p>" * 200)
    page.goto(f"{sandbox.url}/inbox/messages/1")
    page.frame_locator("iframe").get_by_text("line").first.wait_for()
    frame = page.frames[1]
    assert frame.evaluate("[document.compatMode, document.documentElement.lang]") == ["CSS1Compat", "de"]
    page.mouse.move(600, 600)
    page.mouse.wheel(0, 500)
    frame.wait_for_function("scrollY > 100")


def hostile_messages(sandbox: Sandbox) -> None:
    """Messages whose every field would like to be markup, accepted and refused ones."""
    for number, text in enumerate(INJECTIONS):
        header = {f"X-{number}": text, "List-Unsubscribe": f"<{text}>"}
        word = base64.b64encode(text.encode()).decode()
        file = {"name": text, "type": text, "content": "aGk=", "content_id": text}
        send(
            sandbox, subject=text, to=f"=?utf-8?b?{word}?= <a{number}@x.example>", content=text, html_content=text,
            custom_headers=header, attachments=[file], reference_id=text, **{"X-campaign-ID": text, text: text},
            **({"from": f"=?utf-8?b?{word}?= <a@x.example>"}),
        )  # fmt: skip
        send(sandbox, subject=text, to=text, reference_id=text, **{"X-campaign-ID": text, text: text, "from": text})
        send(sandbox, subject=text, to="503@x.example", **{text: [text]})


def test_no_field_of_a_message_becomes_markup(page: Page, sandbox: Sandbox) -> None:
    """On no page: no element of theirs is there, nothing of theirs runs; what comes live is no exception."""
    hostile_messages(sandbox)
    page.locator("#rows li").nth(len(INJECTIONS) - 1).wait_for()
    paths = [
        "/",
        "/?q=%3Cscript%3E&badge=any",
        "/?show=refused",
        "/?show=failed",
        "/?campaign=%27%22%3E%3Csvg%20onload%3D1%3E",
    ]
    tabs = ("html", "text", "headers", "source", "attachments", "request", "links")
    accepted = len(sandbox.inbox())
    assert accepted == len(INJECTIONS)
    paths += [f"/inbox/messages/{number}?tab={tab}" for number in range(1, accepted + 1) for tab in tabs]
    paths += [
        f"/inbox/refusals/{number}?show={show}" for number, show in ((1, "refused"), (2, "failed"), (3, "refused"))
    ]
    for path in ["", *paths]:
        if path:
            answer = page.goto(sandbox.url + path)
            assert answer is not None
            assert answer.ok, path
        assert page.locator(".injected").count() == 0, path
        assert page.locator("html").get_attribute("data-ran") is None, path
        assert page.evaluate("document.scripts.length") == 1, path
        assert "49" not in page.locator("h1").all_inner_texts(), path
        assert page.locator("[onclick], [onload], [onerror], [style], [href^='javascript']").count() == 0, path


def test_faults_are_changed_while_it_runs(page: Page, sandbox: Sandbox) -> None:
    page.get_by_role("link", name="Faults").click()
    page.get_by_role("spinbutton", name="503").fill("100")
    page.get_by_role("button", name="Use these shares").click()
    page.get_by_text("1 on").wait_for()
    assert page.get_by_role("spinbutton", name="503").input_value() == "100"
    send(sandbox)
    assert sandbox.inbox().empty
    page.get_by_role("spinbutton", name="500").fill("20")
    page.get_by_role("button", name="Use these shares").click()
    page.get_by_role("alert").get_by_text("add up to 1.2").wait_for()
    shares = [page.get_by_role("spinbutton", name=name).input_value() for name in ("500", "503", "502")]
    assert shares == ["20", "100", ""]  # as they were entered
    page.get_by_role("button", name="All off").click()
    page.get_by_text("1 on").wait_for(state="detached")
    send(sandbox)
    assert len(sandbox.inbox()) == 1
    page.get_by_role("button", name="Copy reset-after@example.com").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "reset-after@example.com"


def test_clear_asks_first(page: Page, sandbox: Sandbox) -> None:
    send(sandbox)
    page.locator("#rows li").wait_for()
    page.get_by_text("Clear…").click()
    assert len(sandbox.inbox()) == 1
    page.get_by_role("button", name="Yes, clear the inbox").click()
    page.get_by_text("Nothing has arrived yet").wait_for()
    assert sandbox.inbox().empty


def test_the_page_says_when_the_sandbox_has_gone(page: Page, sandbox: Sandbox) -> None:
    """And goes on when it is back."""
    page.locator("#live.on").wait_for()
    sandbox.stop()
    page.get_by_text("the sandbox doesn't answer").wait_for()
    sandbox.start()
    page.locator("#live.on").wait_for()
    send(sandbox)
    page.locator("#rows li").wait_for()
    page.goto("about:blank")


def sample(sandbox: Sandbox) -> None:
    """Two hundred messages, and of everything else something."""
    for number in range(196):
        labels = {"reference_id": str(number), "X-campaign-ID": "receipts-2026-11"}
        send(sandbox, to=f"Customer {number} <c{number}@x.example>", subject=f"Your receipt {number}", **labels)
    send(sandbox, subject="", content="Hi ,\nyour total is nan EUR", html_content="", to="none@x.example")
    send(sandbox, subject="A subject that goes on and on " * 20, to="محمد علي <m@x.example>", cc="c@x.example")
    send(sandbox, subject="Pneumonoultramicroscopicsilicovolcanoconiosis" * 12, to="long@x.example")
    rtl = {"reference_id": "7", "X-campaign-ID": "receipts-2026-11"}
    send(sandbox, subject="🎉 مرحبا بكم {{ name }}", to="שלום <s@x.example>, 🦉 Owl <owl@x.example>", content="", **rtl)
    for kind in ("reset-after", "garbage", "500", "429", "reject"):
        send(sandbox, to=f"{kind}@x.example")
    send(sandbox, to="broken@@x.example, also broken")


def test_it_looks_right(page: Page, sandbox: Sandbox) -> None:
    """At two widths, light and dark: nothing scrolls sideways; pictures are kept."""
    faults = []

    def look(name: str, path: str) -> None:
        page.goto(sandbox.url + path)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            for width, size in SIZES.items():
                page.set_viewport_size(size)
                photograph(page, f"inbox-{name}-{width}-{theme}")
                if page.evaluate("document.documentElement.scrollWidth") > size["width"]:
                    faults.append(f"{name}, {width}: scrolls sideways")

    look("empty", "/")
    sample(sandbox)
    for show in ("accepted", "spoiled", "refused", "failed"):
        look(show, f"/?show={show}")
    for tab in ("html", "text", "headers", "source", "attachments", "request", "links"):
        look(f"message-{tab}", f"/inbox/messages/200?tab={tab}")
    look("phone-frame", "/inbox/messages/5?tab=html&width=phone")
    look("long", "/inbox/messages/198")
    look("long-word", "/inbox/messages/199")
    look("defects", "/inbox/messages/197")
    look("refusal", "/inbox/refusals/4?show=refused")
    look("faults", "/inbox/faults")
    look("help", "/help")
    assert faults == []


def test_every_control_has_a_name_and_a_visible_focus(page: Page, sandbox: Sandbox) -> None:
    send(sandbox)
    for path in ("/", "/inbox/faults", "/inbox/messages/1"):
        page.goto(sandbox.url + path)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("input:not([type=hidden]), select, button, a, iframe")]
            .filter(item => !(item.labels?.length || item.textContent?.trim() || item.ariaLabel || item.title))
            .map(item => item.outerHTML)"""
        )
        assert nameless == []
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_no_page_but_its_own_may_clear_it(browser: Browser, sandbox: Sandbox) -> None:
    """A form on another page of this machine is refused."""
    send(sandbox)
    form = f'<form method="post" action="{sandbox.url}/inbox/clear"><button>Win</button></form>'
    with tracker() as (elsewhere, _):
        page = browser.new_page()
        page.route(f"{elsewhere}/**", lambda route: route.fulfill(body=form, content_type="text/html"))
        page.goto(f"{elsewhere}/win")
        with page.expect_response(re.compile("/inbox/clear")) as answer:
            page.get_by_text("Win").click()
        assert answer.value.status == 403
        assert urlsplit(answer.value.url).path == "/inbox/clear"
        page.close()
    assert len(sandbox.inbox()) == 1
