"""libzmq's own benchmarks on the C face and on libzmq, in turn: medians, and how they compare.

The programs come with the source that libzmq_suite fetches, and stay in its build directory. Each
runs on one library at a time, both ends of it: ``python tests/bench/libzmq_perf.py -n 5 thr``.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import free_port  # noqa: E402

from libzmq_suite import source  # noqa: E402  (of this clone)
from libzmq_suite.build import reference  # noqa: E402

#: name: the programs (one that prints, one that talks to it), their arguments, bigger is better.
CASES = {
    "thr 64": ("local_thr", "remote_thr", ("64", "10000000"), True),
    "thr 1024": ("local_thr", "remote_thr", ("1024", "1000000"), True),
    "thr 1 MiB": ("local_thr", "remote_thr", ("1048576", "6000"), True),
    "lat 64": ("remote_lat", "local_lat", ("64", "20000"), False),
    "lat 1 MiB": ("remote_lat", "local_lat", ("1048576", "800"), False),
    "inproc_thr 64": ("inproc_thr", None, ("64", "3000000"), True),
    "inproc_lat 64": ("inproc_lat", None, ("64", "20000"), False),
    "proxy_thr 64": ("proxy_thr", None, ("64", "3000000"), True),
}
SECONDS = 60


def compile_all(work: Path) -> tuple[Path, Path]:
    """The programs' directory, and libzmq's."""
    where = source.prepare(work)
    libzmq = reference(where, work, os.cpu_count() or 1)
    directory = work / "perf"
    directory.mkdir(exist_ok=True)
    for name in {p for first, second, _, _ in CASES.values() for p in (first, second) if p}:
        if (directory / name).exists():
            continue
        source.run(
            *("c++", "-O2", "-w", "-DZMQ_CUSTOM_PLATFORM_HPP", f"-I{where}/include"),
            *(f"-I{where}/src", f"-I{libzmq}", where / "perf" / f"{name}.cpp"),
            *("-o", directory / name, f"-L{libzmq}/lib", "-lzmq", "-pthread"),
        )
    return directory, libzmq / "lib"


def measure(programs: Path, library: Path, case: str) -> float:
    """One run: messages a second, or microseconds."""
    first, second, arguments, _ = CASES[case]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    endpoint = (f"tcp://127.0.0.1:{free_port()}",) if second else ()

    def start(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(programs / name), *endpoint, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    running = [start(name) for name in (first, second) if name]
    try:
        printed = "".join(process.communicate(timeout=SECONDS)[0] for process in running)
    finally:
        for process in running:
            process.kill()
            process.wait()
    found = re.search(r"(?:mean throughput|average latency): ([\d.]+)", printed)
    if found is None:
        raise SystemExit(f"{case} printed {printed!r}")
    return float(found[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only cases with this in their name")
    parser.add_argument("-n", type=int, default=3, help="runs of each")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "libzmq_suite")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    programs, libzmq = compile_all(options.work.resolve())
    ours = ROOT / "zmq_monocoque" / "_capi" / "zmq"
    for case, (*_, is_rate) in CASES.items():
        if options.names and not any(name in case for name in options.names):
            continue
        found: dict[Path, list[float]] = {libzmq: [], ours: []}
        for _ in range(options.n):
            for library, figures in found.items():
                figures.append(measure(programs, library, case))
        theirs_at, ours_at = (statistics.median(figures) for figures in found.values())
        ratio = ours_at / theirs_at if is_rate else theirs_at / ours_at
        unit = "messages/s" if is_rate else "us"
        print(f"{case:14} libzmq {theirs_at:12,.1f} ours {ours_at:12,.1f} {unit:10} x{ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
