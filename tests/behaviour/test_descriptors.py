"""How many descriptors a socket takes: 1,024 is the common limit."""

from __future__ import annotations

import os
import select

import pytest
from support import TIMEOUT, bind, module_source, run_python

#: A connected socket, its connection included; and one whose FD was asked for.
CONNECTED, WATCHED = 2, 3
#: Some sockets share one: of so many, not more than two.
SHARED = 2
#: io_uring before Linux 5.18 cannot wake a ring without a descriptor for that.
MORE = int("msg_ring" in os.environ.get("ZM_SHIM_KERNEL", ""))

COUNTING = """
import os
SOCKETS = 10
ctx = zmq.Context()
hub = ctx.socket(zmq.ROUTER)
hub.bind("tcp://127.0.0.1:*")
def connected():
    s = ctx.socket(zmq.DEALER)
    s.connect(hub.LAST_ENDPOINT)
    s.send(b"x")
    hub.recv_multipart()
    s.poll(1)
    return s
def descriptors():
    return len(os.listdir("/proc/self/fd"))
with connected() as first:
    first.FD  # what the process needs once
    before = descriptors()
    sockets = [connected() for _ in range(SOCKETS)]
    after = descriptors()
    for s in sockets:
        s.FD
    watched = descriptors()
print(after - before - SOCKETS, watched - before - SOCKETS)  # without the hub's connections
ctx.destroy(linger=0)
"""


def test_a_connected_socket_takes_two_descriptors_and_three_with_fd(zmq):
    done = run_python(module_source(zmq) + COUNTING, timeout=50)
    assert done.returncode == 0, done
    connected, watched = map(int, done.stdout.split())
    assert connected <= 10 * (CONNECTED + MORE) + SHARED
    assert watched <= 10 * (WATCHED + MORE) + SHARED


ROOM = """
import os, resource, sys, threading
USUAL = 1024
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
if hard != resource.RLIM_INFINITY and hard < USUAL:
    sys.exit(f"{hard} descriptors at most")
resource.setrlimit(resource.RLIMIT_NOFILE, (USUAL, hard))
def room():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("FDSize"))
over = threading.Event()
if sys.argv[1] == "True":
    threading.Thread(target=over.wait).start()
elif len(os.listdir("/proc/self/task")) > 1:
    sys.exit("this interpreter has threads of its own")
before = room()
with zmq.Context() as ctx, ctx.socket(zmq.PULL) as s:
    s.bind("tcp://127.0.0.1:*")
    print(before, room(), max(map(int, os.listdir("/proc/self/fd"))))
over.set()
"""


@pytest.mark.parametrize("threads", [False, True], ids=["alone", "with threads"])
def test_the_table_of_descriptors_grows_while_nobody_has_to_wait_for_that(zmq, on_libzmq, threads):
    """Later it takes some 10 ms each time, in the middle of a connect or an accept."""
    if on_libzmq:
        pytest.skip("libzmq leaves it to the kernel")
    done = run_python(module_source(zmq) + ROOM, threads)
    if done.returncode == 1 and "Traceback" not in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done
    before, room, last = map(int, done.stdout.split())
    assert room == before if threads else room >= 1024
    assert last < 100  # it was only for a moment


def test_an_edge_of_fd_comes_for_every_change(zmq, ctx):
    """One who watches by edges, and reads EVENTS at each, misses nothing."""
    a, b = ctx.socket(zmq.PAIR), ctx.socket(zmq.PAIR)
    a.connect(bind(b))
    with select.epoll() as edges:
        edges.register(b.FD, select.EPOLLIN | select.EPOLLET)
        for number in range(50):
            a.send(b"%d" % number)
            while not b.events & zmq.POLLIN:
                assert edges.poll(TIMEOUT), number
            assert b.recv() == b"%d" % number


def test_an_edge_of_fd_comes_for_a_message_over_inproc(zmq, ctx):
    """The sender tells the watcher itself: there is no descriptor that the kernel tells of."""
    a, b = ctx.socket(zmq.PAIR), ctx.socket(zmq.PAIR)
    b.bind("inproc://edges")
    a.connect("inproc://edges")
    with select.epoll() as edges:
        edges.register(b.FD, select.EPOLLIN | select.EPOLLET)
        for number in range(50):
            assert not b.events & zmq.POLLIN
            a.send(b"%d" % number)
            assert edges.poll(TIMEOUT), number
            assert b.events & zmq.POLLIN
            assert b.recv() == b"%d" % number


#: Linux refuses an epoll set of epoll sets in which more than 500 have one descriptor in common.
MANY = """
import select
ctx = zmq.Context()
hub = ctx.socket(zmq.PUSH)
hub.bind("inproc://hub")
sockets = [ctx.socket(zmq.PULL) for _ in range(600)]
with select.epoll() as watched, select.epoll() as outer, select.epoll() as others:
    outer.register(watched.fileno(), select.EPOLLIN)
    for s in sockets:
        watched.register(s.FD, select.EPOLLIN)
        others.register(s.FD, select.EPOLLIN)
    for s in sockets:
        s.connect("inproc://hub")
        assert not s.EVENTS & zmq.POLLIN
    for n in range(600):
        hub.send(b"%d" % n)
    got = 0
    while got < 600 and outer.poll(30):
        for fd, _ in watched.poll(0, len(sockets)):
            s = next(s for s in sockets if s.FD == fd)
            while s.EVENTS & zmq.POLLIN:
                s.recv()
                got += 1
print(got)
ctx.destroy(linger=0)
"""


def test_an_event_loop_watches_any_number_of_sockets(zmq):
    """Also in a loop that is watched by another one."""
    done = run_python(module_source(zmq) + MANY, timeout=50)
    assert (done.returncode, done.stdout) == (0, "600\n"), done
