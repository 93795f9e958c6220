"""Does to the engine whatever comes to mind, at random, and sees that it stands it.

    python chaos.py [--seed S] [--seconds N | --steps N] [--threads N] [--native N]

Threads share a table of sockets and of contexts, and each does what its own dice say: it makes a
socket of some type with some options, binds, connects, sends, receives, takes a part and leaves the
rest, polls, cancels, closes, ends a context, lets an allocation fail. What a thread decides comes
from the seed and its number alone: all dice of a step are thrown before anything is looked at. So
the same seed means the same decisions, however the threads come to lie; ``--steps`` prints a sum of
them. What the engine answers is of no interest: any error will do. Of interest are a crash, a
sanitizer's report, a call that does not come back, and what is left at the end.

The threads of ``--native`` are of hammer.c; they have a table of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import faulthandler
import gc
import hashlib
import os
import random
import shutil
import socket as sockets
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import zmq_monocoque as zmq
import zmq_monocoque.asyncio as zmq_asyncio
from zmq_monocoque.backend._engine import ffi, lib

SLOTS, CONTEXTS, ADDRESSES = 28, 2, 3
#: A call that has not come back after this long hangs.
PATIENCE_S = 60

#: Types that have something to say to each other; a family has its own addresses.
FAMILIES = (
    ("REQ", "REQ", "REP", "ROUTER", "ROUTER", "DEALER"),
    ("PUB", "XPUB", "SUB", "XSUB"),
    ("PUSH", "PULL"),
    ("PAIR",),
    ("STREAM", "STREAM", "ROUTER"),
)
SIZES = (0, 1, 4, 30, 255, 256, 2000, 9000, 70_000, 400_000)
SERVER, CLIENT = zmq.curve_keypair(), zmq.curve_keypair()
EXPECTED = (zmq.ZMQError, MemoryError, ValueError, TypeError, OverflowError, OSError)

#: (option, values): one in three sockets gets each family of them.
OPTIONS = {
    "common": (
        ("SNDHWM", (1, 2, 5, 100, 0)),
        ("RCVHWM", (1, 2, 5, 100, 0)),
        ("LINGER", (0, 1, 20, 200)),
        ("IMMEDIATE", (0, 1)),
        ("RECONNECT_IVL", (-1, 1, 5, 30)),
        ("RECONNECT_IVL_MAX", (0, 20)),
        ("RECONNECT_STOP", (0, 1, 2, 3, 7)),
        ("MAXMSGSIZE", (-1, 10, 3000)),
        ("SNDBUF", (-1, 2000)),
        ("RCVBUF", (-1, 2000)),
        ("HANDSHAKE_IVL", (0, 1, 20, 30_000)),
        ("CONNECT_TIMEOUT", (0, 1, 50)),
        ("CONFLATE", (0, 1)),
        ("ROUTING_ID", (b"a", b"b", b"name" * 20)),
        ("INVERT_MATCHING", (0, 1)),
        ("ZAP_DOMAIN", (b"", b"zone")),
        ("METADATA", (b"X-key:value", b"X-other:" + b"v" * 300)),
        ("TCP_ACCEPT_FILTER", (b"127.0.0.1/32", b"10.0.0.0/8")),
        ("MONOCOQUE_MAX_PARTS", (-1, 2)),
        ("MONOCOQUE_MAX_MESSAGE", (-1, 5000)),
        ("MONOCOQUE_MAX_HANDSHAKES", (-1, 1, 3)),
        ("MONOCOQUE_MAX_SUBSCRIPTIONS", (-1, 3)),
        ("MONOCOQUE_MAX_PENDING_SUBSCRIPTIONS", (-1, 3)),
    ),
    "life": (
        ("HEARTBEAT_IVL", (0, 1, 10)),
        ("HEARTBEAT_TIMEOUT", (1, 10, 1000)),
        ("HEARTBEAT_TTL", (100, 1000)),
    ),
    "REQ": (("REQ_RELAXED", (0, 1)), ("REQ_CORRELATE", (0, 1)), ("PROBE_ROUTER", (0, 1))),
    "ROUTER": (
        ("ROUTER_MANDATORY", (0, 1)),
        ("ROUTER_HANDOVER", (0, 1)),
        ("PROBE_ROUTER", (0, 1)),
        ("CONNECT_ROUTING_ID", (b"a", b"c")),
        ("ROUTER_RAW", (0, 0, 0, 1)),
    ),
    "STREAM": (("STREAM_NOTIFY", (0, 1)), ("CONNECT_ROUTING_ID", (b"a", b"c"))),
    "XPUB": (
        ("XPUB_VERBOSE", (0, 1)),
        ("XPUB_VERBOSER", (0, 1)),
        ("XPUB_MANUAL", (0, 1)),
        ("XPUB_MANUAL_LAST_VALUE", (0, 0, 1)),
        ("XPUB_NODROP", (0, 1)),
        ("XPUB_WELCOME_MSG", (b"", b"welcome")),
        ("ONLY_FIRST_SUBSCRIBE", (0, 1)),
    ),
}
OPTIONS["DEALER"] = OPTIONS["REQ"][2:]
OPTIONS["PUB"] = OPTIONS["XPUB"]
READABLE = ("EVENTS", "RCVMORE", "LAST_ENDPOINT", "TYPE", "FD", "MECHANISM", "ROUTING_ID", "LINGER")
TOPICS = (b"", b"a", b"ab", b"b", b"\0", b"t" * 40)


class Dice(random.Random):
    """A thread's decisions; adds up what was thrown."""

    def __new__(cls, seed: int, thread: str) -> Dice:  # before 3.11 Random's takes one argument
        return super().__new__(cls)

    def __init__(self, seed: int, thread: str):
        super().__init__(f"{seed}/{thread}")
        self.sum = hashlib.sha256()
        self.steps = 0

    def step(self, choices: list[tuple[object, int]]) -> tuple[object, random.Random]:
        """What to do, and dice for how: as many throws as one likes, the next step is not moved."""
        what = self.choices([c for c, _ in choices], [w for _, w in choices])[0]
        how = self.getrandbits(64)
        self.sum.update(struct.pack("<Q", how) + getattr(what, "__name__", str(what)).encode())
        self.steps += 1
        return what, random.Random(how)


