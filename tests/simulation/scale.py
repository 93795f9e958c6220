"""What a PUB with very many SUBs costs, in the simulated network: flat, and behind brokers.

    python -m tests.simulation.scale [--peers 1,10,...] [--instructions] [--svg FILE]

Prints the table of docs/internals/simulation.md, and draws it. ``--instructions`` counts those of
the engine a delivery with callgrind, which takes minutes where there are many peers.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .build import ENGINE, build

PEERS = (1, 10, 100, 1000, 10000)
#: Peers of a broker.
FAN_OUT = 100
#: A burst's messages: so many deliveries, or what lies next to it between the two.
DELIVERIES, MESSAGES, MESSAGES_MOST = 200_000, 20, 2000
TIMEOUT = 1800
#: name in the program's answer, heading, factor
COLUMNS = [
    ("rate", "deliveries/virtual s", 1.0),
    ("converge", "all joined, s", 1.0),
    ("reconverge", "again after a restart, s", 1.0),
    ("calls", "system calls/delivery", 1.0),
    ("root_calls", "of them the publisher's", 1.0),
    ("bytes", "engine's KB/peer", 1 / 1024),
    ("locked", "most steps under a lock", 1.0),
    ("instructions", "instructions/delivery", 1.0),
]
#: Pictures: column, heading.
PANELS = [
    ("rate", "deliveries a virtual second"),
    ("reconverge", "seconds until all hear a publisher that came back"),
    ("calls", "system calls a delivery"),
    ("instructions", "engine's instructions a delivery"),
]


def ask(program: Path, **asked: int) -> list[str]:
    return [str(program), "--scale", " ".join(f"{name}={value}" for name, value in asked.items())]


def answer(said: str) -> dict[str, float]:
    line = next((line for line in said.splitlines() if line.startswith("SCALE ")), None)
    if line is None:
        raise RuntimeError(said[-2000:])
    return {name: float(value) for name, value in re.findall(r"(\w+)=(\S+)", line)}


def measure(program: Path, **asked: int) -> dict[str, float]:
    done = subprocess.run(ask(program, **asked), capture_output=True, text=True, timeout=TIMEOUT)
    return answer(done.stdout)


def instructions(program: Path, **asked: int) -> int:
    """Of the engine's own sources, in a whole run."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        subprocess.run(
            [*command, *ask(program, **asked)], capture_output=True, check=True, timeout=TIMEOUT
        )
        return engine_cost(out)


def engine_cost(out: Path) -> int:
    """Sum of what stands under files of the engine. After "calls=" is the callee's, once more."""
    names: dict[str, str] = {}
    total, ours, of_callee = 0, False, False
    with open(out) as lines:
        for line in lines:
            named = re.match(r"(c?)f[lie]=\((\d+)\)(?: (.*))?", line)
            if named:
                if named[3]:
                    names[named[2]] = named[3]
                if named[1]:
                    continue  # the callee's
                ours = names[named[2]].startswith(str(ENGINE))
            elif line.startswith("calls="):
                of_callee = True
            elif re.match(r"[+\-*\d]", line):
                if ours and not of_callee:
                    total += int(line.split()[1])
                of_callee = False
    return total


def marginal(program: Path, **asked: int) -> float:
    """Instructions a delivery, of twice as many messages less those of as many."""
    few = instructions(program, **{**asked, "messages": MESSAGES})
    many = instructions(program, **{**asked, "messages": 2 * MESSAGES})
    return (many - few) / (MESSAGES * asked["peers"])


def table(rows: list[dict[str, float]]) -> str:
    present = [(name, title, by) for name, title, by in COLUMNS if any(name in r for r in rows)]
    lines = ["| peers | brokers | " + " | ".join(title for _, title, _ in present) + " |"]
    lines.append("| ---: " * (2 + len(present)) + "|")
    for row in rows:
        cells = [f"{row['peers']:,.0f}", f"{row['brokers']:,.0f}"]
        for name, _, by in present:
            value = row[name] * by if name in row else None
            cells.append("" if value is None else f"{value:,.{0 if value >= 100 else 2}f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def panel(name: str, title: str, rows: list[dict[str, float]], x: int, y: int) -> list[str]:
    """One picture, both axes logarithmic; flat in one colour, brokers in another."""
    width, height = 380, 200
    points = [(row["peers"], row[name], row["brokers"] > 0) for row in rows if row.get(name)]
    out = [f'<text x="{x}" y="{y - 10}" font-weight="bold">{title}</text>']
    if not points:
        return out
    low = math.floor(math.log10(min(value for _, value, _ in points)))
    high = max(low + 1, math.ceil(math.log10(max(value for _, value, _ in points))))
    right = max(1.0, math.log10(max(peers for peers, _, _ in points)))

    def across(peers: float) -> float:
        return x + 50 + (width - 70) * math.log10(peers) / right

    def up(value: float) -> float:
        return y + height - 20 - (height - 30) * (math.log10(value) - low) / (high - low)

    for power in range(low, high + 1):
        at = up(10**power)
        out.append(f'<path d="M{x + 50} {at:.1f}H{x + width - 20}" stroke="#ddd"/>')
        out.append(f'<text x="{x + 45}" y="{at + 4:.1f}" text-anchor="end">{10**power:,g}</text>')
    for power in range(int(right) + 1):
        at = across(10**power)
        out.append(f'<text x="{at:.1f}" y="{y + height}" text-anchor="middle">{10**power:,}</text>')
    for brokers, colour in ((False, "#36c"), (True, "#c63")):
        line = [(across(p), up(v)) for p, v, behind in points if behind == brokers]
        if line:
            path = "L".join(f"{a:.1f} {b:.1f}" for a, b in line)
            out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in line]
    return out


def picture(rows: list[dict[str, float]]) -> str:
    out = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 540" font-size="11"'
        ' font-family="sans-serif">',
        '<rect width="820" height="540" fill="#fff"/>',
        '<text x="20" y="20" fill="#36c">flat: one publisher, all subscribe to it</text>',
        f'<text x="300" y="20" fill="#c63">behind brokers, {FAN_OUT} peers each</text>',
    ]
    for i, (name, title) in enumerate(PANELS):
        out += panel(name, title, rows, 20 + 400 * (i % 2), 60 + 240 * (i // 2))
    return "\n".join([*out, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser("tests.simulation.scale", description=__doc__.split("\n")[0])
    parser.add_argument("--peers", default=",".join(map(str, PEERS)))
    parser.add_argument("--driver", type=int, default=0, choices=(0, 1, 2))
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--instructions-most", type=int, default=1000, metavar="PEERS")
    parser.add_argument("--svg", metavar="FILE")
    options = parser.parse_args()
    if options.instructions and not shutil.which("valgrind"):
        parser.error("--instructions needs valgrind")
    program = build()
    rows = []
    for behind in (False, True):
        for peers in map(int, options.peers.split(",")):
            brokers = -(-peers // FAN_OUT) if behind else 0
            if behind and peers < FAN_OUT:
                continue
            asked = {"peers": peers, "brokers": brokers, "driver": options.driver}
            messages = min(MESSAGES_MOST, max(MESSAGES, DELIVERIES // peers))
            row = measure(program, **asked, messages=messages)
            if options.instructions and peers <= options.instructions_most:
                row["instructions"] = marginal(program, **asked)
            rows.append(row)
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(table(rows))
    if options.svg:
        Path(options.svg).write_text(picture(rows))


if __name__ == "__main__":
    main()
