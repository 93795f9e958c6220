"""base/world.h lists all that the engine asks of what lies outside it, so that a simulation can
take its place: what the built engine asks its linker for is in the lists, or a function of its
arguments alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[2] / "zmq_monocoque" / "_engine"

#: The same answer in any world. Memory is counted, and made to fail, by base/alloc.c.
PURE = set(
    "malloc calloc realloc free memchr memrchr memcmp memcpy memmove memset explicit_bzero"
    " strchr strrchr strcmp strncmp strcspn strspn strlen strnlen strstr strtol strtoul"
    " __isoc99_strtol __isoc99_strtoul __isoc23_strtol __isoc23_strtoul"
    " __isoc99_sscanf __isoc23_sscanf snprintf inet_pton __ctype_b_loc __sched_cpucount sigfillset"
    " strerror strerror_r __errno_location abort fprintf stderr"
    # The compiler's and the loader's own.
    " __tls_get_addr __cxa_finalize __gmon_start__ _ITM_deregisterTMCloneTable"
    " _ITM_registerTMCloneTable __stack_chk_fail _GLOBAL_OFFSET_TABLE_".split()
)


def world() -> set[str]:
    """The names in the lists of world.h."""
    text = (ENGINE / "base" / "world.h").read_text()
    lists = re.findall(r"#define ZM_WORLD_[A-Z]+\(X\)((?:[^\n]*\\\n)*[^\n]*)", text)
    return set(re.findall(r"X\((\w+)\)", " ".join(lists)))


def unlisted(asked_for: set[str], listed: set[str]) -> set[str]:
    """What ``asked_for`` has that is neither in the lists nor pure. What cffi adds is Python's;
    __read_chk is read(), compiled with _FORTIFY_SOURCE."""
    plain = {re.sub(r"^__(\w+)_chk$", r"\1", name) for name in asked_for}
    return {name for name in plain - listed - PURE if not name.startswith(("Py", "_Py"))}


def asked_of_the_linker() -> set[str]:
    module = pytest.importorskip("zmq_monocoque._engine_c")
    nm = shutil.which("nm")
    if not nm:
        pytest.skip("no nm: gcc's binutils are not here")
    command = [nm, "-D", "--undefined-only", "--format=posix", module.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return {line.split()[0].split("@")[0] for line in done.stdout.splitlines()}


def test_the_engine_asks_nothing_of_the_world_that_is_not_listed():
    asked = asked_of_the_linker()
    if any(name.startswith(("__asan", "__tsan", "__ubsan")) for name in asked):
        pytest.skip("a sanitizer asks for more")
    assert not unlisted(asked, world())


def test_the_lists_name_nothing_that_the_engine_does_not_ask_for():
    ours = {name for name in world() if name.startswith("zm_")}
    calls = " ".join(path.read_text() for path in ENGINE.rglob("*.c"))
    assert world() - ours - asked_of_the_linker() == set()
    assert all(name in calls for name in ours)


def test_a_call_that_is_not_listed_is_seen():
    asked = {"recv", "memcpy", "__memcpy_chk", "PyErr_Occurred", "recvmmsg"}
    assert unlisted(asked, world()) == {"recvmmsg"}
