"""The C face: libzmq_monocoque.so, beside the engine that the Python package has.

Its tests load it with ctypes, or compile programs that use it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

COUNT, POINTER = ctypes.c_size_t, ctypes.c_void_p

#: Functions that do not answer an int, or take a size or a pointer where ctypes would take an int.
ANSWERS = {
    "zmq_ctx_new": POINTER,
    "zmq_init": POINTER,
    "zmq_socket": POINTER,
    "zmq_msg_data": POINTER,
    "zmq_msg_size": COUNT,
    "zmq_msg_gets": ctypes.c_char_p,
    "zmq_msg_group": ctypes.c_char_p,
    "zmq_msg_routing_id": ctypes.c_uint32,
    "zmq_strerror": ctypes.c_char_p,
    "zmq_timers_new": POINTER,
    "zmq_timers_timeout": ctypes.c_long,
    "zmq_poller_new": POINTER,
    "zmq_atomic_counter_new": POINTER,
    "zmq_atomic_counter_set": None,
    "zmq_atomic_counter_destroy": None,
    "zmq_stopwatch_start": POINTER,
    "zmq_stopwatch_intermediate": ctypes.c_ulong,
    "zmq_stopwatch_stop": ctypes.c_ulong,
    "zmq_threadstart": POINTER,
    "zmq_threadclose": None,
    "zmq_z85_encode": ctypes.c_char_p,
    "zmq_z85_decode": POINTER,
    "zmq_connect_peer": ctypes.c_uint32,
    "zmq_version": None,
}


class Face:
    """The library; its functions take Python's ints as pointers."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._library = ctypes.CDLL(path, use_errno=True)

    def __getattr__(self, name: str):
        function = self._library[name]
        function.restype = ANSWERS.get(name, ctypes.c_int)

        def call(*arguments):
            ctypes.set_errno(0)
            return function(*(POINTER(a) if isinstance(a, int) else a for a in arguments))

        setattr(self, name, call)
        return call

    def refusal(self, name: str, *arguments) -> tuple[object, int]:
        """What a call answers, and its errno."""
        answer = getattr(self, name)(*arguments)
        return answer, ctypes.get_errno()


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
def context(face):
    made = face.zmq_ctx_new()
    yield made
    assert face.zmq_ctx_term(made) == 0


@pytest.fixture
def build(package, face, tmp_path):
    """Compiles a C program (or C++, by its name) against our zmq.h, and links it with -lzmq."""

    def build(name: str, text: str, *flags: str) -> Path:
        compiler = shutil.which("g++" if name.endswith(".cpp") else "gcc")
        if compiler is None:
            pytest.skip("no compiler")
        source, program = tmp_path / name, tmp_path / Path(name).stem
        source.write_text(text)
        include, directory = package.get_includes()[-1], package.get_library_dirs()[0]
        done = subprocess.run(
            [
                *(compiler, "-Wall", "-Wextra", "-Werror", *flags, f"-I{include}", str(source)),
                *("-o", str(program), f"-L{directory}", f"-Wl,-rpath,{directory}"),
                *("-lzmq", "-pthread"),
            ],
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
