"""Builds the site: ``tox -e docs``, or ``python docs/site/build.py OUT``.

The pages are those of the repository, as they are. What is made here is the start page's list of
them and the reference of every module, out of the docstrings. A warning is an error.
"""

from __future__ import annotations

import argparse
import enum
import inspect
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import names
from sphinx.cmd.build import build_main

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
README = "README.md"
#: The page that the site begins with, and that of the modules that nobody has to import.
START, OTHERS = "index", "zmq_monocoque_others"
#: Pages that are not below docs/.
BESIDE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
API = "docs/reference/api"
ASIDE = """\
The names of these are those of the modules above. They are where pyzmq has them, for programs that
import them from there; what is explained here is to be had nowhere else.
"""
#: The parts of the site, and the pages of each in order; a star stands for all others of a folder.
PARTS = {
    "Start": [
        "docs/howto/install",
        "docs/ways-in",
        "docs/howto/first-program",
        "docs/beyond-pyzmq",
        "docs/README",
    ],
    "Tutorial": ["docs/tutorial/README", "docs/tutorial/*"],
    "How to": ["docs/howto/*", "examples/README"],
    "Reference": ["docs/reference/*"],
    "Modules": [f"{API}/zmq_monocoque", f"{API}/*"],
    "Behind it": ["docs/performance", "docs/internals/*", "docs/adr/README"],
    "Project": ["CHANGELOG", "CONTRIBUTING", "SECURITY"],
}


def parts(source: Path) -> dict[str, list[str]]:
    """The same with the pages that there are. Each stands where it is named first."""
    placed = {page for pages in PARTS.values() for page in pages if "*" not in page}
    found: dict[str, list[str]] = {}
    for title, pages in PARTS.items():
        found[title] = []
        for page in pages:
            if "*" not in page:
                there = [page] if (source / f"{page}.md").is_file() else []
            else:
                paths = sorted(source.glob(f"{page}.md"))
                there = [str(p.relative_to(source).with_suffix("")) for p in paths]
                there = [page for page in there if page not in placed]
            found[title] += there
    return {title: pages for title, pages in found.items() if pages}


