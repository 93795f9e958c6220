"""What a call costs does not grow with what is idle. Counted in what is asked of the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import module_source
from support.c import build_library, preloading

pytestmark = pytest.mark.timeout(120)

#: For every child: its peers, and a count of what its engine has asked of the kernel so far.
CHILD = """
import ctypes, hashlib, os, resource, socket, threading, time
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
context = zmq.Context()

GREETING = b"\\xff" + bytes(8) + b"\\x7f\\3\\0" + b"NULL".ljust(20, b"\\0") + bytes(32)
READY = b"\\4\\x1c\\5READY\\x0bSocket-Type\\0\\0\\0\\6DEALER"

def idle_peers(port, count):
    '''Raw connections, through their handshakes.'''
    peers = []
    for _ in range(count):
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(GREETING + READY)
        peers.append(peer)
    for peer in peers:
        got = b""
        while len(got) < 64 + 2 or len(got) < 66 + got[65]:
            got += peer.recv(1000)
    return peers

def asked():
    '''Requests that the kernel has completed for all rings, and calls, by now.'''
    total = ctypes.CDLL(None).calls()
    for fd in os.listdir("/proc/self/fd"):
        try:
            if "io_uring" not in os.readlink(f"/proc/self/fd/{fd}"):
                continue
            with open(f"/proc/self/fdinfo/{fd}") as info:
                total += sum(int(line.split()[1]) for line in info if line.startswith("CqTail"))
        except OSError:
            pass
    return total
"""


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    return build_library(tmp_path_factory.mktemp("count"), "count_calls", "count_calls.c")


def run_child(zmq, library, code: str, *args: object) -> list[str]:
    """The words that the child printed."""
    done = subprocess.run(
        [sys.executable, "-c", module_source(zmq) + CHILD + code, *map(str, args)],
        env=preloading(library),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


TWO_THREADS = """
idle, turns = map(int, sys.argv[1:])
router = context.socket(zmq.ROUTER)
dealer = context.socket(zmq.DEALER)
router.rcvtimeo = dealer.rcvtimeo = 30_000
router.backlog = 4096
port = router.bind_to_random_port("tcp://127.0.0.1")
peers = idle_peers(port, idle)
dealer.connect(f"tcp://127.0.0.1:{port}")

def ping():
    dealer.send(b"")
    router.send_multipart(router.recv_multipart())
    dealer.recv()

turn, change = 0, threading.Condition()
def take_turns(me):
    global turn
    for _ in range(turns):
        with change:
            change.wait_for(lambda: turn == me)
            ping()
            turn = 1 - me
            change.notify_all()

for _ in range(100):
    ping()
