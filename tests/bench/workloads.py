"""Workloads that drive any pyzmq-shaped module the same way.

One process runs one role of one workload:

    python workloads.py MODULE WORKLOAD [key=value ...]

MODULE is the import name of the engine under test (``zmq``, ``zmq_monocoque``).
The process that is started this way is the measuring side; it starts its peer
itself, with the same interpreter, and prints one JSON object, e.g.
``{"rate": 912345.6, "unit": "msg/s"}`` or ``{"p50_us": 14.1, "p99_us": 22.0}``,
with ``cpu_s``, the processor seconds that both sides spent, start-up included.

``peer=MODULE2`` runs the other side on another engine (mixed deployment).
"""

from __future__ import annotations

import asyncio
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time

clock = time.perf_counter


def engine(name: str):
    return importlib.import_module(name)


def address(opts: dict) -> str:
    """A fresh endpoint of the transport asked for."""
    transport = opts.get("transport", "tcp")
    if transport == "tcp":
        import socket

        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return f"tcp://127.0.0.1:{s.getsockname()[1]}"
    if transport == "ipc":
        return f"ipc://{tempfile.mkdtemp(prefix='zmqbench')}/s"
    raise SystemExit(f"unknown transport {transport}")


def peer(role: str, opts: dict, addr: str) -> subprocess.Popen:
    mod = opts.get("peer") or opts["module"]
    args = [f"{k}={v}" for k, v in opts.items() if k not in ("module", "peer")]
    return subprocess.Popen([sys.executable, __file__, mod, role, f"addr={addr}", *args])


