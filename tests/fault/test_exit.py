"""A program ends with sockets open, messages queued, threads waiting: promptly, and in order."""

from __future__ import annotations

import pytest
from support import bind, dead_endpoint, module_source, run_python

ENDINGS = {
    "nothing was ever done": "",
    "a context": "ctx = zmq.Context()",
    "the shared context": "ctx = zmq.Context.instance()",
    "a socket": "s = zmq.Context().socket(zmq.DEALER)",
    "a bound socket": """
s = zmq.Context.instance().socket(zmq.ROUTER)
s.bind("tcp://127.0.0.1:*")
""",
    "a connected couple": """
ctx = zmq.Context.instance()
a, b = ctx.socket(zmq.PAIR), ctx.socket(zmq.PAIR)
a.bind("tcp://127.0.0.1:*")
b.connect(a.LAST_ENDPOINT)
b.send(b"x")
assert a.recv() == b"x"
b.send(b"unread")
""",
    "messages for nobody": """
s = zmq.Context.instance().socket(zmq.PUSH)
s.connect(sys.argv[1])
for _ in range(500):
    s.send(b"x")
s.send(bytes(1_000_000), copy=False, track=True)
""",
    "a closed socket that lingers for nobody": """
ctx = zmq.Context.instance()
s = ctx.socket(zmq.PUSH)
s.connect(sys.argv[1])
s.send(b"x")
s.close()
""",
    "a full inproc queue": """
ctx = zmq.Context.instance()
a, b = ctx.socket(zmq.PUSH), ctx.socket(zmq.PULL)
b.bind("inproc://a")
a.connect("inproc://a")
for _ in range(2000):
    a.send(b"x" * 100)
""",
    "a daemon thread in recv": """
import threading
s = zmq.Context.instance().socket(zmq.PULL)
s.bind("tcp://127.0.0.1:*")
t = threading.Thread(target=s.recv, daemon=True)
t.start()
t.join(0.1)
""",
    "a daemon thread in poll": """
import threading
s = zmq.Context.instance().socket(zmq.PULL)
s.bind("tcp://127.0.0.1:*")
t = threading.Thread(target=s.poll, daemon=True)
t.start()
t.join(0.1)
""",
    "a daemon thread in send": """
import threading
s = zmq.Context.instance().socket(zmq.PUSH)
t = threading.Thread(target=s.send, args=(b"x",), daemon=True)
t.start()
t.join(0.1)
""",
    "a daemon thread in a proxy": """
import threading
ctx = zmq.Context.instance()
a, b = ctx.socket(zmq.ROUTER), ctx.socket(zmq.DEALER)
a.bind("tcp://127.0.0.1:*")
b.bind("tcp://127.0.0.1:*")
t = threading.Thread(target=zmq.proxy, args=(a, b), daemon=True)
t.start()
t.join(0.1)
""",
    "daemon threads that send and receive at full speed": """
import threading
ctx = zmq.Context.instance()
a, b = ctx.socket(zmq.PUSH), ctx.socket(zmq.PULL)
b.bind("tcp://127.0.0.1:*")
a.connect(b.LAST_ENDPOINT)
def send():
    while True:
        a.send(b"x" * 100)
def recv():
    while True:
        b.recv()
threads = [threading.Thread(target=f, daemon=True) for f in (send, recv)]
for t in threads:
    t.start()
threads[0].join(0.2)
""",
    "a socket, and a WeakSet whose module is empty": """
import _weakrefset, atexit
s = zmq.Context.instance().socket(zmq.PUSH)
atexit.register(setattr, _weakrefset, "ref", None)
""",
    "a monitor": """
s = zmq.Context.instance().socket(zmq.PUSH)
m = s.get_monitor_socket()
s.connect(sys.argv[1])
m.poll(30_000)
""",
    "a cycle of garbage": """
class Holder: pass
h = Holder()
h.ctx = zmq.Context()
h.s = h.ctx.socket(zmq.PUSH)
h.s.connect(sys.argv[1])
h.s.send(b"x")
h.me = h
del h
""",
    "received frames": """
ctx = zmq.Context.instance()
a, b = ctx.socket(zmq.PUSH), ctx.socket(zmq.PULL)
b.bind("tcp://127.0.0.1:*")
a.connect(b.LAST_ENDPOINT)
for _ in range(10):
    a.send(bytes(100_000), copy=False)
frames = [b.recv(copy=False) for _ in range(10)]
views = [f.buffer for f in frames]
""",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_program_ends_promptly_with(zmq, name):
    """Exit code 0, nothing fatal on stderr."""
    with dead_endpoint() as nowhere:
        done = run_python(module_source(zmq) + ENDINGS[name], nowhere)
    assert done.returncode == 0, done
    for word in ("Fatal", "abort", "Assertion", "Traceback", "Segmentation"):
        assert word not in done.stderr, done


def test_sys_exit_and_exceptions_keep_their_code(zmq):
    """Open sockets change nothing about how a program says that it failed."""
    start = """
s = zmq.Context.instance().socket(zmq.PUSH)
s.connect(sys.argv[1])
s.send(b"x")
"""
    with dead_endpoint() as nowhere:
        assert run_python(module_source(zmq) + start + "sys.exit(7)", nowhere).returncode == 7
        failed = run_python(module_source(zmq) + start + "raise LookupError('why')", nowhere)
    assert failed.returncode == 1 and "LookupError: why" in failed.stderr


def test_what_was_sent_before_term_arrives_though_the_program_is_gone(zmq, make):
    """term() is what waits; after it the process may end at once."""
    pull = make(zmq.PULL, rcvhwm=1)
    address = bind(pull)
    code = """
ctx = zmq.Context()
s = ctx.socket(zmq.PUSH)
s.connect(sys.argv[1])
for n in range(2000):
    s.send_multipart([b"%d" % n, bytes(1000)])
s.close()
ctx.term()
"""
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", module_source(zmq) + code, address])
    try:
        for n in range(2000):
            assert pull.recv_multipart() == [b"%d" % n, bytes(1000)]
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait(30)


def test_a_with_block_delivers_before_it_ends(zmq, make):
    """with Context() destroys it, with the sockets' own linger."""
    pull = make(zmq.PULL)
    address = bind(pull)
    code = """
with zmq.Context() as ctx:
    with ctx.socket(zmq.PUSH) as s:
        s.connect(sys.argv[1])
        for n in range(100):
            s.send(b"%d" % n)
"""
    done = run_python(module_source(zmq) + code, address)
    assert done.returncode == 0, done
    assert [pull.recv() for _ in range(100)] == [b"%d" % n for n in range(100)]


def test_an_atexit_handler_may_still_use_sockets(zmq, make):
    """It runs before the interpreter goes down."""
    pull = make(zmq.PULL)
    address = bind(pull)
    code = """
import atexit
ctx = zmq.Context()
s = ctx.socket(zmq.PUSH)
s.connect(sys.argv[1])
@atexit.register
def last_words():
    s.send(b"last words")
    s.close()
    ctx.term()
"""
    done = run_python(module_source(zmq) + code, address)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done
    assert pull.recv() == b"last words"