class World:
    """What the threads share."""

    def __init__(self, directory: str):
        self.sockets: list[zmq.Socket | None] = [None] * SLOTS
        self.families = [0] * SLOTS
        self.contexts = [zmq.Context() for _ in range(CONTEXTS)]
        self.directory = directory
        self.ports = [self.free_port() for _ in range(len(FAMILIES) * ADDRESSES)]
        self.over = threading.Event()

    @staticmethod
    def free_port() -> int:
        with sockets.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def address(self, r: random.Random, family: int) -> str:
        i = family * ADDRESSES + r.randrange(ADDRESSES)
        transport = r.choice(("tcp", "tcp", "ipc", "inproc"))
        if transport == "tcp":
            return f"tcp://127.0.0.1:{self.ports[i]}"
        return f"{transport}://{self.directory}/{i}" if transport == "ipc" else f"inproc://{i}"

    def pick(self, r: random.Random) -> tuple[int, zmq.Socket | None]:
        slot = r.randrange(SLOTS)
        return slot, self.sockets[slot]


def body(r: random.Random) -> bytes:
    return r.choice(TOPICS) + bytes(r.choice(SIZES))


def parts(r: random.Random) -> list[bytes]:
    return [body(r) for _ in range(r.choice((1, 1, 1, 2, 3, 12)))]


def flags(r: random.Random) -> int:
    return r.choice((zmq.DONTWAIT, zmq.DONTWAIT, 0))


# --- what may happen: each is given the world and dice of its own -----------------------------