def summary(samples: list[float]) -> dict:
    s = sorted(samples)
    return {
        "p50_us": s[len(s) // 2] * 1e6,
        "p99_us": s[int(len(s) * 0.99)] * 1e6,
        "rate": len(s) / sum(s),
        "unit": "roundtrip/s",
    }


def rate(n: int, seconds: float, size: int = 0) -> dict:
    out = {"rate": n / seconds, "unit": "msg/s"}
    if size:
        out["MB_s"] = n * size / seconds / 1e6
    return out


# --- PUSH/PULL ------------------------------------------------------------
def push_pull(z, o):
    """One-way stream, receiver's clock, bytes in and bytes out."""
    n, size, copy = int(o["n"]), int(o["size"]), o.get("copy", "1") == "1"
    addr = address(o)
    ctx = z.Context()
    s = ctx.socket(z.PULL)
    secure_server(z, s, o)
    s.bind(addr)
    p = peer("_push", o, addr)
    recv = s.recv
    recv()
    t = clock()
    if copy:
        for _ in range(n - 1):
            recv()
    else:
        for _ in range(n - 1):
            recv(copy=False)
    dt = clock() - t
    p.wait()
    ctx.destroy(0)
    return rate(n - 1, dt, size)


def _push(z, o):
    n, size, copy = int(o["n"]), int(o["size"]), o.get("copy", "1") == "1"
    ctx = z.Context()
    s = ctx.socket(z.PUSH)
    secure_client(z, s, o)
    s.connect(o["addr"])
    m, send = b"x" * size, s.send
    if copy:
        for _ in range(n):
            send(m)
    else:
        for _ in range(n):
            send(m, copy=False)
    s.close()
    ctx.term()


# Known keys, and secret to nobody: both sides have them without a file.
SERVER_PUBLIC = b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
SERVER_SECRET = b"JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
CLIENT_PUBLIC = b"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
CLIENT_SECRET = b"D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"


def secure_server(z, s, o):
    if o.get("curve"):
        s.curve_server = True
        s.curve_secretkey = SERVER_SECRET
        s.curve_publickey = SERVER_PUBLIC


def secure_client(z, s, o):
    if o.get("curve"):
        s.curve_serverkey = SERVER_PUBLIC
        s.curve_secretkey = CLIENT_SECRET
        s.curve_publickey = CLIENT_PUBLIC


# --- multipart --------------------------------------------------------------
def multipart(z, o):
    n, parts = int(o["n"]), int(o.get("parts", 5))
    addr = address(o)
    ctx = z.Context()
    s = ctx.socket(z.PULL)
    s.bind(addr)
    p = peer("_push_multipart", o, addr)
    recv = s.recv_multipart
    assert len(recv()) == parts
    t = clock()
    for _ in range(n - 1):
        recv()
    dt = clock() - t
    p.wait()
    ctx.destroy(0)
    return rate(n - 1, dt)


def _push_multipart(z, o):
    n, size, parts = int(o["n"]), int(o["size"]), int(o.get("parts", 5))
    ctx = z.Context()
    s = ctx.socket(z.PUSH)
    s.connect(o["addr"])
    m = [b"x" * size] * parts
    for _ in range(n):
        s.send_multipart(m)
    s.close()
    ctx.term()


# --- REQ/REP ----------------------------------------------------------------
def req_rep(z, o):
    """Round trips, one outstanding request; each one is timed."""
    n, size = int(o["n"]), int(o["size"])
    addr = address(o)
    p = peer("_rep", o, addr)
    ctx = z.Context()
    s = ctx.socket(z.REQ)
    s.connect(addr)
    m = b"x" * size
    for _ in range(300):
        s.send(m)
        s.recv()
    out = []
    for _ in range(n):
        t = clock()
        s.send(m)
        s.recv()
        out.append(clock() - t)
    s.send(b"")
    p.wait()
    ctx.destroy(0)
    return summary(out)


def _rep(z, o):
    ctx = z.Context()
    s = ctx.socket(z.REP)
    s.bind(o["addr"])
    while m := s.recv():
        s.send(m)
    s.close(0)
    ctx.term()


# --- DEALER/ROUTER, many clients -----------------------------------------------
def router_echo(z, o):
    """Many DEALERs in one process, one ROUTER in another, one message in
    flight per DEALER: total round trips a second."""
    clients, rounds = int(o.get("clients", 200)), int(o["n"])
    addr = address(o)
    p = peer("_router", o, addr)
    ctx = z.Context()
    ctx.max_sockets = 4096
    poller = z.Poller()
    socks = []
    for _ in range(clients):
        s = ctx.socket(z.DEALER)
        s.connect(addr)
        poller.register(s, z.POLLIN)
        socks.append(s)
    for s in socks:
        s.send(b"hello")
    for s in socks:
        s.recv()
    for s in socks:
        s.send(b"x" * 64)
    done, total = 0, rounds * clients
    t = clock()
    while done < total:
        for s, _ in poller.poll():
            s.recv()
            s.send(b"x" * 64)
            done += 1
    dt = clock() - t
    for s in socks:
        s.recv()
    socks[0].send(b"")
    p.wait()
    ctx.destroy(0)
    return {"rate": done / dt, "unit": "roundtrip/s"}


def _router(z, o):
    ctx = z.Context()
    s = ctx.socket(z.ROUTER)
    s.bind(o["addr"])
    while True:
        who, m = s.recv_multipart()
        if not m:
            break
        s.send_multipart([who, m])
    s.close(0)
    ctx.term()


# --- PUB/SUB ------------------------------------------------------------------
def pub_sub(z, o):
    """One PUB, `subs` SUBs in one peer process; the clock runs on the
    subscribers' side, from the first message to the last on every SUB."""
    addr = address(o)
    subs, n, size = int(o.get("subs", 1)), int(o["n"]), int(o["size"])
    ctx = z.Context()
    s = ctx.socket(z.XPUB)
    s.sndhwm = 0
    s.bind(addr)
    with tempfile.NamedTemporaryFile() as f:
        p = peer("_subs", {**o, "out": f.name}, addr)
        for _ in range(subs):
            s.recv()
        time.sleep(0.3)
        m, send = b"x" * size, s.send
        for _ in range(n):
            send(m)
        send(b"END")
        p.wait()
        ctx.destroy(0)
        return json.load(open(f.name))


def _subs(z, o):
    subs, n = int(o.get("subs", 1)), int(o["n"])
    ctx = z.Context()
    socks = []
    for i in range(subs):
        s = ctx.socket(z.SUB)
        s.rcvhwm = 0
        s.connect(o["addr"])
        # distinct prefixes, so that an XPUB reports every one of them
        s.subscribe(b"")
        s.subscribe(b"only-%d" % i)
        socks.append(s)
    start = None
    for s in socks:
        recv = s.recv
        if start is None:
            recv()
            start = clock()
        while recv() != b"END":
            pass
    dt = clock() - start
    with open(o["out"], "w") as f:
        json.dump(rate(subs * n, dt, int(o["size"])), f)
    ctx.destroy(0)


# --- inproc --------------------------------------------------------------------
def inproc(z, o):
    """PUSH in one thread, PULL in another."""
    n, size = int(o["n"]), int(o["size"])
    ctx = z.Context()
    s = ctx.socket(z.PULL)
    s.bind("inproc://b")

    def push():
        p = ctx.socket(z.PUSH)
        p.connect("inproc://b")
        m, send = b"x" * size, p.send
        for _ in range(n):
            send(m)
        p.close()

    t = threading.Thread(target=push)
    t.start()
    recv = s.recv
    recv()
    t0 = clock()
    for _ in range(n - 1):
        recv()
    dt = clock() - t0
    t.join()
    ctx.destroy(0)
    return rate(n - 1, dt)


def inproc_rtt(z, o):
    """PAIR to PAIR ping-pong between two threads."""
    n = int(o["n"])
    ctx = z.Context()
    a = ctx.socket(z.PAIR)
    a.bind("inproc://p")

    def echo():
        b = ctx.socket(z.PAIR)
        b.connect("inproc://p")
        while m := b.recv():
            b.send(m)
        b.close()

    t = threading.Thread(target=echo)
    t.start()
    out = []
    for _ in range(n):
        t0 = clock()
        a.send(b"x")
        a.recv()
        out.append(clock() - t0)
    a.send(b"")
    t.join()
    ctx.destroy(0)
    return summary(out)


# --- asyncio -------------------------------------------------------------------
def aio_req_rep(z, o):
    za = importlib.import_module(z.__name__ + ".asyncio")
    n = int(o["n"])
    addr = address(o)
    p = peer("_aio_rep", o, addr)

    async def main():
        ctx = za.Context()
        s = ctx.socket(z.REQ)
        s.connect(addr)
        out = []
        for i in range(n + 200):
            t = clock()
            await s.send(b"x" * 64)
            await s.recv()
            if i >= 200:
                out.append(clock() - t)
        await s.send(b"")
        p.wait()
        ctx.destroy(0)
        return summary(out)

    return asyncio.run(main())


def _aio_rep(z, o):
    za = importlib.import_module(z.__name__ + ".asyncio")

    async def main():
        ctx = za.Context()
        s = ctx.socket(z.REP)
        s.bind(o["addr"])
        while m := await s.recv():
            await s.send(m)
        ctx.destroy(0)

    asyncio.run(main())


def aio_push_pull(z, o):
    za = importlib.import_module(z.__name__ + ".asyncio")
    n = int(o["n"])
    addr = address(o)

    async def main():
        ctx = za.Context()
        s = ctx.socket(z.PULL)
        s.bind(addr)
        p = peer("_push", o, addr)
        await s.recv()
        t = clock()
        for _ in range(n - 1):
            await s.recv()
        dt = clock() - t
        p.wait()
        ctx.destroy(0)
        return rate(n - 1, dt)

    return asyncio.run(main())


# --- Poller: how most programs receive ------------------------------------------------
def poll_recv(z, o):
    """A PULL read the usual way: poll(), then one message, and again. ``sockets``
    more PULLs lie idle in the same Poller; ``raw=1`` adds an idle UDP socket."""
    n, size, idle = int(o["n"]), int(o["size"]), int(o.get("sockets", 0))
    addr = address(o)
    ctx = z.Context()
    ctx.max_sockets = 4096
    poller = z.Poller()
    s = ctx.socket(z.PULL)
    s.bind(addr)
    poller.register(s, z.POLLIN)
    keep = []
    for _ in range(idle):
        q = ctx.socket(z.PULL)
        q.bind_to_random_port("tcp://127.0.0.1")
        poller.register(q, z.POLLIN)
        keep.append(q)
    if o.get("raw"):
        import socket

        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        u.bind(("127.0.0.1", 0))
        poller.register(u, z.POLLIN)
        keep.append(u)
    p = peer("_push", o, addr)
    s.recv()
    got, t = 1, clock()
    while got < n:
        for q, _ in poller.poll(1000):
            q.recv(z.DONTWAIT)
            got += 1
    dt = clock() - t
    p.wait()
    ctx.destroy(0)
    return rate(n - 1, dt, size)


def poll_drain(z, o):
    """The other usual way: poll(), then recv(DONTWAIT) until Again."""
    n, size = int(o["n"]), int(o["size"])
    addr = address(o)
    ctx = z.Context()
    poller = z.Poller()
    s = ctx.socket(z.PULL)
    s.bind(addr)
    poller.register(s, z.POLLIN)
    p = peer("_push", o, addr)
    s.recv()
    got, t = 1, clock()
    while got < n:
        poller.poll(1000)
        try:
            while True:
                s.recv(z.DONTWAIT)
                got += 1
        except z.Again:
            pass
    dt = clock() - t
    p.wait()
    ctx.destroy(0)
    return rate(n - 1, dt, size)


def idle_poll(z, o):
    """CPU seconds per second of a poll() over ``sockets`` connected, silent pairs."""
    ctx = z.Context()
    ctx.max_sockets = 4096
    poller = z.Poller()
    socks = []
    for _ in range(int(o.get("sockets", 100))):
        a, b = ctx.socket(z.PAIR), ctx.socket(z.PAIR)
        port = a.bind_to_random_port("tcp://127.0.0.1")
        b.connect(f"tcp://127.0.0.1:{port}")
        b.send(b"x")
        a.recv()
        poller.register(a, z.POLLIN)
        socks += [a, b]
    poller.poll(300)
    c0 = time.process_time()
    poller.poll(3000)
    used = (time.process_time() - c0) / 3
    ctx.destroy(0)
    return {"cpu_share": max(used, 1e-5)}


def zmqstream(z, o):
    """A ZMQStream's callback in tornado's loop."""
    ioloop = importlib.import_module("tornado.ioloop")
    zs = importlib.import_module(z.__name__ + ".eventloop.zmqstream")
    n = int(o["n"])
    addr = address(o)

    async def main():
        ctx = z.Context()
        s = ctx.socket(z.PULL)
        s.bind(addr)
        done = asyncio.Event()
        seen = [0, 0.0]

        def on_recv(_):
            if not seen[0]:
                seen[1] = clock()
            seen[0] += 1
            if seen[0] == n:
                done.set()

        stream = zs.ZMQStream(s)
        stream.on_recv(on_recv)
        p = peer("_push", o, addr)
        await done.wait()
        dt = clock() - seen[1]
        p.wait()
        stream.close()
        ctx.destroy(0)
        return rate(n - 1, dt)

    assert ioloop
    return asyncio.run(main())


# --- costs other than messages -----------------------------------------------------
def socket_churn(z, o):
    """Create, connect, exchange one message, close: sockets a second."""
    n = int(o["n"])
    ctx = z.Context()
    srv = ctx.socket(z.PULL)
    port = srv.bind_to_random_port("tcp://127.0.0.1")
    t = clock()
    for _ in range(n):
        s = ctx.socket(z.PUSH)
        s.connect(f"tcp://127.0.0.1:{port}")
        s.send(b"x")
        srv.recv()
        s.close()
    dt = clock() - t
    ctx.destroy(0)
    return {"rate": n / dt, "unit": "socket/s"}


def rss_kb() -> int:
    with open("/proc/self/status") as f:
        return next(int(x.split()[1]) for x in f if x.startswith("VmRSS"))


def connections(z, o):
    """Memory of a ROUTER per connected peer, and the time to connect them."""
    n = int(o["n"])
    addr = address(o)
    ctx = z.Context()
    r = ctx.socket(z.ROUTER)
    r.bind(addr)
    before = rss_kb()
    t = clock()
    p = peer("_dealers", o, addr)
    for _ in range(n):
        r.recv_multipart()
    dt = clock() - t
    used = rss_kb() - before
    p.terminate()
    p.wait()
    ctx.destroy(0)
    return {"kb_per_peer": used / n, "rate": n / dt, "unit": "connection/s"}


def _dealers(z, o):
    n = int(o["n"])
    ctx = z.Context()
    ctx.max_sockets = n + 8
    socks = []
    for _ in range(n):
        s = ctx.socket(z.DEALER)
        s.linger = 0
        s.connect(o["addr"])
        s.send(b"hi")
        socks.append(s)
    time.sleep(60)


def idle(z, o):
    """CPU seconds per second that 100 connected, silent pairs cost."""
    ctx = z.Context()
    socks = []
    for _ in range(100):
        a, b = ctx.socket(z.PAIR), ctx.socket(z.PAIR)
        port = a.bind_to_random_port("tcp://127.0.0.1")
        b.connect(f"tcp://127.0.0.1:{port}")
        b.send(b"x")
        a.recv()
        socks += [a, b]
    time.sleep(0.5)
    c0 = time.process_time()
    time.sleep(3)
    used = (time.process_time() - c0) / 3
    mem = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ctx.destroy(0)
    return {"cpu_share": used, "maxrss_kb": mem}


def main() -> None:
    module, workload, *rest = sys.argv[1:]
    opts = dict(x.split("=", 1) for x in rest)
    opts["module"] = module
    result = globals()[workload](engine(module), opts)
    if result is not None:
        spent = [
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        result["cpu_s"] = sum(u.ru_utime + u.ru_stime for u in spent)
        print(json.dumps(result))


if __name__ == "__main__":
    main()
