"""What a call costs does not grow with what is idle. Counted in what is asked of the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import module_source
from support_c import build_library, preloading

pytestmark = pytest.mark.timeout(120)

#: For every child: its peers, and a count of what its engine has asked of the kernel so far.
CHILD = """
import ctypes, hashlib, os, resource, socket, threading
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
router.rcvtimeo = dealer.rcvtimeo = 20_000
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
router.rcvtimeo = 20_000
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
router.rcvtimeo = 20_000
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
