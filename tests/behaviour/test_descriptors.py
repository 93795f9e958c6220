"""How many descriptors a socket takes: 1,024 is the common limit."""

from __future__ import annotations

import os
import select

from support import TIMEOUT, bind, module_source, run_python

#: A connected socket, its connection included; and one whose FD was asked for.
CONNECTED, WATCHED = 2, 3
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
    assert connected <= 10 * (CONNECTED + MORE)
    assert watched <= 10 * (WATCHED + MORE)


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
