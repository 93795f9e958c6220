"""Every module of pyzmq's is there, with every public name."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import unittest
import warnings

import pytest

#: pyzmq's own backends cannot be here, and `_deprecated` cannot be imported there either.
NOT_HERE = ("backend.cython", "backend.cffi", "eventloop._deprecated")


def modules_of(package, packages_alone: bool = False) -> list[str]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda _: None)
    names = [m.name.partition(".")[2] for m in found if m.ispkg or not packages_alone]
    return [name for name in names if not name.startswith(NOT_HERE) and "__main__" not in name]


def imported(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name and missing.name.startswith("zmq"):
                raise
            pytest.skip(f"needs {missing.name}")


def pytest_generate_tests(metafunc):
    for argument in ("module", "package"):
        if argument in metafunc.fixturenames:
            pyzmq = pytest.importorskip("zmq")
            metafunc.parametrize(argument, modules_of(pyzmq, argument == "package"))


def own_names(module) -> dict[str, object]:
    """The public names that a module defines itself."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


def test_a_module_has_every_name_of_pyzmqs(zmq, pyzmq, module):
    theirs = imported(f"{pyzmq.__name__}.{module}")
    ours = imported(f"{zmq.__name__}.{module}")
    wanted = {*own_names(theirs), *getattr(theirs, "__all__", ())}
    # Nothing needs the thread: docs/reference/differences.md.
    missing = wanted - set(dir(ours)) - {"GarbageCollectorThread"}
    assert missing == set()
    if pyzmq.pyzmq_version_info() < (27, 3):
        pytest.skip("classes have the members of 27.3")
    for name, value in own_names(theirs).items():
        if inspect.isclass(value) and hasattr(ours, name):
            members = {m for m in dir(value) if not m.startswith("_")}
            members -= set(dir(getattr(ours, name)))
            # What only pyzmq's collector of garbage and its tests of green need.
            assert members <= {"context", "url", "tearDown"}, name


def test_a_package_passes_on_what_pyzmqs_does(zmq, pyzmq, package):
    """`from zmq.devices import proxy`."""
    theirs = imported(f"{pyzmq.__name__}.{package}")
    ours = imported(f"{zmq.__name__}.{package}")
    # Not their own modules: which of them are there depends on who has imported them.
    passed_on = {
        name
        for name, value in vars(theirs).items()
        if not name.startswith("_")
        and not (inspect.ismodule(value) and value.__name__.startswith(f"{theirs.__name__}."))
        and getattr(value, "__module__", getattr(value, "__name__", "")).startswith(pyzmq.__name__)
    }
    # What a loop of theirs leaves behind, and their backend.
    assert {name for name in passed_on if not hasattr(ours, name)} <= {"submod", "cython"}


def test_all_names_are_pyzmqs(zmq, pyzmq):
    ours = {name for name in zmq.__all__ if name.startswith("MONOCOQUE_")}
    assert set(zmq.__all__) - ours == set(pyzmq.__all__)
    assert all(hasattr(zmq, name) for name in zmq.__all__)


def test_modules_that_cannot_be_here_are_import_errors(zmq, on_libzmq):
    if on_libzmq:
        pytest.skip("of ours")
    for name in NOT_HERE:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"{zmq.__name__}.{name}")


def test_a_backend_is_looked_up_by_its_name(zmq, tmp_path, monkeypatch):
    backend = importlib.import_module(f"{zmq.__name__}.backend")
    select = importlib.import_module(f"{zmq.__name__}.backend.select")
    assert backend.select_backend is select.select_backend
    assert backend.public_api == select.public_api
    found = select.select_backend(backend.__name__)
    assert set(found) == {*backend.public_api, "monitored_queue"}
    assert all(found[name] is getattr(backend, name) for name in found if name != "monitored_queue")
    (tmp_path / "breaks_down.py").write_text("raise ValueError('on purpose')")
    monkeypatch.syspath_prepend(tmp_path)
    for name, error, text in (
        ("no_such_backend", ModuleNotFoundError, "no_such_backend"),
        ("", ImportError, "Importing  failed with Empty module name"),
        ("json", AttributeError, "json"),
        ("breaks_down", ImportError, "Importing breaks_down failed with on purpose"),
    ):
        with pytest.raises(error, match=text):
            select.select_backend(name)


def test_directories_for_compilers_and_linkers_exist(zmq):
    package, utils, *_ = zmq.get_includes()
    assert os.path.basename(utils) == "utils"
    assert os.path.basename(package) not in ("zmq", zmq.__name__)
    assert len(zmq.get_library_dirs()) == 1
    for directory in (*zmq.get_includes(), *zmq.get_library_dirs()):
        assert os.path.isdir(directory)


def test_interrupts_need_no_help_here(zmq):
    win32 = importlib.import_module(f"{zmq.__name__}.utils.win32")
    called = []
    with win32.allow_interrupt(lambda: called.append(1)):
        pass
    assert not called


def test_a_test_case_of_others_runs_on_the_old_base_class(zmq):
    with pytest.warns(DeprecationWarning, match="zmq.tests is deprecated"):
        tests = importlib.reload(imported(f"{zmq.__name__}.tests"))

    class Theirs(tests.BaseZMQTestCase):
        def test_it(self):
            one, other = self.create_bound_pair(zmq.PAIR, zmq.PAIR)
            assert self.ping_pong(one, other, b"x") == b"x"
            assert self.ping_pong_json(one, other, {"a": 1}) == {"a": 1}
            assert self.ping_pong_pyobj(one, other, (1, 2)) == (1, 2)
            one.send_multipart([b"a", b"b"])
            assert self.recv_multipart(other) == [b"a", b"b"]
            self.assertRaisesErrno(zmq.EAGAIN, other.recv, zmq.DONTWAIT)

        @tests.skip_green
        def test_skipped_under_gevent_only(self):
            assert not self.green

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Theirs).run(result)
    assert result.testsRun == 2
    assert not result.errors
    assert not result.failures
