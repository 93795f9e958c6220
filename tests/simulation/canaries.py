"""Faults that are planted, one at a time, in a copy of the engine. The simulation has to find each
within so many seeds: one that finds nothing any more would be as silent as one that is right.
``within`` is several times what it took, so that an honest change of the engine does not hide it.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .build import STORE, Fault, build


@dataclass(frozen=True)
class Canary:
    name: str
    fault: Fault
    #: Laws of which one has to be broken.
    laws: tuple[str, ...]
    #: Seeds, from 1.
    within: int
    driver: int | None = None


LOST = "nothing that was accepted is lost"
WAKE = "no wake-up is lost"
MIX = "parts never mix"
TERM = "term() ends"
MEMORY = "memory returns"
MARK = "a high-water mark holds"
MISSED = "a subscriber misses nothing"
RUNS = "somebody can run"
GOES_ON = "the engine goes on"
GOES = "who can go on does"
TIME = "a call ends at its time, and not before"

CANARIES = [
    Canary(
        "a thread that waits in the driver is not woken",
        Fault("socket/wakeup.c", "        if (driver)\n", "        if (driver && !driver)\n"),
        (LOST, WAKE, TERM, RUNS, TIME),
        400,
    ),
    Canary(
        "who follows another thread's wait is not woken",
        Fault(
            "socket/wakeup.c",
            "    if (!s->followers)\n        return;\n",
            "    return;\n",
        ),
        (LOST, WAKE, GOES, TERM, RUNS, TIME),
        400,
    ),
    Canary(
        "the end of a context's last socket is not told",
        Fault(
            "context/pool.c",
            "    zm_futex_wake(&context->departures, 1 << 20);\n",
            "",
        ),
        (TERM, RUNS),
        400,
    ),
    Canary(
        "a burst that nobody flushes stays",
        Fault(
            "socket/transfer.c",
            "        zm_io_thread_look(s, now + s->burst.look_gap);\n",
            "",
        ),
        (LOST, MISSED, WAKE, TERM),
        400,
    ),
    Canary(
        "a high-water mark is off by one",
        Fault(
            "pipe/peer.c",
            "hwm > 0 && peer->out.count >= (uint32_t) hwm",
            "hwm > 0 && peer->out.count > (uint32_t) hwm",
        ),
        (MARK,),
        400,
    ),
    Canary(
        "a peer that has room again is not told of",
        Fault(
            "pipe/peer.c",
            "        peer->socket->pattern->writable(peer);\n",
            "",
        ),
        (GOES, WAKE, LOST, TERM, RUNS, TIME),
        400,
    ),
    Canary(
        "a large body that does not come to its end is not freed",
        Fault(
            "connection/close.c",
            "    if (conn->large)\n        zm_block_unref(conn->large);\n",
            "",
        ),
        (MEMORY,),
        400,
    ),
    Canary(
        "REQ takes the rest of a reply that it skips for the next one",
        Fault(
            "pattern/req.c",
            "        zm_fair_drop_rest_locked(s, frame);\n",
            "        return -EAGAIN;\n",
        ),
        (LOST, WAKE, MIX, GOES_ON, MEMORY),
        400,
    ),
    Canary(
        "the last message of a peer is not read before the next one comes",
        Fault(
            "pattern/fair_queue.c",
            "        if (peer->in_messages)\n            zm_turn_pass",
            "        if (peer->in_messages > 1)\n            zm_turn_pass",
        ),
        (LOST, WAKE, TERM, TIME, MISSED),
        400,
    ),
    Canary(
        "a driver that nobody keeps is not closed",
        Fault(
            "context/pool.c",
            "    if (!room)\n        zm_driver_close(taken);\n",
            "",
        ),
        (MEMORY,),
        400,
    ),
    Canary(
        "a message's parts go to peers in turn",
        Fault(
            "pattern/load_balancer.c",
            "            if (!m->more && zm_list_linked(&peer->turn_out))\n"
            "                zm_turn_pass(&s->writers, &peer->turn_out);\n"
            "            s->sending_to = m->more ? peer : NULL;\n",
            "            if (zm_list_linked(&peer->turn_out))\n"
            "                zm_turn_pass(&s->writers, &peer->turn_out);\n"
            "            s->sending_to = NULL;\n",
        ),
        (MIX, GOES_ON, LOST),
        400,
    ),
]


def find(canary: Canary, store: Path = STORE, tell: bool = False) -> int | None:
    """The first seed that finds it; None: none does, or by another law."""
    program = build((canary.fault,), store)
    command = [str(program), "--seed", "1", "--count", str(canary.within), "--quiet", "--stop"]
    if canary.driver is not None:
        command += ["--driver", str(canary.driver)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    found = None
    said = done.stdout.split("\n")
    for line in said:
        if line.startswith("BROKEN") and any(law in line for law in canary.laws):
            text = next(line for line in said if line.startswith("  seed "))
            found = int(text.split()[1].rstrip(","))
            break
    if tell:
        what = f"seed {found}: {said[0]}" if found is not None else f"NOT FOUND; {said[0][:200]}"
        print(f"{canary.name}\n    {what}", flush=True)
    return found
