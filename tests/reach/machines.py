"""The suite on other processors: built with zig, run under qemu with Debian's Python.

    python tests/reach/machines.py                        # all of them, and the table
    python tests/reach/machines.py s390x
    python tests/reach/machines.py aarch64 -- tests/behaviour/test_poll.py -x

Each machine's engine, extension and C face are compiled with warnings as errors. aarch64 runs what
meets the engine, and pyzmq's wheel for it; big endian (s390x) runs what knows of bytes: the wire
and the C parts. qemu has no io_uring, so epoll drives both.

Needs cffi, setuptools, wheel and ziglang; downloads go to ``--work``. Exit codes: 0; 1, something
failed; 77, something could not be fetched, and nothing was tested there.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from libzmq_suite.source import Problem, Unavailable  # noqa: E402
from tools import foreign, wheels  # noqa: E402

CANNOT = 77
#: Python, and what of the engine is reached through it alone; and parts in programs of their own.
WIRE = (
    *("tests/zmtp", "tests/property"),
    *(
        f"tests/unit/test_{name}.py"
        for name in ("address", "models", "options", "router_table", "secret", "subscription_index")
    ),
)
TESTS = {
    "aarch64": ("tests/behaviour", "tests/interop", *WIRE),
    "s390x": WIRE,
}
#: What qemu keeps from the program: most of TCP_INFO, the answer of SO_BINDTODEVICE, madvise().
NOT_UNDER_QEMU = (
    "tests/behaviour/test_queues.py::test_queued_small_messages_share_sends",
    "tests/behaviour/test_queues.py::test_a_burst_on_a_live_connection_shares_sends",
    "tests/behaviour/test_send_order.py"
    "::test_two_sockets_in_turn_do_not_send_each_message_by_itself",
    "tests/behaviour/test_send_order.py::test_subscriptions_leave_before_what_is_sent_behind_them",
    "tests/interop/test_startup.py::test_who_accepts_answers_what_has_come_with_one_segment",
    "tests/behaviour/test_tcp_options.py::test_a_socket_can_be_bound_to_a_device",
    "tests/behaviour/test_secrets_in_memory.py"
    "::test_secret_keys_are_in_locked_memory_and_nowhere_when_all_is_closed",
    "tests/unit/test_secret.py::test_secrets_are_not_swapped_not_dumped_and_not_inherited",
)
PURE = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "pexpect")
#: From the index, where it has wheels for the machine; else Debian's take their places.
WITH_WHEELS = {"aarch64": ("cffi", "pynacl", "pyzmq", "tornado", "gevent")}
#: Some thirty times slower than the machine.
PATIENCE = ("--timeout", "600", "-n", os.environ.get("ZM_TEST_WORKERS", "2"))


def suite(name: str, sdist: Path, work: Path, arguments: list[str]) -> tuple[bool, str]:
    """Builds it and runs the tests; pytest's last line."""
    target = wheels.Target(name, "glibc")
    wheels.build(sdist, target, work, f"{foreign.headers(work, name)} -Wextra -Werror")
    python = foreign.python_under_qemu(work, name)
    foreign.compiler_for_qemu(work, name, wheels.compiler(target, work))
    tags = tuple(
        f"{policy}_{name}" for policy in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
    )
    needed = foreign.install(work / f"tests-{name}", tags, *PURE, *WITH_WHEELS.get(name, ()))
    content = work / target.platform / "content"
    where = work / f"run-{name}"
    where.mkdir(exist_ok=True)
    command = [python, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT]
    command += ["-q", "-p", "no:cacheprovider", *PATIENCE]
    command += [f"--deselect={test}" for test in NOT_UNDER_QEMU]
    command += [ROOT / a if a.startswith("tests/") else a for a in arguments or TESTS[name]]
    done = subprocess.Popen(
        command,
        cwd=where,
        env={
            **os.environ,
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{content}:{needed}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.stdout is not None
    last = "no tests ran"
    with done:
        for line in done.stdout:
            print(line, end="", flush=True)
            if re.search(r"\d+ (passed|failed|error|skipped).* in ", line):
                last = line.strip(" =\n")
    return done.returncode == 0, last


def main() -> int:
    own, arguments = sys.argv[1:], []
    if "--" in own:
        cut = own.index("--")
        own, arguments = own[:cut], own[cut + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TESTS)}")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "wheels", help="downloads")
    options = parser.parse_args(own)
    if unknown := set(options.names) - set(TESTS):
        parser.error(f"not one of {', '.join(TESTS)}: {', '.join(sorted(unknown))}")
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    rows, code = [], 0
    sdist = wheels.make_sdist(work)
    for name in options.names or TESTS:
        try:
            passed, line = suite(name, sdist, work, arguments)
        except Unavailable as problem:
            print(f"{name}: NOTHING WAS TESTED there: {problem}", file=sys.stderr)
            passed, line = True, "NOT TESTED"
            code = code or CANNOT
        except Problem as problem:
            print(problem, file=sys.stderr)
            passed, line = False, "cannot be built"
        code = code if passed else 1
        rows.append((name, line))
    print(f"\n{'machine':10} suite")
    for name, line in rows:
        print(f"{name:10} {line}")
    return code


if __name__ == "__main__":
    sys.exit(main())