def contents(source: Path) -> str:
    lists = []
    for title, pages in parts(source).items():
        entries = "\n".join(pages)
        lists.append(f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n")
    return "\n".join(lists)


def for_the_site(text: str, place: Path) -> str:
    """A page as Sphinx reads it: folders are their README, and the README is the start page."""
    depth = len(place.parts) - 1
    text = re.sub(r"\]\(([\w./-]*/)\)", rf"](\g<1>{README})", text)
    up = "../" * depth
    text = text.replace(f"]({up}{README}", f"]({up}{START}.md") if depth else text
    return re.sub(r"^```mermaid\n(.*?)^```$", _transitions, text, flags=re.M | re.S)


def _transitions(block: re.Match[str]) -> str:
    """A diagram of states as a table: it needs no program to be drawn, and can be read aloud."""
    following: dict[str, list[str]] = {}
    for before, after in re.findall(r"(\S+) --> (\S+)", block[1]):
        following.setdefault(before.replace("[*]", "(new)"), []).append(
            after.replace("[*]", "(gone)")
        )
    rows = [f"| {state} | {', '.join(after)} |" for state, after in following.items()]
    return "\n".join(["| from | to |", "| --- | --- |", *rows])


def lay_out(source: Path) -> None:
    pages = [ROOT / name for name in BESIDE]
    pages += [p for folder in ("docs", "examples") for p in (ROOT / folder).rglob("*.md")]
    for page in pages:
        place = page.relative_to(ROOT)
        target = source / (f"{START}.md" if str(place) == README else place)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(for_the_site(page.read_text(encoding="utf-8"), place), encoding="utf-8")
    for picture in (ROOT / "docs").rglob("*.svg"):
        shutil.copy(picture, source / picture.relative_to(ROOT))
    show_examples(source / "examples")
    shutil.copytree(HERE / "_static", source / "_static")
    write_modules(source / API)
    adr = source / "docs" / "adr" / "README.md"
    decisions = "\n".join(sorted(p.stem for p in adr.parent.glob("0*.md")))
    with adr.open("a", encoding="utf-8") as file:
        file.write(f"\n```{{toctree}}\n:hidden:\n\n{decisions}\n```\n")
    with (source / f"{START}.md").open("a", encoding="utf-8") as file:
        file.write("\n" + contents(source))


def show_examples(folder: Path) -> None:
    """The programs stand below the page that names them."""
    page = folder / README
    text = page.read_text(encoding="utf-8")
    for program in sorted((ROOT / "examples").glob("*.py")):
        shutil.copy(program, folder)
        text = text.replace(f"]({program.name})", f"](#{program.stem}py)")
        text += (
            f"\n## {program.name}\n\n```{{literalinclude}} {program.name}\n:language: python\n```\n"
        )
    page.write_text(text, encoding="utf-8")


# --- the modules ----------------------------------------------------------------------------------


def directive(name: names.Name) -> list[str]:
    """What Sphinx is told to write about a name that is explained here."""
    if inspect.isclass(name.thing):
        lines = [f".. autoclass:: {name.path}"]
        if issubclass(name.thing, enum.Enum):
            lines += ["   :members:", "   :undoc-members:", "   :member-order: bysource"]
            page = "options" if name.name == "SocketOption" else "constants"
            lines += ["", f"   What each member means: :doc:`/docs/reference/{page}`"]
        elif name.members and not names.is_aside(name.module):
            lines += [f"   :members: {', '.join(name.members)}"]
        if name.path == f"{names.PACKAGE}.Socket":
            lines += ["", "   The options, which are attributes: :doc:`/docs/reference/options`"]
        return [*lines, ""]
    if inspect.isroutine(name.thing):
        lines = [f".. autofunction:: {name.path}"]
        # A module may have the same name as the function in it.
        return [*lines, "   :no-index:" if name.path in sys.modules else "", ""]
    lines = [f".. py:data:: {name.name}", f"   :module: {name.module}"]
    if isinstance(name.thing, (int, str, bytes)):
        lines += [f"   :value: {name.thing!r}"]
    return [*lines, "", f"   {names.comment_of(name)}", ""]


def write_modules(folder: Path) -> None:
    """A page a module: its docstring, what is explained here, and where the rest is."""
    folder.mkdir(parents=True)
    offered: dict[str, list[names.Name]] = {module.__name__: [] for module in names.modules()}
    for name in names.public():
        offered[name.module].append(name)
    aside = []
    for module, there in offered.items():
        lines = [f".. py:module:: {module}", "", f".. automodule:: {module}", "   :no-index:", ""]
        lines += [line for name in there if explained_here(name) for line in directive(name)]
        if names.is_aside(module):
            aside += [f"## `{module}`", "", *block(lines)]
            continue
        lines += lists(there)
        page = "\n".join([f"# `{module}`", "", *block(lines)])
        (folder / f"{module}.md").write_text(page, encoding="utf-8")
    page = "\n".join(["# Modules beside these", "", ASIDE, "", *aside])
    (folder / f"{OTHERS}.md").write_text(page, encoding="utf-8")


def block(lines: list[str]) -> list[str]:
    return ["```{eval-rst}", *lines, "```", ""]


def explained_here(name: names.Name) -> bool:
    return name.is_home and not isinstance(name.thing, enum.Enum)


def lists(there: list[names.Name]) -> list[str]:
    """The names of a module that are explained elsewhere."""
    by_class: dict[str, list[str]] = {}
    for name in there:
        if isinstance(name.thing, enum.Enum):
            by_class.setdefault(type(name.thing).__name__, []).append(f"``{name.name}``")
    lines = []
    if by_class:
        lines += [".. rubric:: Constants, by the enumeration that explains them", ""]
        lines += [f"- `{cls}`: {', '.join(found)}" for cls, found in by_class.items()]
        lines += [""]
    elsewhere = [f"- ``{name.name}`` is `{name.home}`" for name in there if not name.is_home]
    elsewhere = [line.replace("builtins.", "") for line in elsewhere]
    if elsewhere:
        lines += [".. rubric:: Offered here, too", "", *elsewhere, ""]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description="builds the site; a warning is an error")
    parser.add_argument("out", type=Path)
    parser.add_argument("--keep", type=Path, help="lay the pages out here, and leave them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        source = arguments.keep or Path(temporary)
        os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
        lay_out(source)
        return build_main(
            ["-b", "html", "-W", "--keep-going", "-q", "-c", str(HERE)]
            + ["-d", str(Path(temporary) / "doctrees"), str(source), str(arguments.out)]
        )


if __name__ == "__main__":
    sys.exit(main())
