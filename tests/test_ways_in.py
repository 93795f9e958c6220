"""The three ways in, each in processes of its own: what a program that says ``import zmq`` gets."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from leaks import MODULE
from support.ways import PARENT, TIMEOUT, environment_with_compat, python, wheel_of_pyzmq

pytestmark = pytest.mark.skipif(MODULE != "zmq_monocoque", reason="they lead into our engine")

SHIM = PARENT / "zmq_monocoque" / "_shim"
HAS_PYZMQ = importlib.util.find_spec("zmq") is not None
needs_pyzmq = pytest.mark.skipif(not HAS_PYZMQ, reason="pyzmq is not installed")

#: Not for import, or with an effect when imported.
APART = ("_build", "_shim", "__main__")
MODULES = sorted(
    ".".join(parts).removesuffix(".__init__")
    for parts in (
        path.relative_to(PARENT / "zmq_monocoque").with_suffix("").parts
        for path in (PARENT / "zmq_monocoque").rglob("*.py")
    )
    if parts != ("__init__",) and not set(parts) & set(APART)
)


def search_path(*first: Path) -> str:
    return os.pathsep.join(filter(None, [*map(str, first), os.environ.get("PYTHONPATH", "")]))


# The alias ---------------------------------------------------------------------------------------


ROUND_TRIP = """
import zmq
with zmq.Context() as context:
    with context.socket(zmq.REP) as a, context.socket(zmq.REQ) as b:
        a.rcvtimeo = b.rcvtimeo = 30_000
        b.connect(f"tcp://127.0.0.1:{a.bind_to_random_port('tcp://127.0.0.1')}")
        b.send(b"question")
        frame = a.recv(copy=False)
        assert type(frame) is zmq.Frame and frame.bytes == b"question"
        a.send(b"answer")
        assert b.recv() == b"answer"
        try:
            a.send(b"out of turn")
        except zmq.ZMQError as error:
            assert type(error) is zmq.ZMQError and error.errno == zmq.EFSM
        try:
            a.recv(zmq.DONTWAIT)
        except zmq.Again:
            pass
print(zmq.backend.backend)
"""

SAME_MODULES = """
import importlib, sys, warnings
import zmq, zmq_monocoque
assert zmq is zmq_monocoque
warnings.simplefilter("ignore", DeprecationWarning)
for name in {modules!r}:
    try:
        ours = importlib.import_module("zmq_monocoque." + name)
    except ModuleNotFoundError as error:
        # What it needs is not installed (tornado, gevent, ...), and is not ours.
        assert not error.name.startswith("zmq"), error
        continue
    assert importlib.import_module("zmq." + name) is ours, name
    assert ours.__spec__.name == ours.__name__ == "zmq_monocoque." + name, name
twice = [n for n in sys.modules if n.startswith("zmq.")
         and sys.modules[n] is not sys.modules["zmq_monocoque" + n[3:]]]
