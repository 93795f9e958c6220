"""What a trace shows a person: its lines about the sockets that the broken law names, and a picture
of it, hosts down and time across."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

LINES_MAX = 60


@dataclass(frozen=True)
class Line:
    time: float
    host: int
    thread: str
    text: str

    @property
    def socket(self) -> int | None:
        found = re.match(r"socket (\d+):", self.text)
        return int(found[1]) if found else None


def read(trace: str) -> list[Line]:
    lines = []
    for line in trace.splitlines():
        time, host, thread, text = line.split(" ", 3)
        lines.append(Line(float(time), int(host), thread, text))
    return lines


def of_interest(lines: list[Line], verdict: str) -> list[Line]:
    """Those of the sockets of the same service as the one that the verdict names; all, if none."""
    named = re.search(r"BROKEN [^\n]*?socket (\d+)", verdict)
    if not named:
        return lines
    places = {
        line.socket: line for line in lines if " of type" in line.text or ": type" in line.text
    }
    one = places.get(int(named[1]))
    endpoint = re.search(r"\w+://[^,]+", one.text) if one else None
    if not endpoint:
        return lines
    kin = {number for number, line in places.items() if endpoint[0] in line.text}
    return [line for line in lines if line.socket is None or line.socket in kin]


def for_a_person(trace: str, verdict: str) -> str:
    lines = of_interest(read(trace), verdict)
    head = [line for line in lines if ": type" in line.text or line.text.startswith("seed")]
    rest = [line for line in lines if line not in head]
    left_out = len(rest) - LINES_MAX
    shown = [*head, *rest[-LINES_MAX:]]
    text = [f"{x.time:12.6f}  host {x.host}  {x.thread:12} {x.text}" for x in shown]
    if left_out > 0:
        text.insert(len(head), f"        ... {left_out} lines (--trace FILE has all)")
    return "\n".join(text) + "\n"


def picture(trace: str, verdict: str) -> str:
    """SVG: a row for each socket, its host beside it; a stroke for each message that arrived."""
    lines = of_interest(read(trace), verdict)
    sockets = sorted({line.socket for line in lines if line.socket is not None})
    row = {number: 40 + 26 * at for at, number in enumerate(sockets)}
    host = {line.socket: line.host for line in lines if line.socket is not None}
    first, last = lines[0].time, max(line.time for line in lines) or 1.0
    width, height = 1200, 60 + 26 * len(sockets)

    def across(time: float) -> float:
        return 120 + (width - 140) * (time - first) / (last - first or 1)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="11"'
        ' font-family="sans-serif">',
        f'<text x="4" y="14">{escape(verdict.splitlines()[0][:180])}</text>',
    ]
    for number, y in row.items():
        out.append(f'<text x="4" y="{y + 4}">host {host[number]} socket {number}</text>')
        out.append(f'<path d="M120 {y}H{width - 20}" stroke="#bbb"/>')
    sent: dict[tuple[int, int], float] = {}
    for line in lines:
        if line.socket is None:
            continue
        y, x = row[line.socket], across(line.time)
        if found := re.search(r"send (\d+): 0$", line.text):
            sent[line.socket, int(found[1])] = line.time
        elif found := re.search(r"recv (\d+) of (\d+)", line.text):
            began = sent.get((int(found[2]), int(found[1])))
            if began is not None and int(found[2]) in row:
                out.append(
                    f'<path d="M{across(began):.1f} {row[int(found[2])]}L{x:.1f} {y}"'
                    ' stroke="#36c" stroke-width="0.6"/>'
                )
        elif "close" in line.text or "leaves" in line.text:
            out.append(f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="#c33"/>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
