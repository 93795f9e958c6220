"""Runs a command with a sanitizer's runtime loaded first, and judges by its reports.

    python run.py address,undefined|thread DIRECTORY -- COMMAND ...

The extensions must be built with the same ``ZM_SANITIZE``. Pytest holds stderr and its workers'
exit codes are not its own, so the runtimes write their reports to DIRECTORY; a run fails when the
command fails or when there is any report.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def runtime(library: str) -> str:
    """The path of gcc's shared runtime ``library``."""
    return subprocess.run(
        ["gcc", f"-print-file-name={library}"], check=True, capture_output=True, text=True
    ).stdout.strip()


def allocator_lock() -> list[str]:
    """Where libasan locks its allocator, for asan_fork.c; nothing where it has no symbols."""
    names = {"LOCK": "_ZN6__lsan13LockAllocatorEv", "UNLOCK": "_ZN6__lsan15UnlockAllocatorEv"}
    listed = subprocess.run(
        ["nm", os.path.realpath(runtime("libasan.so"))], capture_output=True, text=True
    )
    at = {line.split()[-1]: line.split()[0] for line in listed.stdout.splitlines()}
    if not all(name in at for name in names.values()):
        return []
    return [f"-D{macro}=0x{at[name]}" for macro, name in names.items()]


def build_shim(target: Path) -> Path:
    """Compiles ubsan_log.c, which sends UBSan's reports where they belong, and asan_fork.c."""
    sources = [str(HERE / name) for name in ("ubsan_log.c", "asan_fork.c")]
    command = ["gcc", "-shared", "-fPIC", *allocator_lock(), "-o", str(target), *sources, "-ldl"]
    subprocess.run(command, check=True)
    return target


def environment(sanitizer: str, log: Path) -> dict[str, str]:
    """What the runtime must be told, added to our environment."""
    env = dict(os.environ)
    env["ZM_SANITIZE"] = sanitizer  # for what tests compile themselves (tests/unit/ext/)
    if sanitizer == "thread":
        env["LD_PRELOAD"] = runtime("libtsan.so")
        env["TSAN_OPTIONS"] = ":".join(
            [
                f"log_path={log}",
                "exitcode=66",
                f"suppressions={HERE / 'tsan.supp'}",
                # Python's subprocess and our fork tests start threads in forked children.
                "die_after_fork=0",
                # A report that is right names both stacks; the default history forgets one.
                "history_size=4",
                "allocator_may_return_null=1",
                # The engine counts its threads; a test may leave one of its own at the end.
                "report_thread_leaks=0",
            ]
        )
    else:
        shim = build_shim(log.with_name("ubsan_log.so"))
        env["LD_PRELOAD"] = f"{runtime('libasan.so')} {runtime('libubsan.so')} {shim}"
        env["ZM_UBSAN_LOG"] = f"{log}.undefined"  # not ASan's file of the same process
        # Over-reads of a bytes object are seen only when it lies in a block of its own.
        env["PYTHONMALLOC"] = "malloc"
        env["ASAN_OPTIONS"] = ":".join(
            [
                f"log_path={log}",
                "detect_leaks=1",
                "detect_stack_use_after_return=1",
                # A frame may say that it is larger than memory; that is answered, not a bug.
                "allocator_may_return_null=1",
            ]
        )
        env["LSAN_OPTIONS"] = f"suppressions={HERE / 'lsan.supp'}:print_suppressions=0"
        # What UBSan does with this log_path is to set ASan's anew: see ubsan_log.c.
        env["UBSAN_OPTIONS"] = f"print_stacktrace=1:log_path={log}"
    return env


def main(arguments: list[str]) -> int:
    sanitizer, directory, dashes, *command = arguments
    assert dashes == "--" and command, __doc__
    log = Path(directory) / "sanitizer.log"
    for old in log.parent.glob(f"{log.name}.*"):
        old.unlink()
    prefix = []
    if sanitizer == "thread":
        # gcc 12's runtime stops on machines with more than 28 bits of address randomisation.
        prefix = ["setarch", "-R"]
    code = subprocess.run(prefix + command, env=environment(sanitizer, log)).returncode
    reports = sorted(log.parent.glob(f"{log.name}.*"))
    for report in reports:
        print(
            f"\n--- {report.name}\n{report.read_text(errors='replace')[:20_000]}", file=sys.stderr
        )
    print(f"{sanitizer}: command exit {code}, {len(reports)} report file(s)")
    return code or (1 if reports else 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
