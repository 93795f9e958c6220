"""Pythons of other machines and of musl, and how to run them here.

Debian has a Python for each of its machines, which qemu runs in a process of this one; a Python for
musl nobody has who can be asked here, so it is built with zig from Debian's source. Each is reached
by a program that is started like any other, so that what it starts by ``sys.executable`` runs as
well.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from libzmq_suite.source import Problem, Unavailable, apt, download, run

#: Debian 12's: its Python is 3.11.
SUITE = "bookworm"
VERSION = "3.11"


@dataclass(frozen=True)
class Machine:
    name: str  # as uname has it, and the tags of wheels
    debian: str
    triple: str  # zig's, without the C library
    qemu: str

    @property
    def multiarch(self) -> str:
        return {"i686": "i386-linux-gnu"}.get(self.name, self.triple)


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("x86_64", "amd64", "x86_64-linux-gnu", "x86_64"),
        Machine("aarch64", "arm64", "aarch64-linux-gnu", "aarch64"),
        Machine("s390x", "s390x", "s390x-linux-gnu", "s390x"),
        Machine("i686", "i386", "x86-linux-gnu", "i386"),
        Machine("armv7l", "armhf", "arm-linux-gnueabihf", "arm"),
    )
}
_PYTHON = (
    *(f"python{VERSION}-minimal", f"libpython{VERSION}-minimal", f"libpython{VERSION}-stdlib"),
    *(f"libpython{VERSION}-dev", "libc6", "zlib1g", "libexpat1", "libffi8", "libssl3"),
    *("libgcc-s1", "libuuid1", "libbz2-1.0", "liblzma5", "libsqlite3-0", "libcrypt1"),
    *("python3-cffi-backend", "python3-nacl", "libsodium23", "libstdc++6"),
)


def packages(work: Path, suite: str, architecture: str, names: tuple[str, ...]) -> Path:
    """A root directory with Debian's packages in it."""
    root = work / f"root-{architecture}-{names[0]}"
    stamp = root.with_name(f"{root.name}.done")
    wanted = " ".join((suite, *names))
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return root
    downloads = work / "downloads" / f"{architecture}-{suite}"
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        configuration = apt(work / f"apt-{architecture}-{suite}", suite, architecture)
        run("apt-get", "download", *names, cwd=downloads, APT_CONFIG=str(configuration))
    except Problem as problem:
        raise Unavailable(str(problem)) from problem
    for name in names:
        for package in downloads.glob(f"{name}_*.deb"):
            run("dpkg", "-x", package, root)
    stamp.write_text(wanted, encoding="utf-8")
    return root


def qemu(work: Path, machine: str) -> Path:
    root = packages(work, SUITE, "amd64", ("qemu-user-static",))
    return root / "usr" / "bin" / f"qemu-{MACHINES[machine].qemu}-static"


def libraries_of(work: Path, machine: str) -> Path:
    """The root directory with Debian's Python of that machine, and what it is linked with."""
    return packages(work, SUITE, MACHINES[machine].debian, _PYTHON)


def headers(work: Path, machine: str) -> str:
    """For CFLAGS: that Python's headers, which say how wide its numbers are."""
    include = libraries_of(work, machine) / "usr" / "include"
    return f"-I{include / f'python{VERSION}'} -I{include}"


def _program(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in ("#!/bin/sh", *lines)), encoding="utf-8")
    path.chmod(0o755)
    return path


def python_under_qemu(work: Path, machine: str) -> Path:
    root = libraries_of(work, machine)
    return _program(
        work / f"bin-{machine}" / "python3",
        f"export PYTHONHOME='{root}/usr'",
        f"exec '{qemu(work, machine)}' -0 \"$0\" -L '{root}' '{root}/usr/bin/python{VERSION}'"
        ' "$@"',
    )


def compiler_for_qemu(work: Path, machine: str, cc: Path) -> Path:
    """``gcc`` in a folder for PATH: what it links can be started, and runs under qemu. It leaves
    sanitizers out, which zig has for no other machine."""
    start = f"exec '{qemu(work, machine)}' -0 \"$0\" -L '{libraries_of(work, machine)}'"
    return _program(
        work / f"bin-{machine}" / "gcc",
        "out= shared= n=$#",
        'while [ $n -gt 0 ]; do n=$((n-1)); a=$1; shift; case "$a" in',
        '-o) out=$1; set -- "$@" "$a" ;; -shared|-c) shared=1; set -- "$@" "$a" ;;',
        '-fsanitize=*|-fno-sanitize*) ;; *) set -- "$@" "$a" ;; esac; done',
        f"'{cc}' \"$@\" || exit",
        '[ "$shared" ] && exit',
        'mv "$out" "$out.bin"',
        f'printf \'#!/bin/sh\\n%s "%s" "$@"\\n\' "{_quoted(start)}" "$out.bin" > "$out"',
        'chmod +x "$out"',
    )


