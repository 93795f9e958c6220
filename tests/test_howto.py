"""README and how-tos are true: who follows one to the letter sees what it shows.

A page's blocks are done one after the other in one session of a shell, as a reader does them. A
``python`` block is a file when its first line names one, and else a program that is run; a ``c``
block is a file. A ``sh`` block is typed in where the files are. The ``text`` block that may follow
is all that they print.
In the end nothing may be left running: the next step would meet it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote

import pytest
from leaks import MODULE
from support import free_port
from support.docs import PAGES, ROOT, Block, blocks

pytestmark = pytest.mark.skipif(MODULE != "zmq_monocoque", reason="about our package")
TESTS = ROOT / "tests"
THREATS = ROOT / "docs" / "internals" / "threats.md"
PORT = "5555"
#: For a block, which may start many programs on a machine that has much else to do.
PATIENCE = 240.0
#: Installs, builds, tests of the whole, and what changes the environment (`tests/test_switch.py`):
#: `tests/test_docs.py` looks at these commands instead.
HEAVY = re.compile(r"^(?:\w+=\S+ )*(?:pip|tox|pytest|git|python (?:-m (?:venv|build|\w+_suite|"
                   r"zmq_monocoque switch)|setup\.py|tests/))", re.MULTILINE)  # fmt: skip
MACHINES = "6-many-machines"
HOSTS = ("zm-one", "zm-two")  # network namespaces, on that page
NEEDED = {
    "2-asyncio": ("anyio", "uvloop"),
    MACHINES: ("ipyparallel",),  # of the extra docs: `tox -e docs`
    "event-loops": ("tornado", "gevent"),
    "run-pyzmq-on-this-engine": ("zmq",),
}


def is_heavy(block: Block) -> bool:
    return block.kind == "sh" and bool(HEAVY.search(block.text))


FOLLOWED = [
    page
    for page in PAGES
    if page.name == "README.md" or page.parent.name in ("docs", "howto", "tutorial")
    if any(block.kind in ("python", "sh") and not is_heavy(block) for block in blocks(page))
]


class Session:
    """A shell that somebody types into, and what its terminal shows."""

    def __init__(self, where: Path, environment: dict[str, str]):
        self.where = where
        self.grace = PATIENCE
        self.errors = tempfile.TemporaryFile("w+")
        self.shell = subprocess.Popen(
            ["sh"],
            cwd=where,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.shell.wait()
        assert self.shell.stdin and self.shell.stdout
        self.shell.stdin.close()
        self.shell.stdout.close()
        self.errors.seek(0)
        print(self.errors.read())
        self.errors.close()

    def kill(self) -> None:
        try:
            os.killpg(self.shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def type(self, text: str) -> str:
        """Runs a block to its end; what was printed until then."""
        assert self.shell.stdin and self.shell.stdout
        (self.where / ".block").write_text(text)
        self.shell.stdin.write(". ./.block < /dev/null\necho ended $?\n")
        self.shell.stdin.flush()
        watch = threading.Timer(PATIENCE, self.kill)
        watch.start()
        printed = ""
        try:
            for line in self.shell.stdout:
                if end := re.fullmatch(r"(.*)ended (\d+)\n", line, re.DOTALL):
                    assert end[2] == "0", f"ended with {end[2]}:\n{text}"
                    return printed + end[1]
                printed += line
        finally:
            watch.cancel()
        raise AssertionError(
            f"not over after {PATIENCE:.0f} s, having printed {printed!r}:\n{text}"
        )

    def end(self) -> None:
        """The shell ends; nothing that it started may still run after ``grace`` seconds: what was
        told to end may take a moment for that."""
        assert self.shell.stdin
        self.shell.stdin.close()
        assert self.shell.wait(PATIENCE) == 0
        late = time.monotonic() + self.grace
        while True:
            try:
                os.killpg(self.shell.pid, 0)
            except ProcessLookupError:
                return
            assert time.monotonic() < late, "a program that the page started is left running"
            time.sleep(0.01)


@pytest.fixture
def session(tmp_path):
    """In a directory of its own, with a ``python`` that is this one."""
    commands = tmp_path / "bin"
    commands.mkdir()
    python = commands / "python"
    # ThreadSanitizer's runtime (tests/sanitize/run.py) is for Python: shells crash with it.
    runtime = f"LD_PRELOAD={os.environ.get('LD_PRELOAD', '')}"
    python.write_text(f'#!/bin/sh\nexec env {quote(runtime)} {quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONUNBUFFERED": "1",
        "HOME": str(tmp_path / "home"),
    }
    (tmp_path / "home").mkdir()
    where = tmp_path / "work"
    where.mkdir()
    with Session(where, environment) as session:
        yield session


def without_hosts(text: str) -> str:
    """The chapter on one machine: no namespaces, and addresses of loopback."""
    text = re.sub(r"ip netns exec \S+ ", "", text).replace("10.213.77.", "127.0.0.")
    return re.sub(r"^ip .*\n", "", text, flags=re.MULTILINE)


@pytest.fixture
def hosts() -> Iterator[Callable[[str], str]]:
    """What makes two hosts of their own out of those of the page; or the page for one machine,
    where Linux gives none, and a warning says so."""
    own = [f"{host}-{os.getpid()}" for host in HOSTS]

    def renamed(text: str) -> str:
        for host, name in zip(HOSTS, own, strict=True):
            text = re.sub(rf"\b{host}\b", name, text)
        return text

    (page,) = [page for page in PAGES if page.stem == MACHINES]
    made = renamed(next(block.text for block in blocks(page) if "netns add" in block.text))
    try:
        tried = subprocess.run(["sh", "-ec", made], capture_output=True, text=True)
        delete(own)
        if tried.returncode == 0:
            yield renamed
        else:
            warnings.warn(
                f"RUN OVER LOOPBACK, NOT OVER TWO HOSTS: {tried.stderr.strip()}", stacklevel=1
            )
            yield without_hosts
    finally:
        delete(own)


def delete(names: list[str]) -> None:
    for name in names:
        subprocess.run(["sh", "-c", f"ip netns del {name}"], stderr=subprocess.DEVNULL)


def follow(page_blocks: list[Block], session: Session, change: Callable[[str], str] = str) -> None:
    """Does what a page says, block after block."""
    port = str(free_port())
    printed = ""
    for number, block in enumerate(page_blocks):
        text = change(block.text.replace(PORT, port))
        if block.kind == "text":
            assert printed == text
            printed = ""
        if block.kind not in ("python", "c", "sh") or is_heavy(block):
            continue
        assert not printed, f"not shown: {printed}"
        if block.kind == "sh":
            printed = session.type(text)
            continue
        name = block.file or f"program{number}.py"
        (session.where / name).write_text(text)
        if block.file is None:
            printed = session.type(f"python {name}\n")
    assert not printed, f"not shown: {printed}"
    session.end()


def need(page: Path) -> None:
    for name in NEEDED.get(page.stem, ()):
        pytest.importorskip(name, reason=f"{page.stem} NOT RUN: {name} is not installed")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [page for page in FOLLOWED if page.stem != MACHINES], ids=lambda page: page.stem
)
def test_a_page_is_true(session, page):
    if page.stem == "use-from-c" and "ZM_SANITIZE" in os.environ:
        pytest.skip("the page's compiler builds without the sanitizer's runtime")
    need(page)
    try:
        follow(blocks(page), session)
    finally:
        session.kill()
    for secret in session.where.glob("*.json"):
        assert secret.stat().st_mode & 0o777 == 0o600


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [page for page in FOLLOWED if page.stem == MACHINES], ids=lambda page: page.stem
)
def test_a_page_about_many_machines_is_true(session, page, request):
    need(page)
    try:
        follow(blocks(page), session, request.getfixturevalue("hosts"))
    finally:
        session.kill()


def test_the_chapter_of_many_machines_can_be_done_on_one():
    (page,) = [page for page in FOLLOWED if page.stem == MACHINES]
    text = "".join(without_hosts(block.text) for block in blocks(page))
    assert "--ip=127.0.0.1" in text and "ip netns" not in text and "10.213" not in text


def test_the_pages_that_show_programs_are_followed():
    shown = {page.stem for page in PAGES if any(b.kind == "python" for b in blocks(page))}
    assert shown <= {page.stem for page in FOLLOWED}
    assert {"README", "security", "ways-in", "beyond-pyzmq", "4-security"} <= shown


@pytest.mark.parametrize(
    "steps, complaint",
    [
        ([Block("sh", "sleep 60 &\n")], "left running"),
        ([Block("sh", "echo a\n")], "not shown: a"),
        ([Block("sh", "echo a\n"), Block("text", "b\n")], "assert"),
        ([Block("sh", "false\n")], "ended with 1"),
        ([Block("python", "print('a')\n"), Block("text", "b\n")], "assert"),
    ],
)
def test_what_a_page_says_wrongly_is_found(session, steps, complaint):
    session.grace = 1.0
    with pytest.raises(AssertionError, match=complaint):
        follow(steps, session)


def test_every_defence_names_tests_that_are_there():
    """`folder/file::name`, `file::name` in tests/hostile/, and `::name` of the file before."""
    file, checked = TESTS, 0
    for path, name in re.findall(r"`([\w/]*(?:\.py)?)(?:::(\w+))?`", THREATS.read_text()):
        if path.endswith(".py"):
            file = TESTS.parent / path if path.startswith("tests/") else TESTS / "hostile" / path
            assert file.is_file(), path
        if name:
            assert f"\ndef {name}(" in file.read_text(), f"{file.name} has no {name}"
            checked += 1
    assert checked > 30
