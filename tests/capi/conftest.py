"""The C face: libzmq_monocoque.so, beside the engine that the Python package has.

Its tests load it with ctypes, or compile programs that use it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.c import own_environment
from support.capi import Face


@pytest.fixture(scope="session")
def package(zmq, on_libzmq):
    if on_libzmq:
        pytest.skip("about our package")
    return zmq


@pytest.fixture(scope="session")
def face(package) -> Face:
    library = Path(package.get_library_dirs()[0]) / "libzmq_monocoque.so"
    if not library.exists():
        pytest.skip("this installation has no C face")
    return Face(str(library))


@pytest.fixture
def context(face, request):
    made, failed = face.zmq_ctx_new(), request.session.testsfailed
    yield made
    # A test that fails leaves sockets open, for which this would wait without an end.
    if request.session.testsfailed == failed:
        assert face.zmq_ctx_term(made) == 0


@pytest.fixture
def build(package, face, tmp_path):
    """Compiles a C program (or C++, by its name) against our zmq.h, and links it with -lzmq.

    Beside a library with ThreadSanitizer the program has it too: what it hands from thread to
    thread would not be seen otherwise.
    """
    seen = ("-fsanitize=thread",) if "tsan" in os.environ.get("LD_PRELOAD", "") else ()

    def build(name: str, text: str, *flags: str) -> Path:
        compiler = shutil.which("g++" if name.endswith(".cpp") else "gcc")
        if compiler is None:
            pytest.skip("no compiler")
        source, program = tmp_path / name, tmp_path / Path(name).stem
        source.write_text(text)
        include, directory = package.get_includes()[-1], package.get_library_dirs()[0]
        done = subprocess.run(
            [
                *(compiler, "-Wall", "-Wextra", "-Werror", *seen, *flags, f"-I{include}"),
                *(str(source), "-o", str(program), f"-L{directory}", f"-Wl,-rpath,{directory}"),
                *("-lzmq", "-pthread"),
            ],
            env=own_environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return program

    return build


@pytest.fixture
def run_program(tmp_path):
    """Runs a program that has to end with 0; returns what it printed."""

    def run_program(program: Path, *arguments: str, **variables: str) -> str:
        done = subprocess.run(
            [str(program), *arguments],
            cwd=tmp_path,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done.stdout

    return run_program
