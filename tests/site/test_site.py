"""The site that ``tox -e docs`` has built: links, what it loads, and how it is read.

Chromium, where there is one (ZM_CHROMIUM, or on the PATH), is clicked through it as a reader does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest

SITE = Path(os.environ.get("ZM_SITE", ""))
pytestmark = pytest.mark.skipif("ZM_SITE" not in os.environ, reason="for `tox -e docs`")
#: Of Sphinx's own making, and without a heading of ours.
MADE = ("search",)


class Page(HTMLParser):
    """What the checks below want to know of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.headings: list[int] = []
        self.language: str | None = None
        self.unnamed: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attributes}
        self.ids |= {has["id"]} if "id" in has else set()
        if tag == "a" and "href" in has:
            self.links.append(has["href"])
        elif tag == "html":
            self.language = has.get("lang")
        elif tag in ("script", "img", "iframe") and "src" in has:
            self.loads.append(has["src"])
        elif tag == "link" and has.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.append(has["href"])
        elif tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.headings.append(int(tag[1]))
        if tag == "img" and not has.get("alt"):
            self.unnamed.append(has["src"])


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    found = {path.resolve(): Page(path) for path in SITE.rglob("*.html")}
    assert len(found) > 60
    return {path: page for path, page in found.items() if "_static" not in path.parts}


def target_of(page: Page, link: str) -> tuple[Path, str]:
    path, anchor = urldefrag(link)
    path = unquote(path.partition("?")[0])
    return (page.path.parent / path).resolve() if path else page.path.resolve(), unquote(anchor)


def is_away(link: str) -> bool:
    return bool(re.match(r"\w+:", link))


def test_every_link_leads_to_a_place_that_is_there(pages):
    wrong = []
    for page in pages.values():
        for link in page.links:
            if is_away(link):
                continue
            there, anchor = target_of(page, link)
            if not there.is_file() or anchor and there in pages and anchor not in pages[there].ids:
                wrong.append(f"{page.path.name}: {link}")
    assert wrong == []


def test_every_page_can_be_reached_from_the_first(pages):
    seen = {(SITE / "index.html").resolve()}
    ahead = list(seen)
    while ahead:
        page = pages[ahead.pop()]
        for link in page.links:
            there, _ = target_of(page, link)
            if not is_away(link) and there in pages and there not in seen:
                seen.add(there)
                ahead.append(there)
    unseen = [path.name for path in pages.keys() - seen if path.stem not in MADE]
    assert sorted(unseen) == []


def test_nothing_is_loaded_from_elsewhere(pages):
    wrong = [load for page in pages.values() for load in page.loads if is_away(load)]
    wrong += [load for page in pages.values() for load in page.loads if load.startswith("//")]
    assert wrong == []
    for style in SITE.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert "url(http" not in text and "@import" not in text, style


def test_a_screen_reader_finds_its_way(pages):
    for page in pages.values():
        name = str(page.path.relative_to(SITE.resolve()))
        assert page.language == "en", name
        assert page.unnamed == [], name
        if page.path.stem in MADE:
            continue
        assert page.headings.count(1) == 1, name
        assert "furo-main-content" in page.ids and "#furo-main-content" in page.links, name
        skipped = [b for a, b in zip(page.headings, page.headings[1:], strict=False) if b > a + 1]
        assert skipped == [], f"{name}: a heading of level {skipped} comes too early"


def test_it_is_light_and_dark(pages):
    style = (SITE / "_static" / "styles" / "furo.css").read_text(encoding="utf-8")
    assert "prefers-color-scheme:dark" in style.replace(" ", "")
    assert "theme-toggle" in (SITE / "index.html").read_text(encoding="utf-8")


