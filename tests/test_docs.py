"""What the pages (support/docs.py) name is there: commands and their options, files, names, links.

`tests/test_howto.py` does what the pages say; this is for what is too long to be done, and for what
stands in the middle of a sentence.
"""

from __future__ import annotations

import argparse
import configparser
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from leaks import MODULE
from support.docs import PAGES, ROOT, blocks, prose, spans

pytestmark = [
    pytest.mark.skipif(MODULE != "zmq_monocoque", reason="about our pages"),
    pytest.mark.skipif("ZM_SANITIZE" in os.environ, reason="a sanitizer has nothing to see here"),
]
TIMEOUT = 50
#: What a span or a line begins with that is a command.
PROGRAMS = ("python", "pip", "pytest", "tox")
#: Programs of the system, in blocks.
SYSTEMS = (
    *("umask", "ls", "kill", "wait", "export", ".", "apt-get", "sysctl", "cc", "./hello"),
    *("ip", "mkdir", "until", "do", "done", "grep", "sed", "cat", "zmq-monocoque"),
    *("git", ".ci/run", "try/bin/pip", "try/bin/python"),
)


def commands(page: Path) -> list[list[str]]:
    """Every command of a page: the lines of its sh blocks, and the spans that are one."""
    texts = [b.text.replace("\\\n", " ") for b in blocks(page) if b.kind == "sh"]
    lines = [line for text in texts for line in text.splitlines()]
    lines += [s for s in spans(page) if re.match(rf"(\w+=\S+ )*({'|'.join(PROGRAMS)}) ", s)]
    found = []
    for line in lines:
        words: list[str] = []
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split, lexer.commenters = True, "#"
        for word in [*lexer, ";"]:
            if not re.fullmatch(r"[&|;]+", word):
                words.append(word)
            elif words:
                found.append(words)
                words = []
    return found


def check(words: list[str], page: Path) -> None:
    """A command is one that a reader can give: AssertionError when it is not."""
    while words and re.match(r"\w+=", words[0]):
        check_variable(words[0])
        words = words[1:]
    if not words:
        return
    for at, word in enumerate(words):
        if word in (">", "<", ">>"):
            words = words[:at]
            break
    if words[0] == "export":
        check_variable(words[1])
    elif words[0] == "python":
        check_python(words[1:], page)
    elif words[:2] in (["pip", "install"], ["pip", "wheel"]):
        check_pip(words[2:])
    elif words[0] == "pytest":
        check_pytest(words[1:])
    elif words[0] == "tox":
        check_tox(words[1:])
    else:
        known = words[0] in SYSTEMS or words[:2] in (["pip", "check"], ["pip", "uninstall"])
        assert known, words


def check_variable(assignment: str) -> None:
    name = assignment.partition("=")[0]
    if name.startswith("ZMQ_MONOCOQUE_"):
        known = (ROOT / "docs" / "reference" / "environment.md").read_text()
        assert f"`{name}`" in known, f"{name} is not in environment.md"
    elif name.startswith("ZM_"):
        sources = [*(ROOT / "tests").rglob("*.py"), ROOT / "setup.py", ROOT / "tox.ini"]
        assert any(name in path.read_text() for path in sources), f"nobody reads {name}"


def check_python(words: list[str], page: Path) -> None:
    if words[:2] == ["-m", "zmq_monocoque"]:
        from zmq_monocoque.__main__ import parser

        if words[2:] and words[2] != "COMMAND":
            rest = words[2:] if words[2:] != ["run"] else ["run", "app.py"]
            try:
                parser().parse_args(rest)
            except SystemExit:
                raise AssertionError(f"not a command: {words}") from None
    elif words[0] == "-m":
        module = re.sub(r"^zmq\b", "zmq_monocoque", words[1])
        if module == "build":  # installed by the line before
            return
        suite, _, inside = module.partition(".")
        if suite in ("pyzmq_suite", "libzmq_suite"):  # the clone's, and not installed
            assert (ROOT / suite / f"{inside or '__main__'}.py").is_file()
            check_options(words[2:], *(ROOT / suite).glob("*.py"))
            return
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin, words
        if module.startswith("zmq_monocoque"):
            source = Path(spec.origin)
            if source.name == "__init__.py":
                source = source.with_name("__main__.py")
            check_options(words[2:], source)
    elif words[0] == "-c":
        compile(words[1], str(page), "exec")
    elif words[0] not in {block.file for block in blocks(page)}:
        script = (ROOT / words[0]).resolve()
        assert script.is_file() and script.is_relative_to(ROOT), f"{words[0]} is not there"
        if words[0] != "setup.py":
            check_options(words[1:], script)


