#!/usr/bin/env python3
"""Run workloads.py on two engines in turn (A B A B ...) and print the ratios.

    python tests/bench/pair.py [--a zmq_monocoque] [--b zmq] [-n 5] [--json FILE] [NAME ...]

Both modules must be importable by the interpreter that runs this. A ratio above
1 means that A is better (higher rate, lower time, memory or CPU). The machine's
speed drifts, so ratios are taken pair by pair and the median is printed. The last
column is the processor time that A's two processes spent, over B's: speed that is
bought by spinning shows there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from zmq_monocoque._cli import arguments, machine

WORK = Path(__file__).with_name("workloads.py")

#: name -> (workload, options, figure, higher is better)
CASES = {
    "push_pull tcp 64B": ("push_pull", "n=400000 size=64", "rate", True),
    "push_pull tcp 1KB": ("push_pull", "n=200000 size=1024", "rate", True),
    "push_pull tcp 64KB": ("push_pull", "n=15000 size=65536", "rate", True),
    "push_pull tcp 1MB": ("push_pull", "n=1200 size=1048576", "rate", True),
    "push_pull tcp 1MB nocopy": ("push_pull", "n=1200 size=1048576 copy=0", "rate", True),
    "push_pull ipc 64KB": ("push_pull", "n=15000 size=65536 transport=ipc", "rate", True),
    "push_pull ipc 1MB": ("push_pull", "n=1200 size=1048576 transport=ipc", "rate", True),
    "push_pull ipc 1MB nocopy": (
        "push_pull",
        "n=1200 size=1048576 transport=ipc copy=0",
        "rate",
        True,
    ),
    "push_pull ipc 64B": ("push_pull", "n=400000 size=64 transport=ipc", "rate", True),
    "push_pull curve 1KB": ("push_pull", "n=100000 size=1024 curve=1", "rate", True),
    "multipart 5x64B": ("multipart", "n=100000 size=64", "rate", True),
    "req_rep tcp 64B p50": ("req_rep", "n=6000 size=64", "p50_us", False),
    "req_rep tcp 64B p99": ("req_rep", "n=6000 size=64", "p99_us", False),
    "req_rep ipc 64B p50": ("req_rep", "n=6000 size=64 transport=ipc", "p50_us", False),
    "router_echo 200 peers": ("router_echo", "n=100 clients=200", "rate", True),
    "pub_sub 1 sub 64B": ("pub_sub", "n=300000 size=64", "rate", True),
    "pub_sub 50 subs 256B": ("pub_sub", "n=8000 size=256 subs=50", "rate", True),
    "poll+recv 64B": ("poll_recv", "n=150000 size=64", "rate", True),
    "poll+recv 64B, 50 idle": ("poll_recv", "n=30000 size=64 sockets=50", "rate", True),
    "poll+recv 64B, udp": ("poll_recv", "n=100000 size=64 raw=1", "rate", True),
    "poll+drain 64B": ("poll_drain", "n=200000 size=64", "rate", True),
    "zmqstream 64B": ("zmqstream", "n=60000 size=64", "rate", True),
    "inproc 64B": ("inproc", "n=300000 size=64", "rate", True),
    "inproc rtt p50": ("inproc_rtt", "n=10000", "p50_us", False),
    "aio req_rep p50": ("aio_req_rep", "n=3000", "p50_us", False),
    "aio push_pull 64B": ("aio_push_pull", "n=60000 size=64", "rate", True),
    "socket churn": ("socket_churn", "n=500", "rate", True),
    "connect 500 peers": ("connections", "n=500", "rate", True),
    "memory per peer": ("connections", "n=500", "kb_per_peer", False),
    "idle cpu": ("idle", "", "cpu_share", False),
    "idle poll 100": ("idle_poll", "sockets=100", "cpu_share", False),
}


def one(module: str, workload: str, options: str, timeout: float) -> dict:
    r = subprocess.run(
        [sys.executable, str(WORK), module, workload, *options.split()],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if r.returncode:
        raise RuntimeError(r.stderr.strip().splitlines()[-1:] or r.returncode)
    return json.loads(r.stdout.strip().splitlines()[-1])


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--a", default="zmq_monocoque")
    ap.add_argument("--b", default="zmq")
    ap.add_argument("-n", type=arguments.count, default=5, help="pairs per case")
    ap.add_argument("--timeout", type=float, default=120)
    ap.add_argument("--json")
    ap.add_argument("names", nargs="*", help="cases whose name contains this; all")
    args = ap.parse_args()
    if "zmq" in (args.a, args.b):
        machine.need_pyzmq()
    wanted = [k for k in CASES if not args.names or any(x in k for x in args.names)]
    if not wanted:
        ap.error("no case has that in its name; there are:\n  " + "\n  ".join(CASES))
    results, failed = {}, 0
    print(f"{'case':28s} {args.a:>16s} {args.b:>16s}  ratio (min..max)   cpu A/B")
    for name in wanted:
        workload, options, figure, higher = CASES[name]
        a, b, cpu = [], [], []
        try:
            for _ in range(args.n):
                ra = one(args.a, workload, options, args.timeout)
                rb = one(args.b, workload, options, args.timeout)
                a.append(ra[figure])
                b.append(rb[figure])
                cpu.append(ra["cpu_s"] / max(rb["cpu_s"], 1e-9))
        except (RuntimeError, subprocess.TimeoutExpired) as e:
            print(f"{name:28s} failed: {str(e)[:120]}", flush=True)
            results[name] = {"error": str(e)}
            failed += 1
            continue
        tiny = 1e-9
        ratios = [
            (x / max(y, tiny)) if higher else (y / max(x, tiny)) for x, y in zip(a, b, strict=True)
        ]
        med = statistics.median
        results[name] = {
            "a": med(a),
            "b": med(b),
            "ratio": med(ratios),
            "min": min(ratios),
            "max": max(ratios),
            "cpu": med(cpu),
        }
        print(
            f"{name:28s} {med(a):16.5g} {med(b):16.5g}  {med(ratios):5.2f} "
            f"({min(ratios):.2f}..{max(ratios):.2f})   {med(cpu):5.2f}",
            flush=True,
        )
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
