"""``python tools/wheels.py``: the wheels of one CPython, for two machines and two C libraries.

Needs Linux on x86_64, the package index and Debian's archive; zig (of the index) compiles for every
target. What each wheel is made of, and what was run of it, is in the table at the end:

- the engine and the extension, from the sdist, so that no file of the clone can be missing there;
- libsodium and liburing of its own (``libraries.py``), in the place of the packages that an
  installation from source requires;
- on glibc and the machine that this is, the wheel is installed without a compiler on PATH and the
  demo runs; on aarch64, Debian's Python runs it under qemu; on musl, for which nobody has a Python,
  a C program runs the engine through the C face.

Exit code: 0; 1 when a wheel could not be made or failed; 77 when nothing could be fetched.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from libzmq_suite.source import Problem, Unavailable, apt, run  # noqa: E402
from tools import libraries  # noqa: E402

NEEDED = ("auditwheel", "cffi", "setuptools", "wheel", "ziglang")
#: Debian 12's: its Python is 3.11.
SUITE = "bookworm"
PYTHON_PACKAGES = (
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "zlib1g"),
    *("libexpat1", "libffi8", "libssl3", "libgcc-s1", "python3-cffi-backend", "libuuid1"),
    *("libbz2-1.0", "liblzma5"),
)
TIMEOUT = 600


@dataclass(frozen=True)
class Target:
    machine: str
    libc: str

    @property
    def triple(self) -> str:
        return f"{self.machine}-linux-{'gnu.2.28' if self.libc == 'glibc' else 'musl'}"

    @property
    def platform(self) -> str:
        policy = "manylinux_2_28" if self.libc == "glibc" else "musllinux_1_2"
        return f"{policy}_{self.machine}"

    @property
    def suffix(self) -> str:
        """Of an extension module that is no abi3."""
        libc = "gnu" if self.libc == "glibc" else "musl"
        python = sysconfig.get_config_var("SOABI").rpartition("-x86_64")[0]
        return f".{python}-{self.machine}-linux-{libc}.so"

    @property
    def debian(self) -> str:
        return {"x86_64": "amd64", "aarch64": "arm64"}[self.machine]


TARGETS = [Target(m, libc) for libc in ("glibc", "musl") for m in ("x86_64", "aarch64")]


@dataclass
class Row:
    """What came of one target."""

    target: Target
    wheel: Path | None = None
    policy: str = ""
    ran: list[str] = field(default_factory=list)
    failed: str = ""


def main() -> int:
    options = parse()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"needed, and not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    rows = [
        Row(target) for target in TARGETS if not options.only or options.only in target.platform
    ]
    try:
        sdist = make_sdist(options.work)
        for row in rows:
            print(f"--- {row.target.platform}", flush=True)
            try:
                row.wheel = make_wheel(sdist, row.target, options.work, options.out)
                row.policy = audit(row.wheel, row.target)
                check(row, options.work)
            except Unavailable:
                raise
            except Problem as problem:
                print(problem, file=sys.stderr)
                row.failed = str(problem).splitlines()[-1]
    except Unavailable as unavailable:
        print(unavailable, file=sys.stderr)
        return 77
    print_table(rows)
    return 1 if any(row.failed for row in rows) else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument(
        "only", nargs="?", default="", metavar="PART", help="targets whose platform has this"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "wheels", help="downloads")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the wheels go")
    options = parser.parse_args()
    for name in ("work", "out"):
        directory: Path = getattr(options, name).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        setattr(options, name, directory)
    return options


# Making ------------------------------------------------------------------------------------------


def make_sdist(work: Path) -> Path:
    """The sdist, unpacked."""
    code = "import setuptools.build_meta as b, sys; b.build_sdist(sys.argv[1])"
    out = work / "sdist"
    shutil.rmtree(out, ignore_errors=True)
    # setuptools works in the tree that it packs, and others may be reading this one.
    left = ("build", "dist", "*.so", "*.so.*", "*.egg-info", "__pycache__", ".*_cache", ".git")
    clone = out / "clone"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(*left, ".tox", ".venv", "venv"))
    run(sys.executable, "-c", code, out, cwd=clone)
    (archive,) = out.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(out, filter="data")
    return out / archive.name.removesuffix(".tar.gz")


def compiler(target: Target, work: Path) -> Path:
    """A program that is a C compiler for it."""
    path = work / f"cc-{target.triple}"
    path.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m ziglang cc -target {target.triple}'
        ' -fno-sanitize=undefined "$@"\n'
    )
    path.chmod(0o755)
    return path


def make_wheel(sdist: Path, target: Target, work: Path, out: Path) -> Path:
    """Builds what is in the sdist, and adds the libraries."""
    tree = work / target.platform
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(sdist, tree / "source")
    cc = compiler(target, work)
    run(
        *(sys.executable, "setup.py", "-q", "bdist_wheel", "--dist-dir", tree / "built"),
        cwd=tree / "source",
        CC=str(cc),
        LDSHARED=f"{cc} -shared",
        CFLAGS="-O2",
        SETUPTOOLS_EXT_SUFFIX=target.suffix,
        _PYTHON_HOST_PLATFORM=f"linux-{target.machine}",
    )
    (built,) = (tree / "built").iterdir()
    content = tree / "content"
    shutil.unpack_archive(built, content, "zip")
    directory = content / "zmq_monocoque" / "_libs"
    directory.mkdir()
    (info,) = content.glob("*.dist-info")
    for source, build in libraries.BUILD.items():
        unpacked = libraries.fetched(source, work)
        name = source.name
        build(unpacked, [str(cc)], target.machine, directory / f"{name}.so")
        (directory / f"{name}.map").unlink()
        shutil.copy(unpacked / source.licence_file, info / "licenses" / f"LICENSE.{name}")
    tag_platform(info, target)
    return pack(content, built.name, target, out)


def tag_platform(info: Path, target: Target) -> None:
    """Says for which platform it is, what is in it, and what it no longer requires."""
    wheel = info / "WHEEL"
    text = wheel.read_text(encoding="utf-8")
    wheel.write_text(re.sub(r"(?m)^(Tag: .*-)\S+$", rf"\1{target.platform}", text))
    metadata = info / "METADATA"
    text = metadata.read_text(encoding="utf-8")
    for requirement in ("pynacl", "liburing"):
        text, count = re.subn(rf"(?m)^Requires-Dist: {requirement}\b(?!.*extra ==).*\n", "", text)
        assert count == 1, requirement
    licences = " AND ".join(["MIT", *(s.licence for s in libraries.BUILD if s.licence != "MIT")])
    text = text.replace("License-Expression: MIT\n", f"License-Expression: {licences}\n")
    files = "".join(f"License-File: LICENSE.{source.name}\n" for source in libraries.BUILD)
    text = text.replace("License-File: LICENSE\n", f"License-File: LICENSE\n{files}")
    metadata.write_text(text, encoding="utf-8")


def pack(content: Path, built: str, target: Target, out: Path) -> Path:
    from wheel.wheelfile import WheelFile

    path = out / f"{built.rpartition('-')[0]}-{target.platform}.whl"
    path.unlink(missing_ok=True)
    (content / next(content.glob("*.dist-info")).name / "RECORD").unlink()
    with WheelFile(str(path), "w") as packed:
        packed.write_files(str(content))
    return path


def audit(wheel: Path, target: Target) -> str:
    """What auditwheel finds it to be fit for: at least what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", "--json", wheel],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    if done.returncode:
        raise Problem(f"auditwheel: {done.stderr.strip()}")
    found = str(
        json.loads(done.stdout)["overall_tag" if "overall_tag" in done.stdout else "policy"]
    )
    return found


