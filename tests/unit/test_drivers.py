"""The drivers behind driver/driver.h: the same C tests on io_uring and on epoll.

The tests are functions of ``c/drivers/``, one process each. They run on four worlds:
``io_uring``, ``epoll``, ``messenger`` (io_uring of a kernel that wakes a ring from a ring only),
``eventfd`` (of one that cannot do that either) and ``faults`` (that, and every third io_uring_enter
fails with EINTR, EAGAIN or EBUSY), in a plain build and under the sanitizers.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.c import own_environment

HERE = Path(__file__).parent / "c"
ENGINE = Path(__file__).parents[2] / "zmq_monocoque" / "_engine"
SOURCES = [
    *(ENGINE / "base" / name for name in ("alloc.c", "check.c", "lock.c", "fds.c")),
    *(
        ENGINE / "driver" / name
        for name in (
            "driver.c",
            "check_memory.c",
            "epoll.c",
            "probe.c",
            "uring_calls.c",
            "uring_messenger.c",
            "sandbox.c",
            "waitset.c",
        )
    ),
]
URING = [ENGINE / "driver" / name for name in ("io_uring.c", "io_uring_open.c")]
BUILDS = {
    "plain": ["-O2"],
    "address": ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
    "thread": ["-O1", "-fsanitize=thread"],
}
#: What the shim takes away, where it stands in for liburing.
LACKING = {
    "messenger": "messages",
    "eventfd": "messages,msg_ring",
    "faults": "messages,msg_ring",
}
WORLDS = ("io_uring", "epoll", *LACKING)
SKIPPED = 77
SHIM = Path(__file__).parents[1] / "kernels" / "shim.c"
WRAPPED = [f"-Wl,--wrap={name}" for name in ("epoll_wait", "epoll_ctl", "recv", "read")]

FILES = sorted((HERE / "drivers").glob("*.c"))
TESTS = [
    name
    for file in FILES
    for name in re.findall(r"^    TEST\((\w+)\),$", file.read_text(), re.MULTILINE)
]
CANARIES = [name for name in TESTS if name.startswith("canary_")]
FAULTS = [name for name in TESTS if name.startswith("fault_")]
PASSING = [name for name in TESTS if name not in CANARIES + FAULTS]
# Processes that fork after threads, or forbid system calls, are not for ThreadSanitizer.
THREADED = [name for name in PASSING if "fork" not in name and "forbids" not in name]

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


def compile_c(output: Path, *arguments: str | Path) -> Path:
    command = [
        "gcc",
        "-std=gnu11",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{ENGINE}",
        "-o",
        output,
    ]
    done = subprocess.run(
        [*map(str, command), *map(str, arguments), "-lpthread", "-ldl"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode and re.search(r"cannot find .*lib[atu]*san", done.stderr):
        pytest.skip(f"no sanitizer library: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def liburing() -> str:
    package = importlib.util.find_spec("liburing")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the package liburing is not installed")
    return str(next(Path(package.submodule_search_locations[0]).glob("liburing*.so")))


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("driver")


@pytest.fixture(scope="module")
def stubs(directory, liburing) -> Path:
    """A library with the Python symbols that the liburing extension needs in order to be loaded."""
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", liburing],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    names = re.findall(r"\s(_?Py\w*)$", listed.stdout, re.MULTILINE)
    source = directory / "stubs.c"
    source.write_text("".join(f"void *{name};\n" for name in names))
    return compile_c(directory / "stubs.so", "-shared", "-fPIC", source)


@pytest.fixture(scope="module")
def shim(directory) -> Path:
    return compile_c(directory / "shim.so", "-shared", "-fPIC", SHIM)


@pytest.fixture(scope="module")
def program(directory):
    """program(build) -> the compiled driver."""

    def get(build: str) -> Path:
        path = directory / f"driver-{build}"
        return (
            path
            if path.exists()
            else compile_c(path, *BUILDS[build], *WRAPPED, *FILES, *URING, *SOURCES)
        )

    return get


@pytest.fixture(scope="module")
def run(program, liburing, stubs, shim):
    """run(build, world, test) -> the finished process."""

    def run_test(build: str, world: str, test: str) -> subprocess.CompletedProcess:
        env = own_environment()
        if world in LACKING:
            env |= {"ZM_SHIM_REAL": liburing, "ZM_SHIM_KERNEL": LACKING[world]}
        if world == "faults":
            env["ZM_SHIM_FAULT_EVERY"] = "3"
        library = shim if world in LACKING else liburing
        driver = "epoll" if world == "epoll" else "io_uring"
        return subprocess.run(
            [str(program(build)), driver, test, str(library), str(stubs)],
            capture_output=True,
            text=True,
            timeout=90,
            env=env,
        )

    return run_test


def check(done: subprocess.CompletedProcess) -> None:
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("test", PASSING)
@pytest.mark.parametrize("world", WORLDS)
def test_the_drivers_behave_the_same(run, world, test):
    check(run("plain", world, test))


@pytest.mark.parametrize("test", PASSING)
@pytest.mark.parametrize("world", WORLDS)
def test_no_memory_error_or_undefined_behaviour(run, world, test):
    check(run("address", world, test))


@pytest.mark.parametrize("test", THREADED)
@pytest.mark.parametrize("world", ("io_uring", "epoll"))
def test_no_data_race(run, world, test):
    check(run("thread", world, test))


@pytest.mark.parametrize("test", FAULTS)
@pytest.mark.parametrize("build", ("plain", "address"))
def test_no_request_is_lost_when_the_kernel_refuses(run, build, test):
    check(run(build, "eventfd", test))


def test_what_a_waiter_claimed_is_forgotten_before_the_count_of_requests_wraps(
    directory, liburing, stubs
):
    sources = [HERE / "io_uring_claim.c", *URING, *SOURCES]
    program = compile_c(directory / "claim", *BUILDS["plain"], *sources)
    check(
        subprocess.run(
            [str(program), liburing, str(stubs)],
            capture_output=True,
            text=True,
            timeout=50,
            env=own_environment(),
        )
    )


@pytest.mark.parametrize("world", ("io_uring", "epoll"))
def test_closing_a_driver_with_a_request_in_flight_is_refused(run, world):
    done = run("plain", world, "canary_close_with_a_request_in_flight")
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode < 0
    assert "in_flight == 0" in done.stderr


@pytest.mark.parametrize("world", ("io_uring", "epoll"))
def test_a_request_that_names_freed_memory_is_caught_under_address_sanitizer(run, world):
    done = run("address", world, "canary_request_names_freed_memory")
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode != 0
    assert "freed by thread" in done.stderr