def check_options(words: list[str], *sources: Path) -> None:
    """Each option is spelt out in one of the sources."""
    text = "".join(source.read_text() for source in sources)
    for word in words:
        if word == "--":
            return
        if word.startswith("--") and word != "--help":
            assert f'"{word}"' in text, f"{sources[0].name} has no {word}"


def check_pip(words: list[str]) -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    for word in words:
        name, _, extras = word.rstrip("]").partition("[")
        if name.startswith("."):
            assert (ROOT / name / "pyproject.toml").is_file(), word
        for extra in filter(None, extras.split(",")):
            assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE), f"no extra {extra}"


def check_pytest(words: list[str]) -> None:
    """It selects something."""
    arguments = [str(ROOT / word) if word.startswith("tests") else word for word in words]
    if "-k" not in words and "::" not in "".join(words):
        # Whole files: there is nothing to select, and collecting takes a while.
        for word, path in zip(words, arguments, strict=True):
            assert Path(path).exists() or re.match(r"-|\d+$", word), words
        return
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
        + ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, f"pytest {words}: {done.stdout[-2000:]}"


def check_tox(words: list[str]) -> None:
    config = configparser.RawConfigParser()
    config.read(ROOT / "tox.ini")
    assert words[:1] in ([], ["-e"]), words
    if len(words) < 2:
        return
    name, rest = words[1], words[2:]
    # tox makes py310 and the like of the first section by itself.
    known = re.fullmatch(r"py(3\d+)?", name) or config.has_section(f"testenv:{name}")
    assert known, f"tox has no {name}"
    assert rest[:1] in ([], ["--"]), words
    script = re.search(r"tests/\S+\.py", config.get(f"testenv:{name}", "commands", fallback=""))
    for word in rest[1:]:
        if word.startswith("--"):
            assert script, words
            check_options([word], ROOT / script[0])
        elif word.startswith("."):
            # Seen from where the tests run.
            inside = os.path.normpath(f".tox/{name}/tmp/{word}")
            assert (ROOT / inside).exists(), word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_can_be_given(page):
    for words in commands(page):
        check(words, page)


def test_what_cannot_be_given_is_found(tmp_path):
    page = tmp_path / "page"
    for wrong in (
        "python ../elsewhere/pair.py",
        "python tests/bench/pair.py --nonsense",
        "pytest tests/behaviour/test_queues.py -k pushpull",
        "pytest tests/nonsense",
        "python -m zmq_monocoque nonsense",
        "python -m zmq_monocoque bench --nonsense",
        "python -m zmq_monocoque.nonsense",
        "ZMQ_MONOCOQUE_NONSENSE=1 python -m zmq_monocoque doctor",
        "pip install '.[nonsense]'",
        "tox -e nonsense",
        "tox -e fuzz -- --nonsense",
        "tox -e asan -- ../../tests/unit",
        "nonsense",
    ):
        page.write_text(f"```sh\n{wrong}\n```\n")
        try:
            for words in commands(page):
                check(words, page)
        except AssertionError:
            continue
        pytest.fail(wrong)


def test_a_block_without_a_kind_is_a_picture():
    for page in PAGES:
        for block in blocks(page):
            assert block.kind in ("python", "c", "sh", "text", "mermaid", ""), (
                f"{page.name}: {block.kind}"
            )
            first = block.text.split()[:1]
            assert block.kind or first[0] not in PROGRAMS, f"{page.name}: {block.text}"


# Options and variables ---------------------------------------------------------------------------


def documented(section: str) -> set[str]:
    """The options of the table in a section of commands.md."""
    text = (ROOT / "docs" / "reference" / "commands.md").read_text()
    body = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert body, section
    return set(re.findall(r"^\| `(--\w+)", body[1], re.MULTILINE))