def make(world: World, r: random.Random) -> None:
    slot, old = world.pick(r)
    family = r.randrange(len(FAMILIES))
    kind = r.choice(FAMILIES[family])
    if old is not None:
        old.close(r.choice((None, 0, 5)))
    s = world.contexts[r.randrange(CONTEXTS)].socket(getattr(zmq, kind))
    s.linger = 0
    s.rcvtimeo, s.sndtimeo = r.choice((0, 1, 10)), r.choice((0, 1, 10))
    s.reconnect_ivl = 5
    for name, chance in (("common", 0.15), ("life", 0.1), (kind, 0.4)):
        for option, values in OPTIONS.get(name, ()):
            value = r.choice(values)
            if r.random() < chance:
                with contextlib.suppress(*EXPECTED):
                    s.set(getattr(zmq, option), value)
    with contextlib.suppress(*EXPECTED):
        secure(s, r)
    if kind == "SUB":
        s.subscribe(r.choice(TOPICS))
    world.families[slot] = family
    world.sockets[slot] = s
    for _ in range(r.choice((0, 1, 1, 2))):
        with contextlib.suppress(*EXPECTED):
            address = world.address(r, family)
            (s.bind if r.random() < 0.4 else s.connect)(address)


def secure(s: zmq.Socket, r: random.Random) -> None:
    mechanism = r.choice(("NULL", "NULL", "NULL", "NULL", "PLAIN", "CURVE"))
    server = r.random() < 0.5
    if mechanism == "PLAIN" and server:
        s.plain_server = 1
    elif mechanism == "PLAIN":
        s.plain_username, s.plain_password = b"name", b"word"
    elif mechanism == "CURVE" and server:
        s.curve_secretkey, s.curve_server = SERVER[1], 1
    elif mechanism == "CURVE":
        s.curve_publickey, s.curve_secretkey = CLIENT
        s.curve_serverkey = SERVER[0]


def attach(world: World, r: random.Random) -> None:
    slot, s = world.pick(r)
    address = world.address(r, world.families[slot])
    if s is not None:
        getattr(s, r.choice(("bind", "connect", "connect", "unbind", "disconnect")))(address)


def detach(world: World, r: random.Random) -> None:
    _, s = world.pick(r)
    how = r.choice(("unbind", "disconnect"))
    if s is not None:
        getattr(s, how)(s.last_endpoint)


def send(world: World, r: random.Random) -> None:
    _, s = world.pick(r)
    message, how, copy, track = parts(r), flags(r), r.random() < 0.6, r.random() < 0.2
    if s is not None:
        if s.type in (zmq.ROUTER, zmq.STREAM):
            message.insert(0, r.choice((b"a", b"b", b"c")))
        s.send_multipart(message, how, copy=copy, track=track and not copy)


def send_half(world: World, r: random.Random) -> None:
    _, s = world.pick(r)
    data, copy = body(r), r.random() < 0.5
    if s is not None:
        s.send(data, zmq.DONTWAIT | zmq.SNDMORE, copy=copy)


def send_many(world: World, r: random.Random) -> None:
    _, s = world.pick(r)
    messages = [r.choice((body(r), parts(r))) for _ in range(r.choice((1, 5, 60)))]
    how, copy = flags(r), r.random() < 0.5
    if s is not None:
        s.send_many(messages, flags=how, copy=copy)


def receive(world: World, r: random.Random) -> None:
    _, s = world.pick(r)
    how, copy = flags(r), r.random() < 0.5
    call = r.choice(("recv", "recv", "recv_multipart", "recv_multipart", "recv_many", "recv_into"))
    if s is None:
        return
    if call == "recv_many":
        s.recv_many(20, flags=how, copy=copy)
    elif call == "recv_into":
        s.recv_into(bytearray(300), flags=how)
    else:
        getattr(s, call)(how, copy=copy)


def answer(world: World, r: random.Random) -> None:
    """A server of sorts: what came goes back, perhaps more than once, perhaps damaged."""
    _, s = world.pick(r)
    times, damage = r.choice((1, 1, 2, 3)), r.random()
    if s is None or s.type not in (zmq.REP, zmq.ROUTER, zmq.DEALER, zmq.STREAM):
        return
    for _ in range(4):
        message = s.recv_multipart(zmq.DONTWAIT)
        if damage < 0.1:
            message.insert(1, b"")
        elif damage < 0.15:
            del message[1:2]
        for _ in range(times):
            s.send_multipart(message, zmq.DONTWAIT)


