"""libsodium and liburing for our wheels: shared objects of their own, from Debian's sources.

Both are compiled without their configure scripts, whose questions zig answers the same way for
every target; the few answers that matter are written down here. What the engine does not look up is
left out by the linker. On x86_64 libsodium has OpenSSL's Poly1305 (docs/adr/0023).
"""

from __future__ import annotations

import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from libzmq_suite.source import Problem, Unavailable, download, run, sha256


@dataclass(frozen=True)
class Source:
    """One of Debian's source packages. A newer ``version`` needs its ``sha256``: a wheel is made of
    what somebody has looked at."""

    name: str
    version: str
    sha256: str
    licence: str  # as an SPDX expression
    licence_file: str
    suite: str = "sid"

    @property
    def archive(self) -> str:
        return f"{self.name}_{self.version}.orig.tar.gz"


LIBSODIUM = Source(
    "libsodium",
    "1.0.22",
    "5838bb0c3da6148c24ebe531d1ed1297de9a87aea77d426bcd99f289e681631c",
    "ISC",
    "LICENSE",
)
LIBURING = Source(
    "liburing",
    "2.15",
    "efd299ff27cde40a45efc7dbb97ebe40a0c461921cb462f1d62611642bb4ee86",
    "MIT",
    "LICENSE",
)
#: Its Poly1305 goes into libsodium's shared object.
OPENSSL = Source(
    "openssl",
    "3.0.20",
    "c80a01dfc70ece4dc21168932c37739042d404d46ccc81a5986dd75314ecda6f",
    "Apache-2.0",
    "LICENSE.txt",
    "bookworm",
)
#: What the engine asks for: base/crypto.c.
SODIUM_FUNCTIONS = (
    *("sodium_init", "sodium_memcmp", "randombytes_buf", "crypto_box_keypair"),
    *("crypto_box_beforenm", "crypto_box_easy", "crypto_box_open_easy"),
    *("crypto_box_detached_afternm", "crypto_box_open_detached_afternm"),
    *("crypto_secretbox_easy", "crypto_secretbox_open_easy", "crypto_core_hsalsa20"),
    *("crypto_stream_salsa20_xor_ic", "crypto_onetimeauth_poly1305"),
    *("crypto_onetimeauth_poly1305_verify", "crypto_scalarmult_base"),
)
#: driver/io_uring_open.c.
URING_FUNCTIONS = (
    *("io_uring_queue_init_params", "io_uring_queue_exit", "io_uring_ring_dontfork"),
    *("io_uring_enter2", "io_uring_register_sync_msg"),
)
_SODIUM_MACROS = (
    *("CONFIGURED", "NATIVE_LITTLE_ENDIAN", "HAVE_TI_MODE", "HAVE_INLINE_ASM", "HAVE_PTHREAD"),
    *("HAVE_ATOMIC_OPS", "HAVE_C11_MEMORY_FENCES", "HAVE_GCC_MEMORY_FENCES", "HAVE_WEAK_SYMBOLS"),
    *("HAVE_MADVISE", "HAVE_MLOCK", "HAVE_MMAP", "HAVE_MPROTECT", "HAVE_POSIX_MEMALIGN"),
    *("HAVE_RAISE", "HAVE_SYSCONF", "HAVE_SYS_AUXV_H", "HAVE_SYS_MMAN_H", "HAVE_SYS_PARAM_H"),
    *("HAVE_SYS_RANDOM_H", "HAVE_GETRANDOM", "HAVE_EXPLICIT_BZERO", "HAVE_GETPID"),
    *("HAVE_CLOCK_GETTIME", "HAVE_NANOSLEEP", "HAVE_CATCHABLE_ABRT", "HAVE_CATCHABLE_SEGV"),
)
_SODIUM_MACROS_OF = {
    "x86_64": (
        *("HAVE_AMD64_ASM", "HAVE_AVX_ASM", "HAVE_CPUID", "HAVE_MMINTRIN_H", "HAVE_EMMINTRIN_H"),
        *("HAVE_PMMINTRIN_H", "HAVE_TMMINTRIN_H", "HAVE_SMMINTRIN_H", "HAVE_AVXINTRIN_H"),
        *("HAVE_AVX2INTRIN_H", "HAVE_AVX512FINTRIN_H", "HAVE_WMMINTRIN_H", "HAVE_RDRAND"),
    ),
    "aarch64": ("HAVE_ARMCRYPTO",),
}