def _quoted(text: str) -> str:
    """Within double quotes of a shell."""
    for character in '\\"$`':
        text = text.replace(character, "\\" + character)
    return text


def install(target: Path, platforms: tuple[str, ...], *names: str) -> Path:
    """Wheels for another machine, unpacked into a folder for PYTHONPATH."""
    stamp = target.with_name(f"{target.name}.done")
    wanted = " ".join((*platforms, *names))
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return target
    shutil.rmtree(target, ignore_errors=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"),
            *("--target", target, "--only-binary", ":all:", "--implementation", "cp"),
            *("--python-version", VERSION, "--no-compile"),
            *(argument for tag in platforms for argument in ("--platform", tag)),
            *names,
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Unavailable(done.stderr.strip())
    stamp.write_text(wanted, encoding="utf-8")
    return target


# musl ---------------------------------------------------------------------------------------------


def musl_loader(work: Path, machine: str) -> Path:
    """musl itself, which is library and loader at once. Of Debian 13: as old as zig's."""
    root = packages(work, "trixie", MACHINES[machine].debian, ("musl",))
    (library,) = root.glob("usr/lib/*-linux-musl/libc.so")
    return library


def python_for_musl(work: Path, machine: str, cc: Path) -> Path:
    """Without the modules that need libraries of others (zlib, ctypes, ssl ...)."""
    top = work / f"python-musl-{machine}"
    if not top.exists():
        _compile_python(work, machine, cc, top)
    loader = f"'{musl_loader(work, machine)}' --argv0 \"$0\""
    if machine != platform.machine():
        loader = f"'{qemu(work, machine)}' {loader}"
    return _program(
        work / f"bin-musl-{machine}" / "python3",
        f"export PYTHONHOME='{top}'",
        f"exec {loader} '{top}/bin/python{VERSION}' \"$@\"",
    )


def _compile_python(work: Path, machine: str, cc: Path, top: Path) -> None:
    """Into ``top``. What was compiled when this was stopped is not compiled again."""
    downloads = work / "downloads" / "python-source"
    if not [*downloads.glob("*.orig.tar.?z")]:
        download(f"python{VERSION}", downloads, work / "apt-source", SUITE)
    build = top.with_name(f"{top.name}.build")
    configured = build / "configured"
    if not configured.exists():
        shutil.rmtree(build, ignore_errors=True)
        with tarfile.open(next(downloads.glob("*.orig.tar.?z"))) as archive:
            archive.extractall(build, filter="data")
    (source,) = build.glob("Python-*")
    # Asked where it looks for headers, zig names this machine's; then setup.py has them used.
    quiet = _program(build / "cc", '[ "$*" = "-E -v -" ] && exit 1', f"exec '{cc}' \"$@\"")
    if not configured.exists():
        run(
            # What it builds on is what it names its modules after.
            *("./configure", f"--build={platform.machine()}-pc-linux-musl"),
            *("--quiet", f"--host={machine}-linux-musl"),
            *(f"--with-build-python={sys.executable}", "--without-ensurepip"),
            *("--disable-test-modules", f"--prefix={top}"),
            *("ac_cv_file__dev_ptmx=yes", "ac_cv_file__dev_ptc=no", "ac_cv_buggy_getaddrinfo=no"),
            cwd=source,
            CC=str(quiet),
            PKG_CONFIG="false",  # it tells of this machine's libraries
            READELF=shutil.which("readelf") or "",  # "readelf" alone is refused in a cross build
            OPT="-DNDEBUG -fwrapv",
            CFLAGS="-O1 -fPIC -Wno-date-time",  # zig takes a build's date for an error
            LDFLAGS="-dynamic ",  # configure adds to it without a space
            # Elsewise it has copies of musl's variables, which with zig's libc.so are all one.
            LINKFORSHARED="-pie -Xlinker -export-dynamic",
        )
        configured.touch()
    run("make", "--silent", "-j2", cwd=source)
    # "make install" compiles the library thrice, in minutes.
    part = top.with_name(f"{top.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    library = part / "lib" / f"python{VERSION}"
    shutil.copytree(source / "Lib", library, ignore=shutil.ignore_patterns("test"))
    extensions = source / (source / "pybuilddir.txt").read_text(encoding="utf-8")
    shutil.copytree(extensions, library / "lib-dynload")
    (part / "bin").mkdir()
    shutil.copy(source / "python", part / "bin" / f"python{VERSION}")
    part.rename(top)
    shutil.rmtree(build)