def test_the_names_that_readers_look_for_are_in_the_index_of_the_search():
    text = (SITE / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    assert {"linger", "envelop", "authent"} <= index["terms"].keys()
    known = {
        f"{owner}.{entry[-1]}" for owner, entries in index["objects"].items() for entry in entries
    }
    named = ("Poller", "Context.term", "Socket.send_many", "SocketOption.LINGER", "Event.CONNECTED")
    assert {f"zmq_monocoque.{name}" for name in named} <= known


# --- Chromium ------------------------------------------------------------------------------------


class Browser:
    """Chromium without a window, spoken to in its DevTools protocol over two pipes."""

    def __init__(self, program: str, home: Path, width: int, height: int):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--disable-dev-shm-usage", f"--user-data-dir={home}", "--remote-debugging-pipe"]
        command += ["--disable-background-networking", f"--window-size={width},{height}"]
        # It reads commands from descriptor 3 and writes answers to 4.
        start = (
            "import fcntl, os, sys; ends = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in "
            "sys.argv[1:3]]; os.dup2(ends[0], 3); os.dup2(ends[1], 4); "
            "os.execv(sys.argv[3], sys.argv[3:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", start, str(theirs_in), str(theirs_out), *command, "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(home)},
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.answers, self.commands = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb")
        self.rest = b""
        self.number = 0
        self.session: str | None = None

    def start(self) -> None:
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        self.ask("Page.enable")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.answers.close()
        self.commands.close()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            chunk = os.read(self.answers.fileno(), 1 << 16)
            assert chunk, "Chromium has ended"
            self.rest += chunk
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def ask(self, method: str, until: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Gives a command; its answer, once the event ``until`` has come as well."""
        self.number += 1
        command: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            command["sessionId"] = self.session
        self.commands.write(json.dumps(command).encode() + b"\0")
        self.commands.flush()
        answer = None
        while answer is None or until:
            message = self._next()
            if message.get("id") == self.number:
                assert "error" not in message, message
                answer = message["result"]
            elif message.get("method") == until:
                until = None
        return answer

    def open(self, page: str) -> None:
        url = (SITE / page).resolve().as_uri()
        self.ask("Page.navigate", until="Page.loadEventFired", url=url)

    def run(self, script: str) -> Any:
        """The value of a script, or what its promise is kept with."""
        found = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        key_code = {"key": key, "windowsVirtualKeyCode": code}
        text = {"text": key} if len(key) == 1 else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **key_code, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **key_code)

    def click(self, selector: str, way: str = "click") -> None:
        """Follows the link, or submits the form, to the page that is behind it."""
        script = f"document.querySelector({json.dumps(selector)}).{way}()"
        self.ask("Runtime.evaluate", until="Page.loadEventFired", expression=script)


@pytest.fixture(params=[(390, 844), (1280, 900)], ids=["phone", "desktop"])
def browser(request, tmp_path) -> Iterator[Browser]:
    program = os.environ.get("ZM_CHROMIUM") or shutil.which("chromium")
    if not program:
        pytest.skip("there is no Chromium (ZM_CHROMIUM): NOBODY CLICKED THROUGH THE SITE")
    browser = Browser(program, tmp_path, *request.param)
    try:
        browser.start()
        yield browser
    finally:
        browser.close()


#: Kept when the search has written what it found.
FOUND = """new Promise(done => {
    const look = () => {
        const items = document.querySelectorAll("#search-results ul.search li a");
        const text = document.querySelector("#search-results").innerText;
        const over = /found|did not match/.test(text);
        if (items.length && over) done([...items].map(item => item.href));
    };
    new MutationObserver(look).observe(document.body, {childList: true, subtree: true,
                                                      characterData: true});
    look();
})"""


def test_a_reader_gets_around(browser):
    browser.open("index.html")
    assert "zmq_monocoque" in browser.run("document.title")
    browser.click("article a[href$='differences.html']")
    assert "differs" in browser.run("document.querySelector('h1').innerText")
    browser.run("document.querySelector('.sidebar-search').value = 'send_many'")
    browser.click(".sidebar-search-container", "submit")
    hits = browser.run(FOUND)
    assert any("zmq_monocoque.html#zmq_monocoque.Socket.send_many" in hit for hit in hits), hits


#: Of what has the keyboard: its id, or the text of a link, and whether it can be seen.
FOCUSED = """(() => {
    const here = document.activeElement, frame = here.getBoundingClientRect();
    return [here.id || here.innerText, frame.left >= 0 && frame.width > 0];
})()"""


def test_the_keyboard_reaches_what_is_shown_and_nothing_else(browser):
    browser.open("index.html")
    narrow = browser.run("window.innerWidth") < 1000
    seen = {}
    for _ in range(14):
        browser.press("Tab", 9)
        name, shown = browser.run(FOCUSED)
        seen[name.strip()] = shown
    assert "Skip to content" in seen and all(seen.values()), seen
    assert ("1. Patterns" in seen) != narrow, seen
    if narrow:
        browser.run("document.getElementById('__navigation').focus()")
        browser.press(" ", 32)
        assert browser.run("document.getElementById('__navigation').checked")
        link = "document.querySelector('.sidebar-drawer a.reference')"
        assert browser.run(f"getComputedStyle({link}).visibility") == "visible"
        assert browser.run(f"{link}.focus(), document.activeElement === {link}")


#: Texts whose contrast with what is behind them is less than WCAG's 4.5 (3 where they are large).
PALE = """(() => {
    const numbers = color => { const n = color.match(/[\\d.]+/g).map(Number); return [...n, 1]; };
    const part = v => v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    const over = (above, below) => below.map((v, i) => above[i] * above[3] + v * (1 - above[3]));
    const behind = element => {
        if (!element) return [255, 255, 255];
        const own = numbers(getComputedStyle(element).backgroundColor);
        return own[3] === 0 ? behind(element.parentElement)
                            : over(own, own[3] === 1 ? [0, 0, 0] : behind(element.parentElement));
    };
    const found = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement, style = getComputedStyle(element);
        const text = texts.currentNode.textContent.trim();
        if (!text || style.visibility !== "visible" || !element.getClientRects().length) continue;
        const below = behind(element), color = over(numbers(style.color), below);
        const [dark, bright] = [light(color), light(below)].sort((a, b) => a - b);
        const least = parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
        if ((bright + 0.05) / (dark + 0.05) < least) found.push(text.slice(0, 40));
    }
    return found;
})()"""


def test_every_text_can_be_read(browser):
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.ask("Emulation.setEmulatedMedia", features=features)
        for page in ("index.html", "docs/howto/service.html"):
            browser.open(page)
            assert browser.run(PALE) == [], f"{page}, {scheme}"
        browser.run("document.querySelector('article p').style.color = '#8888'")
        assert browser.run(PALE) != [], "the look at colours sees nothing"


def test_nothing_sticks_out_of_a_page(browser):
    for page in ("index.html", "docs/reference/differences.html", "docs/reference/limits.html"):
        browser.open(page)
        wide, room = browser.run("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= room, page


def test_the_theme_can_be_changed(browser):
    browser.open("index.html")
    themes = []
    for _ in range(3):
        browser.run("document.querySelector('.theme-toggle').click()")
        themes.append(browser.run("document.body.dataset.theme"))
    assert sorted(themes) == ["auto", "dark", "light"]