#: For processors with AVX-512, libsodium's Salsa20 is compiled a second time: a rotation is one
#: instruction there, and there are twice as many registers.
_SALSA20 = "crypto_stream/salsa20/xmm6int/salsa20_xmm6int-avx2.c"
_SALSA20_NAME = "crypto_stream_salsa20_xmm6int_avx2_implementation"
_SALSA20_CPU = "-mcpu=x86_64+avx512f+avx512dq+avx512vl"
#: OpenSSL's Poly1305, as a program that writes assembly, and what it is to know of the assembler.
_POLY1305 = "crypto/poly1305/asm/poly1305-x86_64.pl"
_POLY1305_FOR = "echo GNU assembler version 2.40"
#: In libsodium's files: what stands there once, and what takes its place.
_PICKS = {
    # the bits of all three, where it asks for the first alone
    "sodium/runtime.c": (
        "#define CPUID_EBX_AVX512F 0x00010000",
        "#define CPUID_EBX_AVX512F 0x80030000",
    ),
    "crypto_stream/salsa20/stream_salsa20.c": (
        f"implementation = &{_SALSA20_NAME};",
        f"extern __typeof__({_SALSA20_NAME}) zm_salsa20;"
        f" implementation = sodium_runtime_has_avx512f() ? &zm_salsa20 : &{_SALSA20_NAME};",
    ),
    "crypto_onetimeauth/poly1305/onetimeauth_poly1305.c": (
        "implementation = &crypto_onetimeauth_poly1305_sse2_implementation;",
        "extern const crypto_onetimeauth_poly1305_implementation *zm_poly1305(void);"
        " implementation = sodium_runtime_has_avx2() ? zm_poly1305()"
        " : &crypto_onetimeauth_poly1305_sse2_implementation;",
    ),
}
_URING_MACROS = (
    *("CONFIG_HAVE_KERNEL_RWF_T", "CONFIG_HAVE_KERNEL_TIMESPEC", "CONFIG_HAVE_OPEN_HOW"),
    *("CONFIG_HAVE_STATX", "CONFIG_HAVE_UCONTEXT", "CONFIG_HAVE_MEMFD_CREATE"),
)


#: Where each is unpacked.
Trees = dict[Source, Path]


def fetched(source: Source, cache: Path) -> Path:
    """The unpacked source, downloaded if it was not before."""
    downloads, tree = cache / "downloads", cache / f"{source.name}-{source.version}"
    archive = downloads / source.archive
    if archive.exists() and sha256(archive) != source.sha256:
        archive.unlink()  # of a download that was stopped
    if not archive.exists():
        try:
            download(source.name, downloads, cache / f"apt-{source.suite}", source.suite)
        except Unavailable:
            if not archive.exists():  # what else is in the package is of no use here
                raise
    if not archive.exists():
        raise Unavailable(
            f"Debian's {source.suite} has no {source.name} {source.version} any more: look at the"
            f" new one, and write its version and sha256 into {Path(__file__).name}"
        )
    if sha256(archive) != source.sha256:
        raise Problem(f"{archive} is not the file that it was")
    if not tree.exists():
        with tempfile.TemporaryDirectory(dir=cache) as fresh, tarfile.open(archive) as packed:
            packed.extractall(fresh, filter="data")
            (top,) = Path(fresh).iterdir()
            top.rename(tree)
    return tree


_OPTIONS = ("-O3", "-fPIC", "-w", "-D_GNU_SOURCE", "-ffunction-sections", "-fdata-sections")


def _link(
    compiler: list[str], arguments: list[str], functions: tuple[str, ...], target: Path
) -> None:
    """One shared object that exports ``functions`` and is bound to itself."""
    exports = target.with_suffix(".map")
    exports.write_text(f"{{ global: {' '.join(f'{name};' for name in functions)} local: *; }};\n")
    command = [
        *(*compiler, *_OPTIONS, "-shared", "-Wl,--gc-sections", "-Wl,-s", "-Wl,-z,now"),
        *(f"-Wl,--version-script={exports}", "-Wl,-Bsymbolic", f"-Wl,-soname,{target.name}"),
        *arguments,
    ]
    run(*command, "-o", target)
    exports.unlink()
    if missing := set(functions) - exported(target):
        raise Problem(f"{target} does not export {', '.join(sorted(missing))}")


def exported(library: Path) -> set[str]:
    # auditwheel's, and not there for who only looks
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    with library.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        return {s.name for s in table.iter_symbols() if s["st_shndx"] != "SHN_UNDEF"}


