"""Builds libzmq itself, the reference, and its test programs, each once."""

from __future__ import annotations

import os
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .source import VERSION, Problem, run

#: No drafts, as in Debian's package. CURVE by the tweetnacl that comes with it: nothing to install.
REFERENCE = (
    *("-DCMAKE_BUILD_TYPE=Release", "-DENABLE_CURVE=ON", "-DWITH_LIBSODIUM=OFF"),
    *("-DENABLE_DRAFTS=OFF", "-DBUILD_STATIC=OFF", "-DBUILD_TESTS=OFF", "-DWITH_PERF_TOOL=OFF"),
    *("-DWITH_DOCS=OFF", "-Wno-dev", "-DCMAKE_POLICY_VERSION_MINIMUM=3.5"),
)
FLAGS = (
    *("-O0", "-g0", "-w", "-pthread", "-DZMQ_CUSTOM_PLATFORM_HPP"),
    *("-DUNITY_EXCLUDE_FLOAT", "-DUNITY_USE_COMMAND_LINE_ARGS"),
)
#: Linked into every program.
SHARED = ("tests/testutil.cpp", "tests/testutil_monitoring.cpp", "tests/testutil_security.cpp")
UNITY = ("tests/testutil_unity.cpp", "external/unity/unity.c")
#: A program that needs parts of libzmq's own. Hidden, so that they do not take the place of
#: functions that libsodium has by the same names.
MORE = {
    "test_security_curve": (
        ("src/tweetnacl.c", "src/err.cpp", "src/random.cpp", "src/clock.cpp"),
        ("-DZMQ_USE_TWEETNACL", "-fvisibility=hidden"),
    )
}


@dataclass
class Built:
    """What there is to run."""

    reference: Path  #: a directory with libzmq.so.5
    programs: dict[str, Path]  #: by name, those that could be built
    broken: dict[str, str]  #: by name, what the compiler said of the others


def reference(source: Path, work: Path, jobs: int) -> Path:
    """libzmq, as a directory with its shared object; kept for the next time."""
    directory, stamp = work / "reference", work / "reference.stamp"
    wanted = " ".join((VERSION, *REFERENCE))
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        run("cmake", "-S", source, "-B", directory, *REFERENCE)
        run("cmake", "--build", directory, "--parallel", str(jobs))
        stamp.write_text(wanted, encoding="utf-8")
    if not (directory / "lib" / "libzmq.so.5").exists():
        raise Problem(f"{directory} has no libzmq.so.5")
    return directory


class Compiler:
    """Objects and programs of the tests; made when they are missing."""

    def __init__(self, source: Path, directory: Path, reference: Path) -> None:
        self._source = source
        self._directory = directory
        self._library = reference / "lib"
        self._compilers = {
            ".cpp": shlex.split(os.environ.get("CXX", "c++")),
            ".c": shlex.split(os.environ.get("CC", "cc")),
        }
        includes = [source / "include", source / "src", source / "external" / "unity", reference]
        self._flags = [*FLAGS, *(f"-I{path}" for path in includes)]
        directory.mkdir(parents=True, exist_ok=True)

    def object(self, name: str, *flags: str) -> Path:
        file = self._source / name
        target = self._directory / (name.replace("/", "_") + "".join(flags) + ".o")
        if not target.exists():
            made = target.with_suffix(".part")
            compiler = self._compilers[file.suffix]
            run(*compiler, *self._flags, *flags, "-c", file, "-o", made)
            made.rename(target)
        return target

    def program(self, name: str, shared: list[Path]) -> Path:
        target = self._directory / name
        more, flags = MORE.get(name, ((), ()))
        objects = [self.object(f"tests/{name}.cpp", *flags)]
        objects += [self.object(file, *flags) for file in more]
        newest = max(path.stat().st_mtime for path in (*objects, *shared))
        if not target.exists() or target.stat().st_mtime < newest:
            made = target.with_suffix(".part")
            run(
                *(*self._compilers[".cpp"], "-o", made, *objects, *shared, "-pthread"),
                *(f"-L{self._library}", "-lzmq"),
            )
            made.rename(target)
        return target


def build(source: Path, work: Path, jobs: int, names: list[str]) -> Built:
    """The reference, and the programs of ``names``."""
    where = reference(source, work, jobs)
    compiler = Compiler(source, work / "programs", where)
    built = Built(where / "lib", {}, {})
    with ThreadPoolExecutor(jobs) as pool:
        shared = list(pool.map(compiler.object, (*SHARED, *UNITY)))

        def one(name: str) -> None:
            try:
                built.programs[name] = compiler.program(name, shared)
            except Problem as problem:
                built.broken[name] = str(problem)

        list(pool.map(one, names))
    return built