# Running -----------------------------------------------------------------------------------------


def packages(work: Path, suite: str, architecture: str, names: tuple[str, ...]) -> Path:
    """A root directory with Debian's packages in it."""
    root = work / f"root-{architecture}-{names[0]}"
    stamp = root.with_suffix(".done")
    if stamp.exists():
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
    stamp.touch()
    return root


def qemu(work: Path, machine: str) -> Path:
    root = packages(work, SUITE, "amd64", ("qemu-user-static",))
    return root / "usr" / "bin" / f"qemu-{machine}-static"


def check(row: Row, work: Path) -> None:
    """Runs what this machine can run of it."""
    target = row.target
    native = target.machine == platform.machine()
    if target.libc == "glibc" and native:
        check_installed(row, work)
    elif target.libc == "glibc" and sys.version_info[:2] == (3, 11):
        check_under_qemu(row, work)
    check_c_face(row, work, native)


#: The engine as a program sees it, in one process.
PROGRAM = """
import zmq_monocoque as zmq
from zmq_monocoque import backend
assert zmq.has("curve")
with zmq.Context() as context:
    for transport in ("tcp://127.0.0.1", "ipc", "inproc"):
        for curve in (False, True):
            with context.socket(zmq.REP) as rep, context.socket(zmq.REQ) as req:
                rep.rcvtimeo = req.rcvtimeo = 30_000
                if curve:
                    public, secret = zmq.curve_keypair()
                    rep.curve_server, rep.curve_secretkey = True, secret
                    req.curve_publickey, req.curve_secretkey = public, secret
                    req.curve_serverkey = public
                if transport == "ipc":
                    rep.bind("ipc://@%s")
                elif transport == "inproc":
                    rep.bind("inproc://here")
                else:
                    rep.bind(transport + ":*")
                req.connect(rep.last_endpoint)
                for body in (b"", b"x" * 300, b"y" * 1_000_000):
                    req.send(body)
                    assert rep.recv() == body
                    rep.send(body[::-1])
                    assert req.recv() == body
print(backend.driver_name(), backend.driver_reason())
""".replace("%s", f"zm-wheels-{os.getpid()}")