assert not twice, twice
from zmq.error import Again
from zmq.constants import SocketType
assert Again is zmq_monocoque.Again and SocketType is zmq_monocoque.SocketType
"""

INSTALL = "import zmq_monocoque.compat; zmq_monocoque.compat.install()\n"


def test_after_install_zmq_is_our_engine():
    assert python("-W", "error", "-c", INSTALL + ROUND_TRIP) == "zmq_monocoque.backend\n"


def test_after_install_each_module_has_both_names():
    assert "error" in MODULES and "utils.monitor" in MODULES
    python("-c", INSTALL + SAME_MODULES.format(modules=MODULES))


def test_the_shim_gives_each_module_both_names_whichever_is_asked_for_first():
    for order in (MODULES, MODULES[::-1]):
        python("-c", SAME_MODULES.format(modules=order), PYTHONPATH=search_path(SHIM))
    # zmq first, then ours.
    python(
        "-c",
        "import zmq.utils.monitor, zmq_monocoque.utils.monitor as ours\n"
        "assert zmq.utils.monitor is ours",
        PYTHONPATH=search_path(SHIM),
    )


def test_a_module_that_we_do_not_have_is_an_import_error_of_its_zmq_name():
    python(
        "-c",
        INSTALL + "import zmq\n"
        "try:\n    import zmq.backend.cffi\n"
        "except ImportError as error:\n    assert error.name == 'zmq.backend.cffi', error\n"
        "else:\n    raise SystemExit('it was found')",
    )


def test_a_module_of_zmq_runs_as_a_program_and_shows_its_source():
    arguments = ("-m", "zmq.utils.z85")
    assert python(*arguments, PYTHONPATH=search_path(SHIM)) == ""
    python(
        "-c",
        INSTALL + "import importlib.util, inspect, zmq_monocoque.utils.z85 as ours\n"
        "spec = importlib.util.find_spec('zmq.utils.jsonapi')\n"
        "assert spec.loader.get_source('zmq.utils.jsonapi').startswith('\"\"\"')\n"
        "import zmq.utils.z85\n"
        "assert inspect.getsource(zmq.utils.z85) == inspect.getsource(ours)",
    )


@needs_pyzmq
def test_install_says_so_when_pyzmq_was_imported_before_and_replaces_it():
    python(
        "-c",
        "import warnings, zmq, zmq.error\n"
        "real = zmq\n"
        "import zmq_monocoque.compat\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    zmq_monocoque.compat.install()\n"
        "assert len(seen) == 1 and seen[0].category is RuntimeWarning, seen\n"
        "assert real.__file__ in str(seen[0].message) and seen[0].filename == '<string>'\n"
        "import zmq, zmq.error\n"
        "assert zmq is zmq_monocoque and zmq.error is zmq_monocoque.error",
    )


# compat/ -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return environment_with_compat(tmp_path_factory.mktemp("compat"))


def inside(environment: Path, *arguments: str) -> str:
    done = subprocess.run(
        [environment, *arguments], capture_output=True, text=True, timeout=TIMEOUT, cwd="/"
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_with_compat_installed_zmq_is_our_engine_in_every_process(environment):
    assert inside(environment, "-c", ROUND_TRIP) == "zmq_monocoque.backend\n"
    inside(environment, "-c", SAME_MODULES.format(modules=MODULES))
    inside(environment, "-m", "zmq.utils.z85")


def test_with_compat_installed_each_stub_stands_beside_a_module(environment):
    (package,) = environment.parents[1].glob("lib/python*/site-packages/zmq")
    stubs = [*package.rglob("*.pyi")]
    assert {stub.relative_to(package).as_posix() for stub in stubs} >= {"asyncio.pyi", "error.pyi"}
    assert [stub for stub in stubs if not stub.with_suffix(".py").exists()] == []


def test_with_compat_installed_doctor_says_whose_zmq_it_is(environment):
    done = inside(environment, "-m", "zmq_monocoque", "doctor")
    facts = {line[:20].strip(): line[20:].strip() for line in done.splitlines()}
    assert facts["import zmq"].startswith("this engine, ")
    assert facts["pyzmq"].startswith("27.3.0+monocoque: not pyzmq")


def test_with_compat_installed_what_requires_pyzmq_is_content(environment):
    code = "from importlib.metadata import version; print(version('pyzmq'))"
    assert inside(environment, "-c", code) == "27.3.0+monocoque\n"
    pip = ("-m", "pip", "--python", environment)
    dry = python(*pip, "install", "--no-index", "--dry-run", "pyzmq>=26", "pyzmq==27.3.0")
    assert "already satisfied: pyzmq" in dry and "Would install" not in dry
    found = python(*pip, "check")
    assert "pyzmq" not in found and "client" not in found


@needs_pyzmq
def test_compat_and_pyzmq_replace_each_other(environment, tmp_path):
    pip = ("-m", "pip", "--python", environment)
    install = (*pip, "install", "-q", "--no-index", "--no-deps")
    (compat,) = (environment.parents[2] / "wheels").iterdir()
    code = (
        "import sys, zmq; from importlib.metadata import version\n"
        "print(version('pyzmq'), zmq.__name__, zmq.__file__.startswith(sys.prefix))"
    )
    ours = "27.3.0+monocoque zmq_monocoque False\n"
    assert inside(environment, "-c", code) == ours
    pyzmq = wheel_of_pyzmq(tmp_path)
    try:
        python(*install, "--force-reinstall", pyzmq)
        theirs = f"{importlib.metadata.version('pyzmq')} zmq True\n"
        assert inside(environment, "-c", code) == theirs
        inside(environment, "-m", "zmq.utils.z85")
    finally:
        python(*install, compat)
    assert inside(environment, "-c", code) == ours
    (package,) = (environment.parents[1]).glob("lib/python*/site-packages/zmq")
    assert not [*package.rglob("*.so")], "nothing of pyzmq is left"
    try:
        python(*pip, "uninstall", "-q", "-y", "pyzmq")
        assert not package.exists()
    finally:
        python(*install, compat)


def test_with_compat_installed_a_type_checker_sees_one_class_under_both_names(
    environment, tmp_path
):
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(
        "import zmq, zmq.utils.monitor, zmq_monocoque\n"
        "from zmq.error import Again\n"
        "from zmq.sugar.socket import Socket\n"
        "context: zmq_monocoque.Context[zmq.Socket[bytes]] = zmq.Context()\n"
        "socket: Socket[bytes] = context.socket(zmq.SocketType.REQ)\n"
        "errors: type[zmq_monocoque.Again] = Again\n"
        "wrong: int = zmq.utils.monitor.parse_monitor_message([b''])\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", environment, "--cache-dir", tmp_path]
        + [program],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=tmp_path,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and lines[0].startswith(f"{program.name}:7: error:"), done.stdout


# python -m zmq_monocoque run ---------------------------------------------------------------------


PROGRAM = """
import sys
import zmq, zmq_monocoque
import helper

