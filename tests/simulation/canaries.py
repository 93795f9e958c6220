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
    fault: Fault | tuple[Fault, ...]
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
ORDER = "a thread's messages leave in its order"
PIPE = "a pipe keeps its order"
IDLE = "idle is idle"
KEY = "without the key no byte of payload"
LAST = "the last message stays"
ALIVE = "who answers is not cut off"
BYTES = "a stream's bytes come as they were sent"
TOLD = "a stream tells who comes and goes"
BACK = "who connects comes back"
LASTS = "a connection lasts"
FITS = "a burst that fits is not dropped"

#: A message for a peer at its mark is dropped without a look whether there is room by now.
NO_LOOK_FOR_ROOM = Fault(
    "pipe/peer.c",
    "    if (peer->ops || zm_peer_is_ended_locked(peer) || !peer->conn)\n"
    "        return -EAGAIN;\n"
    "    zm_drive_for_room_locked",
    "    if (peer)\n        return -EAGAIN;\n    zm_drive_for_room_locked",
)

CANARIES = [
    Canary(
        "a thread that waits in the driver is not woken",
        Fault("socket/wakeup.c", "        if (driver)\n", "        if (driver && !driver)\n"),
        (LOST, WAKE, TERM, RUNS, TIME, BACK),
        1000,
    ),
    Canary(
        "who follows another thread's wait is not woken",
        Fault(
            "socket/wakeup.c",
            "    if (!s->followers)\n        return;\n",
            "    return;\n",
        ),
        (LOST, WAKE, GOES, TERM, RUNS, TIME),
        1000,
    ),
    Canary(
        "the end of a context's last socket is not told",
        Fault(
            "context/pool.c",
            "    zm_futex_wake(&context->departures, 1 << 20);\n",
            "",
        ),
        (TERM, RUNS),
        1000,
    ),
    Canary(
        "an alarm of the I/O thread's that has rung is thought to be set",
        Fault(
            "context/io_thread.c",
            "    zm_alarm_clear(t->alarm);\n    t->alarm_at = ZM_FOREVER;\n",
            "    zm_alarm_clear(t->alarm);\n",
        ),
        (LOST, MISSED, WAKE, TERM, RUNS, TIME),
        1000,
    ),
    Canary(
        "who asks while the I/O thread sleeps thinks that it is awake",
        Fault(
            "context/io_thread.c",
            "    int64_t until = t->wakes_at;\n",
            "    int64_t until = t->wakes_at;\n    t->wakes_at = AWAKE;\n",
        ),
        (LOST, MISSED, WAKE, TERM, RUNS, TIME),
        1000,
    ),
    Canary(
        "a burst that nobody flushes stays",
        Fault(
            "socket/transfer.c",
            "        zm_io_thread_look(s, now + s->burst.look_gap);\n",
            "",
        ),
        (LOST, MISSED, WAKE, TERM),
        1000,
    ),
    Canary(
        "a high-water mark is off by one",
        Fault(
            "pipe/peer.c",
            "hwm > 0 && peer->out.count >= (uint32_t) hwm",
            "hwm > 0 && peer->out.count > (uint32_t) hwm",
        ),
        (MARK,),
        1000,
    ),
    Canary(
        "a peer that has room again is not told of",
        Fault(
            "pipe/peer.c",
            "        peer->socket->pattern->writable(peer);\n",
            "",
        ),
        (GOES, WAKE, LOST, TERM, RUNS, TIME),
        1000,
    ),
    Canary(
        "a large body that does not come to its end is not freed",
        Fault(
            "connection/close.c",
            "    if (conn->large)\n        zm_block_unref(conn->large);\n",
            "",
        ),
        (MEMORY,),
        1000,
    ),
    Canary(
        "REQ takes the rest of a reply that it skips for the next one",
        Fault(
            "pattern/req.c",
            "        zm_fair_drop_rest_locked(s, frame);\n",
            "        return -EAGAIN;\n",
        ),
        (LOST, WAKE, MIX, GOES_ON, MEMORY),
        1000,
    ),
    Canary(
        "the last message of a peer is not read before the next one comes",
        Fault(
            "pattern/fair_queue.c",
            "        if (peer->in_messages)\n            zm_turn_pass",
            "        if (peer->in_messages > 1)\n            zm_turn_pass",
        ),
        (LOST, WAKE, TERM, TIME, MISSED),
        1000,
    ),
    Canary(
        "a driver that nobody keeps is not closed",
        Fault(
            "context/pool.c",
            "    if (!room)\n        zm_driver_close(taken);\n",
            "",
        ),
        (MEMORY,),
        1000,
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
        1000,
    ),
    Canary(
        "what a thread sent on another socket does not go first",
        Fault(
            "socket/transfer.c",
            "    return !s->order || flush_trying(s->order, s, s, false);\n",
            "    return s != NULL;\n",
        ),
        (ORDER,),
        1000,
    ),
    Canary(
        "where a connection broke, its first message goes behind the others",
        Fault(
            "pipe/frames.c",
            "    ZM_ASSERT(!q->sent_of_first);\n    return cut;\n",
            "    uint8_t first[4096];\n"
            "    size_t size = q->count > 1 && !q->partial ? q->lengths[q->first] : 0;\n"
            "    if (size && size <= sizeof first) {\n"
            "        zm_outq_peek(q, 0, first, size);\n"
            "        zm_outq_consume(q, size);\n"
            "        zm_outq_raw(q, first, size);\n"
            "    }\n"
            "    return cut;\n",
        ),
        (PIPE,),
        2000,
    ),
    Canary(
        "a PING starts its timer before it has left",
        Fault(
            "connection/send.c",
            "    conn->silence_ms = o->heartbeat_timeout_ms < 0 ? o->heartbeat_ivl_ms : "
            "o->heartbeat_timeout_ms;\n",
            "    conn->silence_ms = o->heartbeat_timeout_ms < 0 ? o->heartbeat_ivl_ms : "
            "o->heartbeat_timeout_ms;\n"
            "    if (conn->silence_ms > 0 && !conn->silence.position)\n"
            "        zm_conn_set_timer(conn, &conn->silence, conn->silence_ms);\n",
        ),
        (ALIVE,),
        2000,
    ),
    Canary(
        "a PING leaves with the message behind it",
        Fault(
            "connection/send.c",
            "    bool is_ping = conn->ping == PING_FLIES;\n",
            "    bool is_ping = false;\n",
        ),
        (ALIVE,),
        2000,
        1,
    ),
    Canary(
        "a peer is there from its accept on",
        (
            Fault(
                "connection/connection.c",
                "        s->handshaking_count++;\n",
                "        s->handshaking_count++;\n"
                "        zm_peer *eager = conn->raw ? NULL : zm_peer_new_locked(s);\n"
                "        if (eager) {\n"
                "            conn->peer = eager;\n"
                "            eager->conn = conn;\n"
                "            zm_peer_attach_locked(eager);\n"
                "        }\n",
            ),
            Fault(
                "connection/handshake.c",
                "endpoint->kind == ZM_CONNECTER ? endpoint->peer : NULL;",
                "endpoint->kind == ZM_CONNECTER ? endpoint->peer : conn->peer;",
            ),
        ),
        (LOST, MISSED, WAKE, TERM, GOES, GOES_ON, MEMORY, TIME),
        1000,
    ),
    Canary(
        "a message is dropped before it is looked whether there is room by now",
        NO_LOOK_FOR_ROOM,
        (FITS,),
        400,
    ),
    Canary(
        "a burst waits for company until it is above the mark",
        (
            Fault(
                "pipe/peer.c",
                "                s->flush_due = true;\n",
                "                s->flush_due = false;\n",
            ),
            NO_LOOK_FOR_ROOM,
        ),
        (FITS,),
        400,
    ),
    Canary(
        "who drops what is unsubscribed does not read on",
        Fault(
            "pattern/fair_queue.c",
            "    if (dropped && !zm_list_empty(&s->wants_recv))\n"
            "        zm_socket_look_again_locked(s);\n",
            "    (void) dropped;\n",
        ),
        (WAKE,),
        2000,
    ),
    Canary(
        "a descriptor made after a look that ended early is silent",
        Fault(
            "socket/wakeup.c",
            "    s->unseen = true;\n    zm_socket_wake(s);\n",
            "    zm_socket_wake(s);\n",
        ),
        (WAKE,),
        2000,
    ),
    Canary(
        "whoever watches the descriptor is not told",
        Fault(
            "socket/wakeup.c",
            "        zm_waitset_signal_set(fd, s->public_ready);\n",
            "",
        ),
        (WAKE, TERM, RUNS),
        1000,
    ),
    Canary(
        "the next signal is no edge",
        Fault(
            "driver/waitset.c",
            "    epoll_wait(waitset, events, EVENTS_MAX, 0);\n}",
            "    (void) events;\n}",
        ),
        (WAKE, TERM, RUNS),
        1000,
    ),
    Canary(
        "who waits inside is not told of what another thread's call has done",
        Fault(
            "socket/wakeup.c",
            "    if (ZM_UNLIKELY(s->driven || (s->followers && !s->driver))) {\n",
            "    if (!s->context) {\n",
        ),
        (WAKE, GOES),
        4000,
    ),
    Canary(
        "what comes while an option is set is not told",
        Fault(
            "socket/socket.c",
            "    rc = zm_socket_enter_aside_locked(s);\n    zm_socket_in_passing_locked(s);\n"
            "    if (rc == 0)\n        rc = set_locked(",
            "    rc = zm_socket_enter_aside_locked(s);\n    if (rc == 0)\n        rc = set_locked(",
        ),
        (WAKE, TERM, RUNS),
        2000,
    ),
    Canary(
        "whoever knows the server's key comes in",
        Fault(
            "connection/zap.c",
            "        zm_conn_admit_locked(conn, status);\n",
            "        zm_conn_admit_locked(conn, 200);\n",
        ),
        (KEY,),
        1000,
    ),
    Canary(
        "messages leave as they are though there is a key",
        Fault(
            "zmtp/mechanism_curve.c",
            "    zm_box_seal(text, 1 + size, mac, counter, c->secrets->send);\n",
            "    memset(mac, 0, ZM_MAC_SIZE);\n",
        ),
        (KEY,),
        1000,
    ),
    Canary(
        "CONFLATE keeps the first message",
        Fault(
            "pipe/peer.c",
            "        zm_frames_clear(&peer->in);\n        peer->in_messages = 0;\n",
            "        if (peer->in_messages) {\n            zm_block_unref(copy);\n"
            "            if (own)\n                zm_block_unref(own);\n"
            "            return 0;\n        }\n",
        ),
        (LAST,),
        1000,
    ),
    Canary(
        "a receive that ended with its thread is not started again",
        Fault(
            "connection/receive.c",
            "        wants_recv_again(conn); /* moved to another thread, or the thread that armed "
            "it is gone */\n",
            "        if (res != -ECANCELED)\n            wants_recv_again(conn);\n",
        ),
        (LOST, MISSED, WAKE, TERM, GOES, RUNS, TIME, BACK, LASTS),
        1000,
        1,
    ),
    Canary(
        "who waits looks now and then whether it has messages in hand",
        Fault(
            "socket/drive.c",
            "    if (ZM_UNLIKELY(s->held))\n        s->waiting_until =",
            "    if (s)\n        s->waiting_until =",
        ),
        (IDLE,),
        1000,
    ),
    Canary(
        "the I/O thread comes again soon though nothing is left",
        Fault(
            "context/serve.c",
            "    else if (ZM_UNLIKELY(s->order || s->held))\n",
            "    else\n",
        ),
        (IDLE,),
        1000,
    ),
    Canary(
        "a STREAM does not tell who went",
        Fault(
            "connection/close.c",
            "        zm_peer_announce_end_locked(peer);\n",
            "        (void) 0;\n",
        ),
        (TOLD,),
        1000,
    ),
    Canary(
        "a STREAM tells of an end that its own program made",
        Fault(
            "pattern/router.c",
            "        zm_peer_drop_locked(peer);\n",
            "        zm_peer_announce_end_locked(peer);\n        zm_peer_drop_locked(peer);\n",
        ),
        (TOLD,),
        1000,
    ),
    Canary(
        "a STREAM's peer is kept for the next connection",
        Fault(
            "connection/close.c",
            "    if (endpoint && !endpoint->options.immediate && !conn->raw\n",
            "    if (endpoint && !endpoint->options.immediate\n",
        ),
        (BYTES, TOLD),
        1000,
    ),
    Canary(
        "a name is looked up once",
        Fault(
            "socket/connecter.c",
            "        open_connection(ep, address); /* names are looked up anew at each attempt */"
            "\n",
            "        ep->address = *address;\n        ep->address.resolved = true;\n"
            "        open_connection(ep, address);\n",
        ),
        (BACK,),
        3000,
    ),
]


def find(
    canary: Canary, store: Path = STORE, tell: bool = False, less: str | None = None
) -> int | None:
    """The first seed that finds it, with ``less`` of a run; None: none does, or by another law."""
    faults = canary.fault if isinstance(canary.fault, tuple) else (canary.fault,)
    program = build(faults, store)
    command = [str(program), "--seed", "1", "--count", str(canary.within), "--quiet", "--stop"]
    if canary.driver is not None:
        command += ["--driver", str(canary.driver)]
    if less:
        command += ["--less", less]
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