def check_installed(row: Row, work: Path) -> None:
    """In a new environment, with nothing on PATH but its own programs: no compiler."""
    where = work / row.target.platform / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", where)
    python = where / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q")
    assert row.wheel
    run(*pip, "--no-deps", row.wheel)
    run(*pip, "--only-binary", ":all:", "cffi")
    alone = {"PATH": str(where / "bin"), "PYTHONPATH": ""}
    run(python, "-c", PROGRAM, cwd=where, **alone)
    run(*(python, "-m", "zmq_monocoque", "demo", "--seconds", "0.1"), cwd=where, **alone)
    driver = subprocess.run([python, "-c", PROGRAM], cwd=where, capture_output=True, text=True)
    row.ran += [f"Python {platform.python_version()}: demo, CURVE", driver.stdout.strip()]


def check_under_qemu(row: Row, work: Path) -> None:
    root = packages(work, SUITE, row.target.debian, PYTHON_PACKAGES)
    where = work / row.target.platform / "content"
    run(
        *(qemu(work, row.target.machine), "-L", root, root / "usr" / "bin" / "python3.11"),
        *("-c", PROGRAM),
        cwd=work,
        PYTHONHOME=str(root / "usr"),
        PYTHONPATH=f"{where}:{root / 'usr' / 'lib' / 'python3' / 'dist-packages'}",
    )
    row.ran.append("Python 3.11 under qemu: tcp, ipc, inproc, CURVE (epoll: qemu has no io_uring)")


def check_c_face(row: Row, work: Path, native: bool) -> None:
    """A C program on the library, in a process without Python."""
    face = work / row.target.platform / "content" / "zmq_monocoque" / "_capi"
    program = work / row.target.platform / "check"
    run(
        *(compiler(row.target, work), ROOT / "tools" / "check.c", f"-I{face / 'include'}"),
        *(face / "zmq" / "libzmq_monocoque.so", "-o", program),
    )
    command: list[str | Path] = [] if native else [qemu(work, row.target.machine)]
    if row.target.libc == "musl":
        root = packages(work, "trixie", row.target.debian, ("musl",))
        (loader,) = root.glob(f"lib/ld-musl-{row.target.machine}.so.1")
        inside = root / str(loader.readlink()).lstrip("/") if loader.is_symlink() else loader
        command += [inside, "--library-path", face / "zmq"]
    elif not native:
        command += ["-L", packages(work, SUITE, row.target.debian, PYTHON_PACKAGES)]
    run(*command, program, LD_LIBRARY_PATH=str(face / "zmq"))
    row.ran.append(f"C face{'' if native else ' under qemu'}: tcp, CURVE")


def print_table(rows: list[Row]) -> None:
    print(f"\n{'platform':<24}{'size, KB':>9}  {'auditwheel':<24}run")
    for row in rows:
        size = f"{row.wheel.stat().st_size / 1000:,.0f}" if row.wheel else "-"
        what = row.failed and f"FAILED: {row.failed}" or "; ".join(row.ran) or "only built"
        print(f"{row.target.platform:<24}{size:>9}  {row.policy:<24}{what}")


if __name__ == "__main__":
    sys.exit(main())
