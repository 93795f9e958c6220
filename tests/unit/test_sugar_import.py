"""What importing the package does and does not do; its versions and public names."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys

import pytest

HEAVY = ["asyncio", "tornado", "gevent", "cffi", "socket", "liburing", "selectors", "random"]


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_is_light(zmq, on_libzmq):
    heavy = [name for name in HEAVY if not (on_libzmq and name == "random")]
    code = f"import sys, {zmq.__name__}; print([m for m in {heavy} if m in sys.modules])"
    assert run(code) == "[]"


#: What of Python's own the package imports.
NEEDED = (
    "__future__ atexit collections.abc contextlib enum errno functools importlib.machinery json"
    " math os re threading types typing warnings weakref"
)
MODULES = 30


def test_the_import_brings_nothing_that_it_does_not_need(zmq, on_libzmq):
    """A module more is time for every program. Without what `site` has imported already."""
    if on_libzmq:
        pytest.skip("about our package")
    places = [os.path.dirname(os.path.dirname(zmq.__file__)), *sys.path]
    code = f"""if True:
        import importlib, sys
        sys.path[:0] = {places}
        for name in {NEEDED.split()}:
            importlib.import_module(name)
        before = set(sys.modules)
        import zmq_monocoque
        new = set(sys.modules) - before
        print(sorted(m for m in new if m.partition(".")[0] != "zmq_monocoque"))
        print(len(new), sorted(m for m in new if m.count(".") == 1))
    """
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    others, own = done.stdout.splitlines()
    assert others == "['_cffi_backend']"
    assert int(own.split()[0]) <= MODULES, own


def test_the_engine_does_not_bring_pyzmq_with_it(zmq, on_libzmq):
    if on_libzmq:
        pytest.skip("it is pyzmq")
    assert run(f"import sys, {zmq.__name__}; print('zmq' in sys.modules)") == "False"


def test_the_backend_has_the_names_that_pyzmq_reads_of_one(zmq, pyzmq):
    assert sorted(zmq.backend.public_api) == sorted(pyzmq.backend.public_api)
    for name in [*pyzmq.backend.public_api, "monitored_queue"]:
        assert hasattr(zmq.backend, name)
    assert zmq.backend.IPC_PATH_MAX_LEN == zmq.IPC_PATH_MAX_LEN == 107
    assert zmq.backend.PYZMQ_DRAFT_API is zmq.DRAFT_API is False


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sugar.context", "Context"),
        ("sugar.socket", "Socket"),
        ("sugar.poll", "Poller"),
        ("sugar.tracker", "MessageTracker"),
        ("sugar.stopwatch", "Stopwatch"),
        ("sugar.attrsettr", "AttributeSetter"),
    ],
)
def test_methods_take_pyzmqs_parameters(zmq, pyzmq, module, name):
    """Compares names, kinds and defaults of every method that both write in Python.

    Ours may take more (`Context.term(timeout)`), if nobody has to give it.
    """
    if pyzmq.pyzmq_version_info() < (27, 3):
        pytest.skip("the ones of 27.3")
    ours = getattr(importlib.import_module(f"{zmq.__name__}.{module}"), name)
    theirs = getattr(importlib.import_module(f"{pyzmq.__name__}.{module}"), name)

    def shape(method):
        return [
            (p.name, p.kind, int(p.default) if isinstance(p.default, int) else p.default)
            for p in inspect.signature(method).parameters.values()
        ]

    for key, value in vars(theirs).items():
        mine = inspect.getattr_static(ours, key, None)
        if inspect.isfunction(value) and inspect.isfunction(mine) and not key.startswith("__"):
            more = shape(mine)[len(shape(value)) :]
            assert shape(mine) == shape(value) + more, key
            assert all(default is not inspect.Parameter.empty for _, _, default in more), key


def test_every_public_attribute_of_pyzmqs_classes_is_there(zmq, pyzmq):
    for name in ("Context", "Socket", "Frame", "Poller", "MessageTracker", "Stopwatch"):
        theirs = {n for n in dir(getattr(pyzmq, name)) if not n.startswith("__")}
        theirs -= {n for n in theirs if n.startswith("_abc") or n == "_is_protocol"}
        assert theirs <= set(dir(getattr(zmq, name))), name


def test_versions_are_those_that_programs_check(zmq):
    assert zmq.zmq_version_info() == (4, 3, 5)
    assert zmq.zmq_version() == "4.3.5"
    assert zmq.pyzmq_version_info() == (27, 3, 0)
    assert zmq.pyzmq_version() == zmq.__version__ == "27.3.0"
    assert zmq.__revision__ == ""


def test_our_own_version_has_a_name_of_its_own(zmq, on_libzmq):
    if on_libzmq:
        pytest.skip("it is pyzmq")
    version = importlib.import_module(f"{zmq.__name__}._version").__version__
    assert zmq.monocoque_version() == version != zmq.__version__


def test_include_and_library_directories_are_the_packages(zmq):
    package = os.path.dirname(zmq.__file__)
    face = os.path.join(package, "_capi")
    assert zmq.get_includes() == [
        os.path.dirname(package),
        os.path.join(package, "utils"),
        os.path.join(face, "include"),
    ]
    assert zmq.get_library_dirs() == [os.path.join(face, "zmq")]
    assert "zmq.h" in os.listdir(zmq.get_includes()[-1])
    assert "libzmq_monocoque.so" in os.listdir(zmq.get_library_dirs()[0])


def test_has_answers_for_what_it_knows(zmq):
    assert zmq.has("ipc") is True
    assert zmq.has("nope") is False
    assert zmq.has("draft") is False
    with pytest.raises(TypeError):
        zmq.has(b"ipc")


def test_a_secret_key_has_40_characters(zmq):
    with pytest.raises(ValueError, match="must be a 40 byte z85"):
        zmq.curve_public(b"x" * 39)


def test_the_driver_can_be_chosen_in_the_environment(zmq, on_libzmq):
    if on_libzmq:
        pytest.skip("libzmq has one driver")
    code = f"from {zmq.__name__} import backend; print(backend.driver_name())"
    assert run(code, ZMQ_MONOCOQUE_DRIVER="epoll") == "epoll"


def test_an_unknown_driver_is_warned_about_and_not_used(zmq, on_libzmq):
    if on_libzmq:
        pytest.skip("libzmq has one driver")
    code = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        f"    from {zmq.__name__} import backend\n"
        "print(backend.driver_name() in ('io_uring', 'epoll'), caught[0].category.__name__)\n"
    )
    assert run(code, ZMQ_MONOCOQUE_DRIVER="kqueue") == "True RuntimeWarning"


def test_without_liburing_epoll_is_used_and_the_reason_kept(zmq, on_libzmq, tmp_path):
    if on_libzmq:
        pytest.skip("libzmq has one driver")
    # A package of the same name without the extension, in front of the real one.
    (tmp_path / "liburing").mkdir()
    (tmp_path / "liburing" / "__init__.py").touch()
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"from {zmq.__name__} import backend\n"
        "print(backend.driver_name(), bool(backend.driver_reason()))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ZMQ_MONOCOQUE_DRIVER"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        env=environment,
    )
    assert (done.stdout.strip(), done.stderr) == ("epoll True", "")


def test_stopwatch_counts_microseconds_and_warns(zmq):
    with pytest.warns(DeprecationWarning, match="Stopwatch is deprecated"):
        watch = zmq.Stopwatch()
    watch.start()
    first, second = watch.stop(), watch.stop()
    assert isinstance(first, int)
    assert 0 <= first <= second < 10_000_000
