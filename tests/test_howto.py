"""Documents are true: the programs of how-tos run and print what stands below them, and the tests
that the page on threats names are there.

In the how-tos below a ``python`` block is a file whose name is in its first line. A ``sh``
block is run where the files are; the ``text`` block that may follow is all that it prints.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from shlex import quote

import pytest
from support_wire import free_port

TESTS = Path(__file__).resolve().parent
HOWTO = TESTS.parent / "docs" / "howto"
THREATS = TESTS.parent / "docs" / "internals" / "threats.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = "5555"


def run(script: str, where: Path, environment: dict[str, str]) -> str:
    """What a shell prints that runs ``script``; what it left running is killed."""
    shell = subprocess.Popen(
        ["sh", "-e", "-c", script],
        cwd=where,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        shell.wait(40)
        assert shell.returncode == 0, script
    finally:
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out, err = shell.communicate()
        print(err)
    return out


@pytest.mark.parametrize(
    ("howto", "programs", "outputs", "needed"),
    [("security", 6, 5, ()), ("event-loops", 3, 3, ("tornado", "gevent"))],
)
def test_a_howto_is_true(zmq, on_libzmq, tmp_path, howto, programs, outputs, needed):
    if on_libzmq:
        pytest.skip("about our package")
    for name in needed:
        pytest.importorskip(name)
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
    }
    where = tmp_path / "work"
    where.mkdir()
    blocks = BLOCK.findall((HOWTO / f"{howto}.md").read_text())
    kinds = [kind for kind, _ in blocks]
    assert kinds.count("python") == programs and kinds.count("text") == outputs
    port = free_port()
    printed = ""
    for kind, text in blocks:
        if kind == "python":
            name = re.match(r"# (\w+\.py)\b", text)
            assert name, text
            (where / name[1]).write_text(text.replace(PORT, str(port)))
        elif kind == "sh":
            assert not printed, f"not shown: {printed}"
            printed = run(text, where, environment)
        else:
            assert kind == "text"
            assert printed == text
            printed = ""
    for secret in where.glob("*.json"):
        assert secret.stat().st_mode & 0o777 == 0o600


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