before = asked()
threads = [threading.Thread(target=take_turns, args=(me,)) for me in (0, 1)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(asked() - before)
context.destroy(linger=0)
"""


def test_two_threads_that_use_a_socket_in_turn_do_not_pay_for_idle_peers(zmq, on_libzmq, counting):
    if on_libzmq:
        pytest.skip("counts what this engine asks of the kernel")
    idle, turns = 2000, 50
    (asked,) = run_child(zmq, counting, TWO_THREADS, idle, turns)
    # A turn took every receive over, once for the call that sends and once for the one that waits.
    assert int(asked) / (2 * turns) < idle / 4


COMPUTING = """
count = int(sys.argv[1])
router = context.socket(zmq.ROUTER)
router.rcvtimeo = 30_000
router.backlog = 4096
port = router.bind_to_random_port("tcp://127.0.0.1")
peers = idle_peers(port, count)
for peer in peers:
    peer.sendall(b"\\0\\1a")
for peer in peers:
    assert router.recv_multipart()[1] == b"a"  # from here on this thread has the receives

def receive():
    for peer in peers:
        peer.sendall(b"\\0\\1b")
    for _ in peers:
        assert router.recv_multipart()[1] == b"b"

receiving = threading.Thread(target=receive)
receiving.start()
while receiving.is_alive():
    hashlib.pbkdf2_hmac("sha256", b"", b"", 50_000)  # without the GIL, and the kernel
print("all")
context.destroy(linger=0)
"""


def test_what_a_thread_that_computes_has_armed_reaches_the_one_that_waits(zmq, counting):
    """More peers than a thread takes over at once."""
    assert run_child(zmq, counting, COMPUTING, 600) == ["all"]


ENDED = """
count = int(sys.argv[1])
router = context.socket(zmq.ROUTER)
router.rcvtimeo = 30_000
router.backlog = 4096
port = router.bind_to_random_port("tcp://127.0.0.1")
peers = idle_peers(port, count)
for _ in range(3):
    def receive():
        for peer in peers:
            peer.sendall(b"\\0\\1a")
        for _ in peers:
            assert router.recv_multipart()[1] == b"a"
    receiving = threading.Thread(target=receive)
    receiving.start()
    receiving.join()
print("all")
context.destroy(linger=0)
"""


def test_what_threads_have_armed_that_ended_reaches_the_next(zmq, counting):
    assert run_child(zmq, counting, ENDED, 600) == ["all"]


def assert_grows_less(factor: float, cost, few: int, many: int) -> None:
    """In one of some attempts: on a machine that others use, processor time is no exact measure.
    What grows, does so in each."""
    figures = []
    for _ in range(4):
        figures.append((cost(few), cost(many)))
        if figures[-1][1] < factor * figures[-1][0]:
            return
    raise AssertionError(figures)


# --- endpoints -----------------------------------------------------------------------------------

BENCH = Path(__file__).parent.parent / "bench" / "growth.py"


@pytest.mark.skipif("ZM_SANITIZE" in os.environ, reason="its runtime has costs of its own")
@pytest.mark.parametrize(
    ("case", "count"),
    [
        ("idle peers: a round trip", 600),
        ("idle peers: poll(0)", 600),
        ("idle peers: poll(0) for POLLOUT, ROUTER_MANDATORY", 600),
        ("full peers: the same", 3000),
        ("heartbeat timers: a round trip", 600),
        ("endpoints: connect and disconnect", 3000),
        ("endpoints: bind and unbind", 3000),
        ("inproc names: connect, a message, disconnect", 3000),
        ("idle sockets: a round trip", 600),
        ("subscriptions: subscribe and unsubscribe", 3000),
        ("subscriptions: a message", 3000),
        ("idle subscribers: a message", 600),
    ],
)
def test_an_operation_costs_the_same_beside_many_as_beside_few(zmq, on_libzmq, case, count):
    """Processor time; the benchmark asks more precisely."""
    if on_libzmq:
        pytest.skip("libzmq walks its endpoints")

    def cost(beside: int) -> float:
        done = subprocess.run(
            [sys.executable, BENCH, "--case", case, zmq.__name__, str(beside), "3"],
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        return float(done.stdout)

    assert_grows_less(4, cost, 10, count)


UNREAD = """
count = int(sys.argv[1])
dealer = context.socket(zmq.DEALER)
dealer.rcvtimeo = 30_000
dealer.backlog = 4096
port = dealer.bind_to_random_port("tcp://127.0.0.1")
peers = idle_peers(port, count)
for peer in peers:
    peer.sendall(b"\\0\\1a")
    peer.close()
end = time.monotonic() + 30
while dealer.stats()["connections"]:
    assert time.monotonic() < end, dealer.stats()
    dealer.getsockopt(zmq.EVENTS)
    time.sleep(0.001)
began = time.process_time()
for _ in range(count):
    dealer.getsockopt(zmq.EVENTS)
    dealer.recv()
print((time.process_time() - began) / count)
dealer.getsockopt(zmq.EVENTS)
assert dealer.stats()["peers"] == 0, dealer.stats()
context.destroy(linger=0)
"""


def test_peers_that_are_gone_and_not_read_out_cost_nothing(zmq, on_libzmq, counting):
    if on_libzmq:
        pytest.skip("asks stats()")
    assert_grows_less(5, lambda n: float(run_child(zmq, counting, UNREAD, n)[0]), 100, 3000)


FULL_BACKLOG = """
import struct, time
path = sys.argv[1]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(0)
waiting = []
while True:
    peer = socket.socket(socket.AF_UNIX)
    peer.setblocking(False)
    waiting.append(peer)
    try:
        peer.connect(path)
    except BlockingIOError:
        break
dealer = context.socket(zmq.DEALER)
dealer.reconnect_ivl = 50
monitor = dealer.get_monitor_socket()
monitor.rcvtimeo = 30_000

def next_event(wanted):
    while True:
        event = struct.unpack("=HI", monitor.recv_multipart()[0])[0]
        if event == wanted:
            return

dealer.connect("ipc://" + path)
for _ in range(3):
    next_event(zmq.EVENT_CONNECT_RETRIED)
names = []
for thread in os.listdir("/proc/self/task"):
    with open(f"/proc/self/task/{thread}/comm") as comm:
        names.append(comm.read())
# io_uring hands what it cannot do at once, nor be told of, to threads that try again and again.
assert not [name for name in names if name.startswith("iou-wrk")], names
listener.accept()
next_event(zmq.EVENT_CONNECTED)
print("connected")
context.destroy(linger=0)
"""


def test_an_ipc_listener_that_is_behind_is_tried_again_later(zmq, counting, tmp_path):
    assert run_child(zmq, counting, FULL_BACKLOG, tmp_path / "s") == ["connected"]


# --- names ---------------------------------------------------------------------------------------

STUCK = """
import time
names = ctypes.CDLL(None)
def eventually(condition):
    while not condition():
        time.sleep(0.001)
sockets = []
for i in range(50):
    push = context.socket(zmq.PUSH)
    push.connect(f"tcp://host{i}.stuck:5555")
    sockets.append(push)
eventually(lambda: names.names_inside() == 4)
for push in sockets[:40]:
    push.close(0)  # none of them waits for the name server
pull, push = context.socket(zmq.PULL), sockets[-1]
pull.rcvtimeo = 30_000
port = pull.bind_to_random_port("tcp://127.0.0.1")
push.connect(f"tcp://localhost:{port}")
push.send(b"a")
push.send(b"b")
pid = os.fork()
if pid == 0:  # the child has threads and names of its own
    try:
        with zmq.Context() as other:
            pull, push = other.socket(zmq.PULL), other.socket(zmq.PUSH)
            pull.rcvtimeo = 30_000
            push.connect(f"tcp://localhost:{pull.bind_to_random_port('tcp://127.0.0.1')}")
            push.send(b"a")
            os._exit(0 if pull.recv() == b"a" else 1)
    finally:
        os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
names.names_go()
print(pull.poll(30_000))
for _ in range(20):
    lost = context.socket(zmq.PUSH)
    lost.connect("tcp://other.stuck:5555")
    lost.close(0)
print(names.names_most(), names.names_asked() < 40)
context.destroy(linger=0)

again = zmq.Context()
hanging = again.socket(zmq.PUSH)
hanging.connect("tcp://last.stuck:5555")
hanging.close(0)
again.term()
"""


def test_names_are_looked_up_by_few_threads_that_nobody_waits_for(zmq, on_libzmq, tmp_path):
    if on_libzmq:
        pytest.skip("libzmq looks names up in its I/O thread, and term() waits for that")
    stuck = build_library(tmp_path, "stuck_names", "stuck_names.c")
    assert run_child(zmq, stuck, STUCK) == ["0", "1", "4", "True"]


# --- budgets -------------------------------------------------------------------------------------

RETRIES = """
import statistics
dealer = context.socket(zmq.DEALER)
dealer.reconnect_ivl = 1
for i in range(4000):
    dealer.connect(f"ipc://{sys.argv[1]}/nobody{i}")
steps, before = [], 0
while len(steps) < 100:
    failed = dealer.stats()["connects_failed"]
    if failed != before:
        steps.append(failed - before)
    before = failed
print(statistics.median(steps))
context.destroy(linger=0)
"""


def test_a_call_does_not_wait_for_all_that_the_io_thread_has_to_do(
    zmq, on_libzmq, counting, ipc_address
):
    """Four thousand connects are due again and again; between two calls a few are tried."""
    if on_libzmq:
        pytest.skip("asks stats()")
    directory = ipc_address.removeprefix("ipc://").removesuffix("/s")
    (median,) = run_child(zmq, counting, RETRIES, directory)
    assert float(median) < 4000 / 2  # of those that are due, all were tried before


COMMANDS = """
count = int(sys.argv[1])
pull = context.socket(zmq.PULL)
pull.rcvtimeo = 30_000
pull.bind("inproc://many")
pushes = []
for i in range(count):
    push = context.socket(zmq.PUSH)
    push.connect("inproc://many")
    push.send(b"%d" % i)
    pushes.append(push)

got, lock = [], threading.Lock()
def receive():
    while True:
        with lock:
            if len(got) == count:
                return
        try:
            part = pull.recv(zmq.NOBLOCK)
        except zmq.Again:
            continue
        with lock:
            got.append(part)

threads = [threading.Thread(target=receive) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sorted(map(int, got)) == list(range(count))
print("all")
context.destroy(linger=0)
"""


def test_mail_that_a_loop_left_is_taken_in_later(zmq, on_libzmq, counting):
    """Several threads want the socket, so that none of them takes in all of it at once."""
    if on_libzmq:
        pytest.skip("sockets of pyzmq are not for several threads")
    assert run_child(zmq, counting, COMMANDS, 900) == ["all"]


SHARED = """
count, rounds = map(int, sys.argv[1:])
router = context.socket(zmq.ROUTER)
router.rcvtimeo = 30_000
router.sndhwm = router.rcvhwm = 0
router.backlog = 4096
port = router.bind_to_random_port("tcp://127.0.0.1")
peers = idle_peers(port, count)

def echo():
    while True:
        name, body = router.recv_multipart()
        if body == b"end":
            return
        router.send_multipart([name, body])

threads = [threading.Thread(target=echo) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(rounds):
    for peer in peers:
        peer.sendall(b"\\0\\1a" * 5)
    for peer in peers:
        got = b""
        while len(got) < 15:
            got += peer.recv(100)
for _ in threads:
    peers[0].sendall(b"\\0\\3end")
for thread in threads:
    thread.join()
print("all")
context.destroy(linger=0)
"""


def test_nothing_is_lost_where_loops_give_way(zmq, on_libzmq, counting):
    if on_libzmq:
        pytest.skip("sockets of pyzmq are not for several threads")
    assert run_child(zmq, counting, SHARED, 300, 10) == ["all"]


FILTERED = """
count = int(sys.argv[1])
pub, sub = context.socket(zmq.PUB), context.socket(zmq.SUB)
pub.sndhwm = sub.rcvhwm = 0
sub.rcvtimeo = 30_000
sub.subscribe(b"")
pub.bind("inproc://filtered")
sub.connect("inproc://filtered")
for _ in range(3):
    for i in range(count):
        pub.send(b"dropped")
    pub.send(b"wanted")
    sub.unsubscribe(b"")  # what is there already is filtered when it is read
    sub.subscribe(b"wanted")
    over = False
    def want():
        while not over:
            sub.getsockopt(zmq.TYPE)
    wanting = [threading.Thread(target=want) for _ in range(2)]
    for thread in wanting:
        thread.start()
    assert sub.recv() == b"wanted"
    over = True
    for thread in wanting:
        thread.join()
    sub.unsubscribe(b"wanted")
    sub.subscribe(b"")
print("all")
context.destroy(linger=0)
"""


def test_a_filter_that_gives_way_goes_on(zmq, on_libzmq, counting):
    if on_libzmq:
        pytest.skip("sockets of pyzmq are not for several threads")
    assert run_child(zmq, counting, FILTERED, 20_000) == ["all"]