def ask(world: World, r: random.Random) -> None:
    """A client of sorts: asks, and waits a little."""
    _, s = world.pick(r)
    message = parts(r)
    if s is None or s.type not in (zmq.REQ, zmq.DEALER):
        return
    with contextlib.suppress(zmq.ZMQError):
        s.send_multipart(message, zmq.DONTWAIT)
    s.recv_multipart()


def admit(world: World, r: random.Random) -> None:
    """The handler of ZAP, if there is a REP for it."""
    slot, s = world.pick(r)
    status, begin = r.choice((b"200", b"200", b"300", b"400", b"500", b"")), r.random() < 0.1
    if s is None or s.type not in (zmq.REP, zmq.ROUTER):
        return
    if begin:
        s.bind("inproc://zeromq.zap.01")
    for _ in range(5):
        question = s.recv_multipart(zmq.DONTWAIT)
        at = question.index(b"1.0")
        s.send_multipart([*question[: at + 2], status, b"", b"user", b""], zmq.DONTWAIT)


def option(world: World, r: random.Random) -> None:
    _, s = world.pick(r)
    read, name = r.choice(READABLE), r.choice(("common", "life", "XPUB", "REQ", "ROUTER"))
    which, values = r.choice(OPTIONS[name])
    value, topic, how = r.choice(values), r.choice(TOPICS), r.random()
    if s is None:
        return
    if how < 0.3:
        s.get(getattr(zmq, read))
    elif how < 0.7:
        s.set(getattr(zmq, which), value)
    else:
        s.set(zmq.SUBSCRIBE if how < 0.9 else zmq.UNSUBSCRIBE, topic)


def subscribe(world: World, r: random.Random) -> None:
    _, s = world.pick(r)
    topic, on, copies = r.choice(TOPICS), r.randrange(2), r.choice((1, 1, 30))
    if s is None:
        return
    for i in range(copies):
        if s.type == zmq.XSUB:
            s.send(bytes([on]) + topic + b"%d" % i, zmq.DONTWAIT)
        elif s.type == zmq.SUB:
            s.set(zmq.SUBSCRIBE if on else zmq.UNSUBSCRIBE, topic + b"%d" % i)


def poll(world: World, r: random.Random) -> None:
    picked = [world.pick(r)[1] for _ in range(r.choice((1, 2, 8, 40)))]
    timeout = r.choice((0, 0, 1, 10))
    poller = zmq.Poller()
    for s in picked:
        if s is not None:
            poller.register(s, r.choice((zmq.POLLIN, zmq.POLLOUT, 3)))
    poller.poll(timeout)


def watch(world: World, r: random.Random) -> None:
    _, s = world.pick(r)
    on, count = r.random() < 0.5, r.randrange(30)
    if s is None:
        return
    if not on:
        s.disable_monitor()
        return
    monitor = s.get_monitor_socket()
    with contextlib.suppress(*EXPECTED):
        for _ in range(count):
            monitor.recv_multipart(zmq.DONTWAIT)


def close(world: World, r: random.Random) -> None:
    slot, s = world.pick(r)
    linger, forget = r.choice((None, 0, 10)), r.random() < 0.5
    if s is not None:
        s.close(linger)
        if forget:
            world.sockets[slot] = None


def end_context(world: World, r: random.Random) -> None:
    which, how = r.randrange(CONTEXTS), r.choice(("destroy", "term", "shutdown"))
    if r.random() > 0.3:
        return
    context, world.contexts[which] = world.contexts[which], zmq.Context()
    if how != "destroy":
        with contextlib.suppress(*EXPECTED):
            if how == "term":
                context.term(timeout=0.02)
            else:
                lib.zm_context_shutdown(context.underlying)
    context.destroy(linger=0)


def stranger(world: World, r: random.Random) -> None:
    """Somebody who speaks no ZMTP, or stops in the middle of it, or is rude."""
    port = r.choice(world.ports)
    greeting = b"\xff" + bytes(8) + b"\x7f\3\1NULL" + bytes(48)
    ready = b"\4\x19\5READY\x0bSocket-Type\0\0\0\4PULL"
    said = r.choice((b"", b"GET / HTTP/1.1\r\n\r\n", greeting, greeting[:20], greeting + ready))
    rest, rude = r.randbytes(r.choice((0, 3, 200))), r.random() < 0.5
    with sockets.create_connection(("127.0.0.1", port), timeout=0.2) as s:
        s.sendall(said + rest)
        if rude:
            s.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))


