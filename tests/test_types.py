"""What type checkers say of programs: under pyzmq's names and ours, and no less than of pyzmq.

The programs are in tests/typed/, written for `zmq`. ``expected/PROGRAM.CHECKER.txt`` has what is
said of each: a line number, and the code of an error or the type that was to be revealed.
``ZM_TYPES_UPDATE=1`` writes them anew; read the difference.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from leaks import MODULE
from support.ways import environment_with_compat

pytestmark = [
    pytest.mark.skipif(MODULE != "zmq_monocoque", reason="about our types"),
    pytest.mark.skipif("ZM_SANITIZE" in os.environ, reason="a sanitizer has nothing to see here"),
    pytest.mark.timeout(180),
]
TYPED = Path(__file__).parent / "typed"
PROGRAMS = sorted(path.stem for path in TYPED.glob("*.py"))
TIMEOUT = 150
UPDATE = bool(os.environ.get("ZM_TYPES_UPDATE"))

CHECKERS = {
    "mypy": pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="no mypy"),
    "pyright": pytest.mark.skipif(
        shutil.which("pyright") is None, reason="no pyright on PATH (npm install -g pyright)"
    ),
}
#: mypy's, by what it looks at: they save most of its time.
CACHES: dict[str, Path] = {}
checkers = pytest.mark.parametrize(
    "checker", [pytest.param(name, marks=mark) for name, mark in CHECKERS.items()]
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return environment_with_compat(tmp_path_factory.mktemp("types"))


def as_ours(source: str) -> str:
    """The program with our package imported under our name."""
    source = re.sub(r"^import zmq$", "import zmq_monocoque as zmq", source, flags=re.MULTILINE)
    source = re.sub(r"^import zmq\.", "import zmq_monocoque.", source, flags=re.MULTILINE)
    return re.sub(r"^from zmq\b", "from zmq_monocoque", source, flags=re.MULTILINE)


def said(checker: str, program: Path, python: str | Path) -> list[str]:
    """A line for each error and each type that was revealed, in the order of the program."""
    run = {"capture_output": True, "text": True, "timeout": TIMEOUT, "cwd": program.parent}
    found: set[tuple[int, str]] = set()
    if checker == "mypy":
        command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python)]
        command += ["--cache-dir", str(CACHES.setdefault(str(python), program.parent / "cache"))]
        command += [program.name]
        done = subprocess.run(command, **run)  # type: ignore[call-overload]
        assert done.returncode in (0, 1) and not done.stderr, done.stderr + done.stdout
        for line in done.stdout.splitlines():
            if error := re.match(r"[^:]+:(\d+): error: .*\[([\w-]+)\]$", line):
                found.add((int(error[1]), f"error {error[2]}"))
            elif note := re.match(r'[^:]+:(\d+): note: Revealed type is "(.*)"$', line):
                found.add((int(note[1]), note[2]))
    else:
        command = ["pyright", "--outputjson", "--pythonpath", str(python), program.name]
        done = subprocess.run(command, **run)  # type: ignore[call-overload]
        assert done.returncode in (0, 1), done.stderr + done.stdout
        for item in json.loads(done.stdout)["generalDiagnostics"]:
            number = item["range"]["start"]["line"] + 1
            if item["severity"] == "information":
                found.add((number, re.sub(r'^Type of ".*" is "(.*)"$', r"\1", item["message"])))
            else:
                found.add((number, f"{item['severity']} {item.get('rule', 'syntax')}"))
    packages = re.compile(r"\b(builtins|zmq_monocoque|zmq)\.")
    # The order of its keys depends on mypy's cache.
    keys = re.compile(r"TypedDict\(([\w.]+), \{.*\}\)")
    return [
        f"{number}: {keys.sub('TypedDict', packages.sub('', text))}"
        for number, text in sorted(found)
    ]


def write(directory: Path, name: str, ours: bool) -> Path:
    source = (TYPED / f"{name}.py").read_text()
    program = directory / f"{name}.py"
    program.write_text(as_ours(source) if ours else source)
    return program


@checkers
@pytest.mark.parametrize("way", ["import zmq_monocoque as zmq", "import zmq"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_checkers_say_what_is_expected(environment, tmp_path, checker, way, name):
    program = write(tmp_path, name, ours=way != "import zmq")
    found = said(checker, program, environment)
    expected = TYPED / "expected" / f"{name}.{checker}.txt"
    if UPDATE:
        expected.write_text("".join(f"{line}\n" for line in found))
    assert found == expected.read_text().splitlines()


def lines_with_errors(lines: list[str]) -> set[int]:
    return {int(line.partition(":")[0]) for line in lines if re.match(r"\d+: error ", line)}


@pytest.mark.parametrize("checker", CHECKERS)
def test_what_is_marked_as_wrong_is_found_and_nothing_else(checker):
    source = (TYPED / "more.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(source, 1) if line.endswith("# wrong")}
    expected = (TYPED / "expected" / f"more.{checker}.txt").read_text().splitlines()
    assert lines_with_errors(expected) == wrong


@checkers
@pytest.mark.skipif(importlib.util.find_spec("zmq") is None, reason="no pyzmq")
@pytest.mark.parametrize("name", ["strict", "user"])
def test_pyzmqs_types_find_no_more(tmp_path, checker, name):
    """strict.py has errors, which we find, too; user.py has none, and we complain of no more."""
    theirs = lines_with_errors(said(checker, write(tmp_path, name, False), sys.executable))
    expected = (TYPED / "expected" / f"{name}.{checker}.txt").read_text().splitlines()
    ours = lines_with_errors(expected)
    assert theirs <= ours if name == "strict" else ours <= theirs
