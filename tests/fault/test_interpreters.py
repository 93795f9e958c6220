"""Sub-interpreters and free-threaded builds: served, or refused by an ImportError, never a crash.

pyzmq (Cython) and we agree: the first interpreter that imports the package has it for the whole
process, whichever it is, and every other one is refused.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import sys
import sysconfig

import pytest
from support import module_source, run_python

#: Gives ``run(code)``: in a new interpreter that shares the GIL, as mod_wsgi's do, and
#: ``run(code, "isolated")``: in one with a GIL of its own, where there are such (3.12).
RUNNER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def run(code, kind="legacy"):
    if sys.version_info >= (3, 13):
        interpreter = interpreters.create(kind)
    else:
        interpreter = interpreters.create(isolated=kind == "isolated")
    interpreters.run_string(interpreter, code)
    interpreters.destroy(interpreter)
"""

#: Zero-copy only here: pyzmq starts a thread for it, which the end of a sub-interpreter aborts on.
TALK = """
lent = {} if zmq.__name__ == "zmq" else {"copy": False, "track": True}
with zmq.Context() as context:
    with context.socket(zmq.PAIR) as a, context.socket(zmq.PAIR) as b:
        a.rcvtimeo = b.rcvtimeo = 30_000
        a.connect(f"tcp://127.0.0.1:{b.bind_to_random_port('tcp://127.0.0.1')}")
        for _ in range(20):
            tracker = a.send(bytes(100_000), **lent)
            frame = b.recv(copy=False)
            assert len(frame) == 100_000
            del frame
            if lent:
                tracker.wait(30)
        try:
            a.recv(zmq.DONTWAIT)
        except zmq.Again:
            print("talked", flush=True)
"""

TRY = """
try:
    {import_it}
except ImportError as error:
    print("refused:", error, flush=True)
else:
    {then}
"""


def attempt(zmq, talk: bool = True) -> str:
    """Code that imports the module under test and says what came of it."""
    import_it = module_source(zmq).strip().replace("\n", "; ")
    return TRY.format(import_it=import_it, then=TALK.replace("\n", "\n    ") if talk else "pass")


needs_shared_gil = pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="CPython lets no sub-interpreter import it, as with a GIL of its own",
)


def said(code: str) -> list[str]:
    done = run_python(RUNNER + code)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@needs_shared_gil
def test_the_first_interpreter_has_it_even_if_it_is_a_sub_interpreter(zmq):
    lines = said(f"run({attempt(zmq)!r})\nrun({attempt(zmq)!r})\n{attempt(zmq)}")
    assert lines[0] == "talked"
    assert [line.partition(" ")[0] for line in lines[1:]] == ["refused:"] * 2
    assert all("one interpreter" in line for line in lines[1:])


@needs_shared_gil
def test_after_the_main_interpreter_no_other_gets_it_and_the_main_one_goes_on(zmq):
    lines = said(f"{attempt(zmq)}\nrun({attempt(zmq)!r})\n{attempt(zmq)}")
    assert lines[0] == lines[2] == "talked"
    assert lines[1].startswith("refused:") and "one interpreter" in lines[1]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no interpreter has a GIL of its own")
def test_an_interpreter_with_its_own_gil_is_refused(zmq):
    (line,) = said(f"run({attempt(zmq)!r}, 'isolated')")
    assert line.startswith("refused:") and "subinterpreters" in line


def test_the_extension_says_that_it_needs_no_gil(zmq, on_libzmq):
    """A free-threaded interpreter would turn the GIL on when it is imported, and warn (PEP 703).
    Before 3.13 there is nothing to say."""
    if on_libzmq:
        pytest.skip("of our extension")

    class Slot(ctypes.Structure):
        _fields_ = [("number", ctypes.c_int), ("value", ctypes.c_void_p)]

    class Definition(ctypes.Structure):
        _fields_ = [
            # PyModuleDef_Base: the object's head, m_init, m_index, m_copy
            ("base", ctypes.c_byte * (object.__basicsize__ + 3 * ctypes.sizeof(ctypes.c_void_p))),
            ("name", ctypes.c_char_p),
            ("doc", ctypes.c_char_p),
            ("size", ctypes.c_ssize_t),
            ("methods", ctypes.c_void_p),
            ("slots", ctypes.POINTER(Slot)),
        ]

    spec = importlib.util.find_spec("zmq_monocoque._ext")
    assert isinstance(spec.loader, importlib.machinery.ExtensionFileLoader)
    initialise = ctypes.PyDLL(spec.origin).PyInit__ext
    initialise.restype = ctypes.POINTER(Definition)
    definition = initialise().contents
    assert definition.name == b"zmq_monocoque._ext"
    slots = {}
    while number := definition.slots[len(slots)].number:
        slots[number] = definition.slots[len(slots)].value
    py_mod_exec, py_mod_multiple_interpreters, py_mod_gil = (
        (2, 3, 4) if sys.version_info < (3, 15) else (85, 86, 87)
    )
    wanted = {py_mod_exec}
    if sys.version_info >= (3, 12):
        wanted.add(py_mod_multiple_interpreters)
        assert not slots[py_mod_multiple_interpreters]  # NOT_SUPPORTED
    if sys.version_info >= (3, 13):
        wanted.add(py_mod_gil)
        assert slots[py_mod_gil] == 1  # NOT_USED
    assert set(slots) == wanted