def starve(world: World, r: random.Random) -> None:
    lib.zm_alloc_fail_after(r.choice((0, 1, 2, 3, 5, 10, 30)))


def look(world: World, r: random.Random) -> None:
    _, s = world.pick(r)
    how = r.randrange(3)
    if how == 0:
        gc.collect(0)
    elif s is not None:
        s.stats() if how == 1 else repr(s)


STEPS = [
    (make, 14),
    (attach, 8),
    (detach, 3),
    (send, 22),
    (send_half, 3),
    (send_many, 6),
    (receive, 26),
    (answer, 18),
    (ask, 16),
    (admit, 3),
    (option, 5),
    (subscribe, 6),
    (poll, 6),
    (watch, 2),
    (close, 4),
    (end_context, 1),
    (stranger, 3),
    (starve, 4),
    (look, 3),
]


def run_thread(world: World, dice: Dice, steps: int) -> None:
    while dice.steps < steps and not world.over.is_set():
        what, how = dice.step(STEPS)
        try:
            what(world, how)
        except EXPECTED:
            pass


# --- asyncio: sockets of one loop, and futures that are given up -------------------------------


async def run_tasks(world: World, dice: Dice, steps: int, context: zmq_asyncio.Context) -> None:
    mine: list[zmq_asyncio.Socket | None] = [None] * 8
    families = [0] * 8
    waiting: list[asyncio.Future] = []

    def begin(s, r):
        call = r.choice(("recv", "recv_multipart", "send", "send_multipart", "poll", "recv_many"))
        if call == "poll":
            return s.poll(r.choice((0, 5, 50)), r.choice((zmq.POLLIN, zmq.POLLOUT)))
        if call == "recv_many":
            return s.recv_many(5)
        if call.startswith("recv"):
            return getattr(s, call)(copy=r.random() < 0.5)
        message = parts(r)
        return getattr(s, call)(message if call == "send_multipart" else message[0])

    def create(r):
        slot, family = r.randrange(len(mine)), r.randrange(len(FAMILIES))
        if mine[slot] is not None:
            mine[slot].close(0)
        s = mine[slot] = context.socket(getattr(zmq, r.choice(FAMILIES[family])))
        families[slot] = family
        s.linger, s.reconnect_ivl = 0, 5
        s.sndhwm = r.choice((1, 1000))
        if s.type == zmq.SUB:
            s.subscribe(b"")
        (s.bind if r.random() < 0.4 else s.connect)(world.address(r, family))

    async def start(r):
        s = mine[r.randrange(len(mine))]
        if s is not None:
            waiting.append(asyncio.ensure_future(begin(s, r)))

    async def cancel(r):
        if waiting:
            waiting.pop(r.randrange(len(waiting))).cancel()

    async def finish(r):
        s = mine[r.randrange(len(mine))]
        if s is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(begin(s, r), r.choice((0, 0.002, 0.02)))

    async def make_one(r):
        create(r)

    async def close_one(r):
        slot = r.randrange(len(mine))
        if mine[slot] is not None:
            mine[slot].close(0)

    async def turn(r):
        await asyncio.sleep(r.choice((0, 0, 0.001, 0.01)))

    steps_here = [(start, 8), (cancel, 4), (finish, 8), (make_one, 3), (close_one, 1), (turn, 6)]
    while dice.steps < steps and not world.over.is_set():
        what, how = dice.step(steps_here)
        try:
            await what(how)
        except (*EXPECTED, asyncio.CancelledError):
            pass
        while len(waiting) > 20:
            waiting.pop(0).cancel()
    for future in waiting:
        future.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    context.destroy(linger=0)


# --- threads without a GIL ------------------------------------------------------------------------