@pytest.mark.parametrize("command", ["bench", "demo", "doctor", "run"])
def test_the_options_of_commands_md_are_those_of_the_commands(command):
    module = importlib.import_module(f"zmq_monocoque._cli.{command}")
    parser = argparse.ArgumentParser(add_help=False)
    module.add_arguments(parser)
    there = {text for action in parser._actions for text in action.option_strings}
    assert documented(command) == {option for option in there if option.startswith("--")}


def test_every_variable_of_environment_md_is_read_somewhere_and_every_one_read_is_there():
    text = (ROOT / "docs" / "reference" / "environment.md").read_text()
    sources = [
        *(ROOT / "zmq_monocoque").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
        ROOT / "tox.ini",
    ]
    read = {name for path in sources for name in re.findall(r"\bZMQ?_[A-Z_]+\b", path.read_text())}
    for name in re.findall(r"^\| `(\w+)`", text, re.MULTILINE):
        assert name in read, f"nobody reads {name}"
    package = "".join(path.read_text() for path in (ROOT / "zmq_monocoque").rglob("*.py"))
    for name in set(re.findall(r'environ\.get\("(\w+)"', package)):
        if name.startswith("Z"):
            assert f"`{name}`" in text, f"{name} is not in environment.md"


# Files, names, links -----------------------------------------------------------------------------

#: Where a page may mean that a path begins, besides the root and itself.
PLACES = ("", "tests", "tests/hostile", "zmq_monocoque", "zmq_monocoque/_engine")
#: Made by tools, or not ours: pyzmq's suite has a test of its own (tests/tidy/test_parity.py).
ELSEWHERE = ("build/", "dist/", "suite/", "/", "zmq/", "kernel/", "$")


def is_path(span: str) -> bool:
    return bool(re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", span)) and (
        "/" in span or span.endswith((".py", ".c", ".h", ".md", ".toml", ".ini", ".json"))
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_that_a_page_names_is_there(page):
    written = {block.file for block in blocks(page)}
    made = set(re.findall(r"[\w*]+\.\w+", "".join(b.text for b in blocks(page) if b.kind == "sh")))
    for span in spans(page):
        path, _, name = span.partition("::")
        if not is_path(path) or path.startswith(ELSEWHERE) or path in written | made:
            continue
        path = re.sub(r"\b[A-Z]+\b", "*", path)  # a word that stands for any
        places = [ROOT / place for place in PLACES]
        if "/" not in path:
            found = [p for p in ROOT.rglob(path) if ".tox" not in p.parts]
        else:
            found = [p for place in (*places, page.parent) for p in place.glob(path)]
        assert found, f"{path} is not there"
        if name:
            assert any(f"def {name}(" in p.read_text() for p in found), f"{path} has no {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists() and there.is_relative_to(ROOT), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_name_of_ours_that_a_page_names_is_there(page):
    """Dotted names below zmq_monocoque, and members of its classes with parentheses."""
    if page.stem == "differences":
        pytest.skip("names what is not there")
    import zmq_monocoque

    classes = ("Context", "Socket", "Frame", "Poller", "MessageTracker")
    for span in spans(page):
        dotted = re.fullmatch(r"((?:zmq_monocoque|zmq)(?:\.\w+)+)(\(.*\))?", span)
        member = re.fullmatch(rf"((?:{'|'.join(classes)})\.\w+)\(.*\)", span)
        if span == "zmq.h" or (not dotted and not member):
            continue
        names = (dotted or member)[1].split(".")  # type: ignore[index]
        if dotted:
            names = names[1:]
        thing = zmq_monocoque
        where = "zmq_monocoque"
        for name in names:
            where += f".{name}"
            if not hasattr(thing, name):
                try:
                    importlib.import_module(where)
                except ModuleNotFoundError as error:
                    if not str(error.name).startswith("zmq"):
                        break  # needs what is not installed
                    raise AssertionError(f"there is no {span}") from None
            thing = getattr(thing, name)


def test_the_benchmark_of_performance_md_measures_two_engines():
    pytest.importorskip("zmq")
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "bench" / "pair.py", "-n", "1", "socket churn"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    header, row = done.stdout.splitlines()
    assert header.split()[:3] == ["case", "zmq_monocoque", "zmq"]
    assert re.fullmatch(r"socket churn( +[\d.e+]+){3} \([\d.]+\.\.[\d.]+\) +[\d.]+", row), row
