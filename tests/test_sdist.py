"""The source packages: they build where there is no clone, hold what their pages show, and say
first what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from leaks import MODULE
from support.docs import ROOT
from support.ways import TIMEOUT, copy_of_clone

pytestmark = [
    pytest.mark.skipif(MODULE != "zmq_monocoque", reason="about our packages"),
    pytest.mark.skipif("ZM_SANITIZE" in os.environ, reason="a sanitizer has nothing to see here"),
]
BUILD = "import sys, setuptools.build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def build(kind: str, tree: Path, out: Path) -> Path:
    """What the build backend makes of ``tree``, as a frontend without isolation asks it to."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{kind}", out],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


def unpacked(archive: Path, where: Path) -> Path:
    with tarfile.open(archive) as packed:
        packed.extractall(where, filter="data")
    (tree,) = where.iterdir()
    return tree


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    for needed, oldest in (("setuptools", 77), ("cffi", 1)):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
        if int(importlib.metadata.version(needed).partition(".")[0]) < oldest:
            pytest.skip(f"{needed} is older than {oldest}, which pyproject.toml asks for")
    return copy_of_clone(tmp_path_factory.mktemp("clone") / "tree")


@pytest.fixture(scope="module")
def sdist(clone, tmp_path_factory):
    out = tmp_path_factory.mktemp("sdist")
    return unpacked(build("sdist", clone, out), tmp_path_factory.mktemp("unpacked"))


def test_the_sdist_has_each_file_that_is_compiled(sdist):
    build_list = sdist / "zmq_monocoque" / "_build" / "engine.py"
    spec = importlib.util.spec_from_file_location("engine", build_list)
    assert spec and spec.loader
    engine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(engine)
    listed = [f"{engine.ENGINE}/{name}" for name in engine.SOURCES]
    listed += engine.extension()["sources"] + engine.capi()["sources"]
    pending = [sdist / name for name in listed]
    seen = set()
    while pending:
        file = pending.pop().resolve()
        if file in seen:
            continue
        seen.add(file)
        for name in re.findall(r'^#include "(.*)"', file.read_text(), re.MULTILINE):
            places = (file.parent, sdist / engine.ENGINE, sdist / engine.CAPI / "include")
            found = [place / name for place in places if (place / name).exists()]
            assert found, f"{name}, for {file}"
            pending.append(found[0])
    assert len(seen) > len(listed)


def test_the_sdist_has_what_its_pages_link_to_and_few_of_the_tests(sdist):
    pages = [*sdist.glob("*.md"), *(sdist / "docs").rglob("*.md"), sdist / "examples" / "README.md"]
    missing = [
        f"{page.relative_to(sdist)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert len(pages) > 30 and missing == []
    assert (sdist / ".ci" / "run").exists()
    folders = {path.name for path in (sdist / "tests").iterdir() if path.is_dir()}
    assert folders == {"behaviour", "bench", "support"}
    assert not [*sdist.rglob("*.so*")]


def test_an_index_accepts_what_the_package_says_of_itself(sdist):
    text = (sdist / "PKG-INFO").read_text()
    said = text.partition("\n\n")[0].splitlines()
    assert "License-Expression: MIT" in said and "License-File: LICENSE" in said
    assert "Requires-Python: >=3.10" in said
    assert [line for line in said if line.startswith("Project-URL: ")]
    # Beside an expression an index refuses them.
    assert not [line for line in said if line.startswith("Classifier: License ::")]


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as packed:
        return {name: packed.read(name) for name in packed.namelist() if "RECORD" not in name}


def test_compat_builds_from_its_sdist_what_it_builds_in_a_clone(clone, tmp_path):
    wheel = contents(build("wheel", clone / "compat", tmp_path))
    archive = build("sdist", clone / "compat", tmp_path)
    tree = unpacked(archive, tmp_path / "alone")
    (tmp_path / "again").mkdir()
    assert contents(build("wheel", tree, tmp_path / "again")) == wheel
    (said,) = (text for name, text in wheel.items() if name.endswith("METADATA"))
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version and f"Requires-Dist: zmq_monocoque=={version[1]}\n" in said.decode()
    assert "zmq/asyncio.pyi" in wheel and "zmq/py.typed" in wheel


def refusal(sdist: Path, code: str, **environment: str) -> str:
    """What setup.py ends with when ``code`` has run before it."""
    program = f"import runpy, sys, sysconfig\n{code}\nsys.argv[1:] = ['build_ext']\n"
    done = subprocess.run(
        [sys.executable, "-c", program + "runpy.run_path('setup.py', run_name='__main__')"],
        cwd=sdist,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]


def test_a_build_says_first_what_is_missing(sdist, tmp_path):
    old = refusal(sdist, "sys.version_info = (3, 9, 18)")
    assert old == "zmq_monocoque needs Python 3.10 or later; this is 3.9.18."
    narrow = refusal(sdist, "sys.maxsize = (1 << 31) - 1")
    assert narrow.startswith("zmq_monocoque is for 64-bit machines")
    old = refusal(sdist, "import setuptools; setuptools.__version__ = '65.5.0'")
    assert old.startswith("zmq_monocoque is built by setuptools 77 or later")
    no_compiler = {"PATH": str(tmp_path), "CC": "gcc -pthread"}
    assert refusal(sdist, "", **no_compiler).startswith("gcc is missing: zmq_monocoque is compiled")
    elsewhere = f"sysconfig.get_path = lambda name: {str(tmp_path)!r}"
    missing = refusal(sdist, elsewhere, CC=sys.executable)
    assert missing.startswith(f"{tmp_path}/Python.h is missing")
    assert not [*sdist.rglob("*.o")]


def test_a_compiler_for_32_bits_gets_a_sentence(sdist):
    """setup.py asks the Python that runs it, which is another one in a cross build."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    # As for a program without a C library: that of 32 bits need not be there.
    command = ["gcc", "-m32", "-ffreestanding", "-fsyntax-only", "-x", "c"]
    header = sdist / "zmq_monocoque" / "_engine" / "engine.h"
    done = subprocess.run([*command, header], capture_output=True, text=True, timeout=TIMEOUT)
    if "unrecognized command-line option" in done.stderr:
        pytest.skip("this gcc compiles for one width only")
    assert done.returncode == 1 and "zmq_monocoque is for 64-bit machines" in done.stderr
    assert done.stderr.count("error:") == 1, done.stderr