def child(queue):
    queue.put(zmq is zmq_monocoque)

if __name__ == "__main__":
    import multiprocessing, subprocess
    assert zmq is zmq_monocoque
    for method in ("spawn", "fork"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        assert queue.get(timeout=30) is True, method
        process.join()
    code = "import zmq, zmq_monocoque; assert zmq is zmq_monocoque"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    print(sys.argv[1:], sys.path[0])
    sys.exit(int(sys.argv[-1]))
"""


@pytest.fixture
def program(tmp_path):
    directory = tmp_path / "program"
    directory.mkdir()
    (directory / "helper.py").touch()
    (directory / "app.py").write_text(PROGRAM)
    return directory / "app.py"


def run_command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", "zmq_monocoque", "run"]
        + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": search_path(PARENT)},
    )


def test_run_gives_a_program_and_its_children_our_engine(program, tmp_path):
    done = run_command(program, "--help", "-x", "7", cwd=tmp_path)
    assert done.returncode == 7, done.stderr
    assert done.stdout == f"['--help', '-x', '7'] {program.parent}\n"


def test_run_takes_a_module_as_python_does(program):
    done = run_command("-m", "app", "-m", "0", cwd=program.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("['-m', '0'] ")


def test_run_says_which_file_is_missing(tmp_path):
    done = run_command("missing.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "no such file: missing.py\n")


# PYZMQ_BACKEND -----------------------------------------------------------------------------------


BACKEND = {"PYZMQ_BACKEND": "zmq_monocoque.pyzmq_backend"}


@needs_pyzmq
def test_pyzmq_runs_on_our_engine_with_its_own_classes():
    assert python("-c", ROUND_TRIP, **BACKEND) == "zmq_monocoque.pyzmq_backend\n"


@needs_pyzmq
@pytest.mark.parametrize("first", ["zmq", "zmq_monocoque", "zmq_monocoque.pyzmq_backend"])
def test_pyzmq_on_our_engine_and_our_package_live_in_one_process(first):
    python(
        "-c",
        f"import {first}\n"
        "import zmq, zmq_monocoque\n"
        "assert zmq is not zmq_monocoque and zmq.Frame is not zmq_monocoque.Frame\n"
        "sockets = [module.Context().socket(module.PAIR) for module in (zmq, zmq_monocoque)]\n"
        "for socket, module in zip(sockets, (zmq, zmq_monocoque)):\n"
        "    socket.rcvtimeo = 30_000\n"
        "    try:\n        socket.recv(zmq.DONTWAIT)\n"
        "    except module.Again:\n        pass\n"
        "port = sockets[0].bind_to_random_port('tcp://127.0.0.1')\n"
        "sockets[1].connect(f'tcp://127.0.0.1:{port}')\n"
        "for sender, receiver, module in ((0, 1, zmq_monocoque), (1, 0, zmq)):\n"
        "    tracker = sockets[sender].send(b'x' * 100_000, copy=False, track=True)\n"
        "    frame = sockets[receiver].recv(copy=False)\n"
        "    assert type(frame) is module.Frame and len(frame) == 100_000\n"
        "    tracker.wait(30)\n"
        "    assert type(tracker).__module__.startswith(('zmq_monocoque.', 'zmq.')[sender == 0])\n"
        "for socket in sockets:\n"
        "    socket.context.destroy(linger=0)",
        **BACKEND,
    )


@needs_pyzmq
def test_pyzmq_sets_our_own_options_by_number():
    """docs/reference/limits.md: 8-byte integers, which pyzmq would take for ints of 4."""
    python(
        "-c",
        "import zmq\n"
        "with zmq.Context() as context, context.socket(zmq.PULL) as socket:\n"
        "    for number in range(19712, 19720):\n"
        "        for value in (1, 2**40, -1):\n"
        "            socket.set(number, value)\n"
        "            assert socket.get(number) == value\n"
        "        try:\n            socket.set(number, 0)\n"
        "        except zmq.ZMQError as error:\n            assert error.errno == zmq.EINVAL\n"
        "        else:\n            raise AssertionError(number)",
        **BACKEND,
    )


@needs_pyzmq
def test_the_backend_has_every_name_that_pyzmq_reads():
    python(
        "-c",
        "import zmq, zmq.backend, zmq_monocoque.pyzmq_backend as ours\n"
        "for name in [*zmq.backend.public_api, 'monitored_queue']:\n"
        "    assert getattr(zmq.backend, name) is getattr(ours, name), name",
        **BACKEND,
    )
