"""Compiles the engine's own sources against the simulated world, and plants faults in a copy.

The lists of ``base/world.h`` say which functions are replaced (the linker's ``--wrap``). Objects
are kept by the hash of what they are made of, so that a second build costs nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENGINE = ROOT / "zmq_monocoque" / "_engine"
WORLD = HERE / "c"

FLAGS = ["-std=gnu11", "-D_GNU_SOURCE=", "-DZM_SIMULATED", "-g", "-O1", f"-I{ENGINE}"]
#: The engine's atomics are where its threads meet: include/stdatomic.h makes them steps. Its
#: answers are not looked at there, as those of the real ones are not.
ENGINE_FLAGS = [f"-I{WORLD / 'include'}", "-w"]
WORLD_FLAGS = [f"-I{WORLD}", "-Wall", "-Wextra", "-Werror"]
#: The engine's memory is counted in bytes, for scale.c.
COUNTED = [f"-D{name}=sim_engine_{name}" for name in ("malloc", "calloc", "realloc", "free")]
#: Listed in world.h, and left to the C library.
KEPT = {"mmap", "munmap", "dlerror"}
#: Whose functions the world has itself.
REPLACED = {"driver/uring_calls.c"}
#: Of those who call it by hand; tests have a place of their own.
STORE = ROOT / "build" / "simulation"


class NoCompiler(Exception):
    """There is nothing to build with."""


@dataclass(frozen=True)
class Fault:
    """A fault that is planted: in ``file`` of the engine, ``new`` stands where ``old`` did.

    Not in a header: what the other files include is the one that is there.
    """

    file: str
    old: str
    new: str

    def text(self, before: str | None = None) -> str:
        """Of the file; or of what other faults have left of it."""
        if not self.file.endswith(".c"):
            raise ValueError(f"{self.file} is not compiled by itself")
        before = (ENGINE / self.file).read_text() if before is None else before
        if before.count(self.old) != 1:
            raise ValueError(f"{self.file} has no such place, or several:\n{self.old}")
        return before.replace(self.old, self.new)


def wrapped() -> list[str]:
    """What the linker takes from the world."""
    text = (ENGINE / "base" / "world.h").read_text()
    names = set(re.findall(r"X\((\w+)\)", text)) - KEPT
    return sorted(f"-Wl,--wrap={name}" for name in names if not name.startswith("zm_"))


def compiler() -> str:
    found = shutil.which("gcc") or shutil.which("cc")
    if not found:
        raise NoCompiler("no C compiler")
    return found


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Of several processes that build the same."""
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def headers() -> str:
    """What all objects depend on."""
    texts = [path.read_text() for path in sorted([*ENGINE.rglob("*.h"), *WORLD.rglob("*.h")])]
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True).stdout
    return digest(version, *FLAGS, *ENGINE_FLAGS, *WORLD_FLAGS, *texts)


def number_of_sources() -> int:
    """The same for the same engine and world: what starts a search that can be had again."""
    files = sorted([*ENGINE.rglob("*.[ch]"), *WORLD.rglob("*.[ch]")])
    return int(digest(*(path.read_text() for path in files))[:10], 16)


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def compile_one(source: Path, text: str, flags: list[str], common: str, store: Path) -> Path:
    """The object of ``source``, which says ``text`` (a fault may be planted there)."""
    out = store / f"{source.stem}-{digest(common, str(source), text, *flags)}.o"
    if out.exists():
        return out
    made = out.with_suffix(f".{os.getpid()}.o")
    if text == source.read_text():
        run([compiler(), *FLAGS, *flags, "-c", str(source), "-o", str(made)])
    else:
        copy = out.with_suffix(".c")
        copy.write_text(text)
        beside = ["-iquote", str(source.parent), *flags]  # of poll.h there are two
        run([compiler(), *FLAGS, *beside, "-c", str(copy), "-o", str(made)])
    made.rename(out)
    return out


def build(faults: tuple[Fault, ...] = (), store: Path = STORE) -> Path:
    """The program, with the faults planted."""
    store.mkdir(parents=True, exist_ok=True)
    planted: dict[str, str] = {}
    for fault in faults:
        planted[fault.file] = fault.text(planted.get(fault.file))
    with only_one(store):
        common = headers()
        jobs = []
        for path in sorted(ENGINE.rglob("*.c")):
            name = str(path.relative_to(ENGINE))
            if name not in REPLACED:
                flags = [*ENGINE_FLAGS, *(COUNTED if name == "base/alloc.c" else [])]
                jobs.append((path, planted.get(name) or path.read_text(), flags))
        jobs += [(path, path.read_text(), WORLD_FLAGS) for path in sorted(WORLD.glob("*.c"))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(
                pool.map(lambda job: compile_one(job[0], job[1], job[2], common, store), jobs)
            )
        out = store / f"simulation-{digest(*map(str, objects))}"
        if not out.exists():
            made = out.with_suffix(f".{os.getpid()}")
            run([compiler(), *map(str, objects), *wrapped(), "-ldl", "-o", str(made)])
            made.rename(out)
    return out