def _libsodium(trees: Trees, compiler: list[str], machine: str, target: Path) -> None:
    sources = trees[LIBSODIUM] / "src" / "libsodium"
    include = sources / "include" / "sodium"
    values = {
        "@VERSION@": LIBSODIUM.version,
        "@SODIUM_LIBRARY_VERSION_MAJOR@": "26",
        "@SODIUM_LIBRARY_VERSION_MINOR@": "0",
        "@SODIUM_LIBRARY_MINIMAL_DEF@": "",
    }
    text = (include / "version.h.in").read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(name, value)
    (include / "version.h").write_text(text, encoding="utf-8")
    patterns = ("*.c", "*.S") if machine == "x86_64" else ("*.c",)
    macros = (*_SODIUM_MACROS, *_SODIUM_MACROS_OF[machine])
    flags = [
        *(f"-D{name}=1" for name in macros),
        *("-DTLS=_Thread_local", "-DASM_HIDE_SYMBOL=.hidden"),
        *(f"-I{include}", f"-I{include.parent}"),
    ]
    files = {path for pattern in patterns for path in sources.rglob(pattern)}
    with tempfile.TemporaryDirectory() as made:
        added: list[str] = []
        if machine == "x86_64":
            added = _quicker(trees, sources, [*compiler, *flags], Path(made))
            files -= {sources / name for name in _PICKS}
        _link(compiler, [*flags, *sorted(map(str, files)), *added], SODIUM_FUNCTIONS, target)


def _quicker(trees: Trees, sources: Path, compile_with: list[str], made: Path) -> list[str]:
    """Of libsodium, for newer processors: what takes the places of the files of ``_PICKS``, and
    what they pick from in addition."""
    added: list[str] = []
    for name, (old, new) in _PICKS.items():
        file = sources / name
        text = file.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise Problem(f"{file} is not as it was: it has not one {old}")
        copy = made / file.name
        copy.write_text(text.replace(old, new), encoding="utf-8")
        added.extend((f"-I{file.parent}", str(copy)))
    again = made / "salsa20.c"
    again.write_text(
        f'#define {_SALSA20_NAME} zm_salsa20\n#include "{sources / _SALSA20}"\n', encoding="utf-8"
    )
    salsa20 = again.with_suffix(".o")
    run(*compile_with, *_OPTIONS, _SALSA20_CPU, "-c", again, "-o", salsa20)
    assembly = made / "poly1305.s"
    run("perl", trees[OPENSSL] / _POLY1305, "elf", assembly, CC=_POLY1305_FOR)
    if "vpmadd52luq" not in assembly.read_text(encoding="utf-8"):
        raise Problem(f"{_POLY1305} has left out what is for AVX-512 with IFMA")
    ours = Path(__file__).with_name("poly1305.c")
    return [*added, str(ours), str(salsa20), str(assembly)]


def _liburing(trees: Trees, compiler: list[str], target: Path) -> None:
    sources = trees[LIBURING] / "src"
    major, minor = LIBURING.version.split(".")
    include = sources / "include"
    (include / "liburing" / "compat.h").write_text(
        "#include <linux/time_types.h>\n#include <linux/openat2.h>\n#include <linux/blkdev.h>\n"
        "#define UAPI_LINUX_IO_URING_H_SKIP_LINUX_TIME_TYPES_H 1\n",
        encoding="utf-8",
    )
    (include / "liburing" / "io_uring_version.h").write_text(
        f"#define IO_URING_VERSION_MAJOR {major}\n#define IO_URING_VERSION_MINOR {minor}\n",
        encoding="utf-8",
    )
    names = ("setup", "queue", "register", "syscall", "version")
    arguments = [
        *(f"-D{name}" for name in _URING_MACROS),
        *("-DLIBURING_INTERNAL", "-D_FILE_OFFSET_BITS=64", f"-I{include}"),
        *(str(sources / f"{name}.c") for name in names),
    ]
    _link(compiler, arguments, URING_FUNCTIONS, target)


def sources_for(machine: str) -> tuple[Source, ...]:
    """What is in a wheel for such machines beside what is ours."""
    return (LIBSODIUM, LIBURING, *((OPENSSL,) if machine == "x86_64" else ()))


def build(machine: str, cache: Path, compiler: list[str], directory: Path) -> Trees:
    """Both shared objects, into ``directory``; the sources that they were made of."""
    trees = {source: fetched(source, cache) for source in sources_for(machine)}
    _libsodium(trees, compiler, machine, directory / "libsodium.so")
    _liburing(trees, compiler, directory / "liburing.so")
    return trees