class Hammer:
    """hammer.c, built as the extensions are, over the engine that is loaded here."""

    def __init__(self, directory: str):
        source = Path(__file__).with_name("hammer.c")
        engine = Path(__file__).parents[2] / "zmq_monocoque" / "_engine"
        flags = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-fPIC"]
        if sanitizer := os.environ.get("ZM_SANITIZE"):
            flags += [f"-fsanitize={sanitizer}", "-fno-omit-frame-pointer"]
        target = f"{directory}/hammer.so"
        subprocess.run(
            ["gcc", *flags, "-shared", f"-I{engine}", str(source), "-o", target],
            check=True,
            env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
        )
        self.library = ctypes.CDLL(target)
        self.library.hammer_name.restype = ctypes.c_char_p
        self.library.hammer_run.restype = ctypes.c_uint64
        i = 0
        while (name := self.library.hammer_name(i)) is not None:
            address = int(ffi.cast("uintptr_t", ffi.addressof(lib, name.decode())))
            self.library.hammer_set(i, ctypes.c_void_p(address))
            i += 1
        ports = (ctypes.c_int * 12)(*(World.free_port() for _ in range(12)))
        keys = b"".join((*SERVER, *CLIENT))
        table = ctypes.c_void_p(lib.zm_api_address())
        made = self.library.hammer_start(table, directory.encode(), ports, keys)
        assert made == len(ports), made
        self.sums: list[str] = []

    def run_thread(self, seed: int, number: int, steps: int) -> None:
        done = ctypes.c_uint64()
        total = self.library.hammer_run(
            *map(ctypes.c_uint64, (seed, number, steps)), ctypes.byref(done)
        )
        self.sums.append(f"{done.value} steps, {total:016x}")


# --- the whole ------------------------------------------------------------------------------


def counts() -> dict[str, int]:
    found = ffi.new("zm_counts *")
    lib.zm_counts_get(found)
    return {name: getattr(found, name) for name, _ in ffi.typeof("zm_counts").fields}


def settle(before: dict[str, int]) -> dict[str, int]:
    """What is left, once it has had the time to go."""
    end = time.monotonic() + 20
    while True:
        gc.collect()
        left = {name: n - before[name] for name, n in counts().items() if n != before[name]}
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--steps", type=int, default=sys.maxsize)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--native", type=int, default=0)
    arguments = parser.parse_args()
    seed, steps, native = arguments.seed, arguments.steps, arguments.native
    print(f"chaos: --seed {seed} --threads {arguments.threads} --native {native}", flush=True)
    faulthandler.enable()
    faulthandler.dump_traceback_later(arguments.seconds + PATIENCE_S, exit=True)
    warnings.simplefilter("ignore", ResourceWarning)

    failed = []

    def unexpected(what):
        failed.append(what)
        threading.__excepthook__(what)

    threading.excepthook = unexpected
    before = counts()
    directory = tempfile.mkdtemp(prefix="zm-chaos-")
    world = World(directory)
    hammer = Hammer(directory) if native else None
    dice = [Dice(seed, str(i)) for i in range(arguments.threads)]
    threads = [threading.Thread(target=run_thread, args=(world, d, steps)) for d in dice]
    if dice:
        dice.append(Dice(seed, "asyncio"))
        own = zmq_asyncio.Context()  # now: the memory of others fails for all
        threads.append(
            threading.Thread(target=lambda: asyncio.run(run_tasks(world, dice[-1], steps, own)))
        )
    for i in range(native):
        threads.append(threading.Thread(target=hammer.run_thread, args=(seed, i, steps)))
    for thread in threads:
        thread.start()
    end = time.monotonic() + arguments.seconds
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    world.over.set()
    if hammer:
        hammer.library.hammer_stop()
    for thread in threads:
        thread.join()
    lib.zm_alloc_fail_after(-1)
    for context in world.contexts:
        context.destroy(linger=0)
    world.sockets.clear()
    if hammer and (bodies := hammer.library.hammer_end()):
        failed.append(print(f"chaos: {bodies} bodies were not given back"))
    shutil.rmtree(directory, ignore_errors=True)
    sums = [f"{d.steps} steps, {d.sum.hexdigest()[:16]}" for d in dice]
    for text in sums + sorted(hammer.sums if hammer else ()):
        print(f"chaos: {text}", flush=True)
    left = settle(before)
    print(f"chaos: left behind: {left}" if left else "chaos: nothing is left", flush=True)
    return 1 if left or failed else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    raise SystemExit(code)
